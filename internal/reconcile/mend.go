package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Most drift is one value, or one removed cgroup, among thousands that are right.
// It is mended by the goroutine that has read the event: to wake another one, and
// to look at more than the event speaks of, takes several times as long as the
// write itself. Whatever is not plain, or goes wrong, is left to a pass.

// answer mends what events tell of, as far as that is plain and nothing else is
// under way, and notes the rest for the next pass.
func (r *Reconciler) answer(ctx context.Context, events []cgfs.Event) {
	if ctx.Err() == nil && r.mu.TryLock() {
		events = r.mend(ctx, events)
		r.mu.Unlock()
	}
	r.note(events)
}

// mend puts back what some events tell of and returns those that a pass has to
// look at.
func (r *Reconciler) mend(ctx context.Context, events []cgfs.Event) (rest []cgfs.Event) {
	if !r.quiet || !r.settled || r.last == nil {
		return events
	}
	began := time.Now()
	m := mender{r: r, ctx: ctx, now: began}
	for _, e := range events {
		if e.Gone {
			if m.gone == nil {
				m.gone = map[cgfs.Event]bool{}
			}
			m.gone[e] = true
		}
	}
	r.opt.Measure(func() {
		for _, e := range events {
			if r.concerns(e) && (ctx.Err() != nil || !m.one(e)) {
				rest = append(rest, e)
			}
		}
	})
	m.tell(began)
	return rest
}

// mender is one round of mend.
type mender struct {
	r      *Reconciler
	ctx    context.Context
	now    time.Time
	done   Plan // what was changed, to be told when all is written
	counts Counts
	gone   map[cgfs.Event]bool // of the events, what is no longer there
}

// one mends what one event tells of. It is false when a pass has to look there.
func (m *mender) one(e cgfs.Event) bool {
	if e.Hierarchy == nil || e.Kind == cgfs.EventLost {
		return false
	}
	t := m.r.desired.treeIn(e.Hierarchy.Name())
	o := m.r.observers[e.Hierarchy.Name()]
	if t == nil || t.Mode == Leave || len(t.Resets) > 0 || o == nil || o.stale || len(o.state.Missing) > 0 {
		return false
	}
	p, below := relativeTo(t.Root, e.Dir)
	dir, configured := t.Dir(p)
	if !below || !configured || o.state.Unreadable[p] != nil || o.state.Nodes[p] == nil {
		return false
	}
	switch {
	case e.Kind == cgfs.EventWrite:
		return m.value(t, o, dir, e.Name)
	case e.Gone && p != "":
		return m.removed(t, o, dir, e)
	}
	return false
}

// value puts back the setting of one file. It is false also when it did so, but
// other files of the cgroup may have changed with this one.
func (m *mender) value(t *Tree, o *observer, dir *Dir, file string) bool {
	i := slices.IndexFunc(dir.Settings, func(s Setting) bool { return s.File == file })
	if i < 0 || len(dir.Inherit) > 0 {
		return false
	}
	s, n := dir.Settings[i], o.state.Nodes[dir.Path]
	d := differ{tree: t, state: o.state}
	if s.source() != file || s.FromParent || d.isSet(&s) || !n.Values.of(file).Exists || !d.enabled(dir.Path, s.Controller) || !m.free(s.Place) {
		return false
	}
	now, wrote, err := o.fs.Restore(t.Full(dir.Path), file, s.Text, func(now string) bool { return Value{now, true}.is(&s) })
	if err != nil {
		return false
	}
	m.r.calm = m.r.calm && now == n.Values.of(file).Text // else the state is not what the last full pass has left
	n.Values.set(file, Value{Text: now, Exists: true})
	if wrote {
		if !n.Values.of(file).is(&s) {
			n.Values.forget(file)
			return false // a fault, which the pass tells
		}
		m.counts.Written++
		m.did(Step{
			Op: OpWrite, Phase: PhaseLoosen, Tree: t, Dir: t.Full(dir.Path), Path: dir.Path, File: file, Text: s.Text, Place: s.Place, Setting: &s,
		})
	}
	return len(dir.Settings) == 1
}

