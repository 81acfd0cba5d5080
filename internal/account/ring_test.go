package account

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
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
			_, added := r.appendSlot(slot, time.Now(), numberLayout, number(n), nil)
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
			if !r.load(slot, &s) {
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
		r.appendSlot(1, time.Now(), numberLayout, number(1), nil)
		time.Sleep(4 * time.Second)
		r.appendSlot(5, time.Now(), numberLayout, number(5), nil)
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
