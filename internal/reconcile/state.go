package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// FS is one mounted hierarchy in the kernel's own language. Directories are
// relative to the mount. cgfs.Hierarchy is the real one.
type FS interface {
	Children(dir string) ([]string, error)
	Stat(dir string) (cgfs.Info, error)
	Marked(dir string) (bool, error)
	Read(dir, file string) (string, error)
	// Same and SameChildren are Read and Children for whoever knows what was there
	// (names sorted), and allocate nothing.
	Same(dir, file, text string) (bool, error)
	SameChildren(dir string, names []string) (bool, error)
	Procs(dir string, dst []int) ([]int, error)
	Tasks(dir string, dst []int) ([]int, error)

	Mkdir(dir string) error // and mark it as ours
	Mark(dir string) error
	Write(dir, file, text string) error
	// Put writes and says what the file from reads afterwards.
	Put(dir, file, text, from string) (now string, err error)
	// Restore writes text where a file does not read what is right; now is what it
	// reads at last.
	Restore(dir, file, text string, right func(now string) bool) (now string, wrote bool, err error)
	Move(dir string, pids []int, done func(pid int, err error)) error
	// Split finds the processes that are in dir only with some of their threads.
	Split(dir string, pids []int) (whole, threads []int, err error)
	MoveThread(dir string, tid int) error
	Rmdir(dir string) error
	// RemoveTree removes dir and all below it, also where paths are too long.
	RemoveTree(ctx context.Context, dir string, r cgfs.Removal) error
}

var _ FS = (*cgfs.Hierarchy)(nil)

// State is what was found in one hierarchy, at and below our root.
type State struct {
	// Missing are the directories down to our root that do not exist, top first,
	// relative to the mount.
	Missing []string
	// Above are the values that our root inherits while it does not exist.
	Above map[string]string
	// Control are the controllers that the cgroups above our root enable, top
	// first, relative to the mount. Only of a controlled tree.
	Control []Control
	// Nodes are the existing cgroups, by path relative to our root.
	Nodes map[string]*Node
	// Unreadable are the cgroups that could not be read, by path relative to our
	// root. They are left alone.
	Unreadable map[string]error
	// Armed are the disks whose counters run; Ruled the cgroups that have a
	// throttle rule of their own, by disk.
	Armed map[string]bool
	Ruled map[string][]string
}

// Node is one existing cgroup.
type Node struct {
	// Inode is 0 for one that we have made and not looked at since.
	Inode uint64
	// Watched: events about it are asked for.
	Watched bool
	// Since is a time at which it existed already, the earliest known.
	Since    time.Time
	Children []string
	// Values are the control files that were read.
	Values Values
	// Foreign: Marked and Populated are known. They are asked only of cgroups that
	// the tree does not name; Populated also of those that enable controllers.
	Foreign, Marked, Populated bool
	// Deep: its path is too long to be read, so nothing is known of it and of what is
	// below it. It is taken to hold processes.
	Deep bool
	// Enabled are the controllers that it enables for its children, in a
	// controlled tree; nil: not known. Counted: Populated is known of it.
	Enabled []string
	Counted bool
}

// Control is what one cgroup above our root enables.
type Control struct {
	Dir     string
	Enabled []string
	// Populated: it holds processes, and is not the kernel's own root, which may.
	Populated bool
}

// Values are what the control files of a cgroup read, sorted by file. There are few, so
// that a list costs an eighth of what a map of one does, and there are as many lists as
// cgroups.
type Values []FileValue

// FileValue is one of them.
type FileValue struct {
	File string
	Value
}

// find says where a file is in the list, or where it belongs.
func (v Values) find(file string) (i int, known bool) {
	for i < len(v) && v[i].File < file {
		i++
	}
	return i, i < len(v) && v[i].File == file
}

// of is what a file reads; the zero Value where that is not known.
func (v Values) of(file string) Value {
	if i, known := v.find(file); known {
		return v[i].Value
	}
	return Value{}
}

func (v *Values) set(file string, now Value) {
	i, known := v.find(file)
	if !known {
		*v = slices.Insert(*v, i, FileValue{File: file})
	}
	(*v)[i].Value = now
}

func (v *Values) forget(file string) {
	if i, known := v.find(file); known {
		*v = slices.Delete(*v, i, i+1)
	}
}

// Value is what a control file reads.
type Value struct {
	Text string
	// Exists is false for a file that this cgroup lacks.
	Exists bool
}

// is says whether the file holds what a setting wants, as the kernel spells it.
func (v Value) is(s *Setting) bool {
	return v.Exists && s.Form.Read(v.Text) == s.Want
}
