package cgfs

import (
	"fmt"
	"os"
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

// OnV2 says whether a subsystem is available here on the unified hierarchy only.
func (l *Layout) OnV2(subsystem string) bool {
	for _, h := range l.hierarchies {
		if h.Version() == 2 && slices.Contains(h.mount.Subsystems, v2Controller(subsystem)) {
			return l.Hierarchy(subsystem) == nil
		}
	}
	return false
}

// v2Controller is what v2 calls a subsystem of the document.
func v2Controller(subsystem string) string {
	switch subsystem {
	case "blkio":
		return "io"
	case "cpuacct":
		return "cpu"
	}
	return subsystem
}

// Usage says how the usage of a subsystem is read here and in which hierarchy.
// A nil hierarchy: there is nothing to read.
func (l *Layout) Usage(subsystem string) (*Hierarchy, Usage) {
	u, ok := usages[subsystem]
	if !ok {
		return nil, Usage{}
	}
	h := l.Hierarchy(u.subsystem)
	if h == nil {
		return nil, Usage{}
	}
	return h, u.Usage
}

// FileOf finds the control file that this kernel has for a setting. ok is false
// when it has none, or the subsystem is not mounted.
func (l *Layout) FileOf(s *Setting) (f File, ok bool) {
	h := l.Hierarchy(s.Subsystem)
	if h == nil {
		return File{}, false
	}
	for _, f := range s.V1 {
		if h.Exists("", f.Probe) {
			return f, true
		}
	}
	return File{}, false
}
