package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// Host is what Compile must know of this host.
type Host struct {
	// Hierarchies maps each subsystem that can be used to the name of its
	// hierarchy: a v1 one where it is mounted, else the unified one.
	Hierarchies map[string]string
	// Unified is the name of the unified hierarchy, "" for none, and Controllers
	// are those that it can enable.
	Unified     string
	Controllers []string
	// Nested: the unified hierarchy's mount is not the kernel's own root, as in a
	// container, so that the rule against processes in inner cgroups holds there too.
	Nested bool
	// Caps says which control files there are, by subsystem.
	Caps map[string]cgfs.Caps
	// Schedulers give out the time of the disks.
	Schedulers cgfs.Schedulers
	// Disks are the block devices whose counters are to be armed, as "MAJ:MIN".
	Disks []string

	known map[string]map[string]bool // the answers of Caps so far, by subsystem
}

// HostOf asks a layout what Compile must know. Disks are left to the caller.
func HostOf(l *cgfs.Layout) Host {
	h := Host{Hierarchies: map[string]string{}, Caps: map[string]cgfs.Caps{}, Schedulers: l.Schedulers(), known: map[string]map[string]bool{}}
	for _, hier := range l.Hierarchies() {
		for _, s := range l.Subsystems(hier) {
			h.Hierarchies[s] = hier.Name()
			h.Caps[s] = h.remembering(s, l.Caps(s))
		}
		if hier.Version() == 2 {
			h.Unified, h.Controllers = hier.Name(), hier.Subsystems()
			h.Nested = hier.Exists("", typeFile)
		}
	}
	return h
}

// remembering asks for each file once: the answer is that of the host.
func (h Host) remembering(subsystem string, caps cgfs.Caps) cgfs.Caps {
	known, ask := map[string]bool{}, caps.Has
	h.known[subsystem] = known
	caps.Has = func(file string) bool {
		has, asked := known[file]
		if !asked {
			has = ask(file)
			known[file] = has
		}
		return has
	}
	return caps
}

// same says whether another look at the host gives Compile the same answers.
func (h Host) same(o Host) bool {
	for subsystem, known := range h.known {
		caps, still := o.Caps[subsystem]
		if !still || caps.Version != h.Caps[subsystem].Version {
			return false
		}
		for file, has := range known {
			if caps.Has(file) != has {
				return false
			}
		}
	}
	return h.Unified == o.Unified && h.Nested == o.Nested && slices.Equal(h.Controllers, o.Controllers) && slices.Equal(h.Disks, o.Disks) &&
		maps.Equal(h.Hierarchies, o.Hierarchies) && maps.Equal(h.Schedulers.Of, o.Schedulers.Of) && slices.Equal(h.Schedulers.Cost, o.Schedulers.Cost)
}

// Options are Compile's further inputs.
type Options struct {
	Root   string // our root, relative to each mount, without a leading slash
	Shield Shield
	// Shared are the cgroups (relative to our root) that have a child which stays
	// although the document does not name it, by hierarchy.
	Shared map[string]map[string]bool
	// Owned are the settings that earlier documents put in force, and
	// Hierarchies those in which cgroups of ours may be.
	Owned       []string
	Hierarchies []string
}

// Desired is the result of Compile.
type Desired struct {
	Trees  []*Tree // sorted by hierarchy
	Faults []Fault
	// Notes are what is in force and has no effect on this host: settings, and
	// entries of protected_cgroup.
	Notes []Fault
	// Placed are the cgroups that take processes, by subsystem.
	Placed map[string][]string
	// Kept are the Options.Owned that cannot be dealt with while their hierarchy is
	// not mounted.
	Kept []string
}

// Tree finds the tree that a subsystem of the document lives in; nil: none here.
func (d Desired) Tree(subsystem string) *Tree { return treeOf(d.Trees, subsystem) }

// treeIn is the tree of a hierarchy; nil: none.
func (d Desired) treeIn(hierarchy string) *Tree {
	for _, t := range d.Trees {
		if t.Hierarchy == hierarchy {
			return t
		}
	}
	return nil
}

// HomeIn says where the processes of a subsystem's cgroup are on this host,
// relative to the mount. ok is false when this host cannot use the subsystem. A
// cgroup has the reserved child also while somebody else's cgroup is below it,
// which the document does not tell and the mount does.
func (d Desired) HomeIn(l *cgfs.Layout, subsystem, p string) (dir string, ok bool) {
	t := d.Tree(subsystem)
	if t == nil {
		return "", false
	}
	dir = t.Full(t.HomeOf(p))
	if t.Controlled && t.HomeOf(p) == p {
		for _, h := range l.Hierarchies() {
			if reserved := path.Join(dir, Reserved); h.Name() == t.Hierarchy && h.Exists("", reserved) {
				return reserved, true
			}
		}
	}
	return dir, true
}

