package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// quick puts a document in force that changes settings of cgroups which are there,
// and nothing else: most documents change one number among thousands. The values
// are written before anything else is looked at, and what was compiled for the
// earlier document stays but for them. plain is false when more is concerned, or
// when something went wrong; then everything is compiled and compared.
func (r *Reconciler) quick(ctx context.Context, w work, earlier *zkconf.Document) (done Counts, plain bool) {
	if earlier == nil || w.full || !r.quiet {
		return Counts{}, false
	}
	change, known := w.doc.Since(earlier)
	if !known {
		return Counts{}, false
	}
	edits, plain := editsOf(change, earlier, w.doc)
	if !plain {
		return Counts{}, false
	}
	t, plan, plain := r.quickPlan(change.Subsystem, edits, w)
	if !plain {
		return Counts{}, false
	}
	a := &applier{ctx: ctx, chase: evacuateFor, observers: r.observers, did: r.did}
	a.apply(plan)
	if a.counts.Failed > 0 {
		a.counts.Failed = 0 // the pass tries it again and tells
		return a.counts, false
	}
	trees := slices.Clone(r.desired.Trees)
	trees[slices.Index(trees, r.desired.Tree(change.Subsystem))] = t
	if r.recorded(r.desired.Trees) {
		r.kept = trees // the same settings
	}
	r.desired.Trees = trees
	return a.counts, true
}

// brief ends a pass in which nothing but values of settings has changed, and who
// belongs where, if anything has: only those are compared.
func (r *Reconciler) brief(ctx context.Context, w work, began time.Time, done Counts) *Snapshot {
	var plan Plan
	for _, t := range r.desired.Trees {
		o := r.observers[t.Hierarchy]
		d := differ{tree: t, state: o.state}
		for _, p := range sortedKeys(o.touched) {
			if dir, configured := t.Dir(p); configured {
				d.settingsOf(*dir)
			}
		}
		slices.SortStableFunc(d.out.Plan, order)
		plan = append(plan, d.out.Plan...)
	}
	plan, r.held = r.fights.hold(plan, r.settled, time.Now())
	a := &applier{ctx: ctx, chase: evacuateFor, observers: r.observers, did: r.did, counts: done}
	a.apply(plan)
	if w.place {
		r.placeAgain(a, w.procs)
	} else if len(w.procs) > 0 {
		p := r.newPlacer(&claimed{}, a, nil)
		r.mirrors(p, w.procs)
		r.refuse(p.refused)
	}
	r.quiet = a.counts.Failed == 0 && len(r.held)+len(r.refused) == 0
	r.treeFaults = slices.Concat(r.treeFaults, a.faults)
	r.faults, r.places = slices.Concat(r.treeFaults, r.placeFaults, r.refused), nil
	for _, o := range r.observers {
		o.calm()
	}
	r.settled = true
	r.passes++
	return r.again(Pass{Began: began, Duration: time.Since(began), Listings: r.listings, Counts: a.counts})
}

// placeAgain places whoever pid files name. The members of a mirror are compared
// in all cgroups only if somebody was moved: of what others do there are events.
func (r *Reconciler) placeAgain(a *applier, at map[string]map[string]bool) {
	c := r.members.read(r.desired, r.cgroups)
	defer c.close()
	p := r.newPlacer(c, a, nil)
	if slices.ContainsFunc(sortedKeys(c.named), func(subsystem string) bool { return len(c.named[subsystem]) > 0 }) {
		p.place()
	}
	switch {
	case a.counts.Moved > 0 || r.watcher == nil || r.unwatched > 0:
		at = nil
	case at == nil:
		at = map[string]map[string]bool{}
	}
	r.mirrors(p, at)
	r.placeFaults, r.refused = c.faults, p.refused
}

// again is the last snapshot after a pass that left the cgroups as they were.
func (r *Reconciler) again(p Pass) *Snapshot {
	s := *r.last
	s.Document, s.Trees, s.Changed, s.Corrections, s.Passes = r.doc, r.desired.Trees, false, r.corrections, r.passes
	s.Faults = slices.Concat(r.faults, r.held)
	s.Pass = p
	r.last = &s
	return r.last
}

// plain says whether no more than values has changed since the last pass, and
// those of settings that stand alone.
func (r *Reconciler) plain() bool {
	for _, t := range r.desired.Trees {
		o := r.observers[t.Hierarchy]
		if o == nil || o.reshaped || o.stale || len(t.Resets) > 0 {
			return false
		}
		d := differ{tree: t, state: o.state}
		for p := range o.touched {
			if dir, configured := t.Dir(p); configured && (len(dir.Inherit) > 0 || slices.ContainsFunc(dir.Settings, func(s Setting) bool { return d.isSet(&s) })) {
				return false
			}
		}
	}
	return true
}

