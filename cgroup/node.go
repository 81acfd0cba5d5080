package cgroup

import (
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Kind says what a node is, by its place and its name.
type Kind string

// The kinds of nodes.
const (
	KindRoot           Kind = "root"            // above all others of its view
	KindControllerRoot Kind = "controller_root" // the mount of one hierarchy
	KindSlice          Kind = "slice"           // named as systemd's slices (or libvirt's partitions) are
	KindScope          Kind = "scope"           // named as systemd's scopes are
	KindCgroup         Kind = "cgroup"          // any other
)

// Node is a cgroup: one path in one hierarchy, or the same path in several. It is
// a name, not a copy: nothing is kept between calls, and a node may stand for a
// cgroup that is not there.
//
// Where a node stands for several hierarchies, methods act on those in which the
// cgroup exists, or on all of them when the node was named with controllers.
type Node struct {
	host *Host
	hs   []*cgfs.Hierarchy
	path string
	// named are the controllers that the node was named with; nil: whatever there is.
	named []string
	view  view
}

// view says how nodes relate to hierarchies.
type view int

const (
	grouped view = iota // a path in several hierarchies is one node
	trunk               // the root of the tree, whose children are branches
	branch              // one hierarchy of the tree
)

// Name is the last part of the path; of a root, "/" or in the tree the hierarchy's.
func (n *Node) Name() string {
	if n.path == "" {
		if n.view == branch {
			return n.hs[0].Name()
		}
		return "/"
	}
	return path.Base(n.path)
}

// Path is where the cgroup is in its hierarchies: "/a/b", relative to the root of
// the host.
func (n *Node) Path() string { return "/" + n.path }

// String is the node's name as [Host.Node] takes it: "cpu,memory:/a/b".
func (n *Node) String() string {
	names := n.named
	if names == nil {
		if n.view == trunk || n.view == grouped && slices.Equal(n.hs, n.host.common()) {
			return n.Path()
		}
		for _, h := range n.hs {
			names = append(names, h.Name())
		}
	}
	return strings.Join(names, ",") + ":" + n.Path()
}

// Controllers are those that the node can set something of, sorted.
func (n *Node) Controllers() []string {
	out := slices.Clone(n.named)
	if out == nil {
		for _, h := range n.hs {
			out = append(out, n.host.controllersOf(h)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Kind says what the node is.
func (n *Node) Kind() Kind {
	name := path.Base(n.path)
	switch {
	case n.path == "" && n.view == branch:
		return KindControllerRoot
	case n.path == "":
		return KindRoot
	case strings.HasSuffix(name, ".slice"), strings.HasSuffix(name, ".partition"):
		return KindSlice
	case strings.HasSuffix(name, ".scope"):
		return KindScope
	}
	return KindCgroup
}

// Parent is the node above, nil for the root of the view.
func (n *Node) Parent() *Node {
	switch {
	case n.path != "":
		return n.at(parent(n.path), n.hs)
	case n.view == branch:
		return n.host.Tree()
	}
	return nil
}

func parent(p string) string { return strings.Trim(path.Dir("/"+p), "/") }

// Children are the nodes directly below, sorted by name. Each stands for the
// hierarchies in which it exists.
func (n *Node) Children() ([]*Node, error) {
	if n.view == trunk {
		var out []*Node
		for _, h := range n.hs {
			out = append(out, n.branch(h))
		}
		return out, nil
	}
	hs, err := n.existing()
	if err != nil {
		return nil, err
	}
	in := map[string][]*cgfs.Hierarchy{}
	var names []string
	for _, h := range hs {
		children, err := h.Children(n.dir())
		if err != nil && !vanished(err) {
			return nil, err
		}
		for _, name := range children {
			if n.host.visible(path.Join(n.path, name)) {
				names = append(names, name)
				in[name] = append(in[name], h)
			}
		}
	}
	slices.Sort(names)
	var out []*Node
	for _, name := range slices.Compact(names) {
		out = append(out, n.at(path.Join(n.path, name), in[name]))
	}
	return out, nil
}

// branch is the root of one hierarchy in the tree.
func (n *Node) branch(h *cgfs.Hierarchy) *Node {
	return &Node{host: n.host, hs: []*cgfs.Hierarchy{h}, view: branch}
}

// at is a node of the same view at another path.
func (n *Node) at(p string, hs []*cgfs.Hierarchy) *Node {
	out := &Node{host: n.host, hs: hs, path: p, view: n.view}
	for _, c := range n.named {
		if slices.Contains(hs, n.host.hierarchy(c)) {
			out.named = append(out.named, c)
		}
	}
	return out
}

// Find is the node at a path below this one, which exists. In the tree the path
// begins with a hierarchy or a controller: "cpu/a/b".
func (n *Node) Find(p string) (*Node, error) {
	p, err := cleanPath(p)
	if err != nil {
		return nil, err
	}
	at := n
	if n.view == trunk && p != "" {
		first, rest, _ := strings.Cut(p, "/")
		h := n.host.hierarchy(first)
		if h == nil {
			return nil, faultf(ErrNotExist, "%s: no such hierarchy", first)
		}
		at, p = n.branch(h), rest
	}
	at = at.at(path.Join(at.path, p), at.hs)
	if at.view == trunk {
		return n, nil
	}
	hs, err := at.existing()
	if err != nil {
		return nil, err
	}
	return at.at(at.path, hs), nil
}

// Walk yields the node and all below it, each before what is below it, siblings by
// name. A cgroup that vanishes meanwhile is left out. An error, which is yielded
// with the node that could not be listed, does not end the walk: [ErrTooLong] for one
// that lies too deep to be named by a path, with all below it.
func (n *Node) Walk() iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) { n.walk(yield, false) }
}

// WalkUp yields the node and all below it, each after what is below it.
func (n *Node) WalkUp() iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) { n.walk(yield, true) }
}

func (n *Node) walk(yield func(*Node, error) bool, up bool) bool {
	children, err := n.Children()
	if vanished(err) {
		return n.path != "" || yield(n, err)
	}
	if !up && !yield(n, err) {
		return false
	}
	for _, c := range children {
		if !c.walk(yield, up) {
			return false
		}
	}
	return !up || yield(n, err)
}

// Split gives the node's hierarchies one by one.
func (n *Node) Split() []*Node {
	var out []*Node
	for _, h := range n.hs {
		out = append(out, n.at(n.path, []*cgfs.Hierarchy{h}))
	}
	return out
}

// Exists says whether the cgroup is there: in every hierarchy that the node was
// named with, or in one at least.
func (n *Node) Exists() bool {
	_, err := n.existing()
	return err == nil
}

// dir is the node's path as cgfs takes it.
func (n *Node) dir() string { return path.Join(n.host.root, n.path) }

// existing are the hierarchies that methods act on.
func (n *Node) existing() ([]*cgfs.Hierarchy, error) {
	var out []*cgfs.Hierarchy
	for _, h := range n.hs {
		switch _, err := h.Stat(n.dir()); {
		case err == nil:
			out = append(out, h)
		case !vanished(err) || n.named != nil:
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, faultf(ErrNotExist, "%s: no such cgroup", n)
	}
	return out, nil
}

// Dir is the directory of the cgroup in the filesystem. A node of several
// hierarchies has several, in the order of [Node.Split]: see Dir of each.
func (n *Node) Dir() string { return path.Join(n.hs[0].Mount(), n.dir()) }

// Version is that of the node's hierarchies, 1 or 2; 0 where they differ.
func (n *Node) Version() int {
	v := n.hs[0].Version()
	for _, h := range n.hs {
		if h.Version() != v {
			return 0
		}
	}
	return v
}
