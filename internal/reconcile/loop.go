package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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

// SetShield says anew which cgroups are not to be touched, from the next pass on,
// which is a full one and comes now.
func (r *Reconciler) SetShield(s Shield) {
	r.inbox.add(func(w *work) { w.shield, w.full = &s, true })
}

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
		r.answer(ctx, events)
	}
}

// note sorts events into what the next pass must look at.
func (r *Reconciler) note(events []cgfs.Event) {
	if !slices.ContainsFunc(events, r.concerns) {
		return
	}
	r.inbox.add(func(w *work) {
		for _, e := range events {
			switch {
			case !r.concerns(e):
			case e.Kind == cgfs.EventLost:
				w.full = true
			case e.Kind == cgfs.EventTree && e.Name != "": // the cgroup below has an event of its own
			case e.Kind == cgfs.EventWrite && (e.Name == "cgroup.procs" || e.Name == "tasks"):
				put(&w.procs, e.Hierarchy.Name(), e.Dir, false)
			default:
				put(&w.dirs, e.Hierarchy.Name(), e.Dir, e.Name == ControlFile)
			}
		}
	})
}

// concerns says whether an event is about our cgroups. Beside and above our root
// only controllers are, and where the kernel itself counts nobody wrote.
func (r *Reconciler) concerns(e cgfs.Event) bool {
	_, below := relativeTo(r.opt.Root, e.Dir)
	switch {
	case e.Kind == cgfs.EventLost, e.Name == ControlFile:
		return true
	case e.Kind == cgfs.EventWrite && strings.Contains(e.Name, ".events"):
		return false
	}
	return below
}

func put(m *map[string]map[string]bool, hierarchy, dir string, below bool) {
	if *m == nil {
		*m = map[string]map[string]bool{}
	}
	if (*m)[hierarchy] == nil {
		(*m)[hierarchy] = map[string]bool{}
	}
	(*m)[hierarchy][dir] = (*m)[hierarchy][dir] || below
}

// retryFirst is how soon a failed step is tried again; the delay doubles up to
// the interval.
const retryFirst = 200 * time.Millisecond

// Run reconciles until ctx ends: whenever a document or an event comes in, when
// something failed, and every interval.
func (r *Reconciler) Run(ctx context.Context) error {
	audit := time.NewTicker(r.opt.Interval)
	defer audit.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	retry := backoff{most: r.opt.Interval}
	for ctx.Err() == nil {
		r.opt.Beat()
		w := work{}
		select {
		case <-ctx.Done():
			return nil
		case <-r.inbox.ready:
			w = r.inbox.take()
		case <-audit.C:
			w = r.inbox.take()
			w.full = true
		case <-wake.C:
			w = r.inbox.take()
		}
		if again := r.turn(ctx, w, &retry); again > 0 {
			wake.Reset(again)
		}
		if len(r.held) > 0 {
			// Whoever fights with us writes in a loop, and each of their writes is an event.
			pause(ctx, heldPause)
		}
	}
	return nil
}

// heldPause is the least time between two passes while a correction is held up.
const heldPause = 20 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// turn makes one pass, if there is a document, and says when to look again; zero
// when there was no pass.
func (r *Reconciler) turn(ctx context.Context, w work, retry *backoff) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.shield != nil {
		r.opt.Shield, r.settled = *w.shield, false
	}
	if w.doc == nil && r.doc == nil {
		return 0
	}
	now := time.Now()
	w.full = w.full || r.passes == 0
	w.place = w.place || retry.due(now) && len(r.refused) > 0
	var s *Snapshot
	r.opt.Measure(func() { s = r.pass(ctx, w) })
	r.report(s)
	retry.after(now, s.Pass.Failed > 0 || len(r.refused) > 0 || r.unread > 0)
	return sooner(time.Now(), retry.at, r.young, r.fights.wake(time.Now()))
}

// backoff says when something that failed is tried again, apart from the passes
// that come anyway.
type backoff struct {
	most  time.Duration
	delay time.Duration
	at    time.Time // zero: nothing failed
}

func (b *backoff) due(now time.Time) bool { return !b.at.IsZero() && !now.Before(b.at) }

// after notes how a pass that began at now has ended. Passes that come in between
// do not put a retry off.
func (b *backoff) after(now time.Time, failed bool) {
	switch {
	case !failed:
		b.delay, b.at = 0, time.Time{}
	case b.at.IsZero() || b.due(now):
		b.delay = min(max(2*b.delay, retryFirst), b.most)
		b.at = time.Now().Add(b.delay)
	}
}

// sooner is how long it is until the first of some times that are not zero; an
// hour when all are.
func sooner(now time.Time, times ...time.Time) time.Duration {
	wait := time.Hour
	for _, at := range times {
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
	r.tell(s.Faults)
	r.remark(s.Notes)
	if r.opt.Published != nil {
		r.opt.Published(s)
	}
}

// tell logs each host fault when it appears and when it is gone, not in every
// pass.
func (r *Reconciler) tell(faults []Fault) {
	now := make(map[string]bool, len(faults))
	for _, f := range faults {
		if now[f.Place] {
			continue
		}
		now[f.Place] = true
		if !r.told[f.Place] {
			r.log.Warn("host fault", zap.String("place", f.Place), zap.String("reason", f.Reason))
		}
	}
	for _, place := range sortedKeys(r.told) {
		switch {
		case now[place]:
		case r.fights.waits(place, time.Now()):
			now[place] = true // right for the moment: somebody else writes there in a loop
		default:
			r.log.Info("host fault is gone", zap.String("place", place))
		}
	}
	r.told = now
}

// remark logs each setting without effect when it appears.
func (r *Reconciler) remark(notes []Fault) {
	for _, n := range notes {
		if !slices.Contains(r.remarked, n) {
			r.log.Warn("setting without effect", zap.String("place", n.Place), zap.String("reason", n.Reason))
		}
	}
	r.remarked = notes
}

// Once makes full passes until nothing is left to wait for, normally one, and
// says what could not be honoured.
func (r *Reconciler) Once(ctx context.Context, doc *zkconf.Document) ([]Fault, error) {
	s := r.pass(ctx, work{doc: doc, full: true})
	r.report(s)
	for tries := 0; !r.young.IsZero() && tries < 5; tries++ {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for young cgroups: %w", ctx.Err())
		case <-time.After(time.Until(r.young)):
		}
		s = r.pass(ctx, work{full: true})
		r.report(s)
	}
	return s.Faults, nil
}
