package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Bounds of a removal: how long one pass chases processes that keep appearing,
// in all its removals together, and how long it waits for a cgroup that is busy
// although it lists no process (an ending task, or one of another pid
// namespace). What is left is tried again later.
const (
	evacuateFor = 3 * time.Second
	busyFor     = 200 * time.Millisecond
)

// giveWay is how many steps are taken before others get their turn, some 5 ms. When
// one goroutine has run for 10 ms, through system calls too, Go's runtime takes its
// processor away in the next one, and to see whether that is due its monitor thread
// wakes up every 20 µs (retake in runtime/proc.go): a twentieth of a large pass.
const giveWay = 256

// Counts say what a pass changed.
type Counts struct {
	Created int `json:"created"`
	Written int `json:"written"`
	Moved   int `json:"moved"`
	Removed int `json:"removed"`
	Failed  int `json:"failed"`
}

// Total is the number of changes made.
func (c Counts) Total() int { return c.Created + c.Written + c.Moved + c.Removed }

// applier carries out a plan. It goes on after a failure and keeps each
// hierarchy's state true to what was reached.
type applier struct {
	ctx       context.Context
	chase     time.Duration // what is left of evacuateFor
	shield    Shield        // for what is too deep to be observed
	observers map[string]*observer
	did       func(Step) // called after each step that changed something
	counts    Counts
	faults    []Fault
	bereft    map[spot]bool // cgroups that lost children in this plan
	makers    map[*cgfs.Hierarchy]*cgfs.Maker
}

// maker is the part of an [FS] that makes new cgroups, of which there may be thousands.
type maker interface {
	Mkdir(dir string) error
	Put(dir, file, text, from string) (now string, err error)
}

var _ maker = (*cgfs.Maker)(nil)

// maker is what does it for a hierarchy in this plan.
func (a *applier) maker(fs FS) maker {
	h, real := fs.(*cgfs.Hierarchy)
	if !real {
		return fs
	}
	m := a.makers[h]
	if m == nil {
		m = h.Maker()
		if a.makers == nil {
			a.makers = map[*cgfs.Hierarchy]*cgfs.Maker{}
		}
		a.makers[h] = m
	}
	return m
}

func (a *applier) close() {
	for _, m := range a.makers {
		m.Close()
	}
}

func (a *applier) apply(plan Plan) {
	defer a.close()
	defer a.mourn()
	a.expect(plan)
	failed := map[string]bool{} // directories that could not be made
	stuck := map[string]bool{}  // those whose processes would not leave
	kept := map[spot]bool{}     // those that contain something too deep that stays
	var o *observer
	var at maker
	var tree *Tree
	for i, s := range plan {
		if i%giveWay == giveWay-1 {
			runtime.Gosched()
			a.close() // on v1 a directory that is held open may have another name by now
		}
		if a.ctx.Err() != nil {
			return // we are asked to stop; the next start finds the rest
		}
		if s.Tree != tree {
			tree, o = s.Tree, a.observers[s.Tree.Hierarchy]
			at = a.maker(o.fs)
		}
		if above, ok := firstAbove(failed, s.Tree.Hierarchy, s.Dir); ok {
			a.fail(s, fmt.Errorf("%s: %s could not be made", s, above))
			continue
		}
		if s.Phase == PhaseRemove && kept[spot{s.Tree.Hierarchy, s.Dir}] {
			continue // its fault is that of what it contains: one, not one a level
		}
		var err error
		created := a.counts.Created
		switch s.Op {
		case OpMkdir:
			if err = a.mkdir(o, at, s); err != nil {
				failed[s.Tree.Hierarchy+":/"+s.Dir] = true
			}
		case OpWrite:
			if s.Phase == PhaseEnable && stuck[s.Tree.Hierarchy+":/"+s.Dir] {
				// Enabling it over processes would shut them out of the cgroups below.
				err = fmt.Errorf("%s: processes could not leave it first", s)
				break
			}
			err = a.write(o, at, s)
		case OpEvacuate:
			err = a.vacate(o, s)
			stuck[s.Tree.Hierarchy+":/"+s.Dir] = err != nil && s.Phase == PhaseVacate
		case OpRmdir:
			if err = a.remove(o, s); err != nil && o.deep(s.Path) {
				for dir := parent(s.Dir); dir != ""; dir = parent(dir) {
					kept[spot{s.Tree.Hierarchy, dir}] = true
				}
			}
		}
		if err != nil {
			// What vanished under us was not reported yet, or not at all.
			o.stale = o.stale || errors.Is(err, cgfs.ErrNotExist) || errors.Is(err, cgfs.ErrRemoved)
			a.fail(s, err)
		} else if a.did != nil && (s.Op != OpMkdir || a.counts.Created > created) { // else it was there already
			a.did(s)
		}
	}
}

