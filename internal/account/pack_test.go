package account

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawChange changes some of the words, by a little or to anything.
func drawChange(t *rapid.T, words []uint64) []uint64 {
	next := append([]uint64{}, words...)
	for range rapid.IntRange(0, 20).Draw(t, "changes") {
		i := rapid.IntRange(0, len(next)-1).Draw(t, "word")
		next[i] = rapid.OneOf(rapid.Just(next[i]+1), rapid.Just(next[i]-1), rapid.Just(uint64(math.MaxUint64)), rapid.Uint64()).Draw(t, "value")
	}
	return next
}

// TestPack: changes applied in their order give the words again, and a reader of
// some groups sees those.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "words")
		all, some := make([]uint64, n), make([]uint64, n)
		need := []uint64{rapid.Uint64().Draw(t, "need")}
		var data []byte
		var before []uint64
		words := make([]uint64, n)
		for range rapid.IntRange(1, 5).Draw(t, "slots") {
			words = drawChange(t, words)
			data = appendChange(data, before, words)
			before = words
		}
		for rest := data; len(rest) > 0; {
			rest = applyChange(all, rest, nil)
		}
		if diff := cmp.Diff(words, all); diff != "" {
			t.Fatalf("words (-want +got):\n%s", diff)
		}
		for rest := data; len(rest) > 0; {
			rest = applyChange(some, rest, need)
		}
		for i := range some {
			want := words[i]
			if !hasBit(need, 0, i/groupWords) {
				want = 0
			}
			if some[i] != want {
				t.Fatalf("word %d of group %d: %d, want %d", i, i/groupWords, some[i], want)
			}
		}
	})
}

// TestPackLongest: no group is longer than its length can say.
func TestPackLongest(t *testing.T) {
	words := make([]uint64, groupWords)
	for i := range words {
		words[i] = 1 << 63
	}
	data := appendChange(nil, nil, words)
	got := make([]uint64, groupWords)
	if rest := applyChange(got, data, nil); len(rest) > 0 || cmp.Diff(words, got) != "" {
		t.Errorf("%d bytes are left of %d; %v", len(rest), len(data), got)
	}
}

// TestByteLog compares the log with a plain slice.
func TestByteLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l byteLog
		var model []byte // everything ever appended
		start, b := 0, byte(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			p := make([]byte, rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(0, 3*chunkBytes), rapid.Just(chunkBytes)).Draw(t, "append"))
			for i := range p {
				b = b*5 + 1
				p[i] = b ^ byte(i>>8)
			}
			l.append(p)
			model = append(model, p...)
			start = rapid.OneOf(rapid.Just(start), rapid.Just(len(model)), rapid.IntRange(start, len(model))).Draw(t, "trim")
			l.trim(uint64(start))
			from := rapid.IntRange(start, len(model)).Draw(t, "from")
			to := rapid.IntRange(from, len(model)).Draw(t, "to")
			if string(l.read(nil, uint64(from), uint64(to))) != string(model[from:to]) {
				t.Fatalf("bytes %d to %d are not what they were", from, to)
			}
			if held := int64(len(model) - start); l.bytes() < held || l.bytes() > held+2*chunkBytes {
				t.Fatalf("%d bytes of memory for %d", l.bytes(), held)
			}
		}
	})
}
