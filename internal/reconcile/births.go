package reconcile

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/procevents"
)

// A child is born in its parent's cgroup. So it is elsewhere than it belongs only
// where its parent is: moved by somebody, or not moved yet. Who is born into a family
// that belongs somewhere is looked at, moved with its parent at once, and the
// others of the family are left to a placement.

const (
	// looksPerSecond bounds how many processes are looked at where they are, which takes
	// some 20 µs each; looksAtOnce is how many may be in a row.
	looksPerSecond = 1000
	looksAtOnce    = 200
	// looksPerMove is what moving those of one batch counts as: it waits for the kernel.
	looksPerMove = 20
	// placementEvery is the least time between two placements that are asked for.
	placementEvery = time.Second
)

// Births puts processes that are born outside their cgroup into it, until ctx ends.
func (r *Reconciler) Births(ctx context.Context) error {
	if r.members.kin == nil {
		return nil
	}
	if err := r.attend(ctx); err != nil && ctx.Err() == nil {
		r.members.kin.lost()
		r.log.Warn("proc_connector refused, so that processes outside their cgroups are found by full passes only", zap.Error(err))
		<-ctx.Done()
	}
	return nil
}

// attend hears of births until ctx ends or nothing can be heard any more.
func (r *Reconciler) attend(ctx context.Context) error {
	s, err := procevents.Open()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer func() {
		if stop() {
			_ = s.Close()
		}
	}()
	m := midwife{r: r, ctx: ctx, socket: s, looks: allowance{left: looksAtOnce, at: time.Now()}}
	m.ask(time.Now()) // who was born before we could hear of it
	for {
		events, err := s.Read()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, procevents.ErrLost):
			m.deafened(now)
		case errors.Is(err, os.ErrDeadlineExceeded):
			m.ask(now)
		case err != nil:
			return err
		default:
			m.take(events, now)
		}
	}
}

// midwife is the state of Births.
type midwife struct {
	r      *Reconciler
	ctx    context.Context
	socket *procevents.Socket
	looks  allowance
	asked  time.Time // when a placement was asked for last
	told   bool      // that events are lost
}

// take looks at those who were born.
func (m *midwife) take(events []procevents.Event, now time.Time) {
	k := m.r.members.kin
	var astray []int
	blind := false
	k.heard(events, func(e procevents.Event) {
		switch {
		case !m.looks.one(now):
			blind = true
		case k.misplaced(e.PID):
			for _, pid := range [...]int{e.Parent, e.PID} { // parents first
				if !slices.Contains(astray, pid) {
					astray = append(astray, pid)
				}
			}
		}
	})
	if len(astray) > 0 {
		m.looks.left -= looksPerMove
		m.r.fetch(m.ctx, astray)
	}
	if blind || len(astray) > 0 {
		m.ask(now)
	}
}

// ask asks for a placement, at once or when it may be.
func (m *midwife) ask(now time.Time) {
	due := m.asked.Add(placementEvery)
	if now.Before(due) {
		_ = m.socket.SetDeadline(due) // it cannot fail while the socket is open
		return
	}
	m.asked = now
	_ = m.socket.SetDeadline(time.Time{})
	m.r.Placed()
}

// deafened begins anew after events were lost.
func (m *midwife) deafened(now time.Time) {
	if !m.told {
		m.told = true
		m.r.log.Warn("process events lost, so that processes outside their cgroups are found some time later")
	}
	m.r.members.kin.lost()
	m.ask(now)
}

// allowance is how much of something may be done: so many at once, and so many a second.
type allowance struct {
	left float64
	at   time.Time
}

// one says whether one more may be done now.
func (a *allowance) one(now time.Time) bool {
	a.left = min(a.left+now.Sub(a.at).Seconds()*looksPerSecond, looksAtOnce)
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// fetch moves some processes where they belong, as soon as no pass is under way.
func (r *Reconciler) fetch(ctx context.Context, pids []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || !r.settled || r.last == nil {
		return
	}
	began := time.Now()
	a := &applier{ctx: ctx, observers: r.observers, did: r.did}
	r.opt.Measure(func() {
		p := r.newPlacer(&claimed{}, a, nil)
		moves := r.members.kin.moves(pids)
		for _, t := range r.desired.Trees {
			if t.Mode == Own && len(moves[t.Hierarchy]) > 0 {
				p.move(t, moves[t.Hierarchy])
			}
		}
	})
	if a.counts.Moved == 0 {
		return // what went wrong is tried again, and told, by the placement that comes
	}
	r.passes++
	a.counts.Failed = 0
	r.report(r.again(Pass{Began: began, Duration: time.Since(began), Counts: a.counts}))
}
