package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dig makes a chain of cgroups below one hierarchy's n, longer than a path can say, and
// puts a process into the last.
func dig(t *testing.T, n *Node, name string, pid int) {
	t.Helper()
	at, err := os.OpenRoot(n.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for range 6000/(len(name)+1) + 1 {
		if err := at.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := at.OpenRoot(name)
		_ = at.Close()
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	defer at.Close()
	if pid == 0 {
		return
	}
	f, err := at.OpenFile("cgroup.procs", syscall.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
}

// TestTooDeepForAPath: what has no path the kernel takes is met by Walk as such, and
// goes with what it is in.
func TestTooDeepForAPath(t *testing.T) {
	for _, hierarchy := range []string{"cpu", "unified"} {
		t.Run(hierarchy, func(t *testing.T) {
			h, err := Open(Options{})
			if err != nil {
				skip(t, "needs cgroups: %v", err)
			}
			_, err = h.Node(hierarchy + ":/")
			h.Close()
			if err != nil {
				t.Skip(err)
			}
			host := open(t, hierarchy)
			// The shorter one lets a cgroup have a path whose files have none.
			for _, name := range []string{strings.Repeat("d", 200), "ten bytes!"} {
				tooDeep(t, host, hierarchy, name)
			}
		})
	}
}

func tooDeep(t *testing.T, host *Host, hierarchy, name string) {
	top, to := create(t, host, hierarchy+":/top"), create(t, host, fmt.Sprintf("%s:/to%d", hierarchy, len(name)))
	pid := sleeper(t)
	dig(t, top, name, pid)
	tooLong := 0
	for _, err := range top.Walk() {
		if errors.Is(err, ErrTooLong) {
			tooLong++
		} else if err != nil {
			t.Error(err)
		}
	}
	if tooLong != 1 {
		t.Errorf("Walk met %d that are too deep", tooLong)
	}

	if removed, err := top.DeleteEmpty(); len(removed) > 0 || err != nil {
		t.Errorf("empty but for a process at the bottom: removed %v, %v", removed, err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := top.Delete(short, DeleteOptions{Recursive: true, To: to}); !isKind(err, ErrBusy) {
		t.Errorf("without time: %v", err)
	}
	if err := top.Delete(t.Context(), DeleteOptions{Recursive: true, To: to}); err != nil || top.Exists() {
		t.Errorf("exists: %t, %v", top.Exists(), err)
	}
	if got := must[[]int](t)(to.Procs()); !cmp.Equal(got, []int{pid}) {
		t.Errorf("%v are in the place named, want %d", got, pid)
	}

	top = create(t, host, hierarchy+":/top")
	dig(t, top, name, 0)
	if removed, err := top.DeleteEmpty(); len(removed) < 10 || err != nil || top.Exists() {
		t.Errorf("all empty: removed %d, %v", len(removed), err)
	}
}
