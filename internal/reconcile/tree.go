package reconcile

import (
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Mode says what the daemon may remove in a hierarchy.
type Mode int

// The modes.
const (
	// Own: the document names the hierarchy; every foreign cgroup is pruned.
	Own Mode = iota
	// Mirror: the hierarchy follows another one; only what carries our mark is
	// removed.
	Mirror
	// Leave: the document named it before; what carries our mark is removed once.
	Leave
)

// String is the mode's name in /status.
func (m Mode) String() string { return [...]string{"own", "mirror", "leave"}[m] }

// Tree is what one hierarchy should hold at and below our root. It is immutable.
type Tree struct {
	Hierarchy  string
	Subsystems []string // those of the document that live here, sorted
	All        []string // every subsystem that lives here, for the shield
	Root       string   // our root, relative to the mount, without a leading slash
	Mode       Mode
	Follows    string // Mirror: the hierarchy whose members are followed
	// Dirs are our root (Path "") and every configured cgroup, parents first.
	Dirs []Dir
	// Resets are settings that were applied and are gone from the document: they
	// go back to the kernel's default wherever their cgroup stays.
	Resets []Reset
	// Arm are the disks to arm (design 1.5).
	Arm []string
	// Controlled: controllers are enabled cgroup by cgroup, and no process may be
	// in a cgroup that does so for others.
	Controlled bool
	// Above are the controllers that every cgroup above our root has to enable.
	Above []string

	index  map[string]int
	resets map[string][]int // of Resets, by path
}

// reset adds a setting to those that go back to their default.
func (t *Tree) reset(r Reset) {
	if t.resets == nil {
		t.resets = map[string][]int{}
	}
	t.resets[r.Path] = append(t.resets[r.Path], len(t.Resets))
	t.Resets = append(t.Resets, r)
}

// Dir is one cgroup that should exist.
type Dir struct {
	Path string // relative to our root; "" is our root
	// Place is how faults name it: "cpu/a/b".
	Place string
	// Conf: some subsystem gives it a conf, so that it may take processes, and
	// Home is the cgroup that holds them: the cgroup itself or its reserved child.
	Conf bool
	Home string
	// Reserved: it is the child that holds the processes of an inner cgroup.
	// Optional: it is made only when processes need it.
	Reserved, Optional bool
	// Enable are the controllers that it enables for its children, sorted.
	Enable   []string
	Settings []Setting
	// Inherit are files that are copied from the parent while they are empty.
	Inherit []string
}

// Setting is one control file and the text that it should read.
type Setting struct {
	Place string // "cpu/a/b: share", for faults
	Key   string // "cpu/a/b share", for the record of applied settings
	Asked string // what the document says, in canonical spelling; "" where it says nothing
	// Off is by how much the file's value misses what was asked, as a fraction of
	// it, where the file has only whole numbers.
	Off float64
	// Deaf says why it has no effect on this host; "" when it has one.
	Deaf string
	cgfs.Write
}

// source is the file that shows the setting.
func (s *Setting) source() string {
	if s.From != "" {
		return s.From
	}
	return s.File
}

// Reset is a setting that goes back to its default.
type Reset struct {
	Path string
	Setting
}

// Fault is something of the document that this host cannot honour.
type Fault struct {
	Place  string `json:"place"`
	Reason string `json:"reason"`
}

func (f Fault) String() string { return f.Place + ": " + f.Reason }

// Place is how faults name the cgroup p: by a subsystem of the document.
func (t *Tree) Place(p string) string {
	if d, ok := t.Dir(p); ok {
		return d.Place
	}
	return strings.TrimSuffix(t.Subsystems[0]+"/"+p, "/")
}

// Dir finds the entry of a path.
func (t *Tree) Dir(p string) (*Dir, bool) {
	i, ok := t.index[p]
	if !ok {
		return nil, false
	}
	return &t.Dirs[i], true
}

// below are a configured cgroup and all configured ones below it, parents first.
func (t *Tree) below(top *Dir) []Dir {
	from := t.index[top.Path]
	to := from + 1
	for to < len(t.Dirs) && strings.HasPrefix(t.Dirs[to].Path, top.Path+"/") {
		to++
	}
	return t.Dirs[from:to]
}

// Full is the path relative to the mount.
func (t *Tree) Full(p string) string { return pathJoin(t.Root, p) }

// Refuge is where the processes of p go when it is removed: the nearest ancestor
// with conf, else our root.
func (t *Tree) Refuge(p string) string {
	for p != "" {
		p = parent(p)
		if d, ok := t.Dir(p); ok && d.Conf && !d.Reserved && p != "" {
			return d.Home
		}
	}
	root, _ := t.Dir("")
	return root.Home
}

// HomeOf is where the processes of the configured cgroup p are.
func (t *Tree) HomeOf(p string) string {
	if d, ok := t.Dir(p); ok {
		return d.Home
	}
	return p
}

// Reserved is the name of the child that holds the processes of an inner cgroup
// of the unified hierarchy, which may not hold any itself. The document cannot
// use the name.
const Reserved = "@members"

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
