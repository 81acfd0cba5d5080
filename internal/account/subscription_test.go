package account

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// read takes everything that waits.
func (s *Subscription) read() (numbers []int64) {
	for {
		slot, ok := s.Next()
		if !ok {
			return numbers
		}
		numbers = append(numbers, slot.Number)
	}
}

func TestSubscription(t *testing.T) {
	r := historyOf(10, 1, 2)
	svc := NewService(ServiceOptions{Ring: r})
	newest, all := svc.Subscribe(0), svc.Subscribe(1000)
	defer all.Close()
	if _, ok := all.Next(); ok {
		t.Error("a slot from before the subscription")
	}
	add := func(from, to int64) {
		for n := from; n <= to; n++ {
			r.appendSlot(n, time.Now(), numberLayout, number(uint64(n)))
		}
	}
	add(3, 6)
	add(5, 5) // held already: no news
	for name, tc := range map[string]struct {
		*Subscription
		want    []int64
		skipped uint64
	}{"newest": {newest, []int64{6}, 3}, "all": {all, []int64{3, 4, 5, 6}, 0}} {
		select {
		case <-tc.Wake():
		default:
			t.Errorf("%s: not woken", name)
		}
		if got := tc.read(); !slices.Equal(got, tc.want) || tc.Skipped() != tc.skipped {
			t.Errorf("%s: %v, %d skipped, want %v, %d", name, got, tc.Skipped(), tc.want, tc.skipped)
		}
	}
	newest.Close()
	add(7, 30)
	select {
	case <-newest.Wake():
		t.Error("woken after Close")
	default:
	}
	if got := all.read(); len(got) != 10 || got[0] != 21 || all.Skipped() != 14 {
		t.Errorf("a slow reader got %v, %d skipped; memory holds 21 to 30", got, all.Skipped())
	}
}

// TestAppendSlot: a message is what show_account answers for that slot, and stays
// the same as long as memory holds it.
func TestAppendSlot(t *testing.T) {
	r := NewRing(2)
	svc := NewService(ServiceOptions{Ring: r, Now: at(1 << 40)})
	sub := svc.Subscribe(2)
	defer sub.Close()
	r.appendSlot(100, r.epoch, numberLayout, number(1000))
	r.appendSlot(101, r.epoch.Add(time.Second), numberLayout, number(1700))
	first, _ := sub.Next()
	second, _ := sub.Next()
	for _, tc := range []struct {
		slot Slot
		view View
		args string
	}{
		{first, View{}, `{}`},
		{second, View{}, `{}`},
		{second, View{Rate: true}, `{"rate":true}`},
		{second, View{Filter: Filter{Subsystem: "blkio"}}, `{"subsystem":"blkio"}`},
	} {
		v, err := ParseView([]byte(tc.args))
		if err != nil || v != tc.view {
			t.Errorf("ParseView(%s) = %+v, %v, want %+v", tc.args, v, err, tc.view)
		}
		got, ok := svc.AppendSlot([]byte("x"), tc.slot, tc.view)
		want := ask(t, svc, fmt.Sprintf(`{"start_slot":%d,"end_slot":%d,%s`, tc.slot.Number, tc.slot.Number, tc.args[1:]))
		if tc.args == "{}" {
			want = ask(t, svc, fmt.Sprintf(`{"start_slot":%d,"end_slot":%d}`, tc.slot.Number, tc.slot.Number))
		}
		if !ok || string(got) != "x"+want {
			t.Errorf("%v %+v: %s, %v, want x%s", tc.slot, tc.view, got, ok, want)
		}
	}
	if got, ok := svc.AppendSlot(nil, first, View{Rate: true}); ok {
		t.Errorf("rates of the first slot: %s", got)
	}
	r.appendSlot(102, r.epoch.Add(2*time.Second), numberLayout, number(1800))
	if got, ok := svc.AppendSlot(nil, first, View{}); ok {
		t.Errorf("a slot that has left memory: %s", got)
	}
	for _, bad := range []string{`[]`, `{"rate":1}`, `{"rate":null}`, `{"cgroup":5}`} {
		if v, err := ParseView([]byte(bad)); err == nil {
			t.Errorf("ParseView(%s) = %+v", bad, v)
		}
	}
}
