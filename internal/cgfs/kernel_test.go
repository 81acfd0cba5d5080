package cgfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

func TestMain(m *testing.M) { os.Exit(testhost.Run(m)) }

// kernel opens a real v1 hierarchy and makes a throw-away cgroup in it.
func kernel(t *testing.T, subsystem string) (h *Hierarchy, root string) {
	t.Helper()
	// Where controllers are mounted together their own names are links.
	dir, err := filepath.EvalSymlinks(filepath.Join("/sys/fs/cgroup", subsystem))
	if err == nil {
		h, err = OpenHierarchy(dir)
	}
	if err == nil && h.Version() != 1 {
		_ = h.Close()
		err = errors.New("not a v1 hierarchy")
	}
	root = testhost.Root(t)
	if err == nil {
		t.Cleanup(func() { _ = h.Close() })
		err = h.Mkdir(root)
	}
	if err != nil {
		testhost.Lacks(t, "needs root and a writable v1 %s hierarchy: %v", subsystem, err)
	}
	return h, root
}

func TestKernelTree(t *testing.T) {
	h, root := kernel(t, "cpu")
	for _, dir := range []string{root + "/b", root + "/a", root + "/a/x"} {
		if err := h.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Mkdir(root + "/a"); !errors.Is(err, ErrExist) {
		t.Errorf("mkdir again: %v", err)
	}
	if got, err := h.Children(root); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("children %v %v", got, err)
	}
	if got, err := h.Children(root + "/b"); err != nil || len(got) != 0 {
		t.Errorf("children of a leaf %v %v", got, err)
	}
	if marked, err := h.Marked(root + "/a"); err != nil || !marked {
		t.Errorf("marked %t %v", marked, err)
	}
	if err := os.Mkdir(filepath.Join(h.Mount(), root, "foreign"), 0o755); err != nil {
		t.Fatal(err)
	}
	if marked, err := h.Marked(root + "/foreign"); err != nil || marked {
		t.Errorf("a foreign cgroup is marked: %t %v", marked, err)
	}
	if err := h.Write(root+"/a", "cpu.shares", "0"); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Read(root+"/a", "cpu.shares"); err != nil || got != "2" {
		t.Errorf("shares 0 read back %q %v", got, err)
	}
	if err := h.Write(root+"/a", "nosuch.file", "1"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := h.Write(root+"/a", "cpu.shares", "x"); err == nil {
		t.Error("a refused value was no error")
	}
	if err := h.Rmdir(root + "/a"); !errors.Is(err, ErrBusy) {
		t.Errorf("rmdir with a child: %v", err)
	}
	for _, escape := range []string{"..", root + "/../../x", "/" + root} {
		if err := h.Mkdir(escape); !errors.Is(err, ErrOutside) {
			t.Errorf("mkdir %s: %v", escape, err)
		}
		if err := h.Write(escape, "cpu.shares", "5"); !errors.Is(err, ErrOutside) {
			t.Errorf("write %s: %v", escape, err)
		}
	}
}

func TestKernelKeptFileOfRemovedCgroup(t *testing.T) {
	h, root := kernel(t, "cpuacct")
	if err := h.Mkdir(root + "/a"); err != nil {
		t.Fatal(err)
	}
	fd, err := h.OpenRead(root+"/a", "cpuacct.usage")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = CloseFD(fd) }()
	buf := make([]byte, 64)
	n, err := Pread(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := ParseNumber(buf[:n]); err != nil || v != 0 {
		t.Errorf("usage of a new cgroup: %d %v", v, err)
	}
	if err := h.Rmdir(root + "/a"); err != nil {
		t.Fatal(err)
	}
	if err := h.Mkdir(root + "/a"); err != nil {
		t.Fatal(err)
	}
	if _, err := Pread(fd, buf); !errors.Is(err, ErrRemoved) {
		t.Errorf("a kept file of a removed cgroup: %v", err)
	}
}

func TestKernelMove(t *testing.T) {
	h, root := kernel(t, "cpu")
	pid := testhost.Sleeper(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	outcome := map[int]error{}
	pids := []int{pid, gone.Process.Pid}
	if err := h.Move(root, pids, func(pid int, err error) { outcome[pid] = err }); err != nil {
		t.Fatal(err)
	}
	if outcome[pid] != nil || !errors.Is(outcome[gone.Process.Pid], ErrGone) {
		t.Errorf("%v", outcome)
	}
	if got, err := h.Procs(root, nil); err != nil || !slices.Equal(got, pids[:1]) {
		t.Errorf("procs %v %v", got, err)
	}
	where, err := Where(strconv.Itoa(pid))
	if err != nil {
		t.Fatal(err)
	}
	if dir, ok := h.Dir(where); dir != root || !ok {
		t.Errorf("it is in %q", dir)
	}
}

// TestKernelPoll: what happened is told without waiting, and a look costs nothing
// when nothing did.
func TestKernelPoll(t *testing.T) {
	h, root := kernel(t, "cpu")
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(h, root); err != nil {
		t.Fatal(err)
	}
	if events, err := w.Poll(); len(events) != 0 || err != nil {
		t.Errorf("nothing happened: %v, %v", events, err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = w.Poll() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	const n = 300 // more than one read takes
	for i := range n {
		if err := h.Mkdir(fmt.Sprintf("%s/c%03d", root, i)); err != nil {
			t.Fatal(err)
		}
	}
	events, err := w.Poll()
	if len(events) != 2*n || err != nil || events[2*n-1].Dir != fmt.Sprintf("%s/c%03d", root, n-1) {
		t.Errorf("%d events of %d cgroups, %v", len(events), n, err)
	}
	_ = w.Close()
	if _, err := w.Poll(); err == nil {
		t.Error("Poll after Close")
	}
}

func TestKernelWatch(t *testing.T) {
	h, root := kernel(t, "cpu")
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(h, root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.Mount(), root)
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cpu.shares"), []byte("7"), 0); err != nil {
		t.Fatal(err)
	}
	var got []Event
	for len(got) < 3 {
		events, err := w.Read()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	if got[0].Kind != EventTree || got[0].Dir != root || got[1].Dir != root+"/a" || got[2].Kind != EventWrite || got[2].Name != "cpu.shares" {
		t.Errorf("events %+v", got)
	}
	if err := w.Add(h, root+"/nosuch"); !errors.Is(err, ErrNotExist) {
		t.Errorf("watch of nothing: %v", err)
	}
	// kernfs tells nothing of a watched directory's own removal, so its watch has
	// to be ended.
	if err := w.Add(h, root+"/a"); err != nil {
		t.Fatal(err)
	}
	if err := h.Rmdir(root + "/a"); err != nil {
		t.Fatal(err)
	}
	w.Remove(h, root+"/a")
	if n := w.Len(); n != 1 {
		t.Errorf("%d watches are left", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestDiscover(t *testing.T) {
	if _, err := Discover(t.TempDir()); err == nil {
		t.Error("a directory without cgroups was accepted")
	}
	if _, err := Discover("/nosuch"); err == nil {
		t.Error("a missing directory was accepted")
	}
}

// TestKernelProcsOfAnyLength: lists of processes around the lengths at which a read is or is not the last one.
func TestKernelProcsOfAnyLength(t *testing.T) {
	h, root := kernel(t, "freezer")
	var want []int
	var running []*exec.Cmd
	defer func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill()
		}
		for _, cmd := range running {
			_ = cmd.Wait()
		}
	}()
	for range 120 {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
		if err := h.Move(root, []int{cmd.Process.Pid}, func(_ int, err error) {
			if err != nil {
				t.Fatal(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		want = append(want, cmd.Process.Pid)
		slices.Sort(want)
		got, err := h.Procs(root, nil)
		if slices.Sort(got); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d processes in the list of %d: %v", len(got), len(want), err)
		}
	}
}
