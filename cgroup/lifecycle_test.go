package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

func TestMembers(t *testing.T) {
	host := openGrouped(t)
	a, b := create(t, host, "/a"), create(t, host, "/a/b")
	if a.Version() == 2 {
		b = create(t, host, "/c") // an inner cgroup takes processes as long as it enables nothing
	}
	pid, other := testhost.Sleeper(t), testhost.Sleeper(t)
	for range 2 { // the second time it is silent
		if err := a.Add(pid, other); err != nil {
			t.Fatal(err)
		}
	}
	if got := must[[]int](t)(a.Procs()); !cmp.Equal(got, sorted([]int{pid, other})) {
		t.Errorf("procs %v", got)
	}
	if err := b.Add(pid); err != nil {
		t.Fatal(err)
	}
	if got := must[[]int](t)(host.Root().AllProcs()); !cmp.Equal(got, sorted([]int{pid, other})) {
		t.Errorf("all procs %v", got)
	}
	for range 2 {
		if err := b.Remove(pid); err != nil {
			t.Fatal(err)
		}
	}
	if got := must[[]int](t)(b.Procs()); len(got) != 0 {
		t.Errorf("procs after remove: %v", got)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(gone.Process.Pid, pid); !isKind(err, ErrGone) {
		t.Errorf("add a process that has ended: %v", err)
	}
	if got := must[[]int](t)(b.Procs()); !cmp.Equal(got, []int{pid}) {
		t.Errorf("the one that lives was not added: %v", got)
	}
	if err := b.Add(0); !isKind(err, ErrInvalid) {
		t.Errorf("add no process: %v", err)
	}
}

func TestCreateAndDelete(t *testing.T) {
	host := openGrouped(t)
	a, b := create(t, host, "/a"), create(t, host, "/a/b/c")
	pid := testhost.Sleeper(t)
	if err := b.Add(pid); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(); err != nil {
		t.Errorf("create what is there: %v", err)
	}
	if err := a.Delete(t.Context(), DeleteOptions{}); !isKind(err, ErrBusy) {
		t.Errorf("delete what has cgroups below: %v", err)
	}
	if err := b.Delete(t.Context(), DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := must[[]int](t)(b.Parent().Procs()); !cmp.Equal(got, []int{pid}) {
		t.Errorf("the parent has %v", got)
	}
	to := create(t, host, "/to")
	if err := a.Delete(t.Context(), DeleteOptions{Recursive: true, To: to}); err != nil {
		t.Fatal(err)
	}
	if got := must[[]int](t)(to.Procs()); !cmp.Equal(got, []int{pid}) || a.Exists() {
		t.Errorf("%v are in the place named; the cgroup exists: %t", got, a.Exists())
	}
	if err := a.Delete(t.Context(), DeleteOptions{}); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	if err := host.Root().Delete(t.Context(), DeleteOptions{}); !isKind(err, ErrNotSupported) {
		t.Errorf("delete the root: %v", err)
	}
}

// TestDeleteWhileForking: processes that appear while a cgroup is removed do not
// keep it.
func TestDeleteWhileForking(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	cmd := exec.Command("sh", "-c", "while :; do /bin/true; done")
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := n.Delete(t.Context(), DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

func TestDeleteEmpty(t *testing.T) {
	host := openGrouped(t)
	for _, p := range []string{"/a/x", "/a/y", "/b/c"} {
		create(t, host, p)
	}
	keep := must[*Node](t)(host.Node("/b/c"))
	if err := keep.Add(testhost.Sleeper(t)); err != nil {
		t.Fatal(err)
	}
	a := must[*Node](t)(host.Node("/a"))
	b := must[*Node](t)(host.Node("/b"))
	removed := must[[]*Node](t)(a.DeleteEmpty())
	if want := 3 * len(a.hs); len(removed) != want || a.Exists() {
		t.Errorf("%d removed, not %d", len(removed), want)
	}
	if removed := must[[]*Node](t)(b.DeleteEmpty()); len(removed) != 0 || !keep.Exists() {
		t.Errorf("removed %v", removed)
	}
}

// writes starts a process that writes without end, and tells how much.
func writes(t *testing.T, n *Node) (read func() int) {
	t.Helper()
	file := t.TempDir() + "/ticks"
	cmd := exec.Command("sh", "-c", "while :; do echo >>"+file+"; sleep 0.01; done")
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return func() int {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return int(info.Size())
	}
}

func TestFreeze(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	ticks := writes(t, create(t, host, "/a/b"))
	eventually(t, "it runs", func() bool { return ticks() > 0 })
	if err := n.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := must[bool](t)(n.Frozen()); !is {
		t.Error("it is not frozen")
	}
	before := ticks()
	time.Sleep(100 * time.Millisecond) // what stands still cannot be waited for
	if after := ticks(); after != before {
		t.Errorf("it went on: %d, %d", before, after)
	}
	if err := n.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return ticks() > before })
	if err := host.Root().Freeze(t.Context()); !isKind(err, ErrNotSupported) {
		t.Errorf("freeze the root: %v", err)
	}
}

func TestFreezeNeedsTheFreezer(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	if host.Version("cpu") != 1 {
		t.Skip("v2 freezes every cgroup")
	}
	if err := create(t, host, "cpu:/a").Freeze(t.Context()); !isKind(err, ErrNotSupported) {
		t.Errorf("%v", err)
	}
}

func TestKill(t *testing.T) {
	host := openGrouped(t)
	n, below := create(t, host, "/a"), create(t, host, "/a/b")
	var started []*exec.Cmd
	for i, in := range []*Node{n, below, below} {
		cmd := exec.Command("sh", "-c", []string{"sleep 600 & sleep 600", "while :; do sleep 0.01 & done", "trap '' TERM; sleep 600"}[i])
		if err := in.Start(cmd); err != nil {
			t.Fatal(err)
		}
		started = append(started, cmd)
	}
	if err := n.Freeze(t.Context()); err != nil { // what is frozen dies as well
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reaped := make(chan error)
	for _, cmd := range started {
		go func() { reaped <- cmd.Wait() }()
	}
	if err := n.Kill(ctx); err != nil {
		t.Error(err)
	}
	for range started {
		if err := <-reaped; fmt.Sprint(err) != "signal: killed" {
			t.Errorf("ended with %v", err)
		}
	}
	if got := must[[]int](t)(n.AllProcs()); len(got) != 0 {
		t.Errorf("%v live", got)
	}
}

// TestNotTaken: a process that a cgroup does not take comes with the reason.
func TestNotTaken(t *testing.T) {
	has(t, "cpuset")
	host := open(t, "cpuset")
	if host.Version("cpuset") != 1 {
		t.Skip("about v1")
	}
	n := must[*Node](t)(host.Node("cpuset:/raw"))
	if err := os.Mkdir(n.Dir(), 0o755); err != nil { // Create would copy what the parent has
		t.Fatal(err)
	}
	for what, err := range map[string]error{"add": n.Add(testhost.Sleeper(t)), "start": n.Start(exec.Command("true"))} {
		if err == nil || !strings.Contains(err.Error(), "no cpus, or no mems") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestKillFrozenElsewhere: what is frozen for the sake of another cgroup cannot die on
// v1, which is not for Kill to change; it says who is left and what to do.
func TestKillFrozenElsewhere(t *testing.T) {
	has(t, "freezer", "cpu")
	host := open(t, "cpu", "freezer")
	if host.Version("freezer") != 1 {
		t.Skip("v2 kills what is frozen")
	}
	above, both := create(t, host, "freezer:/a"), create(t, host, "cpu,freezer:/a/b")
	cmd := exec.Command("sleep", "600")
	if err := both.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := above.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"freezer:/a/b", "cpu:/a/b"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := must[*Node](t)(host.Node(name)).Kill(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("kill %s: %v", name, err)
		}
		for _, part := range []string{"kill " + name, fmt.Sprint(cmd.Process.Pid), "frozen", "freezer:/" + host.root + "/a is thawed"} {
			if !strings.Contains(fmt.Sprint(err), part) {
				t.Errorf("kill %s does not say %q: %v", name, part, err)
			}
		}
	}
	if err := above.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); fmt.Sprint(err) != "signal: killed" {
		t.Errorf("ended with %v", err)
	}
}

// TestKillSelf: a program that is in the cgroup itself is not ended by its own hand.
func TestKillSelf(t *testing.T) {
	has(t, "freezer")
	host := open(t, "freezer")
	if host.Version("freezer") != 1 {
		t.Skip("where this process is on v2, others may depend on") // moving the test is harmless in a v1 freezer only
	}
	n := create(t, host, "freezer:/a")
	rescue := exec.Command("sh", "-c", `sleep 5; while echo THAWED >"$0"/freezer.state; do sleep 0.01; done`, n.Dir()) // should Freeze not refuse
	if err := rescue.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rescue.Process.Kill(); _ = rescue.Wait() }()
	if err := n.Add(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Remove(os.Getpid()); err != nil {
			t.Error(err)
		}
		root := must[*Node](t)(wholeHost(t).Node("freezer:/"))
		if err := root.Add(os.Getpid()); err != nil {
			t.Error(err)
		}
	}()
	if err := n.Kill(t.Context()); !isKind(err, ErrBusy) {
		t.Errorf("kill: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	if err := n.Freeze(ctx); !isKind(err, ErrBusy) {
		t.Errorf("freeze: %v", err)
	}
}

// wholeHost opens the whole of this host, for a way back out of a test's root.
func wholeHost(t *testing.T) *Host {
	t.Helper()
	h, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestNewCpuset: a new cpuset takes processes at once.
func TestNewCpuset(t *testing.T) {
	has(t, "cpuset")
	host := open(t, "cpuset")
	n := create(t, host, "cpuset:/a/b")
	if err := n.Add(testhost.Sleeper(t)); err != nil {
		t.Fatal(err)
	}
	effective := must[CPUs](t)(n.CPUSet().EffectiveCPUs.Get())
	if len(effective.Members()) == 0 || !slices.IsSorted(effective.Members()) {
		t.Errorf("cpus %s", effective)
	}
}

func TestUser(t *testing.T) {
	host := openGrouped(t)
	n := must[*Node](t)(host.User(""))
	if n.Path() == "/" || n.Parent().Path() != "/" {
		t.Errorf("the current user's is %s", n.Path())
	}
	if n := must[*Node](t)(host.User("web")); n.Path() != "/web" {
		t.Errorf("%s", n.Path())
	}
}
