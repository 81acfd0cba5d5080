package cgfs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// dig makes a chain of cgroups below dir, each in the one before, and returns a view
// of the last. The names are so long that n of 20 are beyond what a path can say.
func dig(t *testing.T, h *Hierarchy, dir string, n int) *Hierarchy {
	t.Helper()
	fd, err := h.openat(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	at := h.seenFrom(fd)
	t.Cleanup(func() { _ = at.Close() })
	name := strings.Repeat("d", 250)
	for range n {
		if err := unix.Mkdirat(at.fd, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatal(err)
		}
		if fd, err = at.openat(name, unix.O_PATH|unix.O_DIRECTORY); err != nil {
			t.Fatal(err)
		}
		_ = at.Close()
		*at = *h.seenFrom(fd)
	}
	return at
}

// TestRemoveTree: what is too deep for a path is removed with what is in it, one level
// after the other, and no descriptor is left open.
func TestRemoveTree(t *testing.T) {
	h, root := kernel(t, "cpu")
	if err := h.Mkdir(root + "/top"); err != nil {
		t.Fatal(err)
	}
	last := dig(t, h, root+"/top", 40)
	half := dig(t, h, root+"/top", 20)
	for _, name := range []string{"a", "b"} {
		if err := last.Mkdir(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Stat(root + "/top" + strings.Repeat("/"+strings.Repeat("d", 250), 40)); !errors.Is(err, ErrTooLong) {
		t.Fatalf("this is not about what it should be: %v", err)
	}
	pid := testhost.Sleeper(t)
	moved := func(_ int, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := last.Move("a", []int{pid}, moved); err != nil {
		t.Fatal(err)
	}
	leave := func(up *Hierarchy, name string) error {
		pids, err := up.Procs(name, nil)
		if err != nil {
			return err
		}
		return h.Move(root, pids, moved)
	}
	before := testhost.Descriptors()

	if err := h.RemoveTree(t.Context(), root+"/top", Removal{}); !errors.Is(err, ErrBusy) {
		t.Errorf("with a process in it and no way to move it: %v", err)
	}
	if last.Exists("b", "cgroup.procs") || !last.Exists("a", "cgroup.procs") {
		t.Error("only what has processes was to stay")
	}
	if err := half.Mkdir("kept"); err != nil {
		t.Fatal(err)
	}
	keep := Removal{Leave: leave, Keep: func(name string) bool { return name == "kept" }}
	if err := h.RemoveTree(t.Context(), root+"/top", keep); !errors.Is(err, ErrBusy) {
		t.Errorf("with a cgroup in it that is to be kept: %v", err)
	}
	if !half.Exists("kept", "cgroup.procs") || last.Exists("a", "cgroup.procs") {
		t.Error("only what is kept was to stay")
	}
	if pids, err := h.Procs(root, nil); err != nil || !slices.Contains(pids, pid) {
		t.Errorf("the process was moved elsewhere: %v, %v", pids, err)
	}
	if err := h.RemoveTree(t.Context(), root+"/top", Removal{Leave: leave}); err != nil {
		t.Error(err)
	}
	if _, err := h.Stat(root + "/top"); !errors.Is(err, ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if err := h.RemoveTree(t.Context(), root+"/top", Removal{Leave: leave}); err != nil {
		t.Errorf("what is gone: %v", err)
	}
	if after := testhost.Descriptors(); len(after) != len(before) {
		t.Errorf("descriptors %q, before %q", after, before)
	}
	for _, bad := range []string{"", "..", "a/../b"} {
		if err := h.RemoveTree(t.Context(), bad, Removal{}); !errors.Is(err, ErrOutside) {
			t.Errorf("remove %q: %v", bad, err)
		}
	}
}

// digOn makes chains of cgroups below fd until stop is closed.
func digOn(fd int, stop <-chan bool) (made int) {
	for {
		at, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		for i := 0; i < 100 && err == nil; i++ {
			if unix.Mkdirat(at, "on", 0o755) == nil {
				made++
			}
			var next int
			if next, err = unix.Openat(at, "on", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				_ = unix.Close(at)
				at = next
			}
		}
		_ = unix.Close(at)
		select {
		case <-stop:
			return made
		default:
		}
	}
}

// TestRemoveTreeWhileSomebodyDigs: it ends in time whatever others do, and is done
// when they stop.
func TestRemoveTreeWhileSomebodyDigs(t *testing.T) {
	h, root := kernel(t, "cpu")
	if err := h.Mkdir(root + "/top"); err != nil {
		t.Fatal(err)
	}
	last := dig(t, h, root+"/top", 20)
	if err := last.Mkdir("busy"); err != nil {
		t.Fatal(err)
	}
	pid := testhost.Sleeper(t)
	if err := last.Move("busy", []int{pid}, func(_ int, err error) { t.Log(err) }); err != nil {
		t.Fatal(err)
	}
	stop, made := make(chan bool), make(chan int)
	go func() { made <- digOn(last.fd, stop) }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	asked := 0
	stubborn := func(*Hierarchy, string) error { asked++; return nil } // moves nobody
	if err := h.RemoveTree(ctx, root+"/top", Removal{Leave: stubborn}); !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want that there was no time", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	close(stop)
	t.Logf("%d made meanwhile, asked %d times", <-made, asked)
	leave := func(*Hierarchy, string) error { return h.Move(root, []int{pid}, func(int, error) {}) }
	if err := h.RemoveTree(t.Context(), root+"/top", Removal{Leave: leave}); err != nil {
		t.Error(err)
	}
}

func TestShortened(t *testing.T) {
	if got := Shortened("cpu:/a/b"); got != "cpu:/a/b" {
		t.Error(got)
	}
	got := Shortened(strings.Repeat("é/", 2000))
	if len(got) > 200 || !strings.HasSuffix(got, "... (6000 bytes)") || !strings.HasPrefix(got, "é/é/") {
		t.Error(got)
	}
}
