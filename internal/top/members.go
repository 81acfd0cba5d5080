package top

import (
	"math"
	"slices"
)

// count fills in how many processes are in and below each cgroup, from the members
// that the status lists by subsystem and path. It does nothing, and says so, where
// usage tells the number itself.
func (f *Frame) count(members map[string]map[string][]int) bool {
	if len(members) == 0 || slices.ContainsFunc(f.Rows, func(r Row) bool { return !math.IsNaN(r.Pids) }) {
		return false
	}
	most := map[string]int{} // of the subsystem that knows most of them
	for _, cgroups := range members {
		sums := map[string]int{}
		for path, pids := range cgroups {
			for ; path != ""; path = parent(path) {
				sums[path] += len(pids)
			}
			sums[""] += len(pids)
		}
		for path, n := range sums {
			most[path] = max(most[path], n)
		}
	}
	for i := range f.Rows {
		f.Rows[i].Pids = float64(most[f.Rows[i].Path])
	}
	return true
}
