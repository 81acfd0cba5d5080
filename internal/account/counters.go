package account

import (
	"errors"
	"io/fs"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Counters reads the CPU time of many cgroups at once, without their files: a
// bpfiter.Reader.
type Counters interface {
	// Add gives the cgroup whose directory is open a place, at which Value has its
	// usage at once. The descriptor is not needed any more then. fs.ErrNotExist: it
	// was removed meanwhile.
	Add(cgroup int) (place int, err error)
	Remove(place int)
	Places() int // how many there are
	// Read brings the values of all places up to date. On v2 the file of an ancestor
	// has to be read first.
	Read() error
	// Value is not ok when the cgroup was removed.
	Value(place int) (usage uint64, ok bool)
	Close()
}

// OpenCounters opens [Counters] for so many cgroups of one version, 1 or 2.
type OpenCounters func(version, places int) (Counters, error)

// leastPlaces is how many places counters have at least: a document may grow a
// little without their being opened anew.
const leastPlaces = 1024

// errRoot: reading its file is not reading a sum (cgroup_base_stat_cputime_show), so
// that nothing would be added up for those below.
var errRoot = errors.New("our root is that of a cgroup v2 hierarchy")

// count lets s be read by counters, if that is wanted, possible, and of use. Those
// that old had are taken over with its directories.
func (s *subsystem) count(old *subsystem, r *meters) {
	if old != nil {
		s.counters, old.counters = old.counters, nil
	}
	if r.openCounters == nil || !s.usage.CPUTime || s.hierarchy == nil {
		return
	}
	if s.hierarchy.Version() == 2 && s.root.Dir == "" {
		r.refuseCounters(errRoot)
		return
	}
	if s.counters != nil && s.counters.Places() < len(s.dirs) {
		s.stopCounting()
	}
	if s.counters == nil {
		places := leastPlaces
		for places < len(s.dirs)+len(s.dirs)/4 {
			places *= 2
		}
		var err error
		if s.counters, err = r.openCounters(s.hierarchy.Version(), places); err != nil {
			s.counters = nil
			r.refuseCounters(err)
			return
		}
	}
	for i := range s.dirs {
		if s.counters != nil && s.dirs[i].place < 0 && i != s.flushes() {
			s.enlist(i, r)
		}
	}
}

// flushes is the directory whose file has to be read first, upon which the kernel
// adds up what the CPUs have counted for all below it (css_rstat_flush in
// kernel/cgroup/rstat.c); -1: v1 keeps no such sums.
func (s *subsystem) flushes() int {
	if s.hierarchy.Version() != 2 {
		return -1
	}
	return s.index[s.root.Dir]
}

// stopCounting gives every place back; the files are read from now on.
func (s *subsystem) stopCounting() {
	if s.counters == nil {
		return
	}
	s.counters.Close()
	s.counters, s.counted = nil, 0
	for i := range s.dirs {
		s.dirs[i].place = -1
	}
}

// refuseCounters: what is refused once is not tried again.
func (r *meters) refuseCounters(err error) {
	r.openCounters, r.refused = nil, err
}

// enlist gives directory i a place, if it is there.
func (s *subsystem) enlist(i int, r *meters) {
	d := &s.dirs[i]
	fd, err := r.kernel.open(s.hierarchy, d.dir, "")
	if err != nil {
		return // reading its file says why
	}
	defer r.kernel.close(fd)
	place, err := s.counters.Add(fd)
	switch {
	case err == nil:
		d.place = place
		r.close(&d.meter)
	case !errors.Is(err, fs.ErrNotExist):
		s.refuse(r, err)
	}
}

// refuse goes back to the files.
func (s *subsystem) refuse(r *meters, err error) {
	s.stopCounting()
	r.refuseCounters(err)
	s.descent = newDescent(s, r.kernel)
}

// readCounters samples every directory without its file, but for those that are
// not there yet, or any more.
func (s *subsystem) readCounters(r *meters, devices *[]cgfs.DeviceBytes) (unread int, reason error) {
	s.counted = 0
	flush := s.flushes()
	if flush >= 0 {
		s.dirs[flush].take(s.readDirectory(flush, r, devices), &unread, &reason)
	}
	if err := s.counters.Read(); err != nil {
		s.refuse(r, err)
		return s.read(r, devices)
	}
	for i := range s.dirs {
		if i == flush {
			continue
		}
		d := &s.dirs[i]
		if d.place >= 0 {
			if d.number, d.ok = s.counters.Value(d.place); d.ok {
				s.counted++
				continue
			}
			s.counters.Remove(d.place)
			d.place = -1
		}
		if s.counters != nil {
			s.enlist(i, r) // it was made meanwhile, or made again
		}
		if d.place >= 0 {
			d.number, d.ok = s.counters.Value(d.place)
			s.counted++
			continue
		}
		d.take(s.readDirectory(i, r, devices), &unread, &reason)
	}
	return unread, reason
}

// take takes note of how d was read.
func (d *directory) take(err error, unread *int, reason *error) {
	d.ok = err == nil
	if err != nil {
		*unread++
		*reason = err
	}
}
