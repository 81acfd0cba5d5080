package reconcile

import (
	"errors"
	"path"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// observer keeps the state of one hierarchy true: it reads what it was told to
// doubt, and trusts the rest, because inotify reports every change.
type observer struct {
	fs FS
	// watch is called before a directory is read, so that no change falls between,
	// and unwatch when it is gone. Nil: nobody watches.
	watch   func(dir string) error
	unwatch func(dir string)
	stale   bool // something was not as the state has it: read all again
	// blind: nobody asks who is in a foreign cgroup of a v1 hierarchy. Its removal
	// finds out; only one who reads the plan wants to know before.
	blind bool
	// What differs from what was found before, since calm was called: only values,
	// of these cgroups, or more.
	touched  map[string]bool
	reshaped bool
	root     string  // our root, of the tree that was looked at last
	script   *script // what the next full pass expects; nil: it describes all anew
	now      func() time.Time
	state    *State
}

func newObserver(fs FS, watch func(dir string) error) *observer {
	return &observer{fs: fs, watch: watch, now: time.Now, state: &State{Nodes: map[string]*Node{}, Unreadable: map[string]error{}}}
}

// all reads everything below our root again.
func (o *observer) all(t *Tree) error {
	before, known := *o.state, o.script
	o.root, o.reshaped, o.script = t.Root, true, nil
	o.state.Missing, o.state.Above = nil, nil
	exists, err := o.above(t)
	if err != nil {
		return err
	}
	if known != nil && known.tree == t && exists && o.holds(known) {
		if err := o.armed(t); err != nil {
			return err
		}
		if o.state.asAbove(&before) {
			o.reshaped, o.script = false, known
			return nil
		}
	}
	o.state.Unreadable = map[string]error{}
	if !exists {
		o.forget("")
		clear(o.state.Nodes)
	} else if err := o.visit(t, "", true); err != nil {
		return err
	}
	return o.armed(t)
}

// above finds which directories down to our root are missing, and what our root
// would inherit.
func (o *observer) above(t *Tree) (exists bool, err error) {
	for dir := t.Root; dir != ""; dir = parent(dir) {
		if _, err := o.fs.Stat(dir); err == nil {
			break
		} else if !errors.Is(err, cgfs.ErrNotExist) {
			return false, err
		}
		o.state.Missing = append(o.state.Missing, dir)
	}
	slices.Reverse(o.state.Missing)
	if err := o.control(t); err != nil {
		return false, err
	}
	nearest := parent(t.Root) // of what exists above our root
	if len(o.state.Missing) > 0 {
		nearest = parent(o.state.Missing[0])
	}
	if t.Root != "" { // for the removal of our root itself
		if _, err := o.watched(nearest); err != nil {
			return false, err
		}
	}
	root, _ := t.Dir("")
	for _, file := range root.Inherit {
		text, err := o.inherited(nearest, file)
		if err != nil {
			return false, err
		}
		if o.state.Above == nil {
			o.state.Above = map[string]string{}
		}
		o.state.Above[file] = text
	}
	return len(o.state.Missing) == 0, nil
}

// inherited is the value of file in the nearest cgroup that has one, from dir
// upwards.
func (o *observer) inherited(dir, file string) (string, error) {
	for {
		text, err := o.fs.Read(dir, file)
		if err != nil || text != "" || dir == "" {
			return text, err
		}
		dir = parent(dir)
	}
}

// some reads the given directories (relative to the mount) again: those that map
// to true with the files of their children, whose controllers have changed.
func (o *observer) some(t *Tree, dirs map[string]bool) error {
	for _, dir := range sortedKeys(dirs) {
		p, below := relativeTo(t.Root, dir)
		if len(o.state.Missing) > 0 {
			return o.all(t)
		}
		if !below {
			// Above our root, where somebody has taken or given a controller.
			if err := o.control(t); err != nil {
				return err
			}
			if dir == parent(t.Root) {
				if err := o.reread(t, ""); err != nil {
					return err
				}
			}
			continue
		}
		if err := o.visit(t, p, false); err != nil {
			return err
		}
		if n := o.state.Nodes[p]; n != nil && dirs[dir] && t.Controlled {
			looked := func(child string) bool { _, in := dirs[t.Full(child)]; return in } // it has its turn
			if err := o.children(t, p, n, looked); err != nil {
				return err
			}
		}
	}
	if o.state.Nodes[""] == nil && len(o.state.Missing) == 0 {
		return o.all(t) // somebody removed our root
	}
	return nil
}

// children reads the control files of n's children anew, which have got files or
// lost them, but for those that are left out.
func (o *observer) children(t *Tree, p string, n *Node, out func(child string) bool) error {
	for _, name := range slices.Clone(n.Children) {
		if child := pathJoin(p, name); !out(child) {
			if err := o.reread(t, child); err != nil {
				return err
			}
		}
	}
	return nil
}

// reread reads the control files of p anew.
func (o *observer) reread(t *Tree, p string) error {
	n := o.state.Nodes[p]
	if n == nil {
		return nil
	}
	n.Values, o.reshaped = nil, true
	if err := o.complete(t, p, n); err != nil {
		return o.unlessGone(p, err)
	}
	return nil
}

// visit reads the directory p again; deep: and everything below it, else only
// children that are new.
func (o *observer) visit(t *Tree, p string, deep bool) error {
	dir := t.Full(p)
	_, unread := o.state.Unreadable[p]
	delete(o.state.Unreadable, p)
	old := o.state.Nodes[p]
	info, watched, err := o.meet(dir, old)
	if err != nil {
		return o.unlessGone(p, err)
	}
	if old != nil && !unread && watched == old.Watched && o.same(t, p, old, info) {
		old.Inode = info.Inode
		if deep {
			return o.below(t, p, old)
		}
		return nil
	}
	var children []string
	if !info.Leaf {
		if children, err = o.fs.Children(dir); err != nil {
			return o.unlessGone(p, err)
		}
	}
	n := &Node{Inode: info.Inode, Since: info.Changed, Children: children, Watched: watched}
	if now := o.now(); now.Before(n.Since) {
		n.Since = now
	}
	if old != nil && (old.Inode == info.Inode || old.Inode == 0) {
		if old.Since.Before(n.Since) {
			n.Since = old.Since
		}
	} else if old != nil {
		o.forget(p) // another cgroup of the same name, to be watched anew
		return o.visit(t, p, true)
	}
	o.state.Nodes[p] = n
	if err := o.complete(t, p, n); err != nil {
		return o.unlessGone(p, err)
	}
	o.compare(p, old, n)
	if old == nil {
		o.adopt(p)
	} else {
		for _, name := range old.Children {
			if _, still := slices.BinarySearch(children, name); !still {
				o.forget(pathJoin(p, name))
			}
		}
	}
	for _, name := range slices.Clone(children) { // those that vanish are taken out of n's
		child := pathJoin(p, name)
		if deep || o.state.Nodes[child] == nil {
			if err := o.visit(t, child, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// below visits the children that n is known to have.
func (o *observer) below(t *Tree, p string, n *Node) error {
	for i := 0; i < len(n.Children); {
		name := n.Children[i]
		if err := o.visit(t, pathJoin(p, name), true); err != nil {
			return err
		}
		if i < len(n.Children) && n.Children[i] == name { // else it has just vanished
			i++
		}
	}
	return nil
}

// same says whether a configured cgroup is as the state has it in all that the tree
// asks: then it need not be described anew, which would cost more than reading it.
// It says so of no cgroup of which more is known than of most.
func (o *observer) same(t *Tree, p string, n *Node, info cgfs.Info) bool {
	d, configured := t.Dir(p)
	switch {
	case !configured, n.Foreign, n.Counted, len(t.Resets) > 0, info.Leaf != (len(n.Children) == 0):
		return false
	case n.Inode != 0 && n.Inode != info.Inode:
		return false
	case t.Controlled && (n.Enabled == nil || len(d.Enable)+len(n.Enabled) > 0):
		return false
	}
	dir := t.Full(p)
	if !info.Leaf {
		if same, err := o.fs.SameChildren(dir, n.Children); err != nil || !same {
			return false
		}
	}
	if t.Controlled {
		if same, err := o.fs.Same(dir, ControlFile, ""); err != nil || !same {
			return false
		}
	}
	return o.sameValues(d, dir, n)
}

// sameValues says whether the files that a cgroup is asked for are those that are
// known, and read as they did.
func (o *observer) sameValues(d *Dir, dir string, n *Node) bool {
	asked := 0
	reads := func(file string) bool {
		asked++
		v := n.Values.of(file)
		if !v.Exists {
			return false
		}
		same, err := o.fs.Same(dir, file, v.Text)
		return err == nil && same
	}
	for i, file := range d.Inherit {
		if !slices.Contains(d.Inherit[:i], file) && !reads(file) {
			return false
		}
	}
	for i := range d.Settings {
		file := d.Settings[i].source()
		again := slices.ContainsFunc(d.Settings[:i], func(s Setting) bool { return s.source() == file })
		if !again && !slices.Contains(d.Inherit, file) && !reads(file) {
			return false
		}
	}
	return asked == len(n.Values) // else some are known that nobody asks for, and that nothing keeps true
}

// meet says which directory is at dir, and sees to it that it is watched from
// before it is read. A watch stays on a directory for as long as that is there.
func (o *observer) meet(dir string, old *Node) (info cgfs.Info, watched bool, err error) {
	if old != nil && old.Watched && old.Inode != 0 {
		if info, err := o.fs.Stat(dir); err != nil || info.Inode == old.Inode {
			return info, true, err
		}
	}
	if watched, err = o.watched(dir); err != nil {
		return cgfs.Info{}, false, err
	}
	info, err = o.fs.Stat(dir)
	return info, watched, err
}

// errUnwatched is watch's: the kernel takes no further watch now.
var errUnwatched = errors.New("not watched")

// watched sees to it that a directory is watched, and says whether it is.
func (o *observer) watched(dir string) (bool, error) {
	if o.watch == nil {
		return false, nil
	}
	err := o.watch(dir)
	if errors.Is(err, errUnwatched) {
		return false, nil
	}
	return err == nil, err
}

// born notes a cgroup that we have just made: nothing but what a new one has is
// in it, and what a step writes is read back by that.
func (o *observer) born(t *Tree, p string) error {
	watched, err := o.watched(t.Full(p))
	if err != nil {
		return o.unlessGone(p, err)
	}
	n := &Node{Since: o.now(), Watched: watched}
	if t.Controlled {
		n.Enabled = []string{}
	}
	o.state.Nodes[p] = n
	o.reshaped = true
	o.adopt(p)
	return nil
}

// calm forgets what has differed.
func (o *observer) calm() {
	o.touched, o.reshaped = nil, false
}

// compare notes in what a cgroup differs from what was found before.
func (o *observer) compare(p string, old, n *Node) {
	switch {
	case old == nil, old.Foreign != n.Foreign, n.Foreign && old.Marked != n.Marked, old.Populated != n.Populated, old.Counted != n.Counted:
		o.reshaped = true
	case !slices.Equal(old.Enabled, n.Enabled), !slices.Equal(old.Children, n.Children):
		o.reshaped = true
	case !slices.Equal(old.Values, n.Values):
		if o.touched == nil {
			o.touched = map[string]bool{}
		}
		o.touched[p] = true
	}
}

// adopt adds p to its parent's children.
func (o *observer) adopt(p string) {
	up := o.state.Nodes[parent(p)]
	if p == "" || up == nil {
		return
	}
	name := path.Base(p)
	switch n := len(up.Children); {
	case n == 0 || up.Children[n-1] < name:
		up.Children = append(up.Children, name)
	default:
		if i, found := slices.BinarySearch(up.Children, name); !found {
			up.Children = slices.Insert(up.Children, i, name)
		}
	}
}

// unlessGone takes a cgroup that vanished while it was read out of the state.
// One that cannot be read stays there as it is and stops nothing else; only our
// root is needed for all.
func (o *observer) unlessGone(p string, err error) error {
	if errors.Is(err, cgfs.ErrNotExist) || errors.Is(err, cgfs.ErrRemoved) {
		o.forget(p)
		if n := o.state.Nodes[parent(p)]; n != nil && p != "" {
			n.Children = slices.DeleteFunc(n.Children, func(name string) bool { return name == path.Base(p) })
		}
		return nil
	}
	if p == "" {
		return err
	}
	o.reshaped = true
	o.state.Unreadable[p] = err
	if o.state.Nodes[p] == nil {
		o.state.Nodes[p] = &Node{Since: o.now(), Foreign: true}
	}
	if errors.Is(err, cgfs.ErrTooLong) {
		n := o.state.Nodes[p]
		n.Deep, n.Populated = true, true
	}
	return nil
}

// deep says whether the path of p is too long.
func (o *observer) deep(p string) bool { return o.state.Nodes[p] != nil && o.state.Nodes[p].Deep }

// forget takes p and all below it out of the state.
func (o *observer) forget(p string) {
	n := o.state.Nodes[p]
	if n == nil {
		return
	}
	o.reshaped = true
	delete(o.state.Nodes, p)
	delete(o.state.Unreadable, p)
	if o.unwatch != nil {
		o.unwatch(pathJoin(o.root, p))
	}
	for _, name := range n.Children {
		o.forget(pathJoin(p, name))
	}
}

// refit reads what a new tree wants to know and an old one did not.
func (o *observer) refit(t *Tree) error {
	for _, p := range sortedKeys(o.state.Nodes) {
		n := o.state.Nodes[p]
		if n == nil {
			continue
		}
		if err := o.complete(t, p, n); err != nil {
			if err := o.unlessGone(p, err); err != nil {
				return err
			}
		}
	}
	if o.state.Armed == nil && len(t.Arm) > 0 {
		return o.armed(t)
	}
	return nil
}

// complete reads the files and the facts of n that the tree asks for and that
// are not known yet.
func (o *observer) complete(t *Tree, p string, n *Node) error {
	for _, file := range t.files(p) {
		if _, known := n.Values.find(file); known {
			continue
		}
		v, err := o.read(t.Full(p), file)
		if err != nil {
			return err
		}
		n.Values.set(file, v)
	}
	d, configured := t.Dir(p)
	if err := o.controls(t, p, d, n); err != nil {
		return err
	}
	if configured {
		if n.Foreign { // it was: what was asked of it then is not known any more
			n.Foreign, n.Marked, n.Populated = false, false, n.Counted && n.Populated
		}
		return nil
	}
	if n.Foreign {
		return nil
	}
	var err error
	if n.Marked, err = o.fs.Marked(t.Full(p)); err != nil {
		return err
	}
	if t.Controlled || !o.blind {
		if n.Populated, err = o.populated(t.Full(p)); err != nil {
			return err
		}
	}
	n.Foreign = true
	return nil
}

func (o *observer) read(dir, file string) (Value, error) {
	text, err := o.fs.Read(dir, file)
	if errors.Is(err, cgfs.ErrNotExist) {
		if _, gone := o.fs.Stat(dir); gone != nil {
			return Value{}, gone
		}
		return Value{}, nil
	}
	return Value{Text: text, Exists: err == nil}, err
}
