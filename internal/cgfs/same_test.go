package cgfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKernelSame(t *testing.T) {
	h, root := kernel(t, "cpu")
	for _, dir := range []string{root + "/a", root + "/a/x", root + "/a/y", root + "/b"} {
		if err := h.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	r := h.Reader()
	defer r.Close()
	for _, dir := range []string{root, root + "/a", root + "/a/x", root + "/a/y", root + "/b", ""} {
		want, err := h.Read(dir, "cpu.shares")
		if err != nil {
			t.Fatal(err)
		}
		children, err := h.Children(dir)
		if err != nil {
			t.Fatal(err)
		}
		info, err := h.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Stat(dir); err != nil || got != info {
			t.Errorf("%q: a Reader's Stat is %+v %v, want %+v", dir, got, err, info)
		}
		for text, same := range map[string]bool{want: true, want + "0": false, want[1:]: false, "": false, strings.Repeat("1", 300): false} {
			if got, err := h.Same(dir, "cpu.shares", text); err != nil || got != same {
				t.Errorf("%q %q: same %t %v", dir, text, got, err)
			}
			if got, err := r.Same(dir, "cpu.shares", text); err != nil || got != same {
				t.Errorf("%q %q: a Reader's same %t %v", dir, text, got, err)
			}
		}
		for _, c := range []struct {
			names []string
			same  bool
		}{
			{children, true}, {append(slices.Clone(children), "\xff"), false},
			{children[:max(len(children)-1, 0)], len(children) == 0},
		} {
			if got, err := r.SameChildren(dir, c.names); err != nil || got != c.same {
				t.Errorf("%q %q: same children %t %v", dir, c.names, got, err)
			}
		}
	}
	for _, call := range []func() (bool, error){
		func() (bool, error) { return h.Same(root+"/a", "nosuch", "") },
		func() (bool, error) { return r.Same(root+"/a", "nosuch", "") },
		func() (bool, error) { return r.Same(root+"/none", "cpu.shares", "") },
		func() (bool, error) { return r.Same(root+"/none/x", "cpu.shares", "") },
		func() (bool, error) { return r.SameChildren(root+"/none", nil) },
	} {
		if same, err := call(); same || !errors.Is(err, ErrNotExist) {
			t.Errorf("of what is not there: %t %v", same, err)
		}
	}
	for _, escape := range []string{"..", root + "/../..", root + "/a/../../.."} {
		if _, err := r.Stat(escape); !errors.Is(err, ErrOutside) {
			t.Errorf("Stat %q: %v", escape, err)
		}
		if _, err := r.Same(escape, "cgroup.procs", ""); !errors.Is(err, ErrOutside) && !errors.Is(err, ErrNotExist) {
			t.Errorf("Same %q: %v", escape, err)
		}
	}
}

// A Reader whose directory is removed and made again under it does not mistake the one
// for the other.
func TestKernelReaderSeesThroughRemoval(t *testing.T) {
	h, root := kernel(t, "cpu")
	r := h.Reader()
	defer r.Close()
	dir := root + "/a/x"
	for range 2 {
		for _, d := range []string{root + "/a", dir} {
			if err := h.Mkdir(d); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.Stat(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Stat(dir); len(r.open) == 0 || r.open[len(r.open)-1].dir != root+"/a" || err != nil && !errors.Is(err, ErrNotExist) {
			t.Fatalf("%+v %v", r.open, err)
		}
		for _, d := range []string{dir, root + "/a"} {
			if err := h.Rmdir(d); err != nil {
				t.Fatal(err)
			}
		}
		if same, err := r.Same(dir, "cpu.shares", "1024"); same || !errors.Is(err, ErrNotExist) {
			t.Errorf("a removed cgroup reads: %t %v", same, err)
		}
	}
}

func TestKernelReadingAgainAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, root := kernel(t, "cpu")
	dir := root + "/a"
	if err := h.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
	r := h.Reader()
	defer r.Close()
	names := []string{"a"}
	for name, f := range map[string]func() bool{
		"Stat":         func() bool { _, err := r.Stat(dir); return err == nil },
		"Same":         func() bool { same, err := r.Same(dir, "cpu.shares", "1024"); return same && err == nil },
		"SameChildren": func() bool { same, err := r.SameChildren(root, names); return same && err == nil },
	} {
		if allocs := testing.AllocsPerRun(100, func() {
			if !f() {
				t.Fatal(name)
			}
		}); allocs != 0 {
			t.Errorf("%s allocates %.0f times", name, allocs)
		}
	}
}

// Both ways to our mark: that of kernels since 6.13 and the older one.
func TestKernelMarkBothWays(t *testing.T) {
	h, root := kernel(t, "cpu")
	was := noXattrat.Load()
	defer noXattrat.Store(was)
	for name, old := range map[string]bool{"relative": was, "absolute": true} {
		noXattrat.Store(old)
		dir := root + "/" + name
		if err := os.Mkdir(filepath.Join(h.Mount(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for want := range 2 {
			if marked, err := h.Marked(dir); err != nil || marked != (want == 1) {
				t.Errorf("%s: marked %t %v", name, marked, err)
			}
			if err := h.Mark(dir); err != nil {
				t.Fatal(err)
			}
		}
		value := make([]byte, 8)
		if n, err := unix.Lgetxattr(filepath.Join(h.Mount(), dir), MarkName, value); err != nil || string(value[:n]) != "1" {
			t.Errorf("%s: the mark is %q %v", name, value[:max(n, 0)], err)
		}
		if err := h.Mark(dir + "/none"); !errors.Is(err, ErrNotExist) {
			t.Errorf("%s: mark of nothing: %v", name, err)
		}
		if _, err := h.Marked(dir + "/none"); !errors.Is(err, ErrNotExist) {
			t.Errorf("%s: marked of nothing: %v", name, err)
		}
	}
}

// FuzzStays compares the check of a path with what it says component by component.
func FuzzStays(f *testing.F) {
	for _, p := range []string{"a", "a/b", "..", "a/..", ".a", "..a", "...", "/", "a//b", "a/", "a\x00", "a/./b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		want := true
		for elem := range strings.SplitSeq(p, "/") {
			if elem == "" || elem == "." || elem == ".." || strings.IndexByte(elem, 0) >= 0 {
				want = false
			}
		}
		if stays(p) != want {
			t.Errorf("%q stays: %t", p, !want)
		}
	})
}

// A kernel without statx is asked in the old way, with the same answer.
func TestStatBothWays(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, name := range []string{".", "none"} {
		now, errno := stat(fd, name)
		old, oldErrno := oldStat(fd, name)
		if errno != oldErrno || errno == 0 && now != old {
			t.Errorf("%s: %+v %v, in the old way %+v %v", name, now, errno, old, oldErrno)
		}
	}
}

func TestSpell(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, c := range []struct{ dir, name, want string }{
		{"", "", "."}, {"a", "", "a"}, {"", "b", "b"}, {"a", "b", "a/b"}, {long, "bcdef", long + "/bcdef"}, {long, "bcd", long + "/bcd"}, {long, "bcde", long + "/bcde"},
	} {
		var room spelling
		if got := unix.BytePtrToString(room.spell(c.dir, c.name)); got != c.want {
			t.Errorf("%q and %q are spelled %q", c.dir, c.name, got)
		}
	}
}
