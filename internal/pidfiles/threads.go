package pidfiles

import (
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Threads returns the threads of a process, sorted. On cgroup v1 they may sit in different cgroups. The error wraps
// fs.ErrNotExist when the process has ended.
func Threads(pid int) ([]int, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	tids := make([]int, 0, len(names))
	for _, name := range names {
		tid, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir.Name(), err)
		}
		tids = append(tids, tid)
	}
	slices.Sort(tids)
	return tids, nil
}
