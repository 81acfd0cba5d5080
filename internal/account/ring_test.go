package account

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// numberLayout has one number.
var numberLayout, _ = build([]tree{usage("cpu", 0)})

// number is a slot with that number.
func number(n uint64) []uint64 {
	words := make([]uint64, numberLayout.words())
	words[0] = n
	setBit(words, numberLayout.numbers, 0)
	return words
}

// TestRingModel compares the ring with a plain list, under a clock that jumps.
func TestRingModel(t *testing.T) {
	type sampled struct {
		slot int64
		n    uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.IntRange(1, 8).Draw(t, "seconds")
		r := NewRing(seconds)
		var model []sampled // in the order of sampling
		slot := int64(100)
		for n := range uint64(rapid.IntRange(0, 60).Draw(t, "appends")) {
			slot += rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(-12, 12)).Draw(t, "step")
			_, added := r.appendSlot(slot, time.Now(), numberLayout, number(n))
			held := slices.ContainsFunc(model, func(s sampled) bool { return s.slot == slot })
			if added == held {
				t.Fatalf("append %d: added %v, held %v", slot, added, held)
			}
			if added {
				model = append(model, sampled{slot, n})
				model = model[max(0, len(model)-seconds):]
			}
			if newest, ok := r.Newest(); ok != (len(model) > 0) || ok && newest != model[len(model)-1].slot {
				t.Fatalf("newest %d, %v; model %v", newest, ok, model)
			}
		}
		start := rapid.Int64Range(0, 200).Draw(t, "start")
		end := rapid.Int64Range(0, 200).Draw(t, "end")
		var want []sampled
		for _, s := range model {
			if start <= s.slot && s.slot <= end {
				want = append(want, s)
			}
		}
		slices.SortFunc(want, func(a, b sampled) int { return cmp.Compare(a.slot, b.slot) })
		var got []sampled
		slots, _ := r.slots(start, end)
		for _, slot := range slots {
			var s snapshot
			if !r.load(slot, Filter{}, &s) {
				t.Fatalf("slot %d is listed and not there", slot)
			}
			got = append(got, sampled{s.slot, s.words[0]})
		}
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(sampled{})); diff != "" {
			t.Fatalf("slots %d to %d (-want +got):\n%s", start, end, diff)
		}
		if n := r.held(start, end); n != len(want) {
			t.Fatalf("held(%d, %d) = %d, want %d", start, end, n, len(want))
		}
		// The writer's view: everything from a sequence number on, in the order of
		// sampling.
		var order []sampled
		for seq := uint64(0); ; seq++ {
			var s snapshot
			at, ok := r.loadNext(seq, &s)
			if !ok {
				break
			}
			seq = at
			order = append(order, sampled{s.slot, s.words[0]})
		}
		if diff := gocmp.Diff(model, order, gocmp.AllowUnexported(sampled{}), gocmp.Transformer("", func(s []sampled) []sampled { return append([]sampled{}, s...) })); diff != "" {
			t.Fatalf("by sequence (-want +got):\n%s", diff)
		}
		if n := r.behind(0); n != len(model) {
			t.Fatalf("behind(0) = %d, want %d", n, len(model))
		}
	})
}

func TestRingExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing(10)
		r.appendSlot(1, time.Now(), numberLayout, number(1))
		time.Sleep(4 * time.Second)
		r.appendSlot(5, time.Now(), numberLayout, number(5))
		time.Sleep(6*time.Second - time.Millisecond)
		if slots, _ := r.slots(math.MinInt64, math.MaxInt64); !slices.Equal(slots, []int64{1, 5}) {
			t.Errorf("after 9.999 s: slots %v", slots)
		}
		time.Sleep(time.Millisecond)
		if slots, _ := r.slots(math.MinInt64, math.MaxInt64); !slices.Equal(slots, []int64{5}) {
			t.Errorf("after 10 s: slots %v", slots)
		}
	})
}

