package reconcile

import (
	"fmt"
	"path"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// need notes which controller the cgroup p of a unified tree must have, so that
// the cgroups above it enable it. A cgroup's CPU time is counted without any
// controller, so only a conf needs `cpu`; the others count by their controller.
func (c *compiler) need(t *Tree, subsystem, p string, conf bool) {
	controller := cgfs.Controller(subsystem)
	if !t.Controlled || controller == "" || controller == "cpu" && !conf {
		return
	}
	if !slices.Contains(c.host.Controllers, controller) {
		return // a fault says so where a setting needs it
	}
	for p != "" {
		p = parent(p)
		d := &t.Dirs[t.index[p]]
		d.Enable = include(d.Enable, controller)
	}
	t.Above = include(t.Above, controller)
}

// include adds name to a sorted list that lacks it.
func include(list []string, name string) []string {
	if i, found := slices.BinarySearch(list, name); !found {
		return slices.Insert(list, i, name)
	}
	return list
}

// homes says where the processes of each cgroup are. In a unified tree a cgroup
// with children may not hold any, so each inner one that takes processes gets the
// reserved child; also one whose only child is somebody else's, who may have
// controllers enabled for it.
func (c *compiler) homes(t *Tree) {
	for i := range t.Dirs {
		t.Dirs[i].Home = t.Dirs[i].Path
	}
	if !t.Controlled {
		return
	}
	inner := map[string]bool{}
	for _, d := range t.Dirs {
		if d.Path != "" {
			inner[parent(d.Path)] = true
		}
	}
	shared := c.opt.Shared[t.Hierarchy]
	for _, d := range slices.Clone(t.Dirs) {
		// The real root of the hierarchy is exempt from the rule. Where we only clean
		// up, our root becomes a leaf.
		ours := d.Path == "" && (t.Root != "" || c.host.Nested) && (t.Mode != Leave || shared[""])
		if !ours && !(d.Conf && (inner[d.Path] || shared[d.Path])) {
			continue
		}
		home := path.Join(d.Path, Reserved)
		t.Dirs[t.index[d.Path]].Home = home
		t.index[home] = len(t.Dirs)
		t.Dirs = append(t.Dirs, Dir{Path: home, Home: home, Conf: true, Reserved: true, Optional: ours})
	}
}

// ControlFile enables and disables controllers for a cgroup's children.
const ControlFile = "cgroup.subtree_control"

// typeFile is in every cgroup of a unified hierarchy but the real root.
const typeFile = "cgroup.type"

// control plans which controllers each cgroup enables: what is needed top-down,
// after the processes have left, and what is not needed any more bottom-up. One
// controller a write, because one that cannot be enabled fails the whole write.
func (d *differ) control() {
	d.above()
	for _, dir := range d.tree.Dirs {
		if n := d.state.Nodes[dir.Path]; n != nil && d.state.Unreadable[dir.Path] == nil {
			d.vacate(dir, n)
		}
		d.enables(dir)
	}
	d.disable()
}

// enables plans what a configured cgroup has to enable for its children.
func (d *differ) enables(dir Dir) {
	enabled := d.enabledBy(dir.Path)
	for _, name := range dir.Enable {
		if !slices.Contains(enabled, name) && d.blocked(dir.Path) == "" {
			d.toggle(PhaseEnable, dir.Path, "+"+name)
		}
	}
}

// above enables what is needed down to our root. Processes above our root are not
// ours to move, and with controllers enabled over them ours could go nowhere.
func (d *differ) above() {
	if len(d.tree.Above) == 0 {
		return
	}
	for _, c := range d.state.Control {
		if c.Populated {
			d.blocks[outside] = fmt.Sprintf("%s:/%s holds processes itself, so that it can enable no controllers for what is below it", d.tree.Hierarchy, c.Dir)
			d.fault(d.tree.Place(""), d.blocks[outside])
			return
		}
	}
	for _, c := range d.state.Control {
		for _, name := range d.tree.Above {
			if !slices.Contains(c.Enabled, name) {
				d.step(Step{Op: OpWrite, Phase: PhaseEnable, Dir: c.Dir, File: ControlFile, Text: "+" + name, Place: d.tree.Place("") + ": " + name})
			}
		}
	}
}

// blocked says why p can enable no controllers; "" when nothing is in the way.
func (d *differ) blocked(p string) string {
	if len(d.blocks) == 0 {
		return ""
	}
	for {
		if why := d.blocks[p]; why != "" {
			return why
		}
		if p == "" {
			return d.blocks[outside]
		}
		p = parent(p)
	}
}

// enabledBy are the controllers that p enables once processes have been made to
// leave.
func (d *differ) enabledBy(p string) []string {
	if n := d.state.Nodes[p]; n != nil && !d.cleared[p] {
		return n.Enabled
	}
	return nil
}

func (d *differ) toggle(phase Phase, p, text string) {
	d.step(Step{
		Op: OpWrite, Phase: phase, Dir: d.tree.Full(p), Path: p, File: ControlFile, Text: text,
		Place: d.tree.Place(p) + ": " + text[1:],
	})
}

// vacate moves processes out of a cgroup that enables controllers for others, or
// is about to.
func (d *differ) vacate(dir Dir, n *Node) {
	into := dir.Home
	if !n.Populated || into == "" || len(dir.Enable) == 0 && (into == dir.Path || len(n.Enabled) == 0) {
		return
	}
	if dir.Path == d.self {
		d.blocks[dir.Path] = "the daemon itself runs in this cgroup, which can therefore enable no controllers for those below it"
		d.fault(dir.Place, d.blocks[dir.Path])
		return
	}
	if into == dir.Path {
		into = d.tree.Refuge(dir.Path)
	}
	d.clear(dir.Path)
	d.refuges = append(d.refuges, into)
	d.step(Step{Op: OpEvacuate, Phase: PhaseVacate, Dir: d.tree.Full(dir.Path), Path: dir.Path, Place: d.tree.Place(dir.Path), Into: into})
}

// clear disables what is enabled at and below p, deepest first. The kernel lets
// processes into a cgroup that has only threaded controllers enabled, such as
// cpu, while nobody is below it; from then on nobody may go below it either
// (cgroup-v2.rst, "Threads": the children are "domain invalid"), until either the
// processes or the controllers are gone. Nobody is below, so only settings have
// to be made again.
func (d *differ) clear(p string) {
	n := d.state.Nodes[p]
	if n == nil || len(n.Enabled) == 0 || d.cleared[p] {
		return
	}
	if _, configured := d.tree.Dir(p); !configured && keeps(d.tree, d.state, d.shield, d.self, p, n) {
		return
	}
	for _, name := range n.Children {
		d.clear(path.Join(p, name))
	}
	for _, name := range n.Enabled {
		d.toggle(PhaseVacate, p, "-"+name)
	}
	d.cleared[p] = true
}

// disable takes controllers back that nothing needs, bottom-up, because the
// kernel refuses it while a child has them enabled. What goes away anyway is in
// the way only where a cgroup that stays has a controller too many.
func (d *differ) disable() {
	excess := map[string][]string{}
	d.holds("", excess)
	paths := sortedKeys(excess)
	slices.SortFunc(paths, comparePaths)
	var order []string
	for _, p := range paths {
		if d.removed[p] {
			excess[p] = slices.DeleteFunc(excess[p], func(name string) bool { return !slices.Contains(excess[parent(p)], name) })
		}
		order = append(order, p)
	}
	slices.Reverse(order)
	for _, p := range order {
		for _, name := range excess[p] {
			d.toggle(PhaseDisable, p, "-"+name)
		}
	}
}

// holds are the controllers that p enables when all is done, because it or
// something below it needs them; the others go to excess.
func (d *differ) holds(p string, excess map[string][]string) []string {
	n := d.state.Nodes[p]
	if n == nil {
		return nil
	}
	dir, configured := d.tree.Dir(p)
	if !configured && !d.removed[p] {
		return n.Enabled // somebody else's
	}
	var held []string
	if configured {
		held = slices.Clone(dir.Enable)
	}
	for _, name := range n.Children {
		for _, controller := range d.holds(path.Join(p, name), excess) {
			held = include(held, controller)
		}
	}
	enabled := d.enabledBy(p)
	if configured && d.stays[p] {
		return enabled // somebody else's cgroup below it may need it
	}
	for _, name := range enabled {
		if !slices.Contains(held, name) {
			excess[p] = append(excess[p], name)
		}
	}
	return held
}

// strangers are the cgroups with a child that stays although the document does
// not name it, relative to our root.
func strangers(t *Tree, s *State, shield Shield, self string) map[string]bool {
	out := map[string]bool{}
	for p, n := range s.Nodes {
		if _, configured := t.Dir(p); configured || path.Base(p) == Reserved || !keeps(t, s, shield, self, p, n) {
			continue
		}
		for p != "" {
			up := parent(p)
			if _, configured := t.Dir(p); !configured {
				out[up] = true
			}
			p = up
		}
	}
	return out
}
