package cgfs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Layout is what cgroup hierarchies this host has mounted.
type Layout struct {
	hierarchies []*Hierarchy
}

// Discover finds and opens the cgroup hierarchies mounted at or below dir. It is
// an error if there is none. Close the layout when done.
func Discover(dir string) (*Layout, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts: %w; is cgroup_dir right?", err)
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts: %w", err)
	}
	mounts, err := ParseMountinfo(data, real)
	if err != nil {
		return nil, fmt.Errorf("find cgroup mounts: %w", err)
	}
	if len(mounts) == 0 {
		return nil, fmt.Errorf("find cgroup mounts: no cgroup filesystem is mounted at or below %s; mount one, or set cgroup_dir", dir)
	}
	l := &Layout{}
	for _, m := range mounts {
		h, err := open(m)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.hierarchies = append(l.hierarchies, h)
		if h.mount.Version == 2 {
			text, err := h.Read("", "cgroup.controllers")
			if err != nil {
				l.Close()
				return nil, err
			}
			h.mount.Subsystems = strings.Fields(text)
		}
	}
	slices.SortFunc(l.hierarchies, func(a, b *Hierarchy) int { return strings.Compare(a.Name(), b.Name()) })
	return l, nil
}

// Close closes every hierarchy.
func (l *Layout) Close() {
	for _, h := range l.hierarchies {
		_ = h.Close()
	}
}

// Keep exchanges hierarchies for those of known that are mounts of the same
// hierarchy at the same place, and closes the exchanged ones.
func (l *Layout) Keep(known map[string]*Hierarchy) {
	for i, h := range l.hierarchies {
		old := known[h.Name()]
		if old == nil || old.mount.Dir != h.mount.Dir || old.mount.Root != h.mount.Root {
			continue
		}
		var a, b unix.Stat_t
		if unix.Fstat(old.fd, &a) == nil && unix.Fstat(h.fd, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
			_ = h.Close()
			l.hierarchies[i] = old
		}
	}
}

// Hierarchies are all mounted hierarchies, sorted by name.
func (l *Layout) Hierarchies() []*Hierarchy { return l.hierarchies }

// Hierarchy finds the hierarchy that a subsystem of the document lives in, or
// nil: not mounted here.
func (l *Layout) Hierarchy(subsystem string) *Hierarchy {
	for _, h := range l.hierarchies {
		if h.Version() == 1 && slices.Contains(h.mount.Subsystems, subsystem) {
			return h
		}
	}
	return nil
}

// Subsystems are those of the document that live in h: the controllers of a v1
// hierarchy, and on the unified one what v1 does not have here.
func (l *Layout) Subsystems(h *Hierarchy) []string {
	if h.Version() == 1 {
		return h.Subsystems()
	}
	var out []string
	for _, s := range append([]string{"cpuacct", "devices", "freezer"}, h.mount.Subsystems...) {
		if s == "io" {
			s = "blkio"
		}
		if l.Hierarchy(s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// OnV2 says whether a subsystem is to be had here on the unified hierarchy only.
func (l *Layout) OnV2(subsystem string) bool {
	h := l.unified()
	return h != nil && slices.Contains(l.Subsystems(h), subsystem)
}

// Caps is what the settings table must know of this host for a subsystem.
func (l *Layout) Caps(subsystem string) Caps {
	if h := l.Hierarchy(subsystem); h != nil {
		return Caps{Version: 1, Has: func(probe string) bool { return h.Exists("", probe) }}
	}
	h := l.unified()
	if h == nil {
		return Caps{Version: 1, Has: func(string) bool { return false }}
	}
	witness, found := h.witness("", Controller(subsystem), new(int))
	return Caps{Version: 2, Has: func(file string) bool {
		switch {
		case strings.HasPrefix(file, "cgroup."), file == DevicesFile:
			return true
		case found:
			return h.Exists(witness, file)
		}
		// No cgroup has the controller yet. All of its files come with the kernel,
		// but BFQ's with a module.
		_, err := os.Stat("/sys/module/bfq")
		return file != "io.bfq.weight" || err == nil
	}}
}

// witness finds a cgroup that has a controller's files, among the first few
// hundred.
func (h *Hierarchy) witness(dir, controller string, seen *int) (string, bool) {
	if *seen++; controller == "" || *seen > 300 {
		return "", false
	}
	children, _ := h.Children(dir)
	if len(children) == 0 {
		return "", false
	}
	enabled, err := h.Read(dir, "cgroup.subtree_control")
	if err == nil && slices.Contains(strings.Fields(enabled), controller) {
		return path.Join(dir, children[0]), true
	}
	for _, name := range children {
		if at, ok := h.witness(path.Join(dir, name), controller, seen); ok {
			return at, true
		}
	}
	return "", false
}

// Usage says how the usage of a subsystem is read here and in which hierarchy.
// A nil hierarchy: there is nothing to read.
func (l *Layout) Usage(subsystem string) (*Hierarchy, Usage) {
	u, ok := usages[subsystem]
	if !ok {
		return nil, Usage{}
	}
	if h := l.Hierarchy(u.subsystem); h != nil {
		return h, u.v1
	}
	if h := l.unified(); h != nil && l.OnV2(subsystem) {
		return h, u.v2
	}
	return nil, Usage{}
}

// unified is the v2 hierarchy, nil for none.
func (l *Layout) unified() *Hierarchy {
	for _, h := range l.hierarchies {
		if h.Version() == 2 {
			return h
		}
	}
	return nil
}
