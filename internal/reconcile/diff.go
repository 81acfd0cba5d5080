package reconcile

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// GraceAge is how old a foreign cgroup without our mark must be before it is
// pruned, so that somebody who makes one by hand can finish.
const GraceAge = time.Second

// Difference is what separates a tree from what was found.
type Difference struct {
	Plan   Plan
	Faults []Fault
	// Young are foreign cgroups that are too young to be pruned yet, and Wake is
	// when the first of them no longer is.
	Young []string
	Wake  time.Time
}

// Diff plans the steps that take a hierarchy from its state to the tree. self is
// the cgroup of the daemon itself, relative to our root; [outside] when it is not
// below it. It is pure.
func Diff(t *Tree, s *State, shield Shield, self string, now time.Time) Difference {
	d := differ{
		tree: t, state: s, shield: shield, self: self, now: now,
		stays: map[string]bool{}, removed: map[string]bool{}, cleared: map[string]bool{}, blocks: map[string]string{},
	}
	if missing := len(t.Dirs) - len(s.Nodes); missing > 0 {
		d.out.Plan = make(Plan, 0, 2*missing+8) // most have one setting
	}
	if s.Nodes[""] != nil {
		d.goes("")
		if d.crowd() {
			d.out.Young, d.out.Wake = nil, time.Time{}
			clear(d.removed)
			clear(d.stays)
			d.goes("")
		}
		d.prune("")
	}
	if t.Controlled {
		d.control()
	}
	d.create()
	if t.Mode != Leave {
		d.settings()
		d.arm()
	}
	d.resets()
	if !slices.IsSortedFunc(d.out.Plan, order) {
		slices.SortStableFunc(d.out.Plan, order)
	}
	return d.out
}

// Merge joins the plans of several hierarchies, phase by phase.
func Merge(plans ...Plan) Plan {
	plans = slices.DeleteFunc(slices.Clone(plans), func(p Plan) bool { return len(p) == 0 })
	if len(plans) == 1 {
		return plans[0] // which has this order already
	}
	out := slices.Concat(plans...)
	slices.SortStableFunc(out, func(a, b Step) int { return int(a.Phase) - int(b.Phase) })
	return out
}

// order sorts what one tree's plan does: what gives less goes children first and
// inner limits first (a memory limit before that of memory and swap), what gives
// more the other way round. Everything else stays as it was planned.
func order(a, b Step) int {
	if c := int(a.Phase) - int(b.Phase); c != 0 || a.Phase != PhaseTighten && a.Phase != PhaseLoosen && a.Phase != PhaseNarrow {
		return c
	}
	c := cmp.Or(comparePaths(a.Path, b.Path), a.level()-b.level())
	if a.Phase != PhaseLoosen {
		return -c
	}
	return c
}

func (s Step) level() int {
	if s.Setting == nil {
		return -1
	}
	return s.Setting.Level
}

type differ struct {
	tree   *Tree
	state  *State
	shield Shield
	self   string
	now    time.Time
	out    Difference

	removed map[string]bool
	stays   map[string]bool   // cgroups with a child that stays unnamed
	cleared map[string]bool   // cgroups that have been made to enable nothing
	blocks  map[string]string // cgroups that can enable nothing, and why
	crowded map[string]bool   // cgroups that cannot take processes back yet
	refuges []string          // where processes are about to be brought
}

func (d *differ) step(s Step) {
	s.Tree = d.tree
	d.out.Plan = append(d.out.Plan, s)
}

func (d *differ) create() {
	root := d.tree.Dirs[0]
	if d.tree.Mode == Leave && len(d.state.Missing) > 0 {
		return // nothing is left
	}
	for _, dir := range d.state.Missing {
		d.step(Step{Op: OpMkdir, Dir: dir, Place: root.Place})
	}
	for _, dir := range d.state.Missing {
		for _, file := range root.Inherit {
			if dir != d.tree.Root { // which has its turn with the others
				d.step(Step{Op: OpWrite, Phase: PhaseLoosen, Dir: dir, File: file, Text: d.state.Above[file], Place: root.Place + ": " + file})
			}
		}
	}
	for _, dir := range d.tree.Dirs {
		if dir.Path == "" || d.state.Nodes[dir.Path] != nil || dir.Optional && !slices.Contains(d.refuges, dir.Path) {
			continue
		}
		d.makes(dir)
	}
}

