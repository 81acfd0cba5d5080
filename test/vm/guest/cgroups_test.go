package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mounts = "/sys/fs/cgroup"

// mountOf is where a subsystem's hierarchy is mounted: the links of co-mounted pairs serve, as they do for people.
func mountOf(subsystem string) string {
	if os.Getenv(layoutEnv) == "v2" {
		return mounts
	}
	return filepath.Join(mounts, subsystem)
}

// path is the directory of a cgroup below our root.
func (h *host) path(subsystem, cgroup string) string {
	return filepath.Join(mountOf(subsystem), h.root, cgroup)
}

// read returns a control file's text, or the error's.
func (h *host) read(subsystem, cgroup, file string) string {
	data, err := os.ReadFile(filepath.Join(h.path(subsystem, cgroup), file))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data))
}

// write writes a control file as a person would.
func (h *host) write(subsystem, cgroup, file, text string) {
	h.t.Helper()
	must(h.t, writeControl(filepath.Join(h.path(subsystem, cgroup), file), text))
}

// writeControl does not create: a cgroup filesystem answers that with a misleading error.
func writeControl(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (h *host) mkdir(subsystem, cgroup string) {
	h.t.Helper()
	must(h.t, os.MkdirAll(h.path(subsystem, cgroup), 0o755))
}

// tree lists the cgroups below our root, sorted, each with the text of a control file if one is named. Without our root there are none.
func (h *host) tree(subsystem, file string) []string {
	top, err := filepath.EvalSymlinks(h.path(subsystem, "")) // WalkDir does not follow a link at the top
	if errors.Is(err, fs.ErrNotExist) {
		return []string{}
	} else if err != nil {
		return []string{err.Error()}
	}
	lines := []string{}
	_ = filepath.WalkDir(top, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || p == top {
			return nil // what is removed while we walk shows in the next look
		}
		line, _ := filepath.Rel(top, p)
		if file != "" {
			line += " " + h.read(subsystem, line, file)
		}
		lines = append(lines, line)
		return nil
	})
	slices.Sort(lines)
	return lines
}

// wantTree waits until the cgroups below our root are exactly these.
func (h *host) wantTree(subsystem, file string, want ...string) {
	h.t.Helper()
	slices.Sort(want)
	eventually(h.t, subsystem+" tree", func() error { return differ(append([]string{}, want...), h.tree(subsystem, file)) })
}

func differ(want, got any) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-want +got)\n%s", diff)
	}
	return nil
}

// where returns the cgroup of a thread in a subsystem's hierarchy, from the text of its /proc/PID/cgroup (cgroups(7)).
func where(text, subsystem string) string {
	for _, line := range strings.Split(text, "\n") {
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 {
			v2 := os.Getenv(layoutEnv) == "v2" && parts[0] == "0"
			if v2 || slices.Contains(strings.Split(parts[1], ","), subsystem) {
				return parts[2]
			}
		}
	}
	return ""
}

// areIn complains about the first thread of the processes that is not in the cgroup.
func (h *host) areIn(subsystem, cgroup string, pids ...int) error {
	want := path.Join("/", h.root, cgroup)
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/cgroup", pid))
		if err != nil || len(threads) == 0 {
			return fmt.Errorf("process %d has ended", pid)
		}
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if got := where(string(text), subsystem); err == nil && got != want {
				return fmt.Errorf("%s: %s is %s, want %s", file, subsystem, got, want)
			}
		}
	}
	return nil
}

func (h *host) wantIn(subsystem, cgroup string, pids ...int) {
	h.t.Helper()
	eventually(h.t, "placement", func() error { return h.areIn(subsystem, cgroup, pids...) })
}

// clean removes what the test left below our root, so that the next one finds an empty machine.
func (h *host) clean() {
	entries, _ := os.ReadDir(mounts)
	tops := []string{mounts}
	for _, e := range entries {
		if e.IsDir() {
			tops = append(tops, filepath.Join(mounts, e.Name()))
		}
	}
	for _, mount := range tops {
		var st syscall.Statfs_t
		const tmpfs = 0x01021994
		if syscall.Statfs(mount, &st) != nil || st.Type == tmpfs {
			continue
		}
		if err := removeBelow(mount, filepath.Join(mount, h.root)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.t.Errorf("clean up: %v", err)
		}
	}
}

func removeBelow(mount, top string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && p != mount {
				dirs = append(dirs, p)
			}
			return nil
		})
		var err error
		for _, dir := range slices.Backward(dirs) {
			for _, pid := range pidsIn(dir) {
				_ = writeControl(filepath.Join(mount, "cgroup.procs"), strconv.Itoa(pid))
			}
			err = errors.Join(err, os.Remove(dir))
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func pidsIn(dir string) (pids []int) {
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
