package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// historyOf holds these slots, each with its own number.
func historyOf(seconds int, slots ...int64) *Ring {
	r := NewRing(seconds)
	for _, s := range slots {
		r.appendSlot(s, time.Now(), numberLayout, number(uint64(s)))
	}
	return r
}

func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 5e8) } }

func ask(t *testing.T, s *Service, args string) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.ShowAccount(t.Context(), json.RawMessage(args), &b); err != nil {
		return "error: " + err.Error()
	}
	if !json.Valid(b.Bytes()) {
		t.Errorf("not JSON: %q", b.Bytes())
	}
	return b.String()
}

func TestShowAccount(t *testing.T) {
	slot := func(n int64) string { return fmt.Sprintf(`"%d":{"cpu":{"value":{"usage":%d}}}`, n, n) }
	all := func(n ...int64) string {
		var s []string
		for _, n := range n {
			s = append(s, slot(n))
		}
		return "{" + strings.Join(s, ",") + "}"
	}
	for _, tc := range []struct {
		name, args string
		now        int64
		want       string
	}{
		{"default", ``, 112, all(103, 104, 107, 110, 111, 112)},
		{"the newest is a second old", `{"nr_slot":2}`, 113, all(111, 112)},
		{"the newest is older", `{"nr_slot":3}`, 114, all(112)},
		{"the newest is in the future", `{"nr_slot":2}`, 111, all(110, 111)},
		{"holes", `{"start_slot":104,"end_slot":110}`, 112, all(104, 107, 110)},
		{"only holes", `{"start_slot":105,"end_slot":106}`, 112, `{}`},
		{"reversed", `{"start_slot":110,"end_slot":104}`, 112, `{}`},
		{"nothing asked", `{"nr_slot":0}`, 112, `{}`},
		{"absurd", `{"start_slot":0,"end_slot":1000000000000}`, 112, all(101, 102, 103, 104, 107, 110, 111, 112)},
		{"more absurd", `{"start_slot":-9e18,"end_slot":9e18}`, 112, all(101, 102, 103, 104, 107, 110, 111, 112)},
		{"filtered", `{"nr_slot":2,"cgroup":"x"}`, 112, `{"111":{},"112":{}}`},
		{"bad", `{"nr_slot":"2"}`, 112, `error: bad arguments: nr_slot: not an integer: "2"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := NewService(ServiceOptions{Ring: historyOf(50, 101, 102, 103, 104, 107, 110, 111, 112), Now: at(tc.now)})
			if diff := cmp.Diff(tc.want, ask(t, s, tc.args)); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
	if got := ask(t, NewService(ServiceOptions{Ring: NewRing(5)}), `{}`); got != "{}" {
		t.Errorf("before the first slot: %s", got)
	}
}

// TestShowAccountManyLayouts: each slot is rendered with the tree that it was
// sampled from, filtered or not.
func TestShowAccountManyLayouts(t *testing.T) {
	r := NewRing(10)
	la, wa := build([]tree{usage("cpu", 1, usage("a", 2))})
	lb, wb := build([]tree{usage("cpu", 3, usage("b", 4))})
	r.appendSlot(1, time.Now(), la, wa)
	r.appendSlot(2, time.Now(), lb, wb)
	r.appendSlot(3, time.Now(), la, bytesClone(wa))
	s := NewService(ServiceOptions{Ring: r, Now: at(3)})
	want := `{"1":{"cpu":{"sub_cgroup":{"a":{"value":{"usage":2}}}}},"2":{},"3":{"cpu":{"sub_cgroup":{"a":{"value":{"usage":2}}}}}}`
	if diff := cmp.Diff(want, ask(t, s, `{"cgroup":"a"}`)); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

func bytesClone(w []uint64) []uint64 { return append([]uint64(nil), w...) }

// blockedWriter is a client that takes nothing until it is released.
type blockedWriter struct {
	begun, release chan struct{}
	once           sync.Once
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.release
	return len(p), nil
}

// TestShowAccountBusy: slow clients hold memory up to the bound; the next one is
// told so before anything was written, and is served when they are done.
func TestShowAccountBusy(t *testing.T) {
	s := NewService(ServiceOptions{Ring: historyOf(50, 1, 2, 3), Now: at(3), MaxInFlight: 3 * flushAt})
	var clients []*blockedWriter
	var wg sync.WaitGroup
	for range 2 {
		w := &blockedWriter{begun: make(chan struct{}), release: make(chan struct{})}
		clients = append(clients, w)
		wg.Go(func() {
			if err := s.WriteSlots(t.Context(), Query{Start: 1, End: 3}, w); err != nil {
				t.Errorf("slow client: %v", err)
			}
		})
		<-w.begun
	}
	var b bytes.Buffer
	if err := s.WriteSlots(t.Context(), Query{Start: 1, End: 3}, &b); !errors.Is(err, ErrBusy) || b.Len() > 0 {
		t.Errorf("third client: %v after %d bytes, want ErrBusy after none", err, b.Len())
	}
	close(clients[0].release)
	close(clients[1].release)
	wg.Wait()
	if err := s.WriteSlots(t.Context(), Query{Start: 1, End: 3}, &b); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := s.budget.used.Load(); n != 0 {
		t.Errorf("%d bytes still counted", n)
	}
}

func TestBudgetAlone(t *testing.T) {
	b := budget{limit: 10}
	g, ok := b.take(50)
	if !ok {
		t.Fatal("an answer that is alone was refused")
	}
	if _, ok := b.take(1); ok {
		t.Error("another one beside it was not")
	}
	g.release()
	if _, ok := b.take(10); !ok {
		t.Error("refused within the limit")
	}
}

type failingWriter struct{ after int }

var errClient = errors.New("connection reset")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.after--; w.after < 0 {
		return 0, errClient
	}
	return len(p), nil
}

func TestShowAccountClientGone(t *testing.T) {
	s := NewService(ServiceOptions{Ring: historyOf(50, 1, 2, 3), Now: at(3)})
	if err := s.WriteSlots(t.Context(), Query{Start: 1, End: 3}, &failingWriter{}); !errors.Is(err, errClient) {
		t.Errorf("error %v, want the writer's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WriteSlots(ctx, Query{Start: 1, End: 3}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if n := s.budget.used.Load(); n != 0 {
		t.Errorf("%d bytes still counted", n)
	}
}

// TestWholeRangeIsCheap: the widest range of a long history costs what the slots
// in it cost.
func TestWholeRangeIsCheap(t *testing.T) {
	r := historyOf(86400, 1, 2, 3)
	done := make(chan int)
	go func() {
		slots, _ := r.slots(math.MinInt64, math.MaxInt64)
		done <- len(slots)
	}()
	select {
	case n := <-done:
		if n != 3 {
			t.Errorf("%d slots, want 3", n)
		}
	case <-time.After(20 * time.Second):
		t.Error("still counting")
	}
}
