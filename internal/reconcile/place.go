package reconcile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
)

// maxListings bounds how often one pass lists processes again because new ones
// appeared. Every listing but the first finds only what was born outside before
// its parent was moved, so two or three do; where nobody was born at all, one does.
const maxListings = 50

// members decides and moves who belongs where.
type members struct {
	source  *pidfiles.Source
	lister  *pidfiles.Lister
	history map[string]pidfiles.History // by subsystem
	kin     *kin                        // nil: births are not heard of
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
	type placed struct{ path, subsystem string }
	many := 0
	for _, paths := range d.Placed {
		many += len(paths)
	}
	if many == 0 {
		return nil
	}
	all := make([]placed, 0, many)
	for _, subsystem := range sortedKeys(d.Placed) {
		for _, p := range d.Placed[subsystem] {
			all = append(all, placed{p, subsystem})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return strings.Compare(a.path, b.path) })
	out := make([]pidfiles.Cgroup, 0, many)
	var subsystems []string // of the last one
	for first, next := 0, 0; first < len(all); first = next {
		for next = first; next < len(all) && all[next].path == all[first].path; next++ {
		}
		if !slices.EqualFunc(subsystems, all[first:next], func(s string, p placed) bool { return s == p.subsystem }) {
			subsystems = nil // neighbours that are alike share one
			for _, p := range all[first:next] {
				subsystems = append(subsystems, p.subsystem)
			}
		}
		out = append(out, pidfiles.Cgroup{Path: all[first].path, Subsystems: subsystems})
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
	var taken map[int]bool
	for _, subsystem := range Precedence(t.Subsystems) {
		if len(c.named[subsystem]) == 0 {
			continue
		}
		if m.history[subsystem] == nil {
			m.history[subsystem] = pidfiles.History{}
		}
		m.kin.teach(subsystem, procs, m.history[subsystem])
		assigned := pidfiles.Assign(procs, c.named[subsystem], pidfiles.Pass{History: m.history[subsystem], Since: since, Self: os.Getpid()})
		m.history[subsystem].Update(procs, assigned)
		m.kin.judge(t, subsystem, assigned)
		if out == nil {
			out = assigned
			continue
		}
		if taken == nil {
			taken = make(map[int]bool, len(out))
			for i := range out {
				taken[out[i].PID] = true
			}
		}
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
// appears, each listing's moves in one burst, parents first. A listing judges only
// whom none of the pass before it has judged.
//
// There is nothing new when the kernel has counted no birth since before the
// listing (pidfiles.Lister.Unchanged): a child that is born beside the move of its
// parent is counted before the kernel makes the move, or is born inside
// (copy_process in its kernel/fork.c holds cgroup_threadgroup_rwsem meanwhile).
func (p *placer) place() {
	r := p.r
	if r.members.source == nil {
		return
	}
	r.members.kin.begin()
	defer func() { r.members.kin.settle(r.hierarchies, r.opt.Shield) }()
	p.since = r.members.lister.Begin()
	if p.dry == nil {
		p.roots()
	}
	for range maxListings {
		procs, err := r.members.lister.List()
		if err != nil {
			p.refuse("placement", err)
			return
		}
		r.listings++
		p.listings++
		p.sound = 0
		moved := 0
		var judged []judgement
		for _, t := range r.desired.Trees {
			if t.Mode == Own {
				assigned := r.members.assign(t, p.claimed, procs, p.since)
				moved += p.move(t, p.misplaced(t, assigned))
				judged = append(judged, judgement{t, assigned})
			}
		}
		if moved == 0 || p.dry != nil || p.applier.ctx.Err() != nil || r.members.lister.Unchanged() {
			return
		}
		p.note(judged)
		clear(p.homes)
	}
	p.refuse("placement", fmt.Errorf("processes still appear outside their cgroups after %d listings", maxListings))
}

// newPlacer prepares the moves of one pass. dry, when not nil, is told each move
// instead of having it made.
func (r *Reconciler) newPlacer(c *claimed, a *applier, dry func(Step)) *placer {
	return &placer{r: r, claimed: c, applier: a, dry: dry, failed: map[string]map[int]error{}, homes: map[*Tree]map[string]*home{}}
}

type placer struct {
	r       *Reconciler
	claimed *claimed
	applier *applier
	dry     func(Step)
	failed  map[string]map[int]error // by hierarchy
	refused []Fault

	since    uint64                              // when the pass began
	listings int                                 // of this placement
	homes    map[*Tree]map[string]*home          // by path, until something has moved
	sound    int                                 // in this listing: processes in a row that were to be moved and lived
	judged   map[*Tree]map[pidfiles.Ident]string // who was found to belong where in an earlier listing, and is there if that was possible
}

// judgement is who belongs where in a tree, by one listing.
type judgement struct {
	tree     *Tree
	assigned []pidfiles.Assignment
}

// note keeps what was judged for the listings that follow.
func (p *placer) note(judged []judgement) {
	if p.judged == nil {
		p.judged = map[*Tree]map[pidfiles.Ident]string{}
	}
	for _, j := range judged {
		if p.judged[j.tree] == nil {
			p.judged[j.tree] = make(map[pidfiles.Ident]string, len(j.assigned))
		}
		for i := range j.assigned {
			a := &j.assigned[i]
			p.judged[j.tree][a.Ident()] = a.Path
		}
	}
}

// roots moves the named processes that are not in place yet.
func (p *placer) roots() {
	pids := sortedPIDs(p.claimed.byPID)
	for _, t := range p.r.desired.Trees {
		if t.Mode != Own {
			continue
		}
		var moves []move
		for _, pid := range pids {
			if target, ok := p.target(t, pid); ok && !p.home(t, target).holds(pid) {
				moves = append(moves, move{pid, t.HomeOf(target)})
			}
		}
		if p.move(t, moves) > 0 {
			delete(p.homes, t)
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

// soundEnough is how many processes in a row have to be found alive before the
// others of a burst are believed to be. A process that is already a zombie and is
// moved all the same costs a write without effect.
const soundEnough = 32

// misplaced compares what belongs somewhere with what is there.
func (p *placer) misplaced(t *Tree, assigned []pidfiles.Assignment) []move {
	var out []move
	judged := p.judged[t]
	for i := range assigned {
		a := &assigned[i]
		if judged != nil && judged[a.Ident()] == a.Path {
			continue
		}
		h := p.home(t, a.Path)
		p.findSplit(t, h)
		if p.placed(t, h, a) || p.failed[t.Hierarchy][a.PID] != nil || p.shielded(t, a) || !p.alive(a.PID) {
			continue
		}
		out = append(out, move{a.PID, h.path})
	}
	return out
}

// alive reports whether a process that is to be moved lives. What the listing has
// not read is asked about, unless enough others have turned out to live.
func (p *placer) alive(pid int) bool {
	if p.sound >= soundEnough {
		return true
	}
	alive, read := p.r.members.lister.Alive(pid)
	switch {
	case !alive:
		p.sound = 0
	case read:
		p.sound++
	}
	return alive
}

// shielded says whether a descendant sits in a cgroup that protected_cgroup
// names: it is left there.
func (p *placer) shielded(t *Tree, a *pidfiles.Assignment) bool {
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

// burst is who moves into one cgroup.
type burst struct {
	path string
	pids []int
}

// bursts sorts moves by where they lead, in the order in which these are met first.
func bursts(moves []move) []burst {
	var out []burst
	at := map[string]int{}
	last := -1
	for _, m := range moves {
		if last < 0 || out[last].path != m.path {
			i, known := at[m.path]
			if !known {
				i = len(out)
				at[m.path] = i
				out = append(out, burst{path: m.path})
			}
			last = i
		}
		out[last].pids = append(out[last].pids, m.pid)
	}
	return out
}

// move makes the moves of one listing in one burst and counts those made.
func (p *placer) move(t *Tree, moves []move) (moved int) {
	o := p.r.observers[t.Hierarchy]
	if o == nil {
		return 0
	}
	for _, b := range bursts(moves) {
		at := b.path
		if p.dry != nil {
			for _, pid := range b.pids {
				p.dry(Step{Op: OpMove, Phase: PhaseMove, Tree: t, Dir: t.Full(at), Path: at, PID: pid})
			}
			continue
		}
		if o.state.Nodes[at] == nil {
			continue // it could not be made, which is a fault of its own
		}
		pids := slices.DeleteFunc(b.pids, func(pid int) bool {
			claim := p.claimed.byPID[pid]
			return claim != nil && !claim.Alive()
		})
		dir := t.Full(at)
		err := o.fs.Move(dir, pids, func(pid int, err error) {
			switch {
			case err == nil:
				moved++
				p.applier.counts.Moved++
				if p.applier.did != nil {
					p.applier.did(Step{Op: OpMove, Phase: PhaseMove, Tree: t, Dir: dir, Path: at, PID: pid})
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
