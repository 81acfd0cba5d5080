package reconcile

import (
	"slices"
	"strconv"
	"sync"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/procevents"
)

// kin knows at any moment who descends from a named process: each placement says
// it anew, and what is born and ends meanwhile is added. Its methods do nothing on
// nil, which is a reconciler that hears of no births.
//
// A child is known as soon as it is born, whatever becomes of its parent: so one
// that was re-parented before any listing is told to the next one.
type kin struct {
	mu    sync.Mutex // taken while Reconciler.mu is held, and never the other way round
	clans []clan     // subsystems that share a hierarchy stand together, in the order of their precedence
	fresh []int      // who was added since the last placement
	spare Shield     // as it was in the last placement

	placing bool
	next    []judged           // of the placement under way
	recent  []procevents.Event // since it began
}

// clan are those who belong somewhere in one subsystem.
type clan struct {
	tree      *Tree
	subsystem string
	fs        *cgfs.Hierarchy
	members   map[int]kinship
}

// kinship says where a process belongs and through whom.
type kinship struct {
	path string
	root pidfiles.Ident
}

// judged is what a listing said of one subsystem.
type judged struct {
	tree      *Tree
	subsystem string
	assigned  []pidfiles.Assignment
}

// mostRecent bounds what is noted while a placement is under way, and who is
// remembered as added until there is one.
const mostRecent = 1 << 16

// begin begins a placement.
func (k *kin) begin() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.placing, k.next, k.recent = true, nil, k.recent[:0]
}

// teach adds to a history whom no listing has seen with its parent.
func (k *kin) teach(subsystem string, procs []pidfiles.Proc, history pidfiles.History) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.clans {
		if c.subsystem != subsystem {
			continue
		}
		for _, pid := range k.fresh {
			i, alive := slices.BinarySearchFunc(procs, pid, func(p pidfiles.Proc, pid int) int { return p.PID - pid })
			member, ours := c.members[pid]
			if !alive || !ours {
				continue
			}
			if _, known := history[procs[i].Ident()]; !known {
				history[procs[i].Ident()] = pidfiles.Placed{Root: member.root}
			}
		}
	}
}

// judge takes what a listing said of one subsystem; a later listing replaces it.
func (k *kin) judge(t *Tree, subsystem string, assigned []pidfiles.Assignment) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.next {
		if k.next[i].tree == t && k.next[i].subsystem == subsystem {
			k.next[i].assigned = assigned
			return
		}
	}
	k.next = append(k.next, judged{t, subsystem, assigned})
}

// settle ends a placement: what it has found is what is known, and what has
// happened since it began.
func (k *kin) settle(hierarchies map[string]*cgfs.Hierarchy, spare Shield) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clans, k.fresh = k.clans[:0], k.fresh[:0]
	for _, j := range k.next {
		c := clan{tree: j.tree, subsystem: j.subsystem, fs: hierarchies[j.tree.Hierarchy], members: make(map[int]kinship, len(j.assigned))}
		for i := range j.assigned {
			a := &j.assigned[i]
			c.members[a.PID] = kinship{a.Path, a.Root}
		}
		k.clans = append(k.clans, c)
	}
	k.placing, k.next, k.spare = false, nil, spare
	for _, e := range k.recent {
		k.follow(e)
	}
	k.recent = nil
}

// lost forgets everybody until the next placement, since somebody may have ended
// and given the pid to another.
func (k *kin) lost() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clans, k.fresh, k.recent = k.clans[:0], k.fresh[:0], k.recent[:0]
}

// heard takes what has happened. It calls suspect for each process that was born
// into a family, with mu held.
func (k *kin) heard(events []procevents.Event, suspect func(e procevents.Event)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range events {
		if k.placing && len(k.recent) < mostRecent {
			k.recent = append(k.recent, e)
		}
		if k.follow(e) {
			suspect(e)
		}
	}
}

// follow adds who is born and drops who has ended. It says whether somebody was added.
// Who is known already was found where it belongs by a placement that was quicker
// than the event.
func (k *kin) follow(e procevents.Event) (added bool) {
	for i := range k.clans {
		members := k.clans[i].members
		if e.Kind == procevents.Ended {
			delete(members, e.PID)
			continue
		}
		parent, ours := members[e.Parent]
		if _, known := members[e.PID]; !ours || known {
			continue
		}
		members[e.PID] = parent
		added = true
	}
	if added && len(k.fresh) < mostRecent {
		k.fresh = append(k.fresh, e.PID)
	}
	return added
}

// astray says in which hierarchies a process is not where it belongs, nor where
// protected_cgroup keeps it. It is called with mu held.
func (k *kin) astray(pid int, found func(t *Tree, home string)) {
	var where []cgfs.ProcCgroup
	for i := range k.clans {
		c := &k.clans[i]
		m, ours := c.members[pid]
		if !ours || k.shadowed(i, pid) || c.members[m.root.PID].root != m.root {
			continue // not ours, or not any more: the named process has ended
		}
		if where == nil {
			var err error
			if where, err = cgfs.Where(strconv.Itoa(pid)); err != nil {
				return // it has ended
			}
		}
		home := c.tree.HomeOf(m.path)
		is, mounted := c.fs.Dir(where)
		if mounted && is == c.tree.Full(home) {
			continue
		}
		rel, below := relativeTo(c.tree.Root, is)
		if mounted && below && m.root.PID != pid && k.spare.Named(c.tree.All, rel) {
			continue
		}
		found(c.tree, home)
	}
}

// shadowed says whether a subsystem of higher precedence has a say in the same
// hierarchy.
func (k *kin) shadowed(i, pid int) bool {
	for j := i - 1; j >= 0 && k.clans[j].tree == k.clans[i].tree; j-- {
		if _, ours := k.clans[j].members[pid]; ours {
			return true
		}
	}
	return false
}

// misplaced says whether a process is not where it belongs. It is called with mu held.
func (k *kin) misplaced(pid int) (wrong bool) {
	k.astray(pid, func(*Tree, string) { wrong = true })
	return wrong
}

// moves are what brings some processes home, by hierarchy.
func (k *kin) moves(pids []int) map[string][]move {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string][]move{}
	for _, pid := range pids {
		k.astray(pid, func(t *Tree, home string) { out[t.Hierarchy] = append(out[t.Hierarchy], move{pid, home}) })
	}
	return out
}
