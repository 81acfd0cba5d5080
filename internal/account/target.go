package account

import "github.com/cgrouparch/cgrouparch/internal/cgfs"

// Target is what to sample: the trees that are in force. It is never changed
// after it was given to [Sampler.SetTarget].
type Target struct {
	// Subsystems are sorted by Name.
	Subsystems []Subsystem
}

// Subsystem is one subsystem of the document.
type Subsystem struct {
	Name string
	// Hierarchy has the usage files; nil: there is nothing to read and every
	// value is {}.
	Hierarchy *cgfs.Hierarchy
	// Usage says how the files are read.
	Usage cgfs.Usage
	// Root is our root cgroup with everything configured below it.
	Root Cgroup
	// Others, used with Usage.SumBelow, are the directories below our root that
	// are not configured, relative to the mount.
	Others []string
	// Extras are the optional members of the value, sorted by key.
	Extras []cgfs.ExtraSource
	// OOMKills, if set, says where out-of-memory kills in the subsystem's cgroups
	// are counted.
	OOMKills *cgfs.OOMKills
}

// Cgroup is one configured cgroup.
type Cgroup struct {
	// Name is the member's name in the parent's sub_cgroup; unused in a root.
	Name string
	// Dir is relative to the mount.
	Dir string
	// HasSub: the document gives the cgroup a sub_cgroup, if only an empty one.
	HasSub bool
	// Sub are sorted by Name.
	Sub []Cgroup
}

// walk calls f for c and everything below it, parents first.
func (c *Cgroup) walk(f func(*Cgroup)) {
	f(c)
	for i := range c.Sub {
		c.Sub[i].walk(f)
	}
}
