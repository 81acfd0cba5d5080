package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// quick writes what a document changes in the settings of cgroups that are there,
// before the pass looks at anything else: most documents change one number among
// thousands. It is a shortcut and no more. Whenever something is not plain it
// does nothing; the pass that follows compiles and compares everything, finds
// what was written in its place, and tells of what could not be.
func (r *Reconciler) quick(ctx context.Context, w work, earlier *zkconf.Document) Counts {
	if earlier == nil || w.full || !r.saved {
		return Counts{}
	}
	change, known := w.doc.Since(earlier)
	if !known {
		return Counts{}
	}
	edits, plain := editsOf(change, earlier, w.doc)
	if !plain || len(edits) == 0 {
		return Counts{}
	}
	plan, plain := r.quickPlan(change.Subsystem, edits, w)
	if !plain {
		return Counts{}
	}
	a := &applier{ctx: ctx, chase: evacuateFor, observers: r.observers, did: r.did}
	a.apply(plan)
	a.counts.Failed = 0 // the pass tries it again and tells
	return a.counts
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
	case old.HasConf != fresh.HasConf, len(old.Conf) != len(fresh.Conf), len(old.Sub) != len(fresh.Sub), !slices.Equal(old.Unknown, fresh.Unknown):
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

// quickPlan are the writes of some edits, in the order of Diff. plain is false
// when more than these files is concerned.
func (r *Reconciler) quickPlan(subsystem string, edits []edit, w work) (plan Plan, plain bool) {
	t := r.desired.Tree(subsystem)
	if t == nil {
		return nil, false
	}
	o := r.observers[t.Hierarchy]
	if o == nil || o.stale {
		return nil, false
	}
	d := differ{tree: t, state: o.state}
	for _, e := range edits {
		dir, configured := t.Dir(e.path)
		n := o.state.Nodes[e.path]
		_, doubted := w.dirs[t.Hierarchy][t.Full(e.path)]
		if !configured || n == nil || doubted || o.state.Unreadable[e.path] != nil {
			return nil, false
		}
		c := compiler{host: r.host}
		place := strings.TrimSuffix(subsystem+"/"+e.path, "/")
		settings := c.translate(subsystem, place, e.node.Conf)
		if !sameKeys(settings, dir.Settings, place+" ") {
			return nil, false
		}
		for _, s := range settings {
			now := n.Values[s.source()]
			if s.Weight != nil || s.FromParent || s.Before || d.isSet(s) || !now.Exists || !d.enabled(e.path, s.Controller) {
				return nil, false
			}
			d.setting(e.path, n, s)
		}
	}
	slices.SortStableFunc(d.out.Plan, order)
	return d.out.Plan, true
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
