package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/statefile"
)

// rootFile is where a daemon publishes what `cgroup_root = "auto"` came to, for
// everybody else on the host. It outlives the daemon, as its tree does.
const rootFile = "/run/cgrouparchd/root.json"

type publishedRoot struct {
	CgroupDir  string `json:"cgroup_dir"`
	CgroupRoot string `json:"cgroup_root"`
	PID        int    `json:"pid"`
	// Auto: it is what the rule came to, and not configured.
	Auto bool `json:"auto"`
}

const (
	// delegateSubgroup is the unit's DelegateSubgroup=: where systemd 254 and newer
	// start the daemon, so that the unit's own cgroup stays free of processes.
	delegateSubgroup = "daemon"
	// treeName is the cgroup that holds everything of ours on a v2 hierarchy.
	treeName = "cgrouparch"
)

// managedControllers are those that systemd enables and takes back in a v2
// hierarchy (cg_mask_supported). Where v2 has none of them, as in systemd's
// hybrid layout, systemd manages resources on v1.
var managedControllers = []string{"cpu", "cpuset", "io", "memory", "pids"}

// rootFacts is what `cgroup_root = "auto"` depends on.
type rootFacts struct {
	// unified: resources are managed in a v2 hierarchy.
	unified bool
	// own is the cgroup in which we run there, relative to the mount; "" also when
	// it lies outside of the mount.
	own string
	// delegated says whether systemd has delegated a cgroup to somebody.
	delegated func(dir string) bool
	// published is where an earlier daemon of this boot has its tree, "" when it
	// published nothing or the tree is gone.
	published string
}

// autoRoot is the rule behind `cgroup_root = "auto"`: the whole of each v1
// hierarchy, but a cgroup of our own where there is a unified one, whose root
// belongs to systemd.
//
// Inside our own unit, that is a sibling of the subgroup in which systemd started
// us. Without a subgroup (systemd before 254) it is outside: a unit that keeps
// processes in cgroups of its own cannot be restarted there. A run by hand uses
// the tree that there is.
func autoRoot(f rootFacts) string {
	if !f.unified {
		return "/"
	}
	if path.Base(f.own) == delegateSubgroup {
		if unit := path.Dir(f.own); unit != "." && f.delegated(unit) {
			return path.Join("/", unit, treeName)
		}
	}
	if f.published != "" && f.published != "/" { // "/" is of another time, when v1 was mounted
		return f.published
	}
	return "/" + treeName
}

// observeRoot gathers the facts. published may be "".
func observeRoot(l *cgfs.Layout, published string) (rootFacts, error) {
	h := unified(l)
	if h == nil {
		return rootFacts{}, nil
	}
	cgroups, err := cgfs.Where("self")
	if err != nil {
		return rootFacts{}, err
	}
	f := rootFacts{unified: true, delegated: func(dir string) bool { return delegated(filepath.Join(h.Mount(), dir)) }}
	f.own, _ = h.Dir(cgroups)
	if published != "" {
		if _, err := h.Stat(strings.Trim(published, "/")); err == nil {
			f.published = published
		}
	}
	return f, nil
}

// unified is the v2 hierarchy with systemd's controllers, or nil.
func unified(l *cgfs.Layout) *cgfs.Hierarchy {
	for _, h := range l.Hierarchies() {
		managed := func(c string) bool { return slices.Contains(managedControllers, c) }
		if h.Version() == 2 && slices.ContainsFunc(h.Subsystems(), managed) {
			return h
		}
	}
	return nil
}

// delegated says whether systemd has handed a cgroup over: then it carries one of
// these extended attributes with the value 1 (CGROUP_DELEGATION in systemd's
// documentation; the first is seen by root only, the second is newer).
func delegated(dir string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		var value [8]byte
		if n, err := syscall.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// published is what a daemon with the same cgroup_dir has published since the
// machine was started.
func published(c *config.Config) (p publishedRoot, ok bool) {
	err := statefile.Load(rootFile, &p)
	return p, err == nil && filepath.Clean(p.CgroupDir) == c.CgroupDir
}

// resolveRoot is our root: as configured, or by the rule.
func resolveRoot(c *config.Config) (string, error) {
	if c.CgroupRoot != config.CgroupRootAuto {
		return c.CgroupRoot, nil
	}
	l, err := cgfs.Discover(c.CgroupDir)
	if err != nil {
		return "", err
	}
	defer l.Close()
	earlier := ""
	if p, ok := published(c); ok && p.Auto {
		earlier = p.CgroupRoot
	}
	f, err := observeRoot(l, earlier)
	if err != nil {
		return "", fmt.Errorf("resolve cgroup_root: %w", err)
	}
	return autoRoot(f), nil
}

// publishRoot writes the file for everybody to read: get-cgexec-arg needs no
// root. It outlives the daemon, as its tree does.
func publishRoot(c *config.Config, root string) error {
	if err := os.MkdirAll(filepath.Dir(rootFile), 0o755); err != nil {
		return err
	}
	p := publishedRoot{CgroupDir: c.CgroupDir, CgroupRoot: root, PID: os.Getpid(), Auto: c.CgroupRoot == config.CgroupRootAuto}
	if err := statefile.Save(rootFile, p); err != nil {
		return err
	}
	return os.Chmod(rootFile, 0o644)
}

// running says whether the daemon that published is still there.
func (p publishedRoot) running() bool {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
	return err == nil && strings.HasPrefix(string(comm), "cgrouparchd")
}

// readRoot resolves our root for a command that only reads.
func readRoot(c *config.Config, stderr io.Writer) (string, error) {
	if c.CgroupRoot != config.CgroupRootAuto {
		return c.CgroupRoot, nil
	}
	if p, ok := published(c); ok && p.running() {
		return p.CgroupRoot, nil
	}
	root, err := resolveRoot(c)
	if err == nil {
		fmt.Fprintf(stderr, "cgrouparchd: warning: no running daemon has published its cgroup_root; taking %s\n", root)
	}
	return root, err
}
