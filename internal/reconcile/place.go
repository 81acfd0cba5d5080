package reconcile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
)

// maxListings bounds how often one pass lists processes again because new ones
// appeared. Every listing but the first finds only what was born outside before
// its parent was moved, so two or three do.
const maxListings = 50

// members decides and moves who belongs where.
type members struct {
	source  *pidfiles.Source
	scanner *pidfiles.Scanner
	history map[string]pidfiles.History // by subsystem
}

// claimed is what the pid files say at one moment. Close it.
type claimed struct {
	claims []pidfiles.Claim
	byPID  map[int]*pidfiles.Claim
	named  map[string]map[int]pidfiles.Named // by subsystem
	faults []Fault
}

func (c *claimed) close() { pidfiles.CloseClaims(c.claims) }

// Cgroups are the cgroups that take processes, each with the subsystems in which
// it does.
func (d Desired) Cgroups() []pidfiles.Cgroup {
	at := map[string][]string{}
	for _, subsystem := range sortedKeys(d.Placed) {
		for _, p := range d.Placed[subsystem] {
			at[p] = append(at[p], subsystem)
		}
	}
	var out []pidfiles.Cgroup
	for _, p := range sortedKeys(at) {
		out = append(out, pidfiles.Cgroup{Path: p, Subsystems: at[p]})
	}
	return out
}

// read reads every pid file.
func (m *members) read(d Desired, cgroups []pidfiles.Cgroup) *claimed {
	c := &claimed{byPID: map[int]*pidfiles.Claim{}, named: map[string]map[int]pidfiles.Named{}}
	if m.source == nil {
		return c
	}
	c.claims = m.source.Read(cgroups)
	for i := range c.claims {
		if claim := &c.claims[i]; claim.State == pidfiles.OK {
			c.byPID[claim.PID] = claim
		}
	}
	for _, subsystem := range sortedKeys(d.Placed) {
		named, conflicts := pidfiles.NamedIn(subsystem, c.claims, cgroups)
		c.named[subsystem] = named
		for _, conflict := range conflicts {
			c.faults = append(c.faults, Fault{Place: subsystem + "/" + conflict.Cgroup, Reason: conflict.Error()})
		}
	}
	return c
}

// move is one process that is not where it belongs.
type move struct {
	pid  int
	path string
}

// assign says where each process of a tree belongs, parents first. Subsystems
// that share the hierarchy are asked in the order of their precedence.
func (m *members) assign(t *Tree, c *claimed, procs []pidfiles.Proc, since uint64) []pidfiles.Assignment {
	var out []pidfiles.Assignment
	taken := map[int]bool{}
	for _, subsystem := range Precedence(t.Subsystems) {
		if len(c.named[subsystem]) == 0 {
			continue
		}
		if m.history[subsystem] == nil {
			m.history[subsystem] = pidfiles.History{}
		}
		assigned := pidfiles.Assign(procs, c.named[subsystem], pidfiles.Pass{History: m.history[subsystem], Since: since, Self: os.Getpid()})
		m.history[subsystem].Update(procs, assigned)
		for _, a := range assigned {
			if !taken[a.PID] {
				taken[a.PID] = true
				out = append(out, a)
			}
		}
	}
	return out
}

// place moves every process where it belongs.
//
// The named processes are moved before anything is listed, so that whatever
// they fork from then on is born inside; then listing repeats until nothing new
// appears, each listing's moves in one burst, parents first.
func (p *placer) place() {
	r := p.r
	if r.members.source == nil {
		return
	}
	since := pidfiles.Ticks()
	if p.dry == nil {
		p.roots()
	}
	for i := range maxListings {
		list := r.members.scanner.Scan
		if i > 0 {
			list = r.members.scanner.Again // only who was born since is of interest
		}
		procs, err := list()
		if err != nil {
			p.refuse("placement", err)
			return
		}
		r.procs = procs
		r.listings++
		moved := 0
		for _, t := range r.desired.Trees {
			if t.Mode == Own {
				moved += p.move(t, p.misplaced(t, r.members.assign(t, p.claimed, procs, since), procs))
			}
		}
		if moved == 0 || p.dry != nil || p.applier.ctx.Err() != nil {
			return
		}
	}
	p.refuse("placement", fmt.Errorf("processes still appear outside their cgroups after %d listings", maxListings))
}

// newPlacer prepares the moves of one pass. dry, when not nil, is told each move
// instead of having it made.
func (r *Reconciler) newPlacer(c *claimed, a *applier, dry func(Step)) *placer {
	return &placer{r: r, claimed: c, applier: a, dry: dry, failed: map[string]map[int]error{}}
}

type placer struct {
	r       *Reconciler
	claimed *claimed
	applier *applier
	dry     func(Step)
	failed  map[string]map[int]error // by hierarchy
	refused []Fault
}

// roots moves the named processes that are not in place yet.
func (p *placer) roots() {
	for _, pid := range sortedPIDs(p.claimed.byPID) {
		where, err := cgfs.Where(strconv.Itoa(pid))
		if err != nil {
			continue // it has ended
		}
		for _, t := range p.r.desired.Trees {
			if t.Mode != Own {
				continue
			}
			target, ok := p.target(t, pid)
			target = t.HomeOf(target)
			if at, inside := p.r.hierarchies[t.Hierarchy].Dir(where); ok && (!inside || at != t.Full(target)) {
				p.move(t, []move{{pid, target}})
			}
		}
	}
}

