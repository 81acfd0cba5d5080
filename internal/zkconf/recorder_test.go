package zkconf_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// slow is how long a test waits for what must happen. It is far above what it
// takes, because the machine may be busy, and no test waits so long to succeed.
const slow = 40 * time.Second

// recorder runs a source and notes what it delivers.
type recorder struct {
	t      *testing.T
	source zkconf.Source
	stop   func()

	mu      sync.Mutex
	updates []zkconf.Update
}

// record runs the source until the test ends, or stop is called.
func record(t *testing.T, source zkconf.Source) *recorder {
	r := &recorder{t: t, source: source}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, func(u zkconf.Update) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.updates = append(r.updates, u)
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(5 * time.Second): // what the daemon has to stop
			t.Error("Run does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *recorder) all() []zkconf.Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]zkconf.Update(nil), r.updates...)
}

// last waits until the newest update has the content, and returns it.
func (r *recorder) last(raw string) zkconf.Update {
	r.t.Helper()
	var u zkconf.Update
	r.until("the document "+raw[:min(len(raw), 200)], func() bool {
		all := r.all()
		if len(all) > 0 {
			u = all[len(all)-1]
		}
		return len(all) > 0 && string(u.Raw) == raw
	})
	return u
}

// state waits for a state of the source.
func (r *recorder) state(want string) zkconf.SourceStatus {
	r.t.Helper()
	r.until("state "+want, func() bool { return r.source.Status().State == want })
	return r.source.Status()
}

func (r *recorder) until(what string, done func() bool) {
	r.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(slow); !done(); <-poll.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s; %d updates, status %+v", what, len(r.all()), r.source.Status())
		}
	}
}

// unchanged fails the test if there were more than n updates.
func (r *recorder) unchanged(n int) {
	r.t.Helper()
	if all := r.all(); len(all) != n {
		r.t.Errorf("%d updates, want %d; the last one %q", len(all), n, all[len(all)-1].Raw)
	}
}
