package pidfiles

import (
	"fmt"
	"slices"
)

// A Conflict is a pid that two cgroups name in one subsystem.
type Conflict struct {
	PID     int
	Cgroup  string // path of the one that does not get it
	File    string // its pid file
	Winner  string // path of the one that does
	InTheir string // that one's pid file
}

// Error says what is wrong, without the cgroup that it is the fault of.
func (c *Conflict) Error() string {
	return fmt.Sprintf("pid file %s: pid %d belongs to %s, which %s names first", c.File, c.PID, c.Winner, c.InTheir)
}

// NamedIn returns the named processes of one subsystem by pid: those of the claims that are OK, for cgroups that have
// conf there. When several cgroups name one pid, the first by path gets it, and each other is a conflict. Claims are
// sorted as [Source.Read] returns them.
func NamedIn(subsystem string, claims []Claim, cgroups []Cgroup) (map[int]Named, []Conflict) {
	here := make(map[string]bool, len(cgroups))
	for _, cgroup := range cgroups {
		if slices.Contains(cgroup.Subsystems, subsystem) {
			here[cgroup.Path] = true
		}
	}
	named := map[int]Named{}
	files := map[int]string{}
	var conflicts []Conflict
	for i := range claims {
		c := &claims[i]
		if c.State != OK || !here[c.Cgroup] {
			continue
		}
		first, taken := named[c.PID]
		switch {
		case !taken:
			named[c.PID] = Named{Path: c.Cgroup, Start: c.Start}
			files[c.PID] = c.File
		case first.Path != c.Cgroup:
			conflicts = append(conflicts, Conflict{
				PID: c.PID, Cgroup: c.Cgroup, File: c.File, Winner: first.Path, InTheir: files[c.PID],
			})
		}
	}
	return named, conflicts
}
