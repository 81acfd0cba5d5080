package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/statefile"
)

// rootFile is where a running daemon publishes what `cgroup_root = "auto"` came
// to, for the commands that only read.
const rootFile = "/run/cgrouparchd/root.json"

type publishedRoot struct {
	CgroupDir  string `json:"cgroup_dir"`
	CgroupRoot string `json:"cgroup_root"`
	PID        int    `json:"pid"`
}

// autoRoot is the rule behind `cgroup_root = "auto"`: the whole of each v1
// hierarchy, but a cgroup of our own where there is only the unified one, whose
// root belongs to systemd.
func autoRoot(l *cgfs.Layout) string {
	for _, h := range l.Hierarchies() {
		if h.Version() == 1 {
			return "/"
		}
	}
	return "/cgrouparch"
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
	return autoRoot(l), nil
}

// publishRoot writes the file for everybody to read: get-cgexec-arg needs no root.
func publishRoot(c *config.Config, root string) error {
	if err := os.MkdirAll(filepath.Dir(rootFile), 0o755); err != nil {
		return err
	}
	if err := statefile.Save(rootFile, publishedRoot{CgroupDir: c.CgroupDir, CgroupRoot: root, PID: os.Getpid()}); err != nil {
		return err
	}
	return os.Chmod(rootFile, 0o644)
}

// withdrawRoot removes what this process has published. Another daemon may have
// published since.
func withdrawRoot() {
	var p publishedRoot
	if statefile.Load(rootFile, &p) == nil && p.PID == os.Getpid() {
		_ = os.Remove(rootFile) // a leftover names a process that is gone
	}
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
	var p publishedRoot
	if err := statefile.Load(rootFile, &p); err == nil && p.running() && p.CgroupDir == c.CgroupDir {
		return p.CgroupRoot, nil
	}
	root, err := resolveRoot(c)
	if err == nil {
		fmt.Fprintf(stderr, "cgrouparchd: warning: no running daemon has published its cgroup_root; taking %s\n", root)
	}
	return root, err
}
