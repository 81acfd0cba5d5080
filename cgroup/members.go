package cgroup

import (
	"errors"
	"os"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Procs are the processes in the cgroup itself, by number, sorted; of a node of
// several hierarchies those that are in it in any.
func (n *Node) Procs() ([]int, error) {
	hs, err := n.existing()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, h := range hs {
		if pids, err = h.Procs(n.dir(), pids); err != nil {
			return nil, explainThreaded(h, n.dir(), err)
		}
	}
	return sorted(pids), nil
}

// explainThreaded says why a cgroup does not know of processes: v2 lists, moves and kills
// them in the one above that is the domain of its threads (cgroup-v2.rst, "Threads").
func explainThreaded(h *cgfs.Hierarchy, dir string, err error) error {
	if h.Version() != 2 || !errors.Is(err, ErrNotSupported) {
		return err
	}
	for up := dir; up != ""; up = parent(up) {
		kind, typeErr := h.Read(up, "cgroup.type")
		if typeErr != nil || up == dir && kind != "threaded" {
			return err
		}
		if kind != "threaded" {
			return faultf(err, "%s: it is threaded and has threads (tasks) of the processes of %s, but no processes", h.Display(dir), h.Display(up))
		}
	}
	return err
}

func sorted(pids []int) []int {
	slices.Sort(pids)
	return slices.Compact(pids)
}

// AllProcs are the processes in the cgroup and in all below it.
func (n *Node) AllProcs() ([]int, error) {
	var pids []int
	for node, err := range n.Walk() {
		if err != nil {
			return nil, err
		}
		own, err := node.Procs()
		if (vanished(err) || errors.Is(err, ErrNotSupported)) && node.path != n.path {
			continue // a threaded cgroup of v2 has threads of processes that are listed above it
		}
		if err != nil {
			return nil, err
		}
		pids = append(pids, own...)
	}
	return sorted(pids), nil
}

// Add moves processes, each with all its threads, into the cgroup. It is silent
// about those that are there. ErrGone: one has ended; the others are moved all
// the same.
func (n *Node) Add(pids ...int) error {
	hs, err := n.existing()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hs {
		errs = append(errs, n.addIn(h, pids))
	}
	return errors.Join(errs...)
}

func (n *Node) addIn(h *cgfs.Hierarchy, pids []int) error {
	missing, err := n.others(h, pids)
	if err != nil || len(missing) == 0 {
		return err
	}
	var errs []error
	err = h.Move(n.dir(), missing, func(_ int, err error) { errs = append(errs, explainedMove(h, n.dir(), err)) })
	return errors.Join(append(errs, err)...)
}

// others are those of pids that are not in the cgroup: a write that changes
// nothing would make the kernel wait for all that.
func (n *Node) others(h *cgfs.Hierarchy, pids []int) ([]int, error) {
	in, err := h.Procs(n.dir(), nil)
	if err != nil {
		return nil, explainThreaded(h, n.dir(), err)
	}
	var out []int
	for _, pid := range pids {
		if pid < 1 {
			return nil, faultf(ErrInvalid, "%d: not a process", pid)
		}
		there := slices.Contains(in, pid)
		if there && h.Version() == 1 {
			_, all, err := h.ThreadsIn(n.dir(), pid)
			there = all && err == nil // else it has threads elsewhere as well
		}
		if !there {
			out = append(out, pid)
		}
	}
	return out, nil
}

// Remove moves processes out of the cgroup, to its parent, or on v2 to the nearest
// cgroup above that takes processes; of a process that has threads elsewhere as well
// (v1) only the threads that are in it. It is silent about those that are not in it.
func (n *Node) Remove(pids ...int) error {
	if n.path == "" {
		return faultf(ErrNotSupported, "remove from %s: there is nothing above it", n)
	}
	hs, err := n.existing()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hs {
		in, err := h.Procs(n.dir(), nil)
		if err != nil {
			errs = append(errs, explainThreaded(h, n.dir(), err))
			continue
		}
		in = slices.DeleteFunc(in, func(pid int) bool { return !slices.Contains(pids, pid) || isVisiting(h, n.dir(), pid) })
		errs = append(errs, leave(h, n.dir(), in, h, parent(n.dir())))
	}
	return errors.Join(errs...)
}

// isVisiting says whether a process is listed only because one of our threads starts
// a command there (see [Node.Start]).
func isVisiting(h *cgfs.Hierarchy, dir string, pid int) bool {
	if pid != os.Getpid() {
		return false
	}
	inside, err := contains(h, dir, "self")
	return err == nil && !inside
}
