package account

import (
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// subsystem is one subsystem of the target with its open files.
type subsystem struct {
	name      string
	hierarchy *cgfs.Hierarchy
	usage     cgfs.Usage
	root      Cgroup
	extras    []cgfs.ExtraSource
	dirs      []directory // sorted by path, so parents stand before children
	index     map[string]int
	table     *deviceTable // of cgfs.UsageDevices
	descent   *descent     // nil: every directory is read
	counters  Counters     // nil: files are read
	counted   int          // directories that they had, the last time
}

// directory is one directory that is read.
type directory struct {
	meter
	configured bool
	ok         bool // read in this slot
	number     uint64
	place      int   // in the counters; -1: none
	first      int   // place of the first number in the layout
	places     []int // of a device's numbers in the layout, by column; -1: none
}

// newSubsystem compiles t. What old, the same subsystem until now, has open and
// carries is taken over; old must not be used again.
func newSubsystem(t *Subsystem, old *subsystem, r *meters) *subsystem {
	s := &subsystem{name: t.Name, hierarchy: t.Hierarchy, usage: t.Usage, root: t.Root, extras: t.Extras}
	if s.hierarchy == nil {
		s.usage = cgfs.Usage{}
	}
	if old != nil && !s.continues(old) {
		old.close(r)
		old = nil
	}
	configured := make(map[string]bool)
	if s.usage.Kind != cgfs.UsageNone {
		s.root.walk(func(c *Cgroup) { configured[c.Dir] = true })
	}
	wanted := make(map[string]bool, len(configured))
	for dir := range configured {
		wanted[dir] = true
	}
	if s.usage.SumBelow {
		for _, dir := range t.Others {
			wanted[dir] = true
		}
	}
	if old != nil {
		old.retire(wanted, r)
	}
	s.makeDirectories(wanted, configured)
	if old != nil {
		s.takeOver(old)
		old.descent.close()
	}
	if s.count(old, r); s.counters == nil {
		s.descent = newDescent(s, r.kernel)
	}
	return s
}

// continues says whether s reads the same files as old did.
func (s *subsystem) continues(old *subsystem) bool {
	return sameMount(s.hierarchy, old.hierarchy) && s.root.Dir == old.root.Dir && s.usage.Kind == old.usage.Kind &&
		s.usage.SumBelow == old.usage.SumBelow && slices.Equal(s.usage.Files, old.usage.Files)
}

func sameMount(a, b *cgfs.Hierarchy) bool {
	return a == b || a != nil && b != nil && a.Mount() != "" && a.Mount() == b.Mount()
}

// retire ends the directories that are not wanted any more. One of a summed
// subsystem that is still there becomes wanted: the list may be older than the
// kernel's tree, and a total must not fall for it.
func (s *subsystem) retire(wanted map[string]bool, r *meters) {
	for i := len(s.dirs) - 1; i >= 0; i-- {
		d := &s.dirs[i]
		if wanted[d.dir] {
			continue
		}
		if s.usage.SumBelow {
			alive, renamed := r.alive(s.hierarchy, s.usage.Files, &d.meter)
			if alive {
				wanted[d.dir] = true
				continue
			}
			// A renamed cgroup counts on under its new name.
			if !renamed {
				s.table.remove(i)
			}
		}
		r.close(&d.meter)
		if s.counters != nil && d.place >= 0 {
			s.counters.Remove(d.place)
		}
	}
}

func (s *subsystem) makeDirectories(wanted, configured map[string]bool) {
	paths := make([]string, 0, len(wanted))
	for dir := range wanted {
		paths = append(paths, dir)
	}
	slices.Sort(paths)
	s.dirs = make([]directory, len(paths))
	s.index = make(map[string]int, len(paths))
	for i, dir := range paths {
		s.dirs[i] = directory{meter: meter{dir: dir, fd: -1}, configured: configured[dir], place: -1}
		s.index[dir] = i
	}
	if s.usage.Kind == cgfs.UsageDevices {
		s.table = newDeviceTable(nil, s.parents())
	}
}

// parents gives the row of each directory's nearest ancestor, where totals go.
func (s *subsystem) parents() []int {
	if s.usage.SumBelow {
		return s.nearest()
	}
	parents := make([]int, len(s.dirs))
	for i := range parents {
		parents[i] = -1
	}
	return parents
}

// nearest gives the row of each directory's nearest ancestor, -1 for none.
func (s *subsystem) nearest() []int {
	rows := make([]int, len(s.dirs))
	for i := range s.dirs {
		rows[i] = -1
		for dir := s.dirs[i].dir; rows[i] < 0 && dir != ""; {
			dir = above(dir)
			if p, ok := s.index[dir]; ok {
				rows[i] = p
			}
		}
	}
	return rows
}

// takeOver moves the open files and the counts of the directories that stay.
func (s *subsystem) takeOver(old *subsystem) {
	if s.table != nil {
		s.table = newDeviceTable(old.table.used(), s.table.parent)
	}
	for i := range s.dirs {
		j, ok := old.index[s.dirs[i].dir]
		if !ok {
			continue
		}
		s.dirs[i].fd, old.dirs[j].fd = old.dirs[j].fd, -1
		s.dirs[i].heat, s.dirs[i].place = old.dirs[j].heat, old.dirs[j].place
		if s.table != nil {
			s.table.copyRow(i, old.table, j)
		}
	}
}

func (s *subsystem) close(r *meters) {
	s.descent.close()
	s.stopCounting()
	for i := range s.dirs {
		r.close(&s.dirs[i].meter)
	}
}

// read samples every directory. It returns how many configured ones have no
// value, with the first reason.
func (s *subsystem) read(r *meters, devices *[]cgfs.DeviceBytes) (unread int, reason error) {
	switch {
	case s.counters != nil:
		return s.readCounters(r, devices)
	case s.descent != nil:
		return s.descend(r)
	}
	if s.table != nil {
		clear(s.table.total)
	}
	// Children before parents: a total is complete, and what a removed child
	// leaves is known, before the parent's turn.
	for i := len(s.dirs) - 1; i >= 0; i-- {
		err := s.readDirectory(i, r, devices)
		s.dirs[i].ok = err == nil
		if err != nil && s.dirs[i].configured {
			unread++
			reason = err
		}
	}
	return unread, reason
}

// descend does what read does, from the top down, and leaves out what cannot have
// changed.
func (s *subsystem) descend(r *meters) (unread int, reason error) {
	s.descent.look(s)
	for i := range s.dirs {
		if s.descent.skip(s, i) {
			continue
		}
		d := &s.dirs[i]
		before, known := d.number, d.ok
		data, gone, err := r.read(s.hierarchy, s.usage.Files, &d.meter)
		if err == nil {
			d.number, err = s.usage.ParseNumber(data)
		}
		d.ok = err == nil
		d.heated(d.number != before)
		s.descent.took(i, &d.meter, d.ok && known && d.number == before, gone)
		if err != nil {
			unread++
			reason = err
		}
	}
	return unread, reason
}

func (s *subsystem) readDirectory(i int, r *meters, devices *[]cgfs.DeviceBytes) error {
	d := &s.dirs[i]
	data, gone, err := r.read(s.hierarchy, s.usage.Files, &d.meter)
	if s.usage.Kind == cgfs.UsageNumber {
		before := d.number
		if err == nil {
			d.number, err = s.usage.ParseNumber(data)
		}
		d.heated(d.number != before)
		return err
	}
	if gone {
		s.table.remove(i)
	}
	if err == nil {
		*devices, err = s.usage.ParseDevices(data, (*devices)[:0])
	}
	if err == nil {
		d.heated(s.table.store(i, *devices))
	}
	// Without a new reading the last one still counts for the ancestors.
	s.table.sum(i)
	return err
}

// emit writes the numbers of this slot to their places. It fails when the layout
// has no place for one of them.
func (s *subsystem) emit(words []uint64, numbers int) bool {
	for i := range s.dirs {
		d := &s.dirs[i]
		switch {
		case !d.configured || !d.ok:
		case s.table != nil:
			if !d.emitDevices(s.table.row(s.table.total, i), words, numbers) {
				return false
			}
		default:
			words[d.first] = d.number
			setBit(words, numbers, d.first)
		}
	}
	return true
}

func (d *directory) emitDevices(totals []count, words []uint64, numbers int) bool {
	for c := range totals {
		if !totals[c].has {
			continue
		}
		if c >= len(d.places) || d.places[c] < 0 {
			return false
		}
		at := d.places[c]
		words[at], words[at+1] = totals[c].read, totals[c].write
		setBit(words, numbers, at)
	}
	return true
}

// layoutNode lays out c and all below it, beginning at the place next.
func (s *subsystem) layoutNode(c *Cgroup, name, path string, next *int, extras *extraReader) *node {
	n := &node{name: name, path: path, hasSub: c.HasSub, first: *next, extras: extras.place(s.extras, c.Dir)}
	if i, ok := s.index[c.Dir]; ok {
		n.kind, n.key, n.gauge = s.usage.Kind, s.usage.Key, s.usage.Gauge
		d := &s.dirs[i]
		d.first = *next
		if s.table == nil {
			*next++
		} else {
			n.devices = s.placeDevices(i, next)
		}
	}
	for i := range c.Sub {
		child := &c.Sub[i]
		below := child.Name
		if path != "" {
			below = path + "/" + below
		}
		n.sub = append(n.sub, s.layoutNode(child, child.Name, below, next, extras))
	}
	return n
}

// placeDevices gives places to the devices of row i that have a total now.
func (s *subsystem) placeDevices(i int, next *int) []string {
	t := s.table
	d := &s.dirs[i]
	d.places = make([]int, len(t.ids))
	names := make([]string, len(t.ids))
	columns := make([]int, 0, len(t.ids))
	for c, id := range t.ids {
		d.places[c], names[c] = -1, id.String()
		if t.row(t.total, i)[c].has {
			columns = append(columns, c)
		}
	}
	slices.SortFunc(columns, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	sorted := make([]string, len(columns))
	for k, c := range columns {
		sorted[k] = names[c]
		d.places[c] = *next
		*next += 2
	}
	return sorted
}
