package account

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// afterRestart writes slots 100 to 104 and returns the service of a process that
// started later and has sampled 106.
func afterRestart(t *testing.T, server *testserver.RedisServer) *Service {
	t.Helper()
	w, stop := runWriter(t, optionsFor(server), historyOf(300, 100, 101, 102, 103, 104))
	eventually(t, "five slots", written(w, 5))
	stop()
	r := historyOf(300, 106)
	w, _ = runWriter(t, optionsFor(server), r)
	eventually(t, "the new slot", written(w, 1))
	return NewService(ServiceOptions{Ring: r, Writer: w, Now: at(106)})
}

// TestShowAccountAfterRestart: what memory has lost comes from Redis, and only
// that.
func TestShowAccountAfterRestart(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := afterRestart(t, server)
	server.Do("SET", "test/account/106", `{"from":"redis"}`)
	server.Do("SET", "test/account/101", `not JSON`)
	server.Do("SET", "test/account/102", `[1]`)
	want := `{"103":{"cpu":{"value":{"usage":103}}},"104":{"cpu":{"value":{"usage":104}}},"106":{"cpu":{"value":{"usage":106}}}}`
	if diff := cmp.Diff(want, ask(t, s, `{"start_slot":101,"end_slot":1e12}`)); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`{"103":{},"104":{},"106":{}}`, ask(t, s, `{"start_slot":101,"subsystem":"blkio"}`)); diff != "" {
		t.Errorf("filtered (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`{"100":{"cpu":{"value":{"usage":100}}}}`, ask(t, s, `{"end_slot":100}`)); diff != "" {
		t.Errorf("all from redis (-want +got):\n%s", diff)
	}
	s.budget.limit = 1
	hold, _ := s.budget.take(1)
	defer hold.release()
	if got := ask(t, s, `{}`); got != "error: show_account: too many answers in flight" {
		t.Errorf("beyond the bound: %.80s", got)
	}
}

// TestShowAccountFrozen: a server that hangs costs an answer little, and memory
// still answers.
func TestShowAccountFrozen(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := afterRestart(t, server)
	server.Freeze()
	defer server.Thaw()
	var b bytes.Buffer
	begin := time.Now()
	if err := s.WriteSlots(t.Context(), Query{Start: 0, End: 1e12}, &b); err != nil {
		t.Fatal(err)
	}
	// 300 ms; far more means that the limit does not hold at all.
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if diff := cmp.Diff(`{"106":{"cpu":{"value":{"usage":106}}}}`, b.String()); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}
