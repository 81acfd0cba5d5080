package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// v1Hierarchies is what distributions of the v1 days mounted: some controllers in pairs.
var v1Hierarchies = []string{
	"cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls,net_prio", "perf_event", "hugetlb",
}

const cgroups = "/sys/fs/cgroup"

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}

func mountCgroups(layout string) error {
	switch layout {
	case "v2":
		return mount("cgroup2", cgroups, "cgroup2", 0, "nsdelegate,memory_recursiveprot")
	case "v1":
		return mountV1()
	case "hybrid":
		return errors.Join(mountV1(), mount("cgroup2", cgroups+"/unified", "cgroup2", 0, ""))
	}
	return fmt.Errorf("unknown cgroup layout %q", layout)
}

// mountV1 mounts each hierarchy; a pair also gets a link for each half, as systemd and its predecessors made them.
func mountV1() error {
	if err := mount("tmpfs", cgroups, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	var errs []error
	for _, controllers := range v1Hierarchies {
		dir := filepath.Join(cgroups, controllers)
		if err := mount("cgroup", dir, "cgroup", 0, controllers); err != nil {
			// Newer kernels are built without some of them.
			errs = append(errs, err, os.Remove(dir))
			continue
		}
		if names := strings.Split(controllers, ","); len(names) > 1 {
			for _, name := range names {
				errs = append(errs, os.Symlink(controllers, filepath.Join(cgroups, name)))
			}
		}
	}
	return errors.Join(errs...)
}

// mountDisk makes /var/tmp a real file system on a real queue: tmpfs knows no direct I/O before Linux 6.6.
func mountDisk(disk, scheduler string) error {
	if disk == "" {
		return nil
	}
	if err := mountWhenThere(disk, "/var/tmp"); err != nil {
		return err
	}
	if scheduler == "" {
		return nil
	}
	file := filepath.Join("/sys/block", filepath.Base(disk), "queue/scheduler")
	if err := os.WriteFile(file, []byte(scheduler), 0); err != nil {
		return fmt.Errorf("scheduler of %s: %w", disk, err)
	}
	return nil
}

// mountWhenThere mounts an ext4 file system, waiting for its driver.
func mountWhenThere(disk, target string) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := mount(disk, target, "ext4", 0, "")
		if err == nil || !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENXIO) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// becomeDistribution makes the disk the root and runs its init. The payload appears in /run, and a unit of it wants to be started, so
// that nothing on the disk is special.
func becomeDistribution(disk, mask string) error {
	const root = "/newroot"
	if err := mountWhenThere(disk, root); err != nil {
		return err
	}
	if err := mount("tmpfs", root+"/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := mount(payload, root+moved, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	if err := addUnits(root+"/run/systemd/system", mask); err != nil {
		return err
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := syscall.Mount(dir, root+dir, "", syscall.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	// What switch_root(8) does.
	err := os.Chdir(root)
	if err == nil {
		err = syscall.Mount(".", "/", "", syscall.MS_MOVE, "")
	}
	if err == nil {
		err = syscall.Chroot(".")
	}
	if err == nil {
		err = syscall.Exec("/sbin/init", []string{"/sbin/init"}, []string{"TERM=dumb"})
	}
	return fmt.Errorf("switch to %s: %w", disk, err)
}

const unit = `[Unit]
Description=Jobs of the test
After=multi-user.target
[Service]
Type=oneshot
ExecStart=` + moved + `/init jobs
TimeoutStartSec=infinity
`

// addUnits adds the unit that runs the jobs and masks those that a test does not need.
func addUnits(dir, mask string) error {
	wants := filepath.Join(dir, "multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vmtest.service"), []byte(unit), 0o644); err != nil {
		return err
	}
	if err := os.Symlink("../vmtest.service", filepath.Join(wants, "vmtest.service")); err != nil {
		return err
	}
	for _, name := range strings.FieldsFunc(mask, func(r rune) bool { return r == ',' }) {
		if err := os.Symlink("/dev/null", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
