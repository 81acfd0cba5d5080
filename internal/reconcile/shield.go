package reconcile

import (
	"fmt"
	"path"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// SystemCgroups are the names that init systems, container runtimes and machine
// managers own: with protect_system_cgroups they are never pruned, at any depth.
var SystemCgroups = []string{
	"system.slice", "user.slice", "init.scope", "machine.slice", "machine", "systemd", // systemd, machined
	"docker", "podman", "libpod_parent", "containerd", "crio*", "buildkit", "kubepods*", "kubelet*", "burstable", "besteffort",
	"lxc*", "lxd*", "incus*", "libvirt*", "garden", "mesos", "yarn", "hadoop-yarn", "ecs", "elogind", "openrc*", "snap.*",
}

// Shield says which cgroups are not to be touched. A shielded cgroup shields all
// that is below it.
type Shield struct {
	named  []cgfs.Pattern
	system []cgfs.Pattern
}

// NewShield reads the entries of protected_cgroup: a name (at any depth), a
// glob, or a path (`/a/b`, `cpu:/a/b`) relative to our root.
func NewShield(entries []string, system bool) (Shield, error) {
	var s Shield
	for _, e := range entries {
		r, err := cgfs.ParsePattern(e)
		if err != nil {
			return Shield{}, fmt.Errorf("protected_cgroup: %w", err)
		}
		s.named = append(s.named, r)
	}
	if system {
		for _, name := range SystemCgroups {
			s.system = append(s.system, cgfs.Pattern{Glob: name})
		}
	}
	return s, nil
}

// absent are the entries of protected_cgroup that protect nothing on a host, since it
// has none of a subsystem: often a slip of the pen.
func (s Shield) absent(host Host) []Fault {
	var notes []Fault
	for _, p := range s.named {
		for _, subsystem := range p.Subsystems {
			if _, here := host.Hierarchies[subsystem]; here {
				continue
			}
			notes = append(notes, Fault{Place: "protected_cgroup: " + p.String(), Reason: "protects nothing here: this host has no " + subsystem})
		}
	}
	return notes
}

// matches says whether the pattern names p itself.
func matches(r cgfs.Pattern, subsystems []string, p string) bool {
	if len(r.Subsystems) > 0 && !slices.ContainsFunc(r.Subsystems, func(s string) bool { return slices.Contains(subsystems, s) }) {
		return false
	}
	text := p
	if !r.Whole {
		text = path.Base(p)
	}
	if text == r.Glob {
		return true
	}
	ok, _ := path.Match(r.Glob, text)
	return ok
}

// Named says whether protected_cgroup names p or a cgroup above it.
func (s Shield) Named(subsystems []string, p string) bool { return anyMatch(s.named, subsystems, p) }

// Kept says whether p is shielded from pruning.
func (s Shield) Kept(subsystems []string, p string) bool {
	return anyMatch(s.named, subsystems, p) || anyMatch(s.system, subsystems, p)
}

// Spares says whether a name is shielded from pruning wherever it is: for what lies
// too deep for its path to be known.
func (s Shield) Spares(subsystems []string, name string) bool {
	spares := func(r cgfs.Pattern) bool { return !r.Whole && matches(r, subsystems, name) }
	return slices.ContainsFunc(s.named, spares) || slices.ContainsFunc(s.system, spares)
}

// Empty: protected_cgroup names nothing.
func (s Shield) Empty() bool { return len(s.named) == 0 }

func anyMatch(rules []cgfs.Pattern, subsystems []string, p string) bool {
	for ; p != ""; p = parent(p) {
		for _, r := range rules {
			if matches(r, subsystems, p) {
				return true
			}
		}
	}
	return false
}