// removed makes a cgroup again, with all that is configured below it. It is never
// true: who belongs there has to be placed, which takes a pass.
func (m *mender) removed(t *Tree, o *observer, top *Dir, e cgfs.Event) bool {
	dirs := t.below(top)
	d := differ{tree: t, state: o.state}
	for _, dir := range dirs {
		if dir.Optional || len(dir.Inherit) > 0 || !m.free(dir.Place) {
			return false
		}
		for _, s := range dir.Settings {
			if s.FromParent || d.isSet(&s) || !m.free(s.Place) {
				return false
			}
		}
	}
	if o.state.Nodes[parent(top.Path)] == nil || m.under(e) || t.Controlled && !m.controllable(t, o, dirs) {
		return false
	}
	if _, err := o.fs.Stat(t.Full(top.Path)); !errors.Is(err, cgfs.ErrNotExist) {
		return false // somebody has made it again, perhaps we ourselves before this event was read
	}
	m.r.calm = false
	reshaped := o.reshaped || o.strange(top.Path)
	o.forget(top.Path)
	for _, dir := range dirs {
		d.makes(dir)
	}
	for _, dir := range dirs {
		d.enables(dir) // where controllers are enabled at all
		d.settingsOf(dir)
	}
	plan := d.out.Plan
	slices.SortStableFunc(plan, order)
	if m.r.journal.write(plan) != nil {
		o.stale = true // the pass saves the record instead, or tells that it cannot
		return false
	}
	a := &applier{ctx: m.ctx, observers: m.r.observers, did: m.did}
	a.apply(plan)
	switch {
	case a.counts.Failed > 0:
		o.stale = true // the pass tries it again and tells
	case a.counts.Created == len(dirs) && o.vacant(t, dirs):
		o.reshaped = reshaped // all is as it was before
	}
	m.counts.Created += a.counts.Created
	m.counts.Written += a.counts.Written
	return false
}

// did counts a correction at once, so that it is held against the next one of the
// same place, and remembers to tell of it.
func (m *mender) did(s Step) {
	m.r.corrected(s)
	m.done = append(m.done, s)
}

// under says whether a cgroup above is gone as well: that one is made again, with
// all below it.
func (m *mender) under(e cgfs.Event) bool {
	for e.Dir != "" && len(m.gone) > 1 {
		e.Dir = parent(e.Dir)
		if m.gone[e] {
			return true
		}
	}
	return false
}

// strange says whether p or anything below it is a cgroup that the tree does not
// name.
func (o *observer) strange(p string) bool {
	n := o.state.Nodes[p]
	if n == nil {
		return false
	}
	return n.Foreign || slices.ContainsFunc(n.Children, func(name string) bool { return o.strange(pathJoin(p, name)) })
}

// free says whether a place may be corrected now and by us: no fight holds the
// correction up, and nothing of it is a fault.
func (m *mender) free(place string) bool {
	return !m.r.fights.waits(place, m.now) && !m.r.failing(place)
}

// tell logs, counts and publishes what was mended.
func (m *mender) tell(began time.Time) {
	if len(m.done) == 0 {
		return
	}
	cgfs.GiveWay()
	for _, s := range m.done {
		m.r.logCorrected(s)
	}
	m.r.passes++
	m.r.report(m.r.again(Pass{Began: began, Duration: time.Since(began), Counts: m.counts}))
	if m.counts.Created == 0 {
		return
	}
	m.r.journal.clear()
	m.r.inbox.add(func(w *work) {
		w.place = true
		for _, s := range m.done {
			if s.Op == OpMkdir {
				put(&w.procs, s.Tree.Hierarchy, s.Dir, false)
			}
		}
	})
}
