package account

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// eventually polls until ok, for servers that take their time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// runWriter runs a writer until stop is called, at the latest when the test ends.
func runWriter(t *testing.T, o RedisOptions, r *Ring) (w *Writer, stop func()) {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = "test"
	}
	if o.ID == "" {
		o.ID = "me"
	}
	w, err := NewWriter(o, r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return w.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return w, stop
}

func optionsFor(s *testserver.RedisServer) RedisOptions {
	return RedisOptions{Addrs: []string{s.Addr()}, Expire: 300 * time.Second}
}

func written(w *Writer, n uint64) func() bool {
	return func() bool { return w.Status().Written >= n }
}

func TestWriter(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	r := historyOf(300, 100, 101)
	w, stop := runWriter(t, optionsFor(server), r)
	eventually(t, "two slots", written(w, 2))
	r.appendSlot(102, time.Now(), numberLayout, number(102))
	w.Wake()
	eventually(t, "a third one", written(w, 3))
	for _, slot := range []string{"100", "101", "102"} {
		want := fmt.Sprintf(`{"cpu":{"value":{"usage":%s}}}`, slot)
		if got := server.Do("GET", "test/account/"+slot); got != want {
			t.Errorf("slot %s: %v, want %s", slot, got, want)
		}
		if ttl := server.Do("TTL", "test/account/"+slot).(int64); ttl < 280 || ttl > 300 {
			t.Errorf("slot %s: %d s left of 300", slot, ttl)
		}
	}
	if got := server.Do("GET", "test/writer"); got != "me" {
		t.Errorf("lease: %v, want me", got)
	}
	want := RedisStatus{Address: server.Addr(), Prefix: "test", Connected: true, Written: 3}
	if diff := cmp.Diff(want, w.Status()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	r.appendSlot(103, time.Now(), numberLayout, number(103))
	stop()
	if got := server.Do("GET", "test/account/103"); got == nil {
		t.Error("the last slot was not written at the stop")
	}
	if got := server.Do("GET", "test/writer"); got != nil {
		t.Errorf("lease after the stop: %v, want none", got)
	}
}

// TestWriterOneCommand: a slot is one SET with EX, nothing else.
func TestWriterOneCommand(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("CONFIG", "RESETSTAT")
	w, stop := runWriter(t, optionsFor(server), historyOf(300, 1, 2, 3, 4, 5))
	eventually(t, "five slots", written(w, 5))
	stop()
	stats := server.Do("INFO", "commandstats").(string)
	for _, other := range []string{"expire", "pexpire", "setex", "psetex", "client", "multi"} {
		if strings.Contains(stats, "cmdstat_"+other+":") {
			t.Errorf("want SET only, and %s was sent:\n%s", other, stats)
		}
	}
	if !strings.Contains(stats, "cmdstat_set:") {
		t.Errorf("no SET:\n%s", stats)
	}
	if errs := server.Do("INFO", "errorstats").(string); strings.Contains(errs, "errorstat_") {
		t.Errorf("the client caused errors:\n%s", errs)
	}
}

// TestWriterFrozen: a server that hangs, which is worse than one that is away,
// holds up nothing, and afterwards has every slot with what remains of its
// expiry, even where an unanswered command was carried out late.
func TestWriterFrozen(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	r := NewRing(300)
	var log testhost.Output
	o := optionsFor(server)
	o.Log = newTestLog(&log)
	w, _ := runWriter(t, o, r)
	const before, during = 5, 80
	began := make(map[int64]time.Time)
	for slot := range int64(before) {
		r.appendSlot(slot, time.Now(), numberLayout, number(uint64(slot)))
		began[slot] = time.Now()
		w.Wake()
	}
	eventually(t, "the first slots", written(w, before))
	server.Freeze()
	for slot := int64(before); slot < before+during; slot++ {
		r.appendSlot(slot, time.Now(), numberLayout, number(uint64(slot)))
		began[slot] = time.Now()
		w.Wake()
		time.Sleep(50 * time.Millisecond)
	}
	eventually(t, "the outage is noticed", func() bool { return !w.Status().Connected })
	server.Thaw()
	eventually(t, "the backlog is written", written(w, before+during))
	for slot := range int64(before + during) {
		key := fmt.Sprintf("test/account/%d", slot)
		left, _ := server.Do("PTTL", key).(int64)
		want := 300*time.Second - time.Since(began[slot])
		// Written in whole seconds, rounded up, and perhaps a little later.
		if got := time.Duration(left) * time.Millisecond; got < want-100*time.Millisecond || got > want+2500*time.Millisecond {
			t.Errorf("slot %d expires in %v, want %v", slot, got, want)
		}
	}
	if s := w.Status(); !s.Connected || s.Backlog != 0 || s.Lost != 0 {
		t.Errorf("status %+v", s)
	}
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("want one line for the outage and one for its end:\n%s", log.String())
	}
}

// TestWriterRestarted: a server that is away at first, comes, is killed and comes
// back empty.
func TestWriterRestarted(t *testing.T) {
	t.Parallel()
	server := testserver.RedisStopped(t)
	r := historyOf(300, 1, 2)
	w, _ := runWriter(t, optionsFor(server), r)
	eventually(t, "an error", func() bool { return w.Status().Error != "" })
	if s := w.Status(); s.Connected || s.Backlog != 2 {
		t.Errorf("status while it is away: %+v", s)
	}
	server.Start()
	eventually(t, "two slots", written(w, 2))
	server.Kill()
	r.appendSlot(3, time.Now(), numberLayout, number(3))
	w.Wake()
	eventually(t, "another error", func() bool { return w.Status().Error != "" })
	server.Start()
	eventually(t, "a third slot", written(w, 3))
	if got := server.Do("GET", "test/account/3"); got == nil {
		t.Error("slot 3 is not there")
	}
}

