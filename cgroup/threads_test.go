package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// childStays is the value of childEnv for a child that stays until it is killed.
const childStays = "stays"

// childSticks is the value for a child of testhost.Stuck.
const childSticks = "sticks"

// threaded starts a process of several threads in a cgroup: this test binary.
func threaded(t *testing.T, n *Node) (pid int, others []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+childStays)
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	pid = cmd.Process.Pid
	eventually(t, "the child has threads", func() bool {
		others = nil
		names, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
		for _, name := range names {
			if tid, err := strconv.Atoi(filepath.Base(name)); err == nil && tid != pid {
				others = append(others, tid)
			}
		}
		return len(others) >= 2
	})
	return pid, others
}

// TestSpreadThreads: on v1 the threads of a process may be in several cgroups, as
// libvirt has those of a guest.
func TestSpreadThreads(t *testing.T) {
	host := open(t, "cpu")
	if host.Version("cpu") != 1 {
		t.Skip("about v1")
	}
	emulator, vcpu0, vcpu1 := create(t, host, "cpu:/vm/emulator"), create(t, host, "cpu:/vm/vcpu0"), create(t, host, "cpu:/vm/vcpu1")
	pid, others := threaded(t, emulator)
	h := vcpu0.hs[0]
	in := func(n *Node) []int {
		tids, _ := h.Tasks(n.dir(), nil)
		return tids
	}
	if err := h.MoveThread(vcpu0.dir(), others[0]); err != nil {
		t.Fatal(err)
	}
	if err := h.MoveThread(vcpu1.dir(), others[1]); err != nil {
		t.Fatal(err)
	}

	r := watchNode(t, create(t, host, "cpu:/vm"), WatchOptions{})
	marker := testhost.Sleeper(t)
	for range 3 { // each of these makes several looks
		if err := emulator.Add(marker); err != nil {
			t.Fatal(err)
		}
		r.want(EventJoined, "/vm/emulator", marker)
		if err := emulator.Remove(marker); err != nil {
			t.Fatal(err)
		}
		r.want(EventLeft, "/vm/emulator", marker)
	}
	for _, e := range r.seen {
		if slices.Contains(e.PIDs, pid) {
			t.Errorf("nobody has moved it: %s %s %v", e.Kind, e.Node, e.PIDs)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := vcpu0.Kill(ctx); err == nil || !strings.Contains(err.Error(), "the first one is in "+h.Display(emulator.dir())) {
		t.Errorf("kill where only a thread is: %v", err)
	}
	if err := vcpu1.Remove(pid); err != nil {
		t.Fatal(err)
	}
	if got := in(emulator); len(in(vcpu1)) > 0 || !slices.Contains(got, pid) || !slices.Contains(in(vcpu1.Parent()), others[1]) {
		t.Errorf("remove from where only a thread is: %v are left, %v where the others are, %v above", in(vcpu1), got, in(vcpu1.Parent()))
	}
	if err := h.MoveThread(vcpu1.dir(), others[1]); err != nil {
		t.Fatal(err)
	}
	if err := vcpu1.Delete(t.Context(), DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := in(vcpu0); !cmp.Equal(got, others[:1]) {
		t.Errorf("threads of another cgroup after delete: %v, want %v", got, others[:1])
	}
	if got := in(emulator); !slices.Contains(got, pid) {
		t.Errorf("the first thread was moved: %v", got)
	}
	if err := vcpu0.Add(pid); err != nil {
		t.Fatal(err)
	}
	if got := in(vcpu0); !slices.Contains(got, pid) || !slices.Contains(got, others[1]) {
		t.Errorf("add has left threads elsewhere: %v", got)
	}
}

// TestThreadedSubtree: a threaded cgroup of v2 lists no processes, and is killed and
// removed all the same.
func TestThreadedSubtree(t *testing.T) {
	host := open(t, "unified")
	top := create(t, host, "unified:/t")
	inner := create(t, host, "unified:/t/x")
	pid := testhost.Sleeper(t)
	if err := inner.WriteFile("cgroup.type", "threaded"); err != nil {
		t.Fatal(err)
	}
	if err := top.Add(pid); err != nil {
		t.Fatal(err)
	}
	if err := inner.hs[0].MoveThread(inner.dir(), pid); err != nil {
		t.Fatal(err)
	}
	if got := must[[]int](t)(top.AllProcs()); !cmp.Equal(got, []int{pid}) {
		t.Errorf("processes: %v", got)
	}
	_, listed := inner.Procs()
	for what, err := range map[string]error{"procs": listed, "add": inner.Add(pid), "remove": inner.Remove(pid), "kill": inner.Kill(t.Context())} {
		if !isKind(err, ErrNotSupported) || !strings.Contains(err.Error(), "the processes of unified:/"+top.dir()+",") {
			t.Errorf("%s of a threaded cgroup: %v", what, err)
		}
	}
	if err := inner.Delete(t.Context(), DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := must[[]int](t)(top.Procs()); !cmp.Equal(got, []int{pid}) {
		t.Errorf("processes: %v", got)
	}
	inner = create(t, host, "unified:/t/x")
	if err := inner.WriteFile("cgroup.type", "threaded"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := top.Kill(ctx); err != nil {
		t.Error(err)
	}
	if err := top.Delete(ctx, DeleteOptions{Recursive: true}); err != nil {
		t.Error(err)
	}
}

// TestCreateTooMany: a cgroup above may allow no more of them.
func TestCreateTooMany(t *testing.T) {
	host := open(t, "unified")
	n := create(t, host, "unified:/a")
	if err := n.WriteFile("cgroup.max.descendants", "0"); err != nil {
		t.Fatal(err)
	}
	if err := must[*Node](t)(host.Node("unified:/a/b")).Create(); err == nil || !strings.Contains(err.Error(), "max_descendants") {
		t.Errorf("%v", err)
	}
}

// TestDeleteToNowhere: processes that cannot go where they should keep the cgroup.
func TestDeleteToNowhere(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	if err := n.Add(testhost.Sleeper(t)); err != nil {
		t.Fatal(err)
	}
	to, err := host.Node("/missing")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Delete(t.Context(), DeleteOptions{To: to}); !isKind(err, ErrNotExist) {
		t.Errorf("%v, want that it is not there", err)
	}
	if !n.Exists() {
		t.Error("it is gone")
	}
	below := create(t, host, "/a/b")
	for _, to := range []*Node{n, below} { // what is removed takes nobody
		if err := n.Delete(t.Context(), DeleteOptions{To: to, Recursive: true}); !isKind(err, ErrInvalid) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if !below.Exists() {
		t.Error("what is below is gone")
	}
}
