package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// inbox gathers triggers until the reconciler takes them: a mailbox of one, in
// which the newest document wins and everything else adds up.
type inbox struct {
	mu    *sync.Mutex
	work  *work
	ready chan struct{} // capacity 1
}

func newInbox() inbox {
	return inbox{mu: &sync.Mutex{}, work: &work{}, ready: make(chan struct{}, 1)}
}

func (b *inbox) add(f func(*work)) {
	b.mu.Lock()
	f(b.work)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *inbox) take() work {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := *b.work
	*b.work = work{}
	return w
}

// SetDocument hands over a new document. It may be called from any goroutine.
func (r *Reconciler) SetDocument(doc *zkconf.Document) { r.inbox.add(func(w *work) { w.doc = doc }) }

// Placed says that pid files may have changed.
func (r *Reconciler) Placed() { r.inbox.add(func(w *work) { w.place = true }) }

// Reload asks for a full pass now.
func (r *Reconciler) Reload() { r.inbox.add(func(w *work) { w.full = true }) }

// Watch reports what others do in our hierarchies to the reconciler until ctx
// ends. It must be running before Run is started, or drift is found by full
// passes only.
func (r *Reconciler) Watch(ctx context.Context, started func()) error {
	w, err := cgfs.NewWatcher()
	if err != nil {
		r.log.Warn("cgroups not watched, so that drift is found by full passes only", zap.Error(err))
		started()
		<-ctx.Done()
		return nil
	}
	r.watcher = w
	started()
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	for {
		events, err := w.Read()
		if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		r.note(events)
	}
}

// note sorts events into what the next pass must look at.
func (r *Reconciler) note(events []cgfs.Event) {
	r.inbox.add(func(w *work) {
		for _, e := range events {
			switch {
			case e.Kind == cgfs.EventLost:
				w.full = true
			case e.Kind == cgfs.EventWrite && (e.Name == "cgroup.procs" || e.Name == "tasks"):
				put(&w.procs, e.Hierarchy.Name(), e.Dir)
			default:
				put(&w.dirs, e.Hierarchy.Name(), e.Dir)
			}
		}
	})
}

func put(m *map[string]map[string]bool, hierarchy, dir string) {
	if *m == nil {
		*m = map[string]map[string]bool{}
	}
	if (*m)[hierarchy] == nil {
		(*m)[hierarchy] = map[string]bool{}
	}
	(*m)[hierarchy][dir] = true
}

// retryFirst is how soon a failed step is tried again; the delay doubles up to
// the interval.
const retryFirst = 200 * time.Millisecond

// Run reconciles until ctx ends: whenever a document or an event comes in, when
// something failed, and every interval.
func (r *Reconciler) Run(ctx context.Context) error {
	audit := time.NewTicker(r.opt.Interval)
	defer audit.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	delay := retryFirst
	for {
		var w work
		select {
		case <-ctx.Done():
			return nil
		case <-r.inbox.ready:
			w = r.inbox.take()
		case <-audit.C:
			w = r.inbox.take()
			w.full = true
		case <-retry.C:
			w = r.inbox.take()
			w.place = len(r.placeFaults) > 0
		}
		if w.doc == nil && r.doc == nil {
			continue
		}
		if r.passes == 0 {
			w.full = true
		}
		s := r.pass(w)
		r.report(s)
		if s.Pass.Failed > 0 {
			delay = min(2*delay, r.opt.Interval)
		} else {
			delay = retryFirst
		}
		retry.Reset(r.again(s, delay, time.Now()))
	}
}

// again is how long to wait before something must be looked at without a
// trigger.
func (r *Reconciler) again(s *Snapshot, delay time.Duration, now time.Time) time.Duration {
	wait := time.Hour
	if s.Pass.Failed > 0 {
		wait = delay
	}
	for _, at := range []time.Time{r.young, r.fights.wake(now)} {
		if !at.IsZero() {
			wait = min(wait, max(at.Sub(now), time.Millisecond))
		}
	}
	return wait
}

func (r *Reconciler) report(s *Snapshot) {
	level := zap.DebugLevel
	if s.Pass.Total() > 0 || s.Pass.Failed > 0 {
		level = zap.InfoLevel
	}
	r.log.Log(level, "pass done", zap.Int32("version", s.Document.Version), zap.Bool("full", s.Pass.Full),
		zap.Int("created", s.Pass.Created), zap.Int("written", s.Pass.Written), zap.Int("moved", s.Pass.Moved),
		zap.Int("removed", s.Pass.Removed), zap.Int("failed", s.Pass.Failed), zap.Int("faults", len(s.Faults)),
		zap.Duration("duration", s.Pass.Duration))
	if r.opt.Published != nil {
		r.opt.Published(s)
	}
}

// Once makes full passes until nothing is left to wait for, normally one, and
// says what could not be honoured.
func (r *Reconciler) Once(ctx context.Context, doc *zkconf.Document) ([]Fault, error) {
	s := r.pass(work{doc: doc, full: true})
	r.report(s)
	for tries := 0; !r.young.IsZero() && tries < 5; tries++ {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for young cgroups: %w", ctx.Err())
		case <-time.After(time.Until(r.young)):
		}
		s = r.pass(work{full: true})
		r.report(s)
	}
	return s.Faults, nil
}