// TestWriterExpired: only an outage longer than the expiry loses slots, and they
// are counted.
func TestWriterExpired(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	r := NewRing(3)
	o := optionsFor(server)
	o.Expire = 3 * time.Second
	w, _ := runWriter(t, o, r)
	r.appendSlot(0, time.Now(), numberLayout, number(0))
	w.Wake()
	eventually(t, "a slot", written(w, 1))
	server.Freeze()
	for slot := int64(1); slot <= 5; slot++ {
		r.appendSlot(slot, time.Now(), numberLayout, number(0))
		time.Sleep(time.Second)
	}
	server.Thaw()
	eventually(t, "no backlog", func() bool { s := w.Status(); return s.Connected && s.Backlog == 0 })
	s := w.Status()
	if s.Written+s.Lost != 6 || s.Lost < 2 || s.Written < 2 {
		t.Errorf("written %d, lost %d of 6", s.Written, s.Lost)
	}
}

// TestWriterLease: two writers on one prefix know of each other until one ends.
func TestWriterLease(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	var log testhost.Output
	first, stopFirst := runWriter(t, optionsFor(server), historyOf(10, 1))
	eventually(t, "the first has the lease", func() bool { return server.Do("GET", "test/writer") == "me" })
	o := optionsFor(server)
	o.ID, o.Log = "you", newTestLog(&log)
	second, _ := runWriter(t, o, historyOf(10, 2))
	eventually(t, "the second sees the first", func() bool { return second.Status().OtherWriter == "me" })
	eventually(t, "it writes all the same", written(second, 1))
	if other := first.Status().OtherWriter; other != "" {
		t.Errorf("the first, who holds the lease, sees %q", other)
	}
	stopFirst()
	eventually(t, "the fault clears", func() bool { return second.Status().OtherWriter == "" })
	want := `error another writer uses the same redis_prefix {"prefix": "test", "other_writer": "me"}` + "\n" +
		`info the other writer is gone {"prefix": "test", "other_writer": "me"}` + "\n"
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestWriterACL: the rights that the documentation names suffice.
func TestWriterACL(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "arch", "on", ">s3cret", "~test/*", "resetchannels", "-@all", "+get", "+set", "+mget", "+del")
	o := optionsFor(server)
	o.Username, o.Password = "arch", "s3cret"
	w, stop := runWriter(t, o, historyOf(300, 1))
	eventually(t, "a slot", written(w, 1))
	values, err := w.fetch(t.Context(), 5*time.Second, 0, 2)
	if diff := cmp.Diff([]string{"", `{"cpu":{"value":{"usage":1}}}`, ""}, values); err != nil || diff != "" {
		t.Errorf("fetch: %v (-want +got):\n%s", err, diff)
	}
	if s := w.Status(); s.Error != "" || s.LeaseError != "" {
		t.Errorf("status %+v", s)
	}
	stop()
	if got := server.Do("GET", "test/writer"); got != nil {
		t.Errorf("lease after the stop: %v, want none", got)
	}
}

// TestWriterRefused: a server that refuses is reported once, without secrets, and
// is asked again.
func TestWriterRefused(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "arch", "on", ">right", "~test/*", "-@all", "+get", "+mget")
	var log testhost.Output
	for _, tc := range []struct{ name, password, want string }{
		{"wrong password", "s3cret", "WRONGPASS"},
		{"no right to write", "right", "NOPERM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := optionsFor(server)
			o.Username, o.Password, o.Log = "arch", tc.password, newTestLog(&log)
			r := historyOf(300, 1)
			w, _ := runWriter(t, o, r)
			eventually(t, tc.want, func() bool { return strings.HasPrefix(w.Status().Error, tc.want) })
			if s := w.Status(); s.Connected || s.Backlog != 1 {
				t.Errorf("status %+v", s)
			}
		})
	}
	server.Do("ACL", "SETUSER", "arch", "+set", "+del")
	o := optionsFor(server)
	o.Username, o.Password = "arch", "right"
	w, _ := runWriter(t, o, historyOf(300, 1))
	eventually(t, "a slot, with the right given", written(w, 1))
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the password is in the log:\n%s", log.String())
	}
}

func TestNewWriterRefuses(t *testing.T) {
	for _, tc := range []struct {
		options RedisOptions
		want    string
	}{
		{RedisOptions{Expire: time.Second}, "redis: no address"},
		{RedisOptions{Addrs: []string{"a:1", "b:2"}, Expire: time.Second}, "redis: several addresses, but neither sentinel nor cluster"},
		{RedisOptions{Mode: RedisSentinel, Addrs: []string{"a:1"}, Expire: time.Second}, "redis: sentinel without the master's name"},
		{RedisOptions{Addrs: []string{"a:1"}}, "redis: expiry 0s: less than a second"},
		{RedisOptions{Mode: "ring", Addrs: []string{"a:1"}, Expire: time.Second}, `redis: unknown mode "ring"`},
	} {
		if _, err := NewWriter(tc.options, NewRing(1)); err == nil || err.Error() != tc.want {
			t.Errorf("error %v, want %s", err, tc.want)
		}
	}
}

func TestExpandPrefix(t *testing.T) {
	if got := ExpandPrefix("arch/{host}", "node1"); got != "arch/node1" {
		t.Errorf("prefix %q", got)
	}
}