// target is where a named process belongs in a tree.
func (p *placer) target(t *Tree, pid int) (string, bool) {
	for _, subsystem := range Precedence(t.Subsystems) {
		if n, ok := p.claimed.named[subsystem][pid]; ok {
			return n.Path, true
		}
	}
	return "", false
}

// misplaced compares what belongs somewhere with what is there.
func (p *placer) misplaced(t *Tree, assigned []pidfiles.Assignment, procs []pidfiles.Proc) []move {
	here := map[string]map[int]bool{}
	var out []move
	for _, a := range assigned {
		home := t.HomeOf(a.Path)
		present, known := here[home]
		if !known {
			present = p.present(t, home, procs)
			here[home] = present
		}
		if present[a.PID] || p.failed[t.Hierarchy][a.PID] != nil || p.shielded(t, a) {
			continue
		}
		out = append(out, move{a.PID, home})
	}
	return out
}

// present lists the processes that are whole in a cgroup.
func (p *placer) present(t *Tree, at string, procs []pidfiles.Proc) map[int]bool {
	out := map[int]bool{}
	o := p.r.observers[t.Hierarchy]
	if o == nil || o.state.Nodes[at] == nil {
		return out
	}
	pids, err := o.fs.Procs(t.Full(at), nil)
	if err != nil {
		return out
	}
	for _, pid := range pids {
		out[pid] = true
	}
	if t.Controlled {
		return out // whole processes only
	}
	for _, pid := range split(o.fs, t.Full(at), pids, procs) {
		delete(out, pid)
	}
	return out
}

// split finds processes of which only some threads are in dir: a v1 hierarchy
// places threads, and tools that write to `tasks` (as our ancestor did) move one.
// One comparison of sums is enough while everything is whole.
func split(fs FS, dir string, pids []int, procs []pidfiles.Proc) []int {
	threads, several := 0, false
	for _, pid := range pids {
		if i, ok := find(procs, pid); ok {
			threads += procs[i].Threads
			several = several || procs[i].Threads > 1
		}
	}
	if !several {
		return nil
	}
	tasks, err := fs.Tasks(dir, nil)
	if err != nil || len(tasks) >= threads {
		return nil
	}
	in := make(map[int]bool, len(tasks))
	for _, tid := range tasks {
		in[tid] = true
	}
	var out []int
	for _, pid := range pids {
		i, ok := find(procs, pid)
		if !ok || procs[i].Threads < 2 {
			continue
		}
		tids, err := pidfiles.Threads(pid)
		if err == nil && slices.ContainsFunc(tids, func(tid int) bool { return !in[tid] }) {
			out = append(out, pid)
		}
	}
	return out
}

func find(procs []pidfiles.Proc, pid int) (int, bool) {
	return slices.BinarySearchFunc(procs, pid, func(p pidfiles.Proc, pid int) int { return p.PID - pid })
}

// shielded says whether a descendant sits in a cgroup that protected_cgroup
// names: it is left there.
func (p *placer) shielded(t *Tree, a pidfiles.Assignment) bool {
	if p.r.opt.Shield.Empty() || a.Root.PID == a.PID {
		return false
	}
	where, err := cgfs.Where(strconv.Itoa(a.PID))
	if err != nil {
		return false
	}
	dir, ok := p.r.hierarchies[t.Hierarchy].Dir(where)
	rel, below := relativeTo(t.Root, dir)
	return ok && below && p.r.opt.Shield.Named(t.All, rel)
}

// move makes the moves of one listing in one burst and counts those made.
func (p *placer) move(t *Tree, moves []move) (moved int) {
	o := p.r.observers[t.Hierarchy]
	if o == nil {
		return 0
	}
	order, byPath := []string{}, map[string][]int{}
	for _, m := range moves {
		if byPath[m.path] == nil {
			order = append(order, m.path)
		}
		byPath[m.path] = append(byPath[m.path], m.pid)
	}
	for _, at := range order {
		if p.dry != nil {
			for _, pid := range byPath[at] {
				p.dry(Step{Op: OpMove, Phase: PhaseMove, Tree: t, Dir: t.Full(at), Path: at, PID: pid})
			}
			continue
		}
		if o.state.Nodes[at] == nil {
			continue // it could not be made, which is a fault of its own
		}
		pids := slices.DeleteFunc(byPath[at], func(pid int) bool {
			claim := p.claimed.byPID[pid]
			return claim != nil && !claim.Alive()
		})
		err := o.fs.Move(t.Full(at), pids, func(pid int, err error) {
			switch {
			case err == nil:
				moved++
				p.applier.counts.Moved++
				if p.applier.did != nil {
					p.applier.did(Step{Op: OpMove, Phase: PhaseMove, Tree: t, Dir: t.Full(at), Path: at, PID: pid})
				}
			case !errors.Is(err, cgfs.ErrGone):
				p.fail(t, at, pid, err)
			}
		})
		if err != nil {
			p.fail(t, at, 0, err)
		}
	}
	return moved
}

// fail keeps a process that would not move from being tried again in this pass.
func (p *placer) fail(t *Tree, at string, pid int, err error) {
	if p.failed[t.Hierarchy] == nil {
		p.failed[t.Hierarchy] = map[int]error{}
	}
	p.failed[t.Hierarchy][pid] = err
	p.refuse(t.Place(at), err)
}

// refuse notes what has to be tried again.
func (p *placer) refuse(place string, err error) {
	p.applier.counts.Failed++
	p.refused = append(p.refused, Fault{Place: place, Reason: err.Error()})
}

func sortedPIDs[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for pid := range m {
		out = append(out, pid)
	}
	slices.Sort(out)
	return out
}
