package cgfs

import (
	"errors"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A Maker does what the Hierarchy does, in whatever order the cgroups come.
func TestKernelMaker(t *testing.T) {
	h, root := kernel(t, "cpu")
	m := h.Maker()
	defer m.Close()
	deep := root + strings.Repeat("/d", 2*longestWay)
	made := []string{root + "/a", root + "/a/x", root + "/a/x/1", root + "/a/y", root + "/ab", root + "/b", root + "/a/x/2", root + "/ab/x"}
	for dir := root; dir != deep; {
		dir = deep[:len(dir)+2]
		made = append(made, dir)
	}
	for i, dir := range made {
		if err := m.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
		if len(m.open) > longestWay {
			t.Fatalf("%d directories are open", len(m.open))
		}
		if marked, err := h.Marked(dir); err != nil || !marked {
			t.Errorf("%s: marked %t %v", dir, marked, err)
		}
		at := made[i/2] // another one
		for _, c := range []struct{ text, want string }{{"77", "77"}, {"1", "2"}} {
			now, err := m.Put(at, "cpu.shares", c.text, "cpu.shares")
			if really, readErr := h.Read(at, "cpu.shares"); err != nil || readErr != nil || now != c.want || really != c.want {
				t.Errorf("%s: put %s: %q %v, reads %q %v", at, c.text, now, err, really, readErr)
			}
		}
	}
	for name, c := range map[string]struct {
		ours, want error
	}{
		"mkdir of what is there":         {m.Mkdir(root + "/a"), ErrExist},
		"mkdir of the mount":             {m.Mkdir(""), ErrExist},
		"mkdir where nothing is":         {m.Mkdir(root + "/none/x"), ErrNotExist},
		"mkdir beyond":                   {m.Mkdir(root + "/../x"), ErrOutside},
		"mkdir far beyond":               {m.Mkdir(root + "/a/../../../x/y"), ErrOutside},
		"mkdir of what is above":         {m.Mkdir(".."), ErrOutside},
		"put where nothing is":           {second(m.Put(root+"/none", "cpu.shares", "7", "cpu.shares")), ErrNotExist},
		"put to a file that is not here": {second(m.Put(root+"/a", "nosuch", "7", "nosuch")), ErrNotExist},
		"put beyond":                     {second(m.Put(root+"/../..", "cpu.shares", "7", "cpu.shares")), ErrOutside},
	} {
		if !errors.Is(c.ours, c.want) {
			t.Errorf("%s: %v", name, c.ours)
		}
	}
	var e *Error
	if _, err := m.Put(root+"/a/x", "cpu.shares", "much", "cpu.shares"); !errors.As(err, &e) || e.Op != "write" || e.Text != "much" || e.Path != h.Display(root, "a/x/cpu.shares") {
		t.Errorf("a refused write: %v", err)
	}
	for i := len(made) - 1; i >= 0; i-- {
		_ = h.Rmdir(made[i])
	}
}

func second(_ string, err error) error { return err }

// A Maker whose directories are removed and made again under it works in the new ones.
func TestKernelMakerSeesThroughRemoval(t *testing.T) {
	h, root := kernel(t, "cpu")
	m := h.Maker()
	defer m.Close()
	dir := root + "/a/x/1"
	make3 := func(mkdir func(string) error) {
		t.Helper()
		for _, d := range []string{path.Dir(path.Dir(dir)), path.Dir(dir), dir} {
			if err := mkdir(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(dirs ...string) {
		t.Helper()
		for _, d := range dirs {
			if err := h.Rmdir(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	make3(m.Mkdir)
	for range 2 {
		remove(dir, path.Dir(dir), path.Dir(path.Dir(dir)))
		make3(h.Mkdir)
		remove(dir)
		if err := m.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
		remove(dir, path.Dir(dir), path.Dir(path.Dir(dir)))
		make3(h.Mkdir)
		if now, err := m.Put(dir, "cpu.shares", "55", "cpu.shares"); err != nil || now != "55" {
			t.Errorf("put: %q %v", now, err)
		}
		if now, err := h.Read(dir, "cpu.shares"); err != nil || now != "55" {
			t.Errorf("reads %q %v", now, err)
		}
	}
}

func TestKernelMakerAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, root := kernel(t, "cpu")
	if _, err := xattrat(unix.SYS_GETXATTRAT, h.fd, ".", &xattrArgs{}); errors.Is(err, errNoXattrat) {
		t.Skip("this kernel marks by the whole path: setxattrat is of Linux 6.13")
	}
	m := h.Maker()
	defer m.Close()
	dir := root + "/a"
	if allocs := testing.AllocsPerRun(100, func() {
		if err := m.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
		if now, err := m.Put(dir, "cpu.shares", "77", "cpu.shares"); err != nil || now != "77" {
			t.Fatalf("%q %v", now, err)
		}
		m.Close()
		if err := h.Rmdir(dir); err != nil {
			t.Fatal(err)
		}
	}); allocs > 1 { // Rmdir's path
		t.Errorf("it allocates %.0f times", allocs)
	}
}
