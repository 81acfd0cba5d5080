package top

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Column is what a table is sorted by.
type Column int

// The columns, in the order of the screen.
const (
	ByCPU Column = iota
	ByDisk
	ByRead
	ByWrite
	ByMemory
	ByPids
	ByName
)

// Columns are the columns by the names that the command line has for them.
var Columns = map[string]Column{
	"cpu": ByCPU, "disk": ByDisk, "read": ByRead, "write": ByWrite, "memory": ByMemory, "processes": ByPids, "name": ByName,
}

// line is a row of the table with its place in the tree.
type line struct {
	*Row
	depth int
}

// arrange orders and filters a frame's rows. As a tree, a cgroup's children
// follow it, and a cgroup stays when one below it matches; our root always
// stays, and comes first.
func arrange(f *Frame, by Column, upward, tree bool, filter string) []line {
	if f == nil {
		return nil
	}
	var lines []line
	for i := range f.Rows {
		lines = append(lines, line{Row: &f.Rows[i]})
	}
	if tree {
		return arrangeTree(lines, by, upward, filter)
	}
	lines = slices.DeleteFunc(lines, func(l line) bool { return l.Path != "" && !matches(l.Path, filter) })
	slices.SortStableFunc(lines, func(a, b line) int { return compareRows(a.Row, b.Row, by, upward) })
	return lines
}

func matches(path, filter string) bool {
	return strings.Contains(strings.ToLower(path), strings.ToLower(filter))
}

// arrangeTree walks down from the root, siblings in order.
func arrangeTree(lines []line, by Column, upward bool, filter string) []line {
	children := map[string][]line{}
	keep := map[string]bool{"": true}
	var root []line
	for _, l := range lines {
		if l.Path == "" {
			root = append(root, l)
			continue
		}
		children[parent(l.Path)] = append(children[parent(l.Path)], l)
		for p := l.Path; matches(l.Path, filter) && p != ""; p = parent(p) {
			keep[p] = true
		}
	}
	out := root
	var walk func(path string, depth int)
	walk = func(path string, depth int) {
		below := children[path]
		slices.SortStableFunc(below, func(a, b line) int { return compareRows(a.Row, b.Row, by, upward) })
		for _, l := range below {
			if keep[l.Path] {
				l.depth = depth
				out = append(out, l)
				walk(l.Path, depth+1)
			}
		}
	}
	walk("", 1)
	return out
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// compareRows puts the largest first, or the smallest, the unknown always last and
// our root before all.
func compareRows(a, b *Row, by Column, upward bool) int {
	if (a.Path == "") != (b.Path == "") {
		return cmp.Compare(len(a.Path), len(b.Path))
	}
	sign := 1
	if upward {
		sign = -1
	}
	if by == ByName {
		return sign * comparePaths(a.Path, b.Path)
	}
	x, y := a.usage(by), b.usage(by)
	c := cmp.Compare(unknown(x), unknown(y))
	if c == 0 && !math.IsNaN(x) {
		c = sign * cmp.Compare(y, x)
	}
	return cmp.Or(c, comparePaths(a.Path, b.Path))
}

func unknown(v float64) int {
	if math.IsNaN(v) {
		return 1
	}
	return 0
}

func (r *Row) usage(by Column) float64 {
	switch by {
	case ByCPU:
		return r.CPU
	case ByDisk:
		if math.IsNaN(r.Read) {
			return r.Write
		}
		return sum(r.Write, r.Read)
	case ByRead:
		return r.Read
	case ByWrite:
		return r.Write
	case ByMemory:
		return r.Memory
	case ByPids:
		return r.Pids
	default:
		return 0
	}
}
