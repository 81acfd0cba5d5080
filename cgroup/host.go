package cgroup

import (
	"os/user"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// DefaultDir is where cgroup filesystems are mounted.
const DefaultDir = "/sys/fs/cgroup"

// Options say which part of a host's cgroups to open. The zero value opens all of
// them.
type Options struct {
	// Dir is the directory at or below which the hierarchies are mounted;
	// "" is [DefaultDir].
	Dir string
	// Root is the cgroup that "/" stands for, in every hierarchy; "" is the mount
	// itself. It need not exist yet.
	Root string
	// Controllers are the hierarchies to be seen, by the name of a controller or of
	// the hierarchy ("cpu", "systemd", "unified"); nil: all.
	Controllers []string
	// Within are the cgroups to be seen, with all below them and those on the way to
	// them; nil: all.
	Within []string
}

// Host is what is mounted on this host: one or more hierarchies of cgroups. All
// its methods, and those of what it gives, may be called by several goroutines.
type Host struct {
	layout *cgfs.Layout
	seen   []*cgfs.Hierarchy
	root   string
	within []string

	devices sync.Mutex // device rules are read, changed and written back
}

// Open finds the mounted hierarchies. It is an error if there is none, or not one
// that was asked for. Close the host when done.
func Open(o Options) (*Host, error) {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	h := &Host{}
	var err error
	if h.root, err = cleanPath(o.Root); err != nil {
		return nil, err
	}
	for _, p := range o.Within {
		p, err = cleanPath(p)
		if err != nil {
			return nil, err
		}
		h.within = append(h.within, p)
	}
	if h.layout, err = cgfs.Discover(o.Dir); err != nil {
		return nil, err
	}
	h.seen = h.layout.Hierarchies()
	if o.Controllers != nil {
		if h.seen, err = h.hierarchies(o.Controllers); err != nil {
			h.layout.Close()
			return nil, err
		}
	}
	return h, nil
}

// Close releases what Open opened. Nothing that came from the host may be used
// afterwards.
func (h *Host) Close() { h.layout.Close() }

// Controllers lists what can be named before the colon of a cgroup's name, sorted:
// the controllers, and hierarchies without one, such as "systemd".
func (h *Host) Controllers() []string {
	var out []string
	for _, one := range h.seen {
		out = append(out, h.controllersOf(one)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// controllersOf are the names by which a hierarchy is asked for: on v2 its
// controllers as v1 calls them, or its own name when it has none.
func (h *Host) controllersOf(one *cgfs.Hierarchy) []string {
	names := h.layout.Subsystems(one)
	if one.Version() == 2 && len(h.seen) > 1 {
		names = append(names, one.Name())
	}
	if len(names) == 0 {
		return []string{one.Name()}
	}
	return names
}

// Version is 1 or 2 for a controller that is seen, 0 for another.
func (h *Host) Version(controller string) int {
	if one := h.hierarchy(controller); one != nil {
		return one.Version()
	}
	return 0
}

// hierarchy finds the hierarchy that a name stands for, or nil.
func (h *Host) hierarchy(name string) *cgfs.Hierarchy {
	if name == "io" {
		name = "blkio"
	}
	for _, one := range h.seen {
		if one.Name() == name || slices.Contains(h.layout.Subsystems(one), name) {
			return one
		}
	}
	return nil
}

// hierarchies finds those of several names, each once, sorted by name.
func (h *Host) hierarchies(names []string) ([]*cgfs.Hierarchy, error) {
	var out []*cgfs.Hierarchy
	for _, name := range names {
		one := h.hierarchy(name)
		if one == nil {
			return nil, faultf(ErrNotSupported, "%s: %s", name, cgfs.WhyNotUnified(name))
		}
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *cgfs.Hierarchy) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// common are the hierarchies that a name without controllers stands for: those of
// v1 with controllers, or the unified one where resources are managed there. What
// systemd keeps its own records in is left alone unless it is named.
func (h *Host) common() []*cgfs.Hierarchy {
	var v1 []*cgfs.Hierarchy
	for _, one := range h.seen {
		if one.Version() == 1 && slices.ContainsFunc(one.Subsystems(), cgfs.IsController) {
			v1 = append(v1, one)
		}
	}
	if len(v1) > 0 {
		return v1
	}
	return h.seen
}

// Tree is the root of the tree as it is mounted: its children are the roots of
// the hierarchies.
func (h *Host) Tree() *Node {
	return &Node{host: h, hs: h.seen, view: trunk}
}

// Root is the root of the grouped view: the same path in all hierarchies with
// controllers is one node.
func (h *Host) Root() *Node { return &Node{host: h, hs: h.common()} }

// Node names a cgroup, which need not exist, as libcgroup's tools do:
// "cpu,memory:/a/b" is /a/b in the hierarchies of these two controllers. Without
// controllers, "/a/b" or "a/b", it is the same path in all hierarchies that have
// some; "*:/a/b" says the same.
func (h *Host) Node(name string) (*Node, error) {
	controllers, p, err := splitName(name)
	if err != nil {
		return nil, err
	}
	n := &Node{host: h, hs: h.common(), path: p}
	if controllers != nil {
		n.named = controllers
		if n.hs, err = h.hierarchies(controllers); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// User is the parent directory of a user's cgroups, /NAME in all hierarchies;
// "" is the current user's. It need not exist: see [Node.Delegate].
func (h *Host) User(name string) (*Node, error) {
	if name == "" {
		u, err := user.Current()
		if err != nil {
			return nil, err
		}
		name = u.Username
	}
	return h.Node("/" + name)
}

// visible says whether Within lets p be seen.
func (h *Host) visible(p string) bool {
	return len(h.within) == 0 || slices.ContainsFunc(h.within, func(w string) bool { return below(p, w) || below(w, p) })
}

// below says whether p is dir or lies below it.
func below(p, dir string) bool { return dir == "" || p == dir || strings.HasPrefix(p, dir+"/") }

// splitName takes a name apart. controllers is nil for all.
func splitName(name string) (controllers []string, p string, err error) {
	head, rest, found := strings.Cut(name, ":")
	if !found || strings.Contains(head, "/") {
		p, err = cleanPath(name)
		return nil, p, err
	}
	if head != "*" {
		for c := range strings.SplitSeq(head, ",") {
			switch c {
			case "":
				return nil, "", faultf(ErrInvalid, "%q: not a cgroup's name, such as cpu,memory:/a/b", name)
			case "io":
				c = "blkio"
			}
			controllers = append(controllers, c)
		}
	}
	p, err = cleanPath(rest)
	return controllers, p, err
}

// cleanPath spells a path without slashes at its ends. A part such as ".." is
// refused, not resolved.
func cleanPath(p string) (string, error) {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "":
		case part == "." || part == ".." || strings.ContainsAny(part, "\x00\n"):
			return "", faultf(ErrInvalid, "%q: not a path of a cgroup", p)
		default:
			parts = append(parts, part)
		}
	}
	return path.Join(parts...), nil
}
