// Package confdiff says in few lines what becomes different when one document follows another.
package confdiff

import (
	"maps"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// Diff is what becomes different. Everything is sorted by subsystem and path,
// parents first.
type Diff struct {
	// Removed and Added are cgroups that only the older or only the newer
	// document has.
	Removed []Cgroup `json:"removed"`
	Added   []Cgroup `json:"added"`
	// NewlyNamed are the subsystems that only the newer document names: what
	// others made there, below our root, is removed from then on.
	NewlyNamed []string `json:"newly_named"`
	// Unnamed are the subsystems that only the older document names.
	Unnamed []string `json:"unnamed"`
	Changed []Change `json:"changed"`
}

// Cgroup is one that comes or goes, with all below it in entries of their own.
type Cgroup struct {
	Subsystem string            `json:"subsystem"`
	Path      string            `json:"cgroup"` // relative to our root
	Conf      map[string]string `json:"conf,omitempty"`
	// Below counts the cgroups below it.
	Below int  `json:"below"`
	inner bool // its parent comes or goes, too
}

// Change is one setting, or the presence of conf, in a cgroup that stays.
type Change struct {
	Subsystem string `json:"subsystem"`
	Path      string `json:"cgroup"`  // "" is our root
	Setting   string `json:"setting"` // "conf" for conf as a whole
	// From and To are values in canonical spelling; nil where there is none.
	// Of conf itself the value is empty.
	From *string `json:"from"`
	To   *string `json:"to"`
}

// Destroys says whether cgroups are removed by it, or may be: those of others, in
// a subsystem that was not named before.
func (d *Diff) Destroys() bool { return len(d.Removed) > 0 || len(d.NewlyNamed) > 0 }

// Empty says whether the documents mean the same.
func (d *Diff) Empty() bool {
	return !d.Destroys() && len(d.Added) == 0 && len(d.Changed) == 0 && len(d.Unnamed) == 0
}

// Compare compares two documents; nil is one that names nothing.
func Compare(older, newer *zkconf.Document) *Diff {
	d := &Diff{Removed: []Cgroup{}, Added: []Cgroup{}, NewlyNamed: []string{}, Unnamed: []string{}, Changed: []Change{}}
	a, b := subsystems(older), subsystems(newer)
	for _, name := range union(a, b) {
		x, y := a[name], b[name]
		switch {
		case x == nil:
			d.NewlyNamed = append(d.NewlyNamed, name)
			x = &zkconf.Node{}
		case y == nil:
			d.Unnamed = append(d.Unnamed, name)
			y = &zkconf.Node{}
		}
		d.node(name, "", x, y)
	}
	return d
}

func subsystems(doc *zkconf.Document) map[string]*zkconf.Node {
	if doc == nil {
		return nil
	}
	return doc.Subsystems
}

// union is the sorted keys of both.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// node compares one cgroup that both have.
func (d *Diff) node(subsystem, path string, a, b *zkconf.Node) {
	if a == b {
		return
	}
	d.conf(subsystem, path, a, b)
	for _, name := range union(a.Sub, b.Sub) {
		child := strings.TrimPrefix(path+"/"+name, "/")
		x, y := a.Sub[name], b.Sub[name]
		switch {
		case x == nil:
			d.Added, _ = whole(d.Added, subsystem, child, y, false)
		case y == nil:
			d.Removed, _ = whole(d.Removed, subsystem, child, x, false)
		default:
			d.node(subsystem, child, x, y)
		}
	}
}

// whole lists a cgroup and all below it, and counts them.
func whole(list []Cgroup, subsystem, path string, n *zkconf.Node, inner bool) (_ []Cgroup, count int) {
	at := len(list)
	list = append(list, Cgroup{Subsystem: subsystem, Path: path, Conf: n.Conf, inner: inner})
	for _, name := range slices.Sorted(maps.Keys(n.Sub)) {
		var below int
		list, below = whole(list, subsystem, path+"/"+name, n.Sub[name], true)
		count += below
	}
	list[at].Below = count
	return list, count + 1
}

func (d *Diff) conf(subsystem, path string, a, b *zkconf.Node) {
	note := func(setting string, from, to *string) {
		d.Changed = append(d.Changed, Change{subsystem, path, setting, from, to})
	}
	if a.HasConf != b.HasConf {
		note("conf", present(a.HasConf), present(b.HasConf))
	}
	for _, key := range union(a.Conf, b.Conf) {
		from, to := value(a.Conf, key), value(b.Conf, key)
		if from == nil || to == nil || *from != *to {
			note(key, from, to)
		}
	}
	// Of settings that we do not know there is only the name.
	x, y := set(a.Unknown), set(b.Unknown)
	for _, key := range union(x, y) {
		if x[key] != y[key] {
			note(key, present(x[key]), present(y[key]))
		}
	}
}

func set(list []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return m
}

func present(yes bool) *string {
	if !yes {
		return nil
	}
	return new(string)
}

func value(conf map[string]string, key string) *string {
	if v, ok := conf[key]; ok {
		return &v
	}
	return nil
}