// makes plans to make a configured cgroup, with what has to be set before all else
// or may be: what the kernel has made a moment ago is still in the CPU's caches, and
// the write costs it a quarter less than after thousands of others.
func (d *differ) makes(dir Dir) {
	at := d.tree.Full(dir.Path)
	d.step(Step{Op: OpMkdir, Dir: at, Path: dir.Path, Place: dir.Place})
	for i := range dir.Settings {
		if s := &dir.Settings[i]; s.atOnce() {
			d.writeTo(at, PhaseCreate, dir.Path, s)
		}
	}
}

// atOnce says whether a new cgroup gets the setting as soon as it is made.
func (s *Setting) atOnce() bool { return s.Before || s.Alone }

func (d *differ) fault(place, reason string) {
	d.out.Faults = append(d.out.Faults, Fault{Place: place, Reason: reason})
}

func (d *differ) write(phase Phase, p string, s *Setting) {
	d.writeTo(d.tree.Full(p), phase, p, s)
}

// writeTo is write for whoever knows the path relative to the mount.
func (d *differ) writeTo(at string, phase Phase, p string, s *Setting) {
	d.step(Step{Op: OpWrite, Phase: phase, Dir: at, Path: p, File: s.File, Text: s.Text, Place: s.Place, Setting: s})
}

// settings writes what reads otherwise. What gives more goes parents first and
// what gives less children first, since a child may not have more than its
// parent allows.
func (d *differ) settings() {
	for _, dir := range d.tree.Dirs {
		d.settingsOf(dir)
	}
	d.sets()
}

func (d *differ) settingsOf(dir Dir) {
	n := d.state.Nodes[dir.Path]
	if n == nil && dir.Optional && !slices.Contains(d.refuges, dir.Path) {
		return
	}
	if err := d.state.Unreadable[dir.Path]; err != nil {
		d.fault(dir.Place, err.Error())
		return
	}
	for i := range dir.Settings {
		if s := &dir.Settings[i]; !d.isSet(s) {
			d.setting(dir.Path, n, s)
		}
	}
}

// setting writes one setting if it reads otherwise.
func (d *differ) setting(p string, n *Node, s *Setting) {
	now := Value{}
	if n != nil {
		now = n.Values.of(s.source())
	}
	switch {
	case n == nil && s.atOnce() && p != "": // done, see makes
	case !d.enabled(p, s.Controller) && d.blocked(parent(p)) != "": // a fault of its own
	case n == nil, !d.enabled(p, s.Controller):
		// A new cgroup has no limits, but a cpuset without members.
		phase := PhaseLoosen
		if s.Limit == cgfs.Ceiling || s.Limit == cgfs.Bandwidth {
			phase = PhaseTighten
		}
		d.write(phase, p, s)
	case !now.Exists:
		d.fault(s.Place, "this cgroup has no file "+cgfs.ShownFile(s.source()))
	case now.is(s):
	case cgfs.Tightens(s.Write, s.Form.Read(now.Text), s.Want):
		d.write(PhaseTighten, p, s)
	default:
		d.write(PhaseLoosen, p, s)
	}
}

// enabled says whether p has the files of a controller by now.
func (d *differ) enabled(p, controller string) bool {
	if controller == "" || !d.tree.Controlled {
		return true
	}
	if p == "" {
		last := len(d.state.Control) - 1
		return last < 0 || slices.Contains(d.state.Control[last].Enabled, controller)
	}
	return slices.Contains(d.enabledBy(parent(p)), controller)
}

