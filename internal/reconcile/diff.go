package reconcile

import (
	"path"
	"slices"
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
// the cgroup of the daemon itself, relative to our root, "" when it is our root
// or outside. It is pure.
func Diff(t *Tree, s *State, shield Shield, self string, now time.Time) Difference {
	d := differ{tree: t, state: s, shield: shield, self: self, now: now}
	if t.Mode != Leave {
		d.create()
		d.settings()
		d.arm()
	}
	if s.Nodes[""] != nil {
		d.prune("")
	}
	d.resets()
	slices.SortStableFunc(d.out.Plan, func(a, b Step) int { return int(phase(a.Op)) - int(phase(b.Op)) })
	return d.out
}

// phase groups operations that stay in the order in which they were planned:
// a cgroup is evacuated right before it is removed.
func phase(op Op) Op {
	if op == OpRmdir {
		return OpEvacuate
	}
	return op
}

// Merge joins the plans of several hierarchies: every phase in all of them
// before the next, so that a process goes straight to its new place.
func Merge(plans ...Plan) Plan {
	out := slices.Concat(plans...)
	slices.SortStableFunc(out, func(a, b Step) int { return int(phase(a.Op)) - int(phase(b.Op)) })
	return out
}

type differ struct {
	tree   *Tree
	state  *State
	shield Shield
	self   string
	now    time.Time
	out    Difference

	removed map[string]bool
}

func (d *differ) step(s Step) {
	s.Tree = d.tree
	d.out.Plan = append(d.out.Plan, s)
}

func (d *differ) create() {
	root := d.tree.Dirs[0]
	for _, dir := range d.state.Missing {
		d.step(Step{Op: OpMkdir, Dir: dir, Place: root.Place})
	}
	for _, dir := range d.state.Missing {
		for _, file := range root.Inherit {
			if dir != d.tree.Root { // which has its turn with the others
				d.step(Step{Op: OpWrite, Dir: dir, File: file, Text: d.state.Above[file], Place: root.Place + ": " + file})
			}
		}
	}
	for _, dir := range d.tree.Dirs {
		if dir.Path != "" && d.state.Nodes[dir.Path] == nil {
			d.step(Step{Op: OpMkdir, Dir: d.tree.Full(dir.Path), Path: dir.Path, Place: d.tree.Place(dir.Path)})
		}
	}
}

func (d *differ) fault(place, reason string) {
	d.out.Faults = append(d.out.Faults, Fault{Place: place, Reason: reason})
}

func (d *differ) write(p string, s Setting) {
	d.step(Step{Op: OpWrite, Dir: d.tree.Full(p), Path: p, File: s.File, Text: s.Text, Place: s.Place})
}

func (d *differ) settings() {
	for _, dir := range d.tree.Dirs {
		n := d.state.Nodes[dir.Path]
		if err := d.state.Unreadable[dir.Path]; err != nil {
			d.fault(dir.Place, err.Error())
			continue
		}
		for _, file := range dir.Inherit {
			if n != nil && (!n.Values[file].Exists || n.Values[file].Text != "") {
				continue
			}
			s := Setting{File: file, Text: d.inherited(dir.Path, file), Place: dir.Place + ": " + file}
			if s.Text == "" {
				d.fault(s.Place, "no cgroup above has a value to inherit")
				continue
			}
			d.write(dir.Path, s)
		}
		for _, s := range dir.Settings {
			switch {
			case n == nil, n.Values[s.File].Exists && !n.Values[s.File].is(s.Text):
				d.write(dir.Path, s)
			case !n.Values[s.File].Exists:
				d.fault(s.Place, "this cgroup has no file "+s.File)
			}
		}
	}
}

// inherited is the value that p takes from the nearest ancestor that has one.
func (d *differ) inherited(p, file string) string {
	for p != "" {
		p = parent(p)
		if n := d.state.Nodes[p]; n != nil && n.Values[file].Text != "" {
			return n.Values[file].Text
		}
	}
	return d.state.Above[file]
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
				d.write(dir.Path, Setting{File: cgfs.ArmFile, Text: disk + " 0", Place: "blkio: arm " + disk})
				break
			}
		}
	}
}

func (d *differ) resets() {
	for _, r := range d.tree.Resets {
		n := d.state.Nodes[r.Path]
		if n == nil || d.removed[r.Path] || !n.Values[r.File].Exists || n.Values[r.File].is(r.Text) {
			continue
		}
		d.write(r.Path, r.Setting)
	}
}

// prune plans the removal of what is foreign at and below p, deepest first, and
// says whether p stays.
func (d *differ) prune(p string) (stays bool) {
	n := d.state.Nodes[p]
	for _, name := range n.Children {
		child := path.Join(p, name)
		if d.state.Nodes[child] != nil && d.prune(child) {
			stays = true
		}
	}
	if stays || d.keeps(p, n) {
		return true
	}
	if age := d.now.Sub(n.Since); !n.Marked && age < GraceAge {
		d.out.Young = append(d.out.Young, p)
		if wake := n.Since.Add(GraceAge); d.out.Wake.IsZero() || wake.Before(d.out.Wake) {
			d.out.Wake = wake
		}
		return true
	}
	s := Step{Op: OpEvacuate, Dir: d.tree.Full(p), Path: p, Place: d.tree.Place(p)}
	if n.Populated {
		d.step(s)
	}
	s.Op = OpRmdir
	d.step(s)
	if d.removed == nil {
		d.removed = map[string]bool{}
	}
	d.removed[p] = true
	return false
}

// keeps says whether p stays for its own sake: it is configured, shielded, holds
// the daemon, or is not ours where only ours may go.
func (d *differ) keeps(p string, n *Node) bool {
	if _, configured := d.tree.Dir(p); configured {
		return true
	}
	if p == d.self || d.shield.Kept(d.tree.All, p) || d.state.Unreadable[p] != nil {
		return true
	}
	return d.tree.Mode != Own && !n.Marked
}