// expect makes room in the states for what a plan makes.
func (a *applier) expect(plan Plan) {
	making := map[string]int{}
	for i := range plan {
		if plan[i].Op == OpMkdir {
			making[plan[i].Tree.Hierarchy]++
		}
	}
	for hierarchy, many := range making {
		if s := a.observers[hierarchy].state; many > len(s.Nodes) {
			nodes := make(map[string]*Node, many+len(s.Nodes))
			maps.Copy(nodes, s.Nodes)
			s.Nodes = nodes
		}
	}
}

// spot is one place in a hierarchy.
type spot struct{ hierarchy, path string }

func firstAbove(failed map[string]bool, hierarchy, dir string) (string, bool) {
	if len(failed) == 0 {
		return "", false
	}
	for ; dir != ""; dir = parent(dir) {
		if at := hierarchy + ":/" + dir; failed[at] {
			return at, true
		}
	}
	return "", false
}

func (a *applier) fail(s Step, err error) {
	a.counts.Failed++
	a.faults = append(a.faults, Fault{Place: s.Place, Reason: err.Error()})
}

func (a *applier) mkdir(o *observer, at maker, s Step) error {
	err := at.Mkdir(s.Dir)
	if err != nil && !errors.Is(err, cgfs.ErrExist) {
		return err
	}
	if err == nil {
		a.counts.Created++
	}
	o.state.Missing = slices.DeleteFunc(o.state.Missing, func(dir string) bool { return dir == s.Dir })
	if s.Path == "" && s.Dir != s.Tree.Root {
		return nil // on the way to our root
	}
	if err == nil {
		return o.born(s.Tree, s.Path)
	}
	return o.visit(s.Tree, s.Path, true)
}

func (a *applier) write(o *observer, at maker, s Step) error {
	from := s.File
	if s.Setting != nil {
		from = s.Setting.source()
	}
	text, err := at.Put(s.Dir, s.File, s.Text, from)
	if err != nil && s.Setting != nil && s.Setting.FromParent && s.Dir != "" {
		// The parent may not have got what it was planned to have.
		if above, readErr := o.fs.Read(parent(s.Dir), s.File); readErr == nil && above != "" && above != s.Text {
			s = s.reading(above)
			text, err = at.Put(s.Dir, s.File, s.Text, from)
		}
	}
	n := o.state.Nodes[s.Path]
	if s.Path == "" && s.Dir != s.Tree.Root {
		n = nil // on the way to our root
	}
	if err != nil {
		if n != nil {
			n.Values.forget(from)
			if now, readErr := o.read(s.Dir, from); readErr == nil {
				n.Values.set(from, now)
			}
		}
		return err
	}
	a.counts.Written++
	if s.File == cgfs.ArmFile && o.state.Armed != nil {
		disk, _, _ := strings.Cut(s.Text, " ")
		o.state.Armed[disk] = true
		if s.Setting != nil && s.Setting.ID == "" {
			return nil // nothing of the document's, see arm
		}
	}
	switch {
	case s.File == ControlFile:
		return a.controlled(o, s, text)
	case n == nil:
		return nil
	}
	now := Value{Text: text, Exists: true}
	n.Values.set(from, now)
	if s.Setting != nil && !now.is(s.Setting) {
		return fmt.Errorf("%s: it was taken, but %s reads %q", s, from, strings.TrimSpace(text))
	}
	return nil
}

// controlled reads what a cgroup enables now, and its children anew, which have
// got files or lost them.
func (a *applier) controlled(o *observer, s Step, text string) error {
	enabled := append([]string{}, strings.Fields(text)...)
	if name := s.Text[1:]; slices.Contains(enabled, name) != (s.Text[0] == '+') {
		return fmt.Errorf("%s: the kernel took it and did nothing", s)
	}
	if _, below := relativeTo(s.Tree.Root, s.Dir); !below {
		for i := range o.state.Control {
			if o.state.Control[i].Dir == s.Dir {
				o.state.Control[i].Enabled = enabled
			}
		}
		if s.Dir == parent(s.Tree.Root) {
			return o.reread(s.Tree, "")
		}
		return nil
	}
	n := o.state.Nodes[s.Path]
	if n == nil {
		return nil
	}
	n.Enabled = enabled
	// The look that the event about this write brings should find nothing new, unless
	// somebody has put processes there, which are moved then.
	if d, configured := s.Tree.Dir(s.Path); configured && !n.Counted && o.controls(s.Tree, s.Path, d, n) == nil && n.Populated {
		n.Counted, n.Populated = false, false
	}
	// Of those that were made a moment ago nothing is known that could have changed:
	// all their settings are written next.
	return o.children(s.Tree, s.Path, n, func(child string) bool {
		c := o.state.Nodes[child]
		return c != nil && c.Inode == 0 && len(c.Values) == 0
	})
}