func treeOf(trees []*Tree, subsystem string) *Tree {
	for _, t := range trees {
		if t.Mode == Own && slices.Contains(t.Subsystems, subsystem) {
			return t
		}
	}
	return nil
}

// Compile says what each hierarchy of the host should hold for the document to
// be honoured, and what of the document the host cannot honour. It is the only
// place that knows one cgroup version from the other.
func Compile(doc *zkconf.Document, host Host, opt Options) Desired {
	c := compiler{doc: doc, host: host, opt: opt, trees: map[string]*Tree{}, placed: map[string][]string{}}
	for _, subsystem := range sortedKeys(doc.Subsystems) {
		c.subsystem(subsystem)
	}
	c.mirror()
	c.leave()
	c.arm()
	c.conflicts()
	out := Desired{Faults: c.faults, Notes: append(c.notes, opt.Shield.absent(host)...), Placed: c.placed}
	for _, name := range sortedKeys(c.trees) {
		t := c.trees[name]
		c.homes(t)
		out.Trees = append(out.Trees, finish(t))
		if t.Controlled {
			c.weights(t)
		}
	}
	c.resets(out)
	out.Kept = c.kept
	slices.SortFunc(out.Faults, func(a, b Fault) int {
		return cmp.Or(strings.Compare(a.Place, b.Place), strings.Compare(a.Reason, b.Reason))
	})
	return out
}

type compiler struct {
	doc    *zkconf.Document
	host   Host
	opt    Options
	trees  map[string]*Tree
	placed map[string][]string
	here   []string // of placed, those of the subsystem that is being compiled
	faults []Fault
	notes  []Fault
	kept   []string
	// what a single setting means, by subsystem, key and text
	singles map[[3]string]meaning
	// room for settings: those of many cgroups lie side by side
	room  []Setting
	rooms int // how many there was room for last
}

type meaning struct {
	writes []cgfs.Write
	faults []cgfs.KeyFault
}

func (c *compiler) fault(place, reason string) {
	c.faults = append(c.faults, Fault{Place: place, Reason: reason})
}

// tree is the tree of a hierarchy, made when it is first asked for.
func (c *compiler) tree(hierarchy string, mode Mode) *Tree {
	t := c.trees[hierarchy]
	if t == nil {
		t = &Tree{Hierarchy: hierarchy, Root: c.opt.Root, Mode: mode, Controlled: hierarchy == c.host.Unified, index: map[string]int{}}
		for _, s := range sortedKeys(c.host.Hierarchies) {
			if c.host.Hierarchies[s] == hierarchy {
				t.All = append(t.All, s)
			}
		}
		c.trees[hierarchy] = t
	}
	return t
}

func (c *compiler) subsystem(subsystem string) {
	hierarchy, mounted := c.host.Hierarchies[subsystem]
	switch {
	case mounted:
	case c.host.Unified != "":
		c.fault(subsystem, cgfs.WhyNotUnified(subsystem))
		return
	default:
		c.fault(subsystem, "no such subsystem is mounted on this host")
		return
	}
	t := c.tree(hierarchy, Own)
	t.Subsystems = append(t.Subsystems, subsystem)
	n := c.doc.Subsystems[subsystem]
	if len(t.Dirs) == 0 {
		many := count(n)
		t.Dirs, t.index = make([]Dir, 0, many), make(map[string]int, many)
	}
	c.here = make([]string, 0, cap(t.Dirs)-len(t.Dirs))
	c.node(t, subsystem, subsystem, n)
	if len(c.here) > 0 {
		c.placed[subsystem] = c.here
	}
}

// count is how many nodes there are at and below n.
func count(n *zkconf.Node) int {
	many := 1
	for _, sub := range n.Sub {
		many += count(sub)
	}
	return many
}

// longestPath is how long a path below the mount may be, in bytes, so that the
// mount's own and a control file's name fit into PATH_MAX (4096) with it.
const longestPath = 4096 - 256