// edit is one cgroup whose settings have other values than before.
type edit struct {
	path string
	node *zkconf.Node
}

// editsOf lists the cgroups whose values differ. plain is false when anything
// else differs: which cgroups or settings there are.
func editsOf(c zkconf.Change, earlier, doc *zkconf.Document) (edits []edit, plain bool) {
	old, fresh := earlier.Subsystems[c.Subsystem], doc.Subsystems[c.Subsystem]
	for name := range strings.SplitSeq(c.Path, "/") {
		if old == nil || fresh == nil {
			return nil, false
		}
		if c.Path != "" {
			old, fresh = old.Sub[name], fresh.Sub[name]
		}
	}
	plain = collect(&edits, c.Path, old, fresh)
	return edits, plain
}

func collect(edits *[]edit, p string, old, fresh *zkconf.Node) (plain bool) {
	switch {
	case old == nil || fresh == nil:
		return false
	case old.HasConf != fresh.HasConf, old.HasSub != fresh.HasSub, len(old.Conf) != len(fresh.Conf), len(old.Sub) != len(fresh.Sub), !slices.Equal(old.Unknown, fresh.Unknown):
		return false
	}
	for key := range old.Conf {
		if _, still := fresh.Conf[key]; !still {
			return false
		}
	}
	if !maps.Equal(old.Conf, fresh.Conf) {
		*edits = append(*edits, edit{p, fresh})
	}
	for _, name := range sortedKeys(fresh.Sub) {
		if !collect(edits, pathJoin(p, name), old.Sub[name], fresh.Sub[name]) {
			return false
		}
	}
	return true
}

// quickPlan are the writes of some edits, in the order of Diff, and the tree with
// the edits. plain is false when more than these files is concerned.
func (r *Reconciler) quickPlan(subsystem string, edits []edit, w work) (t *Tree, plan Plan, plain bool) {
	old := r.desired.Tree(subsystem)
	if old == nil || r.observers[old.Hierarchy] == nil || r.observers[old.Hierarchy].stale {
		return nil, nil, false
	}
	tree := *old
	tree.Dirs = slices.Clone(old.Dirs)
	d := differ{tree: &tree, state: r.observers[old.Hierarchy].state}
	type change struct {
		path    string
		node    *Node
		setting *Setting
	}
	var changes []change
	for _, e := range edits {
		dir, configured := tree.Dir(e.path)
		n := d.state.Nodes[e.path]
		_, doubted := w.dirs[tree.Hierarchy][tree.Full(e.path)]
		if !configured || n == nil || doubted || d.state.Unreadable[e.path] != nil {
			return nil, nil, false
		}
		c := compiler{host: r.host}
		place := strings.TrimSuffix(subsystem+"/"+e.path, "/")
		settings := c.translate(subsystem, place, e.node.Conf)
		if len(c.faults)+len(c.notes) > 0 || r.faulty(place) || !sameKeys(settings, dir.Settings, place+" ") {
			return nil, nil, false
		}
		dir.Settings = slices.Clone(dir.Settings)
		i := 0
		for _, s := range settings {
			now := n.Values.of(s.source())
			if s.FromParent || s.Before || d.isSet(&s) || !now.Exists || !d.enabled(e.path, s.Controller) {
				return nil, nil, false
			}
			for dir.Settings[i].Key != s.Key {
				i++
			}
			dir.Settings[i] = s
			changes = append(changes, change{e.path, n, &dir.Settings[i]})
			i++
		}
	}
	if tree.Controlled && !reweigh(old, &tree, edits, r.shared[tree.Hierarchy]) {
		return nil, nil, false
	}
	for _, c := range changes {
		d.setting(c.path, c.node, c.setting)
	}
	slices.SortStableFunc(d.out.Plan, order)
	return &tree, d.out.Plan, true
}

// faulty says whether anything of a cgroup cannot be honoured.
func (r *Reconciler) faulty(place string) bool {
	return slices.ContainsFunc(r.desired.Faults, func(f Fault) bool { return f.Place == place || strings.HasPrefix(f.Place, place+":") })
}

// sameKeys says whether settings are those that begin with prefix among others,
// by key and file.
func sameKeys(settings, others []Setting, prefix string) bool {
	i := 0
	for _, s := range others {
		if !strings.HasPrefix(s.Key, prefix) {
			continue
		}
		if i == len(settings) || settings[i].Key != s.Key || settings[i].Part() != s.Part() {
			return false
		}
		i++
	}
	return i == len(settings)
}

// pathJoin is path.Join for what is clean already.
func pathJoin(p, name string) string {
	switch {
	case p == "":
		return name
	case name == "":
		return p
	}
	return p + "/" + name
}
