package cgfs

import (
	"bytes"
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
	threads := threadsOf(pid)
	if len(threads) == 0 {
		return nil, false, fmt.Errorf("list threads of %d: %w", pid, ErrGone)
	}
	for _, tid := range threads {
		if slices.Contains(here, tid) {
			in = append(in, tid)
		}
	}
	return in, len(in) == len(threads), nil
}

// Split takes apart processes that [Hierarchy.Procs] has listed in dir: those that are
// in it with all their threads, and of the others the threads that are. On v2 what
// Procs lists is whole.
func (h *Hierarchy) Split(dir string, pids []int) (whole, threads []int, err error) {
	if h.mount.Version == 2 || len(pids) == 0 {
		return pids, nil, nil
	}
	of := make([][]int, len(pids)) // before dir is read: a thread born later is not missed there
	for i, pid := range pids {
		of[i] = threadsOf(pid)
	}
	tasks, err := h.Tasks(dir, nil)
	if err != nil {
		return nil, nil, err
	}
	here := make(map[int]bool, len(tasks))
	for _, tid := range tasks {
		here[tid] = true
	}
	for i, pid := range pids {
		if !slices.ContainsFunc(of[i], func(tid int) bool { return !here[tid] && Runs(pid, tid) }) {
			whole = append(whole, pid)
			continue
		}
		for _, tid := range of[i] {
			if here[tid] {
				threads = append(threads, tid)
			}
		}
	}
	return whole, threads, nil
}

// threadsOf are the threads of a process; none of one that has ended.
func threadsOf(pid int) (tids []int) {
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// Runs says whether a thread has not ended: a first thread that has is listed with its
// process until the others have, but in no cgroup's tasks (proc_pid_stat(5), state).
func Runs(pid, tid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	i := bytes.LastIndexByte(data, ')')
	return err == nil && i >= 0 && i+2 < len(data) && data[i+2] != 'Z' && data[i+2] != 'X'
}

// MoveThread moves one thread into dir; on v2 within a threaded subtree.
func (h *Hierarchy) MoveThread(dir string, tid int) error {
	file := "tasks"
	if h.mount.Version == 2 {
		file = "cgroup.threads"
	}
	return h.Write(dir, file, strconv.Itoa(tid))
}
