package account

import (
	"fmt"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// deviceID is a block device's number.
type deviceID struct{ major, minor uint32 }

func (d deviceID) String() string { return fmt.Sprintf("%d:%d", d.major, d.minor) }

// count is what was read from and written to one device, in bytes. has tells
// "never used" from zero.
type count struct {
	read, write uint64
	has         bool
}

func (c *count) add(d count) {
	c.read += d.read
	c.write += d.write
	c.has = c.has || d.has
}

// deviceTable holds the counts of directories (rows, parents before children)
// by device (columns, in the order of discovery).
//
// The kernel's counters of a removed cgroup are gone with it (blkio's plain
// files count one cgroup, and the _recursive ones drop removed children). A
// total that fell when a child ends would make every rate derived from it
// nonsense, so what a child had counted stays with its parent, in carry, and
// moves on upwards when the parent is removed in its turn.
type deviceTable struct {
	ids    []deviceID
	parent []int // row of the parent directory, -1: nothing is carried
	last   []count
	carry  []count
	total  []count // of the slot being sampled: last and carry, with all below
	seen   []bool  // scratch, by column
}

func newDeviceTable(ids []deviceID, parent []int) *deviceTable {
	n := len(ids) * len(parent)
	return &deviceTable{
		ids: ids, parent: parent,
		last: make([]count, n), carry: make([]count, n), total: make([]count, n),
		seen: make([]bool, len(ids)),
	}
}

func (t *deviceTable) row(counts []count, i int) []count {
	n := len(t.ids)
	return counts[i*n : (i+1)*n]
}

// column finds or makes the device's column. hint is where it is likely to be.
func (t *deviceTable) column(id deviceID, hint int) int {
	if hint < len(t.ids) && t.ids[hint] == id {
		return hint
	}
	if c := slices.Index(t.ids, id); c >= 0 {
		return c
	}
	t.widen(id)
	return len(t.ids) - 1
}

// widen adds a column; rare, so it simply copies.
func (t *deviceTable) widen(id deviceID) {
	wide := newDeviceTable(append(slices.Clone(t.ids), id), t.parent)
	copy(wide.seen, t.seen)
	for i := range t.parent {
		copy(wide.row(wide.last, i), t.row(t.last, i))
		copy(wide.row(wide.carry, i), t.row(t.carry, i))
		copy(wide.row(wide.total, i), t.row(t.total, i))
	}
	*t = *wide
}

// store takes what row i's file says now, and tells whether that is news. A counter that restarted, because the
// device was replaced or somebody reset it, leaves what it had with the parent.
func (t *deviceTable) store(i int, devices []cgfs.DeviceBytes) (changed bool) {
	for n, d := range devices {
		c := t.column(deviceID{d.Major, d.Minor}, n)
		last := &t.row(t.last, i)[c]
		now := count{d.Read, d.Write, true}
		if now.read < last.read || now.write < last.write {
			t.leave(i, c)
		}
		changed = changed || *last != now
		*last = now
		t.seen[c] = true
	}
	for c, seen := range t.seen {
		if !seen && t.row(t.last, i)[c].has {
			t.leave(i, c)
		}
		t.seen[c] = false
	}
	return changed
}

// leave moves what row i last counted for column c to its parent.
func (t *deviceTable) leave(i, c int) {
	last := &t.row(t.last, i)[c]
	if p := t.parent[i]; p >= 0 {
		t.row(t.carry, p)[c].add(*last)
	}
	*last = count{}
}

// remove moves everything that row i stands for to its parent: its cgroup is
// gone. Children come first, so that what they left moves on.
func (t *deviceTable) remove(i int) {
	for c := range t.ids {
		t.leave(i, c)
		carry := &t.row(t.carry, i)[c]
		if p := t.parent[i]; p >= 0 {
			t.row(t.carry, p)[c].add(*carry)
		}
		*carry = count{}
	}
}

// sum completes row i's total, when all its children's are, and adds it to its
// parent's.
func (t *deviceTable) sum(i int) {
	p := t.parent[i]
	for c := range t.ids {
		total := &t.row(t.total, i)[c]
		total.add(t.row(t.last, i)[c])
		total.add(t.row(t.carry, i)[c])
		if p >= 0 {
			t.row(t.total, p)[c].add(*total)
		}
	}
}

// used lists the devices that any row has something for.
func (t *deviceTable) used() []deviceID {
	var ids []deviceID
	for c, id := range t.ids {
		for i := range t.parent {
			if t.row(t.last, i)[c].has || t.row(t.carry, i)[c].has {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

// copyRow takes row j of the table from, column by device.
func (t *deviceTable) copyRow(i int, from *deviceTable, j int) {
	for c, id := range t.ids {
		if k := slices.Index(from.ids, id); k >= 0 {
			t.row(t.last, i)[c] = from.row(from.last, j)[k]
			t.row(t.carry, i)[c] = from.row(from.carry, j)[k]
		}
	}
}
