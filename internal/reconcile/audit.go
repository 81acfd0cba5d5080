package reconcile

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// script is what a full pass expects to read where the one before found nothing to
// do and nobody has changed anything since: the state in the order of the walk, side
// by side in memory. Reading ten thousand cgroups costs the kernel 5 us each; to find
// what is known of each through maps, and to describe each anew, cost half as much
// again.
type script struct {
	tree *Tree
	dirs []expected
}

// expected is what one cgroup should read.
type expected struct {
	dir      string // relative to the mount
	inode    uint64
	children []string
	values   []expectedValue
	// asked of cgroups that the tree does not name, or that enable controllers
	foreign, marked, counted, populated bool
}

type expectedValue struct {
	file, text string
	missing    bool // the cgroup has no such file
}

// learn is called after a full pass that has found nothing to do: the next one
// compares only.
func (r *Reconciler) learn() {
	for _, t := range r.desired.Trees {
		if o := r.observers[t.Hierarchy]; o != nil && (o.script == nil || o.script.tree != t) {
			o.script = o.learn(t)
		}
	}
	r.calm = true
}

// unlearn makes the next full pass describe everything anew.
func (r *Reconciler) unlearn() {
	for _, o := range r.observers {
		o.script = nil
	}
}

// untouched says whether no value has changed since the last pass.
func (r *Reconciler) untouched() bool {
	for _, o := range r.observers {
		if len(o.touched) > 0 {
			return false
		}
	}
	return true
}

// rereader is what a script is compared with.
type rereader interface {
	Stat(dir string) (cgfs.Info, error)
	Same(dir, file, text string) (bool, error)
	SameChildren(dir string, names []string) (bool, error)
}

// learn writes the script of the state. It is nil when there is more to do in a full
// pass than to compare.
func (o *observer) learn(t *Tree) *script {
	if o.state.Nodes[""] == nil || len(o.state.Unreadable)+len(o.state.Missing)+len(t.Resets) > 0 {
		return nil
	}
	for _, disk := range t.Arm {
		if !o.state.Armed[disk] {
			return nil
		}
	}
	s := &script{tree: t, dirs: make([]expected, 0, len(o.state.Nodes))}
	if !o.expect(s, "") || len(s.dirs) != len(o.state.Nodes) {
		return nil
	}
	return s
}

// expect adds a cgroup and all below it.
func (o *observer) expect(s *script, p string) bool {
	n := o.state.Nodes[p]
	if n == nil || n.Inode == 0 || o.watch != nil && !n.Watched || s.tree.Controlled && n.Enabled == nil {
		return false
	}
	e := expected{
		dir: s.tree.Full(p), inode: n.Inode, children: slices.Clone(n.Children),
		foreign: n.Foreign, marked: n.Marked, populated: n.Populated,
		counted: n.Counted || n.Foreign && (s.tree.Controlled || !o.blind),
	}
	for _, v := range n.Values {
		e.values = append(e.values, expectedValue{v.File, v.Text, !v.Exists})
	}
	if s.tree.Controlled {
		e.values = append(e.values, expectedValue{file: ControlFile, text: strings.Join(n.Enabled, " ")})
	}
	s.dirs = append(s.dirs, e)
	for _, name := range e.children {
		if !o.expect(s, pathJoin(p, name)) {
			return false
		}
	}
	return true
}

// holds says whether everything below our root reads as the script has it.
func (o *observer) holds(s *script) bool {
	var from rereader = o.fs
	if h, real := o.fs.(*cgfs.Hierarchy); real {
		r := h.Reader()
		defer r.Close()
		from = r
	}
	for i := range s.dirs {
		e := &s.dirs[i]
		if info, err := from.Stat(e.dir); err != nil || info.Inode != e.inode || info.Leaf != (len(e.children) == 0) {
			return false
		}
		if len(e.children) > 0 {
			if same, err := from.SameChildren(e.dir, e.children); err != nil || !same {
				return false
			}
		}
		for j := range e.values {
			if !e.values[j].holds(from, e.dir) {
				return false
			}
		}
		if (e.foreign || e.counted) && !o.sameKind(e) {
			return false
		}
	}
	return true
}

func (v *expectedValue) holds(from rereader, dir string) bool {
	same, err := from.Same(dir, v.file, v.text)
	if v.missing {
		return errors.Is(err, cgfs.ErrNotExist) // its cgroup has just been seen
	}
	return err == nil && same
}

// sameKind asks for what is known of few cgroups only.
func (o *observer) sameKind(e *expected) bool {
	if e.foreign {
		if marked, err := o.fs.Marked(e.dir); err != nil || marked != e.marked {
			return false
		}
	}
	if !e.counted {
		return true
	}
	populated, err := o.populated(e.dir)
	return err == nil && populated == e.populated
}

// asAbove says whether nothing outside the cgroups below our root has changed.
func (s *State) asAbove(before *State) bool {
	return slices.Equal(s.Missing, before.Missing) && maps.Equal(s.Above, before.Above) && maps.Equal(s.Armed, before.Armed) &&
		slices.EqualFunc(s.Control, before.Control, func(a, b Control) bool {
			return a.Dir == b.Dir && a.Populated == b.Populated && slices.Equal(a.Enabled, b.Enabled)
		})
}
