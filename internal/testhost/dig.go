package testhost

import (
	"os"
	"strconv"
	"testing"
)

// Dig makes cgroups below dir, each in the one before, and returns the last, which is open until the test ends. Together they may be
// deeper than a path can say (PATH_MAX).
func Dig(t testing.TB, dir string, names ...string) *os.Root {
	t.Helper()
	at, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err = at.Mkdir(name, 0o755); err != nil {
			break
		}
		var next *os.Root
		if next, err = at.OpenRoot(name); err != nil {
			break
		}
		_ = at.Close()
		at = next
	}
	t.Cleanup(func() { _ = at.Close() })
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Enter moves a process into a cgroup.
func Enter(t testing.TB, cgroup *os.Root, pid int) {
	t.Helper()
	f, err := cgroup.OpenFile("cgroup.procs", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
}