// wideLayout has n cgroups with a number each, below our root.
func wideLayout(n int) *layout {
	root := &node{name: "cpu", kind: cgfs.UsageNumber, key: "usage", hasSub: true}
	for i := range n {
		name := fmt.Sprintf("c%03d", i)
		root.sub = append(root.sub, &node{name: name, path: name, kind: cgfs.UsageNumber, key: "usage", first: i + 1})
	}
	return newLayout([]*node{root}, n+1, 0)
}

// TestRingPacks: however slots are packed, whatever is read in whatever order is
// what was sampled.
func TestRingPacks(t *testing.T) {
	layouts := []*layout{wideLayout(150), wideLayout(3)}
	filters := []Filter{{}, {Cgroup: "c002"}, {Cgroup: "c140"}, {Subsystem: "cpu", Cgroup: "/"}}
	rapid.Check(t, func(t *rapid.T) {
		r := NewRing(rapid.IntRange(1, 100).Draw(t, "seconds"))
		kept := map[uint64][]uint64{}
		var snaps [2]snapshot
		var words []uint64
		var l *layout
		for seq := range uint64(rapid.IntRange(1, 120).Draw(t, "slots")) {
			if l == nil || rapid.IntRange(0, 30).Draw(t, "new layout") == 0 {
				l = layouts[rapid.IntRange(0, 1).Draw(t, "layout")]
				words = make([]uint64, l.total())
				for i := range l.numbers {
					setBit(words, l.numbers, i)
				}
			}
			words = drawChange(t, words)
			kept[seq] = words
			r.appendSlot(int64(seq), time.Now(), l, slices.Clone(words))
			for range rapid.IntRange(0, 3).Draw(t, "loads") {
				s := &snaps[rapid.IntRange(0, 1).Draw(t, "snapshot")]
				f := filters[rapid.IntRange(0, len(filters)-1).Draw(t, "filter")]
				want := rapid.Uint64Range(r.firstSeq(), seq).Draw(t, "seq")
				if !r.loadSeq(want, f, s) {
					t.Fatalf("slot %d is not there", want)
				}
				p := s.layout.view(f)
				if diff := gocmp.Diff(string(p.append(nil, kept[want], nil)), string(p.append(nil, s.words, s.extra()))); diff != "" {
					t.Fatalf("slot %d by %+v (-want +got):\n%s", want, f, diff)
				}
			}
		}
	})
}

// TestRingBounded: a long history of much that changes keeps within its memory,
// and says that there is more than it holds.
func TestRingBounded(t *testing.T) {
	r := NewRing(86400)
	r.keep = 0 // as if the daemon had run for a day
	r.most = 4 * chunkBytes
	l := wideLayout(1000)
	words := make([]uint64, l.total())
	for slot := range int64(500) {
		for i := range words {
			words[i] += 1000
		}
		r.appendSlot(slot, time.Now(), l, slices.Clone(words))
		if r.log.bytes() > r.most+chunkBytes {
			t.Fatalf("slot %d: %d bytes", slot, r.log.bytes())
		}
	}
	r.keep = time.Hour
	slots, _ := r.slots(0, 500)
	if len(slots) < 50 || slots[len(slots)-1] != 499 || slots[0] != 500-int64(len(slots)) {
		t.Errorf("%d slots, %v", len(slots), slots)
	}
	r.keep = 0
	if r.full() {
		t.Error("full, though slots were dropped")
	}
	var s snapshot
	if !r.load(slots[0], Filter{}, &s) || s.words[5] != uint64(1000*(slots[0]+1)) {
		t.Errorf("the oldest slot %d: %d", slots[0], s.words[5])
	}
}

// TestRingOfOne: a history of one second needs no more memory as time goes on.
func TestRingOfOne(t *testing.T) {
	r := NewRing(1)
	for slot := range int64(3 * chunkBytes) {
		r.appendSlot(slot, time.Now(), numberLayout, number(uint64(slot)))
	}
	if r.log.bytes() > 2*chunkBytes {
		t.Errorf("%d bytes for one slot", r.log.bytes())
	}
}