// vacate moves processes out of a cgroup that stays, for as long as they keep
// appearing there.
func (a *applier) vacate(o *observer, s Step) error {
	deadline := time.Now().Add(evacuateFor)
	for {
		moved, err := a.evacuate(o, s)
		if err != nil || moved == 0 {
			if n := o.state.Nodes[s.Path]; n != nil && err == nil {
				n.Populated = false
			}
			return err
		}
		if s.Phase == PhaseRemove {
			return nil // the removal goes on with it
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: processes keep appearing", s)
		}
	}
}

// evacuate moves the processes of a cgroup to its refuge, once over. left is the
// error of a process that would not move.
func (a *applier) evacuate(o *observer, s Step) (moved int, left error) {
	return a.empty(o.fs, s.Dir, o.fs, s.Tree.Full(s.Into))
}

// empty moves the processes of a cgroup to another one of the same hierarchy, which
// is called target where that is seen from two places.
func (a *applier) empty(fs FS, dir string, target FS, into string) (moved int, left error) {
	pids, err := fs.Procs(dir, nil)
	if errors.Is(err, cgfs.ErrNotSupported) && dir != "" {
		// A threaded cgroup lists only threads, and they may go nowhere but up, each
		// with its whole process (cgroup-v2.rst, "Threads").
		target, into = fs, parent(dir)
		pids, err = fs.Tasks(dir, nil)
	}
	if err != nil {
		return 0, unlessRemoved(err)
	}
	pids, threads, err := fs.Split(dir, pids)
	if err != nil {
		return 0, unlessRemoved(err)
	}
	done := func(_ int, err error) {
		switch {
		case err == nil:
			moved++
		case !errors.Is(err, cgfs.ErrGone):
			left = err
		}
	}
	for _, tid := range threads { // whose process belongs elsewhere
		done(tid, target.MoveThread(into, tid))
	}
	if len(pids) > 0 {
		err = target.Move(into, pids, done)
	}
	a.counts.Moved += moved
	return moved, errors.Join(err, left)
}

func unlessRemoved(err error) error {
	if errors.Is(err, cgfs.ErrNotExist) || errors.Is(err, cgfs.ErrRemoved) {
		return nil
	}
	return err
}

// remove removes a cgroup, moving processes out for as long as they keep
// appearing in it.
func (a *applier) remove(o *observer, s Step) error {
	began := time.Now()
	defer func() { a.chase -= time.Since(began) }()
	deep := o.deep(s.Path)
	if deep {
		if err := a.removeDeep(o, s); err != nil {
			return err
		}
	}
	idle := time.Now() // since when nothing could be moved
	for pause := time.Millisecond; !deep; pause = min(2*pause, 50*time.Millisecond) {
		err := o.fs.Rmdir(s.Dir)
		if err == nil || unlessRemoved(err) == nil {
			break
		}
		if !errors.Is(err, cgfs.ErrBusy) {
			return err
		}
		if info, statErr := o.fs.Stat(s.Dir); statErr == nil && !info.Leaf {
			return fmt.Errorf("%w: it has child cgroups", err)
		}
		moved, moveErr := a.evacuate(o, s)
		if moved > 0 {
			idle, pause = time.Now(), time.Millisecond
			if time.Since(began) < a.chase && a.ctx.Err() == nil {
				continue
			}
		}
		if time.Since(idle) > busyFor || time.Since(began) > a.chase || a.ctx.Err() != nil {
			if moveErr == nil {
				moveErr = errors.New("processes that cannot be seen here, or keep appearing, are in it")
			}
			return fmt.Errorf("%w: %w", err, moveErr)
		}
		time.Sleep(pause)
	}
	a.counts.Removed++
	o.forget(s.Path)
	if a.bereft == nil {
		a.bereft = map[spot]bool{}
	}
	a.bereft[spot{s.Tree.Hierarchy, parent(s.Path)}] = true
	return nil
}

// mourn takes the cgroups that were removed out of their parents' children: all of a
// parent's at once, since there may be thousands.
func (a *applier) mourn() {
	for at := range a.bereft {
		nodes := a.observers[at.hierarchy].state.Nodes
		if n := nodes[at.path]; n != nil {
			n.Children = slices.DeleteFunc(n.Children, func(name string) bool { return nodes[pathJoin(at.path, name)] == nil })
		}
	}
	a.bereft = nil
}

// removeDeep removes a cgroup whose path is too long, with all that is below it.
func (a *applier) removeDeep(o *observer, s Step) error {
	ctx, cancel := context.WithTimeout(a.ctx, a.chase)
	defer cancel()
	return o.fs.RemoveTree(ctx, s.Dir, cgfs.Removal{
		Keep: func(name string) bool { return a.shield.Spares(s.Tree.All, name) },
		Leave: func(up *cgfs.Hierarchy, name string) error {
			_, err := a.empty(up, name, o.fs, s.Tree.Full(s.Into))
			return err
		},
	})
}
