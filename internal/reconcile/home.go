package reconcile

import (
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
)

// home is where processes of a configured cgroup belong, and who is there.
type home struct {
	path    string
	pids    []int // sorted
	after   bool  // pids were read after the listing
	checked bool  // for split
	split   []int // of pids, those of which some threads are elsewhere
}

func (h *home) holds(pid int) bool {
	_, ok := slices.BinarySearch(h.pids, pid)
	return ok
}

// home returns the home of a configured cgroup. It is read once for the named
// processes, before the listing; that is enough while everybody is there.
func (p *placer) home(t *Tree, path string) *home {
	if h := p.homes[t][path]; h != nil {
		return h
	}
	if p.homes[t] == nil {
		p.homes[t] = map[string]*home{}
	}
	h := &home{path: t.HomeOf(path), after: p.listings > 0}
	p.homes[t][path] = h
	p.fill(t, h)
	return h
}

// reread reads a home after the listing.
func (p *placer) reread(t *Tree, h *home) {
	h.after = true
	p.fill(t, h)
}

// fill reads who is in a home. It is empty while it does not exist.
func (p *placer) fill(t *Tree, h *home) {
	h.pids = h.pids[:0]
	o := p.r.observers[t.Hierarchy]
	if o == nil || o.state.Nodes[h.path] == nil {
		return
	}
	pids, err := o.fs.Procs(t.Full(h.path), h.pids)
	if err != nil {
		return
	}
	if !slices.IsSorted(pids) {
		slices.Sort(pids)
	}
	h.pids = pids
}

// findSplit finds the processes that are not whole in a home, once a pass: what is
// moved in it is moved as a whole.
func (p *placer) findSplit(t *Tree, h *home) {
	if h.checked {
		return
	}
	h.checked = true
	if t.Controlled || p.listings > 1 {
		return // whole processes only
	}
	threads := p.r.members.lister.Threads
	if !slices.ContainsFunc(h.pids, func(pid int) bool { return threads(pid) > 1 }) {
		return
	}
	if !h.after {
		p.reread(t, h) // what was born inside meanwhile has threads there as well
	}
	if o := p.r.observers[t.Hierarchy]; o != nil {
		h.split = split(o.fs, t.Full(h.path), h.pids, threads)
	}
}

// split finds processes of which only some threads are in dir: a v1 hierarchy
// places threads, and tools that write to `tasks` (as our ancestor did) move one.
// One comparison of sums is enough while everything is whole. threads counts the
// threads of a process, 0 of one that is not known.
func split(fs FS, dir string, pids []int, threads func(pid int) int) []int {
	sum, several := 0, false
	for _, pid := range pids {
		n := threads(pid)
		sum += n
		several = several || n > 1
	}
	if !several {
		return nil
	}
	tasks, err := fs.Tasks(dir, nil)
	if err != nil || len(tasks) >= sum {
		return nil
	}
	in := make(map[int]bool, len(tasks))
	for _, tid := range tasks {
		in[tid] = true
	}
	var out []int
	for _, pid := range pids {
		if threads(pid) < 2 {
			continue
		}
		tids, err := pidfiles.Threads(pid)
		if err == nil && slices.ContainsFunc(tids, func(tid int) bool { return !in[tid] && cgfs.Runs(pid, tid) }) {
			out = append(out, pid)
		}
	}
	return out
}

// placed reports whether a process is whole where it belongs.
func (p *placer) placed(t *Tree, h *home, a *pidfiles.Assignment) bool {
	// Before the listing there may have been another process with that pid.
	if h.after || a.Start < p.since {
		if h.holds(a.PID) {
			return !slices.Contains(h.split, a.PID)
		}
		if h.after {
			return false
		}
	}
	p.reread(t, h)
	return h.holds(a.PID) && !slices.Contains(h.split, a.PID)
}