// node adds a cgroup, named by its place, and everything below it. The merge is by
// path: subsystems that share a hierarchy share its cgroups.
func (c *compiler) node(t *Tree, subsystem, place string, n *zkconf.Node) {
	p := place[min(len(subsystem)+1, len(place)):]
	if p != "" && c.opt.Shield.Named(t.All, p) {
		c.fault(place, "named by protected_cgroup: left alone, with all below it")
		return
	}
	if len(t.Root)+1+len(p) > longestPath {
		c.fault(place, "its path is too long for the kernel: left out, with all below it")
		return
	}
	i, exists := t.index[p]
	if !exists {
		i = len(t.Dirs)
		t.index[p] = i
		t.Dirs = append(t.Dirs, Dir{Path: p, Place: place})
	}
	d := &t.Dirs[i]
	if !t.Controlled {
		d.Inherit = append(d.Inherit, cgfs.InheritFiles(subsystem)...)
	}
	if n.HasConf {
		d.Conf = d.Conf || p != ""
		if p != "" {
			c.here = append(c.here, p)
		}
		if settings := c.translate(subsystem, place, n.Conf); d.Settings == nil {
			d.Settings = settings
		} else {
			d.Settings = append(d.Settings, settings...)
		}
		for _, key := range n.Unknown {
			c.fault(place+": "+key, "unknown setting; ignored")
		}
	}
	c.need(t, subsystem, p, n.HasConf)
	for _, name := range sortedKeys(n.Sub) {
		c.node(t, subsystem, pathJoin(place, name), n.Sub[name])
	}
}

// translate says which control files a conf becomes here.
func (c *compiler) translate(subsystem, place string, conf map[string]string) []Setting {
	writes, faults := c.meaning(subsystem, conf)
	for _, f := range faults {
		c.fault(place+": "+f.Key, f.Reason)
	}
	if len(writes) == 0 {
		return nil
	}
	out := c.take(len(writes))
	for i := range writes {
		w := &writes[i]
		if w.Controller != "" && !slices.Contains(c.host.Controllers, w.Controller) && c.host.Hierarchies[subsystem] == c.host.Unified {
			c.fault(place+": "+w.Keys[0], "the unified hierarchy does not offer the controller "+w.Controller+" on this host")
			continue
		}
		s := Setting{Place: place + ": " + w.Keys[0], Key: place + " " + w.ID, Asked: w.Asked(conf), Write: *w}
		if s.Deaf = c.host.Schedulers.Deaf(*w); s.Deaf != "" {
			c.deaf(s)
		}
		out = append(out, s)
	}
	return out
}

// take is room for so many settings, which nobody else appends to.
func (c *compiler) take(many int) []Setting {
	if len(c.room) < many {
		c.room = make([]Setting, max(many, min(2*c.rooms, 256)))
		c.rooms = len(c.room)
	}
	out := c.room[:0:many]
	c.room = c.room[many:]
	return out
}

// meaning is cgfs.Translate. Most cgroups have a single setting, and of few different
// values: those are translated once.
func (c *compiler) meaning(subsystem string, conf map[string]string) ([]cgfs.Write, []cgfs.KeyFault) {
	if len(conf) != 1 {
		return cgfs.Translate(subsystem, conf, c.host.Caps[subsystem])
	}
	var single [3]string
	for key, text := range conf {
		single = [3]string{subsystem, key, text}
	}
	m, known := c.singles[single]
	if !known {
		m.writes, m.faults = cgfs.Translate(subsystem, conf, c.host.Caps[subsystem])
		if c.singles == nil {
			c.singles = map[[3]string]meaning{}
		}
		c.singles[single] = m
	}
	return m.writes, m.faults
}

// deaf notes of a kind of weight that nothing on this host follows it: once, since
// it is a matter of the host's disks and not of a cgroup.
func (c *compiler) deaf(s Setting) {
	subsystem, _, _ := strings.Cut(s.Place, "/")
	f := Fault{Place: subsystem + ": " + s.Keys[0], Reason: s.Deaf}
	if !slices.Contains(c.notes, f) {
		c.notes = append(c.notes, f)
	}
}

// mirror lets cpuacct follow cpu where the two are mounted apart and the
// document names only cpu: its usage is what a user of cpu wants to see.
func (c *compiler) mirror() {
	source, hasCPU := c.host.Hierarchies["cpu"]
	target, hasAcct := c.host.Hierarchies["cpuacct"]
	_, named := c.doc.Subsystems["cpuacct"]
	from := c.trees[source]
	if !hasCPU || !hasAcct || source == target || named || from == nil || c.trees[target] != nil {
		return
	}
	t := c.tree(target, Mirror)
	t.Follows = source
	t.Subsystems = []string{"cpuacct"}
	for _, d := range from.Dirs {
		if d.Path != "" && c.opt.Shield.Named(t.All, d.Path) {
			continue // left alone, with all below it
		}
		t.index[d.Path] = len(t.Dirs)
		t.Dirs = append(t.Dirs, Dir{Path: d.Path, Place: strings.TrimSuffix("cpuacct/"+d.Path, "/"), Conf: d.Conf})
	}
}

