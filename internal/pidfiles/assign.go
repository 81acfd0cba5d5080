package pidfiles

import (
	"cmp"
	"maps"
	"slices"
)

// An Ident tells one process from every other one since boot: a pid alone is given again.
type Ident struct {
	PID   int
	Start uint64 // clock ticks since boot
}

// A Named process is one that a pid file names.
type Named struct {
	Path  string // of the cgroup
	Start uint64 // clock ticks since boot
}

// An Assignment says that a process belongs to a cgroup.
type Assignment struct {
	PID    int
	Start  uint64
	Path   string // of the cgroup
	Root   Ident  // the named process through which it belongs there; itself when it is named
	Parent Ident  // its parent, when it belongs there as a child of that one; else zero
}

// Ident returns which process it is.
func (a *Assignment) Ident() Ident { return Ident{PID: a.PID, Start: a.Start} }

// A History remembers processes that were placed, so that they stay ours when their parent ends and init or another
// reaper becomes it. One history belongs to one subsystem. [History.Update] keeps it; make it with make.
type History map[Ident]Placed

// Placed is what a [History] knows about a process.
type Placed struct {
	Root   Ident // the named process through which it was placed
	Parent Ident // its parent when it was last seen below Root; zero for Root itself and for an orphan
}

// Update notes what was assigned, and forgets the processes that have ended. procs is the scan that the assignments
// were made from. An unassigned process is kept while it lives: its root's pid file may be readable again at the next
// pass.
func (h History) Update(procs []Proc, assigned []Assignment) {
	maps.DeleteFunc(h, func(id Ident, _ Placed) bool {
		p := find(procs, id.PID)
		return p == nil || p.Start != id.Start || p.Ended()
	})
	for i := range assigned {
		a := &assigned[i]
		if old, ok := h[a.Ident()]; ok && old.Root == a.Root && old.Parent != a.Parent {
			continue // re-parented: what it was before is what has to be remembered
		}
		h[a.Ident()] = Placed{Root: a.Root, Parent: a.Parent}
	}
}

// A Pass is what [Assign] has to know besides the processes.
type Pass struct {
	History History // may be nil
	Since   uint64  // when the pass began, from [Ticks]
	Self    int     // our own pid: never assigned, and neither is what we start, unless it is named
}

// Assign says which process belongs to which cgroup in one subsystem. It is pure. procs comes from [Scanner.Scan] and is
// sorted by pid; named maps the pid of each named process.
//
//   - A named process belongs where it is named. Any other one belongs where its nearest named ancestor does.
//   - A process that was placed, and has another parent since, stays with the named process through which it was
//     placed, as long as that one is named and alive, unless a nearer one has become an ancestor.
//   - An orphan that started since the pass began belongs with the leader of its process group or session, when that
//     leader is assigned: its parent was ours, and ended before it could be seen.
//   - Pid 1, kernel threads, processes that have ended, and Self are never assigned, and nothing is through them.
//
// The result is in an order in which a parent comes before its children; the same input gives the same result.
func Assign(procs []Proc, named map[int]Named, pass Pass) []Assignment {
	a := assigner{
		procs: procs, named: named, pass: pass,
		parents: make([]int, len(procs)), roots: make([]root, len(procs)), emitted: make([]bool, len(procs)),
	}
	for i := range procs {
		a.parents[i] = a.parent(i)
	}
	a.resolveAll()
	for a.adopt() {
		a.resolveAll()
	}
	result := make([]Assignment, 0, len(named))
	for i := range procs {
		result = a.emit(i, result)
	}
	return result
}

// assigner holds the state of one Assign. Processes are known by their index.
type assigner struct {
	procs   []Proc
	named   map[int]Named
	pass    Pass
	parents []int // -1: none
	roots   []root
	emitted []bool
}

// root is the named process that another one belongs to.
type root struct {
	state resolution
	index int  // when found
	child bool // when found: through the parent
}

type resolution uint8

const (
	unresolved resolution = iota
	resolving             // in a scan that was torn by a reused pid, parents can form a ring
	none
	found
)

// resolveAll finds the root of each process that has none yet, by name, history and ancestors.
func (a *assigner) resolveAll() {
	for i := range a.roots {
		if a.roots[i].state == none {
			a.roots[i].state = unresolved
		}
	}
	for i := range a.roots {
		a.resolve(i)
	}
}

// resolve finds the root of process i. It asks about nothing but ancestors: with orphans' leaders in the same recursion, the
// answer would depend on which process is asked about first.
func (a *assigner) resolve(i int) root {
	if a.roots[i].state == unresolved {
		a.roots[i].state = resolving
		a.roots[i] = a.decide(i)
	}
	return a.roots[i]
}

