package cgfs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
)

// ThreadsIn gives those threads of a process that are in dir, and says whether
// there are no others. On v1 they may be spread over cgroups, as libvirt does with
// virtual processors.
func (h *Hierarchy) ThreadsIn(dir string, pid int) (in []int, all bool, err error) {
	here, err := h.Tasks(dir, nil)
	if err != nil {
		return nil, false, err
	}
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrGone, err)
	}
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil && slices.Contains(here, tid) {
			in = append(in, tid)
		}
	}
	return in, len(in) == len(threads), nil
}

// MoveThread moves one thread into dir; on v2 within a threaded subtree.
func (h *Hierarchy) MoveThread(dir string, tid int) error {
	file := "tasks"
	if h.mount.Version == 2 {
		file = "cgroup.threads"
	}
	return h.Write(dir, file, strconv.Itoa(tid))
}
