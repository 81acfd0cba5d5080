package reconcile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestKernelTooDeep: what somebody has hidden below the longest path that the kernel
// takes is pruned, and its processes come to the refuge; what is protected there stays,
// and a fault says where.
func TestKernelTooDeep(t *testing.T) {
	r := onKernel(t, nil)
	r.opt.Shield, _ = NewShield(nil, true)
	cpu := r.layout.Hierarchy("cpu")
	dir := r.opt.Root + "/user"
	if err := cpu.MkdirUnmarked(dir); err != nil {
		t.Fatal(err)
	}
	pid := testhost.Sleeper(t)
	last := testhost.Dig(t, filepath.Join(cpu.Mount(), dir), append(slices.Repeat([]string{strings.Repeat("d", 200)}, 30), "docker")...)
	testhost.Enter(t, last, pid)

	doc := document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	r.pass(t.Context(), work{doc: doc, full: true})
	if _, err := cpu.Stat(dir); err != nil {
		t.Fatalf("pruned when it was young: %v", err)
	}
	time.Sleep(GraceAge) // what the loop waits for
	s := r.pass(t.Context(), work{full: true})
	if len(s.Faults) != 1 || !strings.HasPrefix(s.Faults[0].Place, "cpu/user/ddd") || !strings.Contains(s.Faults[0].Reason, "something in it stays") || len(fmt.Sprint(s.Faults)) > 1000 {
		t.Errorf("it contains what is protected: %d faults, %.2000v", len(s.Faults), s.Faults)
	}
	if pids, err := cpu.Procs(r.opt.Root, nil); err != nil || len(pids) > 0 {
		t.Errorf("members of what is protected were moved: %v, %v", pids, err)
	}

	r.opt.Shield, _ = NewShield(nil, false)
	s = r.pass(t.Context(), work{full: true})
	if _, err := cpu.Stat(dir); len(s.Faults) > 0 || err == nil {
		t.Errorf("it is there (%v), faults %v", err, s.Faults)
	}
	if pids, err := cpu.Procs(r.opt.Root, nil); err != nil || !slices.Equal(pids, []int{pid}) {
		t.Errorf("%v are in our root: %v", pids, err)
	}
	if s = r.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 || len(s.Faults) > 0 {
		t.Errorf("not converged: %+v", s)
	}
}

// TestPlanOfTooDeep: one step for all that is too deep; where only what is ours is
// removed it stays.
func TestPlanOfTooDeep(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`, Options{})
	old := s.model.now.Add(-time.Hour)
	s.model.make("a", old)
	s.model.make("a/x", old)
	s.model.make("a/x/deep", old)
	s.diff()
	n := s.o.state.Nodes["a/x/deep"]
	n.Deep, n.Populated = true, true
	s.o.state.Unreadable["a/x/deep"] = cgfs.ErrTooLong
	if got := Diff(s.tree, s.o.state, s.shield, "", s.model.now).Plan.String(); got != "rmdir cpu:/a/x/deep\nrmdir cpu:/a/x\n" {
		t.Errorf("plan %q", got)
	}
	mirror := *s.tree
	mirror.Mode = Mirror
	if got := Diff(&mirror, s.o.state, s.shield, "", s.model.now).Plan.String(); got != "" {
		t.Errorf("plan of a mirror %q", got)
	}
}

func TestSpares(t *testing.T) {
	s, err := NewShield([]string{"kee?", "/whole", "odd:name", "cpu:path"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"keep": true, "docker": true, "whole": false, "odd:name": true, "name": false, "path": false, "cpu:path": false} {
		if got := s.Spares([]string{"cpu"}, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