func (a *assigner) decide(i int) root {
	if !a.usable(i) {
		return root{state: none}
	}
	if a.isNamed(i) {
		return root{state: found, index: i}
	}
	parent := a.parents[i]
	if placed, ok := a.pass.History[a.ident(i)]; ok && placed.Parent != a.ident(parent) {
		if r := a.index(placed.Root); r >= 0 && a.isNamed(r) && !a.descends(i, r) {
			return root{state: found, index: r}
		}
	}
	if parent >= 0 {
		if r := a.resolve(parent); r.state == found {
			return root{state: found, index: r.index, child: true}
		}
	}
	return root{state: none}
}

// adopt finds a root for orphans, and reports whether it found one: then others may have become descendants.
func (a *assigner) adopt() (adopted bool) {
	for i := range a.procs {
		if a.roots[i].state != none || a.procs[i].Start < a.pass.Since || !a.usable(i) || !a.isOrphan(i) {
			continue
		}
		for _, leader := range [...]int{a.procs[i].PGrp, a.procs[i].Session} {
			if r := a.leaderRoot(leader); r >= 0 {
				a.roots[i] = root{state: found, index: r}
				adopted = true
				break
			}
		}
	}
	return adopted
}

// isOrphan reports whether a process's parent is not the one that started it. A parent in the process's own session may
// well be: a shell puts the processes of a pipeline into the group of the first one, whose children they are not.
func (a *assigner) isOrphan(i int) bool {
	parent := a.parents[i]
	return parent < 0 || a.procs[parent].PID == 1 || a.procs[parent].Session != a.procs[i].Session
}

// leaderRoot returns the root of a process that leads its process group or session, -1 when it has none.
func (a *assigner) leaderRoot(pid int) int {
	l := a.find(pid)
	if l < 0 || a.roots[l].state != found || a.procs[l].PGrp != pid {
		return -1 // a session's leader leads its process group as well
	}
	return a.roots[l].index
}

// usable reports whether a process may be assigned at all.
func (a *assigner) usable(i int) bool {
	p := &a.procs[i]
	return p.PID != 1 && p.PID != a.pass.Self && !p.Kernel && !p.Ended()
}

// isNamed reports whether a process is named, and may be.
func (a *assigner) isNamed(i int) bool {
	name, ok := a.named[a.procs[i].PID]
	return ok && name.Start == a.procs[i].Start && a.usable(i)
}

// descends reports whether r is an ancestor of process i.
func (a *assigner) descends(i, r int) bool {
	// No chain is longer than there are processes; a ring would be.
	for range a.procs {
		if i = a.parents[i]; i < 0 {
			return false
		}
		if i == r {
			return true
		}
	}
	return false
}

// parent returns the index of a process's parent, -1 when there is none. A "parent" that is younger than its child has
// got the pid of the real one during the scan.
func (a *assigner) parent(i int) int {
	p := &a.procs[i]
	q := a.find(p.PPID)
	if q < 0 || a.procs[q].Start > p.Start {
		return -1
	}
	return q
}

// emit appends process i, its parent first.
func (a *assigner) emit(i int, result []Assignment) []Assignment {
	if a.emitted[i] || a.roots[i].state != found {
		return result
	}
	a.emitted[i] = true
	parent := a.parents[i]
	if parent >= 0 {
		result = a.emit(parent, result)
	}
	p, r := &a.procs[i], &a.procs[a.roots[i].index]
	assigned := Assignment{PID: p.PID, Start: p.Start, Path: a.named[r.PID].Path, Root: r.Ident()}
	if a.roots[i].child {
		assigned.Parent = a.ident(parent)
	}
	return append(result, assigned)
}

// ident returns which process index i is; zero for none.
func (a *assigner) ident(i int) Ident {
	if i < 0 {
		return Ident{}
	}
	return a.procs[i].Ident()
}

// index returns where a process is, -1 when it has ended.
func (a *assigner) index(id Ident) int {
	i := a.find(id.PID)
	if i < 0 || a.procs[i].Start != id.Start {
		return -1
	}
	return i
}

// find returns where a pid is, or -1.
func (a *assigner) find(pid int) int {
	i, ok := search(a.procs, pid)
	if !ok {
		return -1
	}
	return i
}

// find returns the process with a pid, or nil; procs is sorted by pid.
func find(procs []Proc, pid int) *Proc {
	i, ok := search(procs, pid)
	if !ok {
		return nil
	}
	return &procs[i]
}

func search(procs []Proc, pid int) (int, bool) {
	return slices.BinarySearchFunc(procs, pid, func(p Proc, pid int) int { return cmp.Compare(p.PID, pid) })
}
