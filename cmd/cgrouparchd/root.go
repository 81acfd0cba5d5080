package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"

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

// publishRoot resolves our root for the daemon and publishes it.
func publishRoot(c *config.Config, log *zap.Logger) (string, error) {
	if c.CgroupRoot != config.CgroupRootAuto {
		return c.CgroupRoot, nil
	}
	l, err := cgfs.Discover(c.CgroupDir)
	if err != nil {
		return "", err
	}
	defer l.Close()
	root := autoRoot(l)
	if err := publish(publishedRoot{CgroupDir: c.CgroupDir, CgroupRoot: root}); err != nil {
		log.Warn("cgroup_root not published, so that other commands have to guess it", zap.Error(err))
	}
	return root, nil
}

// publish writes the file for everybody to read: get-cgexec-arg needs no root.
func publish(p publishedRoot) error {
	if err := os.MkdirAll(filepath.Dir(rootFile), 0o755); err != nil {
		return err
	}
	if err := statefile.Save(rootFile, p); err != nil {
		return err
	}
	return os.Chmod(rootFile, 0o644)
}

// readRoot resolves our root for a command that only reads.
func readRoot(c *config.Config, l *cgfs.Layout, stderr io.Writer) string {
	if c.CgroupRoot != config.CgroupRootAuto {
		return c.CgroupRoot
	}
	var p publishedRoot
	if err := statefile.Load(rootFile, &p); err == nil && filepath.Clean(p.CgroupDir) == c.CgroupDir {
		return p.CgroupRoot
	}
	root := autoRoot(l)
	fmt.Fprintf(stderr, "cgrouparchd: warning: no running daemon has published its cgroup_root; taking %s\n", root)
	return root
}