// arm writes the no-op throttle rule for each disk whose counters stand still,
// in a configured cgroup that has no rule of its own for it.
func (d *differ) arm() {
	for _, disk := range d.tree.Arm {
		if d.state.Armed[disk] {
			continue
		}
		for _, dir := range slices.Concat(d.tree.Dirs[1:], d.tree.Dirs[:1]) {
			if !slices.Contains(d.state.Ruled[disk], dir.Path) {
				d.write(PhaseLoosen, dir.Path, &Setting{Place: "blkio: arm " + disk, Write: cgfs.Write{File: cgfs.ArmFile, Text: disk + " 0"}})
				break
			}
		}
	}
}

func (d *differ) resets() {
	for i := range d.tree.Resets {
		r := &d.tree.Resets[i]
		n := d.state.Nodes[r.Path]
		// A controller that has been disabled has forgotten its settings.
		if n != nil && !d.removed[r.Path] && n.Values.of(r.source()).Exists && d.enabled(r.Path, r.Controller) && !d.isSet(&r.Setting) {
			d.setting(r.Path, n, &r.Setting)
		}
	}
}

// goes notes what of p and below it is removed, and says whether p itself is.
func (d *differ) goes(p string) bool {
	n := d.state.Nodes[p]
	stays := false
	for _, name := range n.Children {
		child := pathJoin(p, name)
		if d.state.Nodes[child] != nil && !d.goes(child) {
			stays = true
		}
	}
	switch age := d.now.Sub(n.Since); {
	case stays, keeps(d.tree, d.state, d.shield, d.self, p, n):
	case !n.Marked && path.Base(p) != Reserved && age < GraceAge:
		d.young(p, n)
	case n.Populated && d.crowded[d.tree.Refuge(p)]:
	default:
		d.removed[p] = true
		return true
	}
	if _, configured := d.tree.Dir(p); !configured && p != "" {
		d.stays[parent(p)] = true
	}
	return false
}

// crowd finds the cgroups to which processes should return, but cannot while a
// young cgroup below them may need the controllers that they enable.
func (d *differ) crowd() bool {
	d.crowded = map[string]bool{}
	for p := range d.stays {
		n := d.state.Nodes[p]
		if dir, configured := d.tree.Dir(p); configured && dir.Home == p && (p != "" || d.tree.Root != "") && n != nil && len(n.Enabled) > 0 {
			d.crowded[p] = true
		}
	}
	return len(d.crowded) > 0
}

func (d *differ) young(p string, n *Node) {
	d.out.Young = append(d.out.Young, p)
	if wake := n.Since.Add(GraceAge); d.out.Wake.IsZero() || wake.Before(d.out.Wake) {
		d.out.Wake = wake
	}
}

// prune plans the removals at and below p, deepest first.
func (d *differ) prune(p string) {
	if len(d.removed) == 0 {
		return
	}
	n := d.state.Nodes[p]
	for _, name := range n.Children {
		if child := pathJoin(p, name); d.state.Nodes[child] != nil {
			d.prune(child)
		}
	}
	if !d.removed[p] {
		return
	}
	s := Step{Op: OpEvacuate, Phase: PhaseRemove, Dir: d.tree.Full(p), Path: p, Place: d.tree.Place(p), Into: d.tree.Refuge(p)}
	if n.Populated {
		d.refuges = append(d.refuges, s.Into)
	}
	if n.Deep { // its removal is that of all below it, with their processes
		s.Place = cgfs.Shortened(s.Place)
	} else if n.Populated {
		d.step(s)
	}
	s.Op = OpRmdir
	d.step(s)
}

// keeps says whether p stays for its own sake: it is configured, shielded, holds
// the daemon, or is not ours where only ours may go.
func keeps(t *Tree, s *State, shield Shield, self, p string, n *Node) bool {
	if _, configured := t.Dir(p); configured {
		return true
	}
	if p == self || shield.Kept(t.All, p) || s.Unreadable[p] != nil && !n.Deep {
		return true
	}
	return t.Mode != Own && !n.ours(p)
}

// ours says whether p is ours to remove: it has our mark, or is at or below the
// name that is reserved for us.
func (n *Node) ours(p string) bool {
	return n.Marked || slices.Contains(strings.Split(p, "/"), Reserved)
}
