package reconcile

import (
	"path"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// need notes which controller the cgroup p of a unified tree must have, so that
// the cgroups above it enable it. A cgroup's CPU time is counted without any
// controller, so only a conf needs `cpu`; the others count by their controller.
func (c *compiler) need(t *Tree, subsystem, p string, conf bool) {
	controller := cgfs.Controller(subsystem)
	if !t.Controlled || p == "" || controller == "" || controller == "cpu" && !conf {
		return
	}
	if !slices.Contains(c.host.Controllers, controller) {
		return // a fault says so where a setting needs it
	}
	for p != "" {
		p = parent(p)
		d := &t.Dirs[t.index[p]]
		if !slices.Contains(d.Enable, controller) {
			d.Enable = append(d.Enable, controller)
			slices.Sort(d.Enable)
		}
	}
	if !slices.Contains(t.Above, controller) {
		t.Above = append(t.Above, controller)
		slices.Sort(t.Above)
	}
}

// homes says where the processes of each cgroup are. In a unified tree a cgroup
// with children may not hold any, so each inner one that takes processes gets the
// reserved child.
func (c *compiler) homes(t *Tree) {
	inner := map[string]bool{}
	for _, d := range t.Dirs {
		if d.Path != "" {
			inner[parent(d.Path)] = true
		}
	}
	for i := range t.Dirs {
		t.Dirs[i].Home = t.Dirs[i].Path
	}
	if !t.Controlled {
		return
	}
	for _, d := range slices.Clone(t.Dirs) {
		// The real root of the hierarchy is exempt from the rule.
		ours := d.Path == "" && t.Root != ""
		if !ours && !(d.Conf && inner[d.Path]) {
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

// control plans which controllers each cgroup enables: what is needed top-down,
// after the processes have left, and what is not needed any more bottom-up. One
// controller a write, because one that cannot be enabled fails the whole write.
func (d *differ) control() {
	for _, c := range d.state.Control {
		for _, name := range d.tree.Above {
			if !slices.Contains(c.Enabled, name) {
				d.enable(PhaseEnable, c.Dir, "", "+"+name)
			}
		}
	}
	var disable Plan
	for _, dir := range d.tree.Dirs {
		n := d.state.Nodes[dir.Path]
		var enabled []string
		if n != nil {
			enabled = n.Enabled
			d.vacate(dir, n)
		}
		for _, name := range dir.Enable {
			if !slices.Contains(enabled, name) {
				d.enable(PhaseEnable, d.tree.Full(dir.Path), dir.Path, "+"+name)
			}
		}
		if d.stays[dir.Path] {
			continue // somebody else's cgroup may need it
		}
		for _, name := range enabled {
			if !slices.Contains(dir.Enable, name) {
				disable = append(disable, Step{
					Op: OpWrite, Phase: PhaseDisable, Tree: d.tree, Dir: d.tree.Full(dir.Path), Path: dir.Path, File: ControlFile, Text: "-" + name,
					Place: d.tree.Place(dir.Path) + ": " + name,
				})
			}
		}
	}
	slices.Reverse(disable)
	d.out.Plan = append(d.out.Plan, disable...)
}

// vacate moves processes out of a cgroup that enables controllers for others.
func (d *differ) vacate(dir Dir, n *Node) {
	if !n.Populated || len(dir.Enable) == 0 || dir.Path == "" && d.tree.Root == "" {
		return
	}
	into := dir.Home
	if into == dir.Path {
		into = d.tree.Refuge(dir.Path)
	}
	d.refuges = append(d.refuges, into)
	d.step(Step{Op: OpEvacuate, Phase: PhaseVacate, Dir: d.tree.Full(dir.Path), Path: dir.Path, Place: d.tree.Place(dir.Path), Into: into})
}

func (d *differ) enable(phase Phase, dir, p, text string) {
	d.step(Step{Op: OpWrite, Phase: phase, Dir: dir, Path: p, File: ControlFile, Text: text, Place: d.tree.Place(p) + ": " + text[1:]})
}

// strangers are the cgroups with a child that stays although the document does
// not name it, relative to our root.
func strangers(t *Tree, s *State, shield Shield) map[string]bool {
	out := map[string]bool{}
	for p := range s.Nodes {
		if _, configured := t.Dir(p); configured || !shield.Kept(t.Subsystems, p) {
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
