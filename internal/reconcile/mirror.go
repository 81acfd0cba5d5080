package reconcile

import (
	"errors"
	"slices"
	"strconv"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// follow lets the members of a mirror be those of the hierarchy it follows:
// whoever sits in cpu:/a sits in cpuacct:/a, also when somebody else put it there
// (cgexec). at are the cgroups to compare, relative to our root.
//
// Listing repeats while processes still move, because one may fork between its
// move in the one hierarchy and in the other.
func (r *Reconciler) follow(t *Tree, at []string, a *applier) []Fault {
	from, to := r.observers[t.Follows], r.observers[t.Hierarchy]
	if from == nil || to == nil {
		return nil
	}
	failed := map[int]bool{}
	var faults []Fault
	for range maxListings {
		moved := 0
		for _, p := range at {
			if p == "" || to.state.Nodes[p] == nil || from.state.Nodes[p] == nil {
				continue
			}
			for target, pids := range r.astray(t, p, from.fs, to.fs, failed) {
				err := to.fs.Move(t.Full(target), pids, func(pid int, err error) {
					switch {
					case err == nil:
						moved++
						a.counts.Moved++
						if a.did != nil {
							a.did(Step{Op: OpMove, Tree: t, Dir: t.Full(target), Path: target, PID: pid})
						}
					case !errors.Is(err, cgfs.ErrGone):
						failed[pid] = true
						a.counts.Failed++
						faults = append(faults, Fault{Place: t.Hierarchy + ":/" + t.Full(target), Reason: err.Error()})
					}
				})
				if err != nil && unlessRemoved(err) != nil {
					a.counts.Failed++
					faults = append(faults, Fault{Place: t.Hierarchy + ":/" + t.Full(target), Reason: err.Error()})
				}
			}
		}
		if moved == 0 {
			break
		}
	}
	return faults
}

// astray says which processes of the mirror's cgroup p have to go where: into
// it, or out of it to the mirror of where they are now.
func (r *Reconciler) astray(t *Tree, p string, from, to FS, failed map[int]bool) map[string][]int {
	want, err := from.Procs(t.Full(p), nil)
	if err != nil {
		return nil
	}
	have, err := to.Procs(t.Full(p), nil)
	if err != nil {
		return nil
	}
	slices.Sort(want)
	slices.Sort(have)
	out := map[string][]int{}
	for _, pid := range split(to, t.Full(p), have, r.procs) {
		if _, in := slices.BinarySearch(want, pid); in && !failed[pid] {
			out[p] = append(out[p], pid)
		}
	}
	for _, pid := range want {
		if _, in := slices.BinarySearch(have, pid); !in && !failed[pid] {
			out[p] = append(out[p], pid)
		}
	}
	for _, pid := range have {
		if _, in := slices.BinarySearch(want, pid); in || failed[pid] {
			continue
		}
		if target, ok := r.mirrored(t, pid); ok && target != p {
			out[target] = append(out[target], pid)
		}
	}
	return out
}

// mirrored is the nearest cgroup of the mirror that stands for where a process
// sits in the hierarchy that is followed.
func (r *Reconciler) mirrored(t *Tree, pid int) (string, bool) {
	where, err := cgfs.Where(strconv.Itoa(pid))
	if err != nil {
		return "", false
	}
	dir, ok := r.hierarchies[t.Follows].Dir(where)
	p, below := relativeTo(t.Root, dir)
	if !ok || !below {
		return "", ok // outside our root: to our root
	}
	for ; p != ""; p = parent(p) {
		if _, configured := t.Dir(p); configured && r.observers[t.Hierarchy].state.Nodes[p] != nil {
			return p, true
		}
	}
	return "", true
}

// mirrorMoves are the moves into mirrors that follow from who is in the followed
// hierarchy and who is about to be moved there.
func (r *Reconciler) mirrorMoves(moves Plan) Plan {
	var out Plan
	for _, t := range r.desired.Trees {
		from, to := r.observers[t.Follows], r.observers[t.Hierarchy]
		if t.Mode != Mirror || from == nil || to == nil {
			continue
		}
		for _, d := range t.Dirs[1:] {
			// A cgroup that is not made yet has no members.
			want, _ := from.fs.Procs(t.Full(d.Path), nil)
			have, _ := to.fs.Procs(t.Full(d.Path), nil)
			for _, m := range moves {
				if m.Tree.Hierarchy == t.Follows && m.Path == d.Path {
					want = append(want, m.PID)
				}
			}
			for _, pid := range want {
				if !slices.Contains(have, pid) {
					out = append(out, Step{Op: OpMove, Tree: t, Dir: t.Full(d.Path), Path: d.Path, PID: pid})
				}
			}
		}
	}
	return out
}
