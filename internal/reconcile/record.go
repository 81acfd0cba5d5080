package reconcile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/statefile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// record is what must survive a kill at any moment for the next start to
// converge: what we have put in force and may have to take back. It is written
// before the kernel is.
type record struct {
	Origin zkconf.Origin `json:"origin"`
	Root   string        `json:"cgroup_root"`
	// Hierarchies are those in which cgroups of ours may be.
	Hierarchies []string `json:"hierarchies"`
	// Settings are those that may be in force, as Setting.Key.
	Settings []string `json:"settings"`
	// Making are the cgroups that were about to be made, as "cpu:/a/b": one that
	// lacks our mark was made right before a kill. Those of the journal count too.
	Making []string `json:"making,omitempty"`
}

const recordFile = "applied.json"

// loadRecord reads what an earlier run left. A file of another cluster or of
// another root is refused: what it speaks of is not ours to take back.
func loadRecord(dir string, origin zkconf.Origin, root string) (record, error) {
	fresh := record{Origin: origin, Root: root}
	if dir == "" {
		return fresh, nil
	}
	file := filepath.Join(dir, recordFile)
	var r record
	err := statefile.Load(file, &r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fresh, nil
	case err != nil:
		return fresh, err
	case !r.Origin.SameCluster(origin):
		return fresh, fmt.Errorf("%s was written for another cluster (%s%s); it is not used", file, r.Origin.Hosts, r.Origin.Path)
	case r.Root != root:
		return fresh, fmt.Errorf("%s was written for cgroup_root /%s; it is not used", file, r.Root)
	}
	r.Origin = origin
	r.Making = unique(append(r.Making, loadJournal(dir)...))
	return r, nil
}

func (r record) save(dir string) error {
	if dir == "" {
		return nil
	}
	// It speaks of cgroups, which end with the machine.
	return statefile.SaveForProcess(filepath.Join(dir, recordFile), r)
}

// before is the record that must be on disk before the trees are applied: what
// was in force and what will be.
func (r record) before(trees []*Tree, plan Plan) record {
	out := r
	for _, t := range trees {
		out.Hierarchies = append(slices.Clone(out.Hierarchies), t.Hierarchy)
	}
	out.Settings = append(settingKeys(trees), out.Settings...)
	out.Making = plan.making()
	return out.normal()
}

// making are the cgroups that a plan makes, as in record.Making.
func (p Plan) making() (out []string) {
	for _, s := range p {
		if s.Op == OpMkdir {
			out = append(out, s.Tree.Hierarchy+":/"+s.Dir)
		}
	}
	return out
}

// after is the record once a pass is over: what the document asks for, and what
// could not be taken back yet.
func (r record) after(d Desired, states map[string]*State) record {
	trees := d.Trees
	out := r
	out.Making, out.Hierarchies = nil, nil
	out.Settings = append(settingKeys(trees), d.Kept...)
	for _, name := range r.Hierarchies {
		if !slices.ContainsFunc(trees, func(t *Tree) bool { return t.Hierarchy == name }) {
			out.Hierarchies = append(out.Hierarchies, name) // not mounted now
		}
	}
	for _, t := range trees {
		s := states[t.Hierarchy]
		if t.Mode != Leave || s == nil || len(leftovers(t, s)) > 0 {
			out.Hierarchies = append(out.Hierarchies, t.Hierarchy)
		}
		for _, reset := range t.Resets {
			if s == nil || s.Unreadable[reset.Path] != nil {
				out.Settings = append(out.Settings, reset.Key)
				continue
			}
			if s.differs(&reset) {
				out.Settings = append(out.Settings, reset.Key)
				if !slices.Contains(out.Hierarchies, t.Hierarchy) {
					out.Hierarchies = append(out.Hierarchies, t.Hierarchy)
				}
			}
		}
	}
	return out.normal()
}

// differs says whether a setting that has left the document is still to be taken back.
func (s *State) differs(reset *Reset) bool {
	n, file := s.Nodes[reset.Path], reset.source()
	if n == nil || !n.Values.of(file).Exists || n.Values.of(file).is(&reset.Setting) {
		return false
	}
	return !reset.FromParent || set(n.Values.of(file).Text).String() != set(s.inherited(reset.Path, file)).String()
}

// inherited is the value of file in the nearest cgroup above p that has one.
func (s *State) inherited(p, file string) string {
	for p != "" {
		p = parent(p)
		if n := s.Nodes[p]; n != nil && n.Values.of(file).Text != "" {
			return n.Values.of(file).Text
		}
	}
	return s.Above[file]
}

// leftovers are the cgroups with our mark that a tree no longer names.
func leftovers(t *Tree, s *State) []string {
	var out []string
	for p, n := range s.Nodes {
		if _, configured := t.Dir(p); !configured && n.Foreign && n.ours(p) {
			out = append(out, p)
		}
	}
	return out
}

func settingKeys(trees []*Tree) []string {
	many := 0
	for _, t := range trees {
		for i := range t.Dirs {
			many += len(t.Dirs[i].Settings)
		}
	}
	out := make([]string, 0, many)
	for _, t := range trees {
		for i := range t.Dirs {
			for j := range t.Dirs[i].Settings {
				out = append(out, t.Dirs[i].Settings[j].Key)
			}
		}
	}
	return out
}

func (r record) normal() record {
	r.Hierarchies = unique(r.Hierarchies)
	slices.Sort(r.Settings) // nobody else's, see settingKeys
	r.Settings = slices.Compact(r.Settings)
	r.Making = unique(r.Making)
	return r
}

func unique(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

func (r record) equal(o record) bool {
	return r.Root == o.Root && slices.Equal(r.Hierarchies, o.Hierarchies) &&
		slices.Equal(r.Settings, o.Settings) && slices.Equal(r.Making, o.Making)
}
