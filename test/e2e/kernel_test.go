package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// patience bounds every wait for something that must happen. It is generous on purpose: these tests judge what happens, never how
// fast, except where the contract itself names a time.
const patience = 40 * time.Second

// dir is the directory of one of this host's cgroups ("" = our root) in a hierarchy.
func (h *host) dir(subsystem, cgroup string) string {
	h.t.Helper()
	mount, ok := testhost.Controllers()[subsystem]
	if !ok {
		h.t.Fatalf("no hierarchy for %s", subsystem)
	}
	return filepath.Join(mount, h.root, cgroup)
}

// read returns the text of a control file, or the error's text.
func (h *host) read(subsystem, cgroup, file string) string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir(subsystem, cgroup), file))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data))
}

// write is what a person with an editor would do; cgroup files are never created, so no O_CREATE.
func (h *host) write(subsystem, cgroup, file, text string) {
	h.t.Helper()
	if err := testhost.WriteControl(filepath.Join(h.dir(subsystem, cgroup), file), text); err != nil {
		h.t.Fatal(err)
	}
}

// mkdir makes a cgroup by hand.
func (h *host) mkdir(subsystem, cgroup string) {
	h.t.Helper()
	if err := os.MkdirAll(h.dir(subsystem, cgroup), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// tree lists the cgroups below our root in one hierarchy, one a line, sorted; with a file, each followed by that file's text.
func (h *host) tree(subsystem, file string) string {
	h.t.Helper()
	top := h.dir(subsystem, "")
	var lines []string
	err := filepath.WalkDir(top, func(p string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walk
		}
		if err != nil || !entry.IsDir() || p == top {
			return err
		}
		line := strings.TrimPrefix(p, top+"/")
		if file != "" {
			line += " " + h.read(subsystem, strings.TrimPrefix(p, top+"/"), file)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		return err.Error()
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// wantShares waits until the cpu hierarchy below our root is exactly this: "path cpu.shares" a line.
func (h *host) wantShares(want ...string) {
	h.t.Helper()
	h.wantTree("cpu", "cpu.shares", want...)
}

// wantTree waits until the hierarchy below our root is exactly this.
func (h *host) wantTree(subsystem, file string, want ...string) {
	h.t.Helper()
	sort.Strings(want)
	eventually(h.t, subsystem+" tree", func() error {
		return differ(strings.Join(want, "\n"), h.tree(subsystem, file))
	})
}

// members returns the processes of a cgroup, ascending.
func (h *host) members(subsystem, cgroup string) []int {
	h.t.Helper()
	return readPIDs(filepath.Join(h.dir(subsystem, cgroup), "cgroup.procs"))
}

func readPIDs(file string) []int {
	data, _ := os.ReadFile(file)
	var pids []int
	for _, field := range bytes.Fields(data) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids
}

// wantIn waits until the processes, with all their threads, are in the cgroup.
func (h *host) wantIn(subsystem, cgroup string, pids ...int) {
	h.t.Helper()
	eventually(h.t, "placement", func() error { return h.areIn(subsystem, cgroup, pids...) })
}

// areIn reports the first thread of the processes that is not in the cgroup.
func (h *host) areIn(subsystem, cgroup string, pids ...int) error {
	want := path.Join(h.root, cgroup)
	for _, pid := range pids {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("process %d has ended: %w", pid, err)
		}
		for _, task := range tasks {
			file := fmt.Sprintf("/proc/%d/task/%s/cgroup", pid, task.Name())
			if got := cgroupIn(file, subsystem); got != want && got != "" {
				return fmt.Errorf("process %d thread %s is in %s:%s, want %s", pid, task.Name(), subsystem, got, want)
			}
		}
	}
	return nil
}

// cgroupOf returns the cgroup of a process in a hierarchy, as /proc/PID/cgroup says it (cgroups(7)).
func cgroupOf(pid int, subsystem string) string {
	return cgroupIn(fmt.Sprintf("/proc/%d/cgroup", pid), subsystem)
}

func cgroupIn(file, subsystem string) string {
	data, _ := os.ReadFile(file)
	for _, line := range strings.Split(string(data), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) == 3 && contains(strings.Split(parts[1], ","), subsystem) {
			return parts[2]
		}
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// eventually polls until f has nothing to complain about.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	within(t, patience, what, f)
}

// within is eventually with a limit of its own, for times that the contract names.
func within(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	start := time.Now()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// throughout polls for a while and fails at the first complaint: for things that must not happen.
func throughout(t *testing.T, d time.Duration, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(15 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// differ compares two values and says how they differ.
func differ(want, got any) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-want +got)\n%s", diff)
	}
	return nil
}

// readTop returns a control file of the hierarchy's mount itself, "" when there is none.
func (h *host) readTop(subsystem, file string) string {
	data, _ := os.ReadFile(filepath.Join(testhost.Controllers()[subsystem], file))
	return strings.TrimSpace(string(data))
}
