package reconcile

import (
	"slices"
	"strings"

	"go.uber.org/zap"
)

// What a pass leaves on disk, so that the next start knows what is ours and what was
// put in force: the record of a pass that is over, and before it what is about to be
// made.

func (r *Reconciler) load() {
	if r.loaded {
		return
	}
	r.loaded = true
	var err error
	if r.record, err = loadRecord(r.opt.StateDir, r.opt.Origin(), r.opt.Root); err != nil {
		r.log.Warn("record of applied settings not used", zap.Error(err))
	}
}

// recover marks the cgroups that were made right before a kill, so that they are
// known as ours.
func (r *Reconciler) recover() {
	if r.passes > 0 {
		return
	}
	for _, at := range r.record.Making {
		hierarchy, dir, _ := strings.Cut(at, ":/")
		h, o := r.hierarchies[hierarchy], r.observers[hierarchy]
		if h == nil || o == nil {
			continue
		}
		if marked, err := h.Marked(dir); err == nil && !marked {
			if err := h.Mark(dir); err != nil {
				r.log.Warn("cgroup made before a kill not marked", zap.Error(err))
				continue
			}
			if p, below := relativeTo(r.opt.Root, dir); below && o.state.Nodes[p] != nil {
				o.state.Nodes[p].Marked = true
			}
		}
	}
}

// announce saves what a plan is about to do, so that it is known after a kill. What is
// about to be made goes to the journal, before the record, which often stays as it is.
func (r *Reconciler) announce(plan Plan) {
	makes := slices.ContainsFunc(plan, func(s Step) bool { return s.Op == OpMkdir })
	switch {
	case r.recorded(r.desired.Trees) && !makes:
	case r.recorded(r.desired.Trees) && r.journal.write(plan) == nil:
	default:
		making := plan
		if r.journal.write(plan) == nil {
			making = nil // so that the record is what it will be, and written once
		}
		r.remember(r.record.before(r.desired.Trees, making))
	}
}

// conclude remembers what is in force once a pass is over.
func (r *Reconciler) conclude() {
	states := map[string]*State{}
	for name, o := range r.observers {
		o.calm()
		states[name] = o.state
	}
	if r.recorded(r.desired.Trees) && len(r.record.Making) == 0 {
		r.journal.clear()
		return
	}
	r.remember(r.record.after(r.desired, states))
	r.kept = nil
	if r.saved && !slices.ContainsFunc(r.desired.Trees, func(t *Tree) bool { return t.Mode == Leave || len(t.Resets) > 0 }) {
		r.kept = r.desired.Trees
	}
	if r.saved {
		r.journal.clear()
	}
}

// takenBack says whether a setting that has left the document is at its default, as
// the last pass noted: nobody speaks of it now, and whoever sets it keeps it.
func (r *Reconciler) takenBack() bool {
	return slices.ContainsFunc(r.desired.Trees, func(t *Tree) bool {
		return slices.ContainsFunc(t.Resets, func(s Reset) bool {
			_, owned := slices.BinarySearch(r.record.Settings, s.Key)
			return !owned
		})
	})
}

// recorded says whether the record is that of these trees.
func (r *Reconciler) recorded(trees []*Tree) bool {
	return r.saved && len(r.kept) > 0 && slices.Equal(r.kept, trees)
}

// remember saves the record when it has changed.
func (r *Reconciler) remember(next record) {
	if r.record.equal(next) && r.saved {
		return
	}
	next.Origin = r.opt.Origin()
	r.record = next
	if err := next.save(r.opt.StateDir); err != nil {
		r.saved = false // tried again in every pass
		r.log.Error("record of applied settings not saved", zap.Error(err))
		return
	}
	r.saved = true
}