// leave adds the hierarchies that the document has left.
func (c *compiler) leave() {
	for _, name := range c.opt.Hierarchies {
		mounted := slices.Contains(sortedValues(c.host.Hierarchies), name)
		if c.trees[name] != nil || !mounted {
			continue
		}
		t := c.tree(name, Leave)
		t.Subsystems = t.All
		t.index[""] = 0
		t.Dirs = []Dir{{Place: t.Subsystems[0]}}
	}
}

func (c *compiler) arm() {
	if _, named := c.doc.Subsystems["blkio"]; !named {
		return
	}
	if t := c.trees[c.host.Hierarchies["blkio"]]; t != nil && !t.Controlled {
		t.Arm = c.host.Disks
	}
}

// conflicts finds names that two subsystems of one hierarchy place differently:
// a process has one place there, so only the first subsystem is followed.
func (c *compiler) conflicts() {
	for _, hierarchy := range sortedKeys(c.trees) {
		if len(c.trees[hierarchy].Subsystems) < 2 {
			continue
		}
		seen := map[string]string{} // name -> the first place
		for _, subsystem := range Precedence(c.trees[hierarchy].Subsystems) {
			for _, p := range c.placed[subsystem] {
				name := path.Base(p)
				first, ok := seen[name]
				if !ok {
					seen[name] = subsystem + "/" + p
					continue
				}
				owner, at, _ := strings.Cut(first, "/")
				if owner != subsystem && at != p && !slices.Contains(c.placed[owner], p) && !slices.Contains(c.placed[subsystem], at) {
					c.fault(subsystem+"/"+p, fmt.Sprintf("%s and %s share one hierarchy, where a process has one place: its processes follow %s", subsystem, owner, first))
				}
			}
		}
	}
}

// Precedence orders the subsystems of one hierarchy: the first one's placement
// wins (design 2.4).
func Precedence(subsystems []string) []string {
	rank := map[string]int{"cpu": -3, "memory": -2, "blkio": -1}
	out := slices.Clone(subsystems)
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), strings.Compare(a, b)) })
	return out
}

// resets finds the settings that were put in force and are no longer asked for.
func (c *compiler) resets(out Desired) {
	if len(c.opt.Owned) == 0 {
		return
	}
	many := 0
	for _, t := range out.Trees {
		many += 2 * len(t.Dirs)
	}
	asked := make(map[string]bool, many)
	for _, t := range out.Trees {
		for _, d := range t.Dirs {
			for _, s := range d.Settings {
				asked[s.Key] = true
				asked[t.Hierarchy+":/"+d.Path+" "+s.Part()] = true
			}
		}
	}
	for _, owned := range c.opt.Owned {
		subsystem, _, _ := strings.Cut(owned, "/")
		subsystem, _, _ = strings.Cut(subsystem, " ")
		place, id, ok := cgfs.CutID(subsystem, owned)
		if !ok {
			continue // of a version with other settings
		}
		_, p, _ := strings.Cut(place, "/")
		t := c.trees[c.host.Hierarchies[subsystem]]
		conf, known := cgfs.ResetConf(subsystem, id)
		if t == nil && !asked[owned] {
			c.kept = append(c.kept, owned) // for when its hierarchy is mounted again
		}
		if asked[owned] || !known || t == nil || c.opt.Shield.Named(t.All, p) {
			continue
		}
		writes, _ := cgfs.Translate(subsystem, conf, c.host.Caps[subsystem])
		for _, w := range writes {
			s := Setting{Place: place + ": " + w.Keys[0], Key: owned, Write: w}
			if w.Weight != nil {
				s.Text = strconv.FormatUint(w.Weight.Default, 10)
				s.Want = s.Text
			}
			if !asked[t.Hierarchy+":/"+p+" "+s.Part()] {
				t.reset(Reset{Path: p, Setting: s})
			}
		}
	}
}

// finish sorts a tree's directories, parents first.
func finish(t *Tree) *Tree {
	byPath := func(a, b Dir) int { return comparePaths(a.Path, b.Path) }
	if slices.IsSortedFunc(t.Dirs, byPath) {
		return t
	}
	slices.SortFunc(t.Dirs, byPath)
	for i := range t.Dirs {
		t.index[t.Dirs[i].Path] = i
	}
	return t
}

// comparePaths sorts a parent before its children and keeps a subtree together.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if x, y := a[i], b[i]; x != y {
			switch {
			case x == '/':
				return -1
			case y == '/':
				return 1
			}
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedValues(m map[string]string) []string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}
