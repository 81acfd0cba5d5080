package reconcile

import (
	"fmt"
	"path"
	"slices"
	"strings"
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
	named  []rule
	system []rule
}

// rule is one entry of protected_cgroup.
type rule struct {
	subsystem string // "" is every one
	pattern   string
	whole     bool // compared with the whole path, else with each name
}

// NewShield reads the entries of protected_cgroup: a name (at any depth), a
// glob, or a path (`/a/b`, `cpu:/a/b`) relative to our root.
func NewShield(entries []string, system bool) (Shield, error) {
	var s Shield
	for _, e := range entries {
		r, err := parseRule(e)
		if err != nil {
			return Shield{}, err
		}
		s.named = append(s.named, r)
	}
	if system {
		for _, name := range SystemCgroups {
			s.system = append(s.system, rule{pattern: name})
		}
	}
	return s, nil
}

func parseRule(entry string) (rule, error) {
	r := rule{pattern: entry}
	if subsystem, rest, ok := strings.Cut(entry, ":/"); ok && subsystem != "" && !strings.Contains(subsystem, "/") {
		r.subsystem, r.pattern = subsystem, "/"+rest
	}
	r.whole = strings.Contains(r.pattern, "/")
	r.pattern = strings.Trim(r.pattern, "/")
	if r.pattern == "" {
		return rule{}, fmt.Errorf("protected_cgroup: %q names no cgroup", entry)
	}
	if _, err := path.Match(r.pattern, ""); err != nil {
		return rule{}, fmt.Errorf("protected_cgroup: %q: %w", entry, err)
	}
	return r, nil
}

// matches says whether the rule names p itself.
func (r rule) matches(subsystems []string, p string) bool {
	if r.subsystem != "" && !slices.Contains(subsystems, r.subsystem) {
		return false
	}
	text := p
	if !r.whole {
		text = path.Base(p)
	}
	if text == r.pattern {
		return true
	}
	ok, _ := path.Match(r.pattern, text)
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
	spares := func(r rule) bool { return !r.whole && r.matches(subsystems, name) }
	return slices.ContainsFunc(s.named, spares) || slices.ContainsFunc(s.system, spares)
}

// Empty: protected_cgroup names nothing.
func (s Shield) Empty() bool { return len(s.named) == 0 }

func anyMatch(rules []rule, subsystems []string, p string) bool {
	for ; p != ""; p = parent(p) {
		for _, r := range rules {
			if r.matches(subsystems, p) {
				return true
			}
		}
	}
	return false
}
