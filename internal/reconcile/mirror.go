package reconcile

import (
	"slices"
	"strconv"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// follow lets the members of a mirror be those of the hierarchy it follows:
// whoever sits in cpu:/a sits in cpuacct:/a, also when somebody else put it there
// (cgexec). at are the cgroups to compare, relative to our root.
//
// Listing repeats while processes still move, because one may fork between its
// move in the one hierarchy and in the other; but nobody is moved twice.
func (r *Reconciler) follow(t *Tree, at []string, p *placer) {
	moved := map[int]bool{}
	for range maxListings {
		var moves []move
		for _, m := range r.astray(t, at, nil) {
			if !moved[m.pid] && p.failed[t.Hierarchy][m.pid] == nil {
				moved[m.pid] = true
				moves = append(moves, m)
			}
		}
		if p.move(t, moves) == 0 {
			return
		}
	}
}

// astray says which processes of a mirror have to go where. coming are processes
// that are about to be moved in the followed hierarchy, and where to.
func (r *Reconciler) astray(t *Tree, at []string, coming map[int]string) []move {
	from, to := r.observers[t.Follows], r.observers[t.Hierarchy]
	if from == nil || to == nil {
		return nil
	}
	doubtful := map[int]bool{} // and whether some of its threads are elsewhere
	for _, p := range at {
		if t.Full(p) == "" {
			continue // a hierarchy's own root holds whoever is nowhere else
		}
		want, _ := from.fs.Procs(t.Full(p), nil) // not made yet: nobody is there
		if home := homeIn(r.desired.Trees, t.Follows, p); home != p {
			want, _ = from.fs.Procs(t.Full(home), want)
		}
		have, _ := to.fs.Procs(t.Full(p), nil)
		for _, pid := range outer(want, have) {
			doubtful[pid] = doubtful[pid] || false
		}
		if r.listings > 0 {
			for _, pid := range split(to.fs, t.Full(p), have, r.members.lister.Threads) {
				doubtful[pid] = true
			}
		}
	}
	for pid := range coming {
		doubtful[pid] = doubtful[pid] || false
	}
	var out []move
	for _, pid := range sortedPIDs(doubtful) {
		target, here, ok := r.mirrored(t, pid, coming)
		if ok && (here != target || doubtful[pid]) {
			out = append(out, move{pid, target})
		}
	}
	return out
}

// homeIn is where the processes of a configured cgroup are in a hierarchy.
func homeIn(trees []*Tree, hierarchy, p string) string {
	for _, t := range trees {
		if t.Hierarchy == hierarchy {
			return t.HomeOf(p)
		}
	}
	return p
}

// outer are the members of one of two lists but not of the other.
func outer(a, b []int) []int {
	slices.Sort(a)
	slices.Sort(b)
	var out []int
	for _, pair := range [2][2][]int{{a, b}, {b, a}} {
		for _, pid := range pair[0] {
			if _, both := slices.BinarySearch(pair[1], pid); !both {
				out = append(out, pid)
			}
		}
	}
	return out
}

// mirrored is the nearest cgroup of the mirror that stands for where a process
// sits in the hierarchy that is followed (its first thread, if they are spread),
// and where in the mirror it is. ok is false when it has ended or must be left
// where it is.
func (r *Reconciler) mirrored(t *Tree, pid int, coming map[int]string) (target, here string, ok bool) {
	where, err := cgfs.Where(strconv.Itoa(pid))
	if err != nil {
		return "", "", false
	}
	dir, inside := r.hierarchies[t.Hierarchy].Dir(where)
	here, below := relativeTo(t.Root, dir)
	switch {
	case !inside || !below:
		here = outside
	case r.opt.Shield.Named(t.All, here):
		return "", "", false
	}
	target, planned := coming[pid]
	if !planned {
		source, inside := r.hierarchies[t.Follows].Dir(where)
		if target, below = relativeTo(t.Root, source); !inside || !below {
			target = ""
		}
	}
	for target != "" {
		if _, configured := t.Dir(target); configured {
			break
		}
		target = parent(target)
	}
	return target, here, true
}

// outside is no path: somewhere else than below our root.
const outside = "/"

// mirrorMoves are the moves in mirrors that follow from who is where in the
// followed hierarchy, and from who is about to be moved there.
func (r *Reconciler) mirrorMoves(plan Plan) Plan {
	var out Plan
	for _, t := range r.desired.Trees {
		if t.Mode != Mirror {
			continue
		}
		coming := map[int]string{}
		for _, s := range plan {
			switch {
			case s.Tree.Hierarchy != t.Follows:
			case s.Op == OpMove:
				coming[s.PID] = s.Path
			case s.Op == OpEvacuate:
				pids, _ := r.observers[t.Follows].fs.Procs(s.Dir, nil)
				for _, pid := range pids {
					if _, placed := coming[pid]; !placed {
						coming[pid] = s.Into
					}
				}
			}
		}
		for _, m := range r.astray(t, t.paths(), coming) {
			out = append(out, Step{Op: OpMove, Phase: PhaseMove, Tree: t, Dir: t.Full(m.path), Path: m.path, PID: m.pid})
		}
	}
	return out
}

// paths are the paths of every configured cgroup.
func (t *Tree) paths() []string {
	var out []string
	for _, d := range t.Dirs {
		out = append(out, d.Path)
	}
	return out
}
