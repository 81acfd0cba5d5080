package account

import (
	"errors"
	"path"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// descent lets a subsystem be read from the top down, and only below what has
// changed: where a counter includes all below it exactly (cgfs.Usage.Exact) and
// stands still, so do those. A cgroup is read after its parent, so what happens
// between the two reads shows in the parent's next one.
//
// Cgroups that are removed, or made again, change no counter. inotify tells of
// those; where it cannot, everything is read.
type descent struct {
	watch  treeWatch
	parent []int  // of each directory; -1: none that is read
	inner  []bool // it is a parent
	// watched says that removals of the directories directly below are told.
	watched []bool
	quiet   []bool // it stood still in this slot, and so did everything below
}

var errLost = errors.New("events were lost")

// newDescent returns nil when there is nothing to gain, or no inotify.
func newDescent(s *subsystem, k kernel) *descent {
	if !s.usage.Exact || s.usage.SumBelow || s.hierarchy == nil {
		return nil
	}
	n := len(s.dirs)
	d := &descent{parent: s.nearest(), inner: make([]bool, n), watched: make([]bool, n), quiet: make([]bool, n)}
	nested := false
	for i, p := range d.parent {
		// A directory between them that is not read would not be watched.
		if p >= 0 && s.dirs[p].dir != above(s.dirs[i].dir) {
			d.parent[i] = -1
			p = -1
		}
		if p >= 0 {
			d.inner[p] = true
			nested = true
		}
	}
	if !nested {
		return nil
	}
	watch, err := k.watch()
	if err != nil {
		return nil
	}
	d.watch = watch
	return d
}

// above is the directory that dir is in; "" is the mount, and in itself.
func above(dir string) string { return strings.TrimPrefix(path.Dir("/"+dir), "/") }

func (d *descent) close() {
	if d != nil {
		_ = d.watch.Close()
	}
}

// look takes note of where cgroups were made and removed since the last slot:
// everything directly below has to be read.
func (d *descent) look(s *subsystem) {
	events, err := d.watch.Poll()
	for _, e := range events {
		if e.Kind == cgfs.EventLost {
			err = errLost
		}
		if i, known := s.index[e.Dir]; known && e.Kind == cgfs.EventTree {
			d.watched[i] = false
		}
	}
	for i := range s.dirs {
		if err != nil {
			d.watched[i] = false
		}
		if d.inner[i] && !d.watched[i] && d.watch.Add(s.hierarchy, s.dirs[i].dir) == nil {
			// What happened below it before the watch is not told.
			d.watched[i], s.dirs[i].ok = true, false
		}
	}
}

// skip says whether directory i still has the number that it had.
func (d *descent) skip(s *subsystem, i int) bool {
	p := d.parent[i]
	d.quiet[i] = p >= 0 && d.quiet[p] && d.watched[p] && s.dirs[i].ok
	return d.quiet[i]
}

// took takes note of how directory i was read. The watch of a directory that is
// not kept open could be that of one which is gone.
func (d *descent) took(i int, m *meter, same, gone bool) {
	d.quiet[i] = same && !gone
	if gone || m.fd < 0 {
		d.watched[i] = false
	}
}
