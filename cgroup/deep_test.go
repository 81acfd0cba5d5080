package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestTooDeepForAPath: what has no path the kernel takes is met by Walk as such, and
// goes with what it is in.
func TestTooDeepForAPath(t *testing.T) {
	for _, hierarchy := range []string{"cpu", "unified"} {
		t.Run(hierarchy, func(t *testing.T) {
			h, err := Open(Options{})
			if err != nil {
				testhost.Lacks(t, "needs cgroups: %v", err)
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
	pid := testhost.Sleeper(t)
	names := slices.Repeat([]string{name}, 6000/(len(name)+1)+1)
	testhost.Enter(t, testhost.Dig(t, top.Dir(), names...), pid)
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
	testhost.Dig(t, top.Dir(), names...)
	if removed, err := top.DeleteEmpty(); len(removed) < 10 || err != nil || top.Exists() {
		t.Errorf("all empty: removed %d, %v", len(removed), err)
	}
}
