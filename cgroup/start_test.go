package cgroup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// child is a process that says where it was born, in hierarchies and directories.
func child() {
	if os.Getenv(childEnv) == childSticks {
		testhost.ExecWhenTold()
		return
	}
	text, _ := os.ReadFile("/proc/self/cgroup")
	fmt.Print(string(text))
	if os.Getenv(childEnv) == childStays {
		time.Sleep(time.Hour)
	}
}

// born starts this test binary in a cgroup and returns what it says.
func born(n *Node) (string, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childEnv + "=1"}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// isIn says where a process that reports text is not, of all of a node's cgroups.
func isIn(n *Node, text string) error {
	at, err := cgfs.ParseProcCgroup([]byte(text))
	if err != nil {
		return err
	}
	for _, h := range n.hs {
		if dir, ok := h.Dir(at); !ok || dir != n.dir() {
			return fmt.Errorf("in %s it is in %q, not %q", h.Name(), dir, n.dir())
		}
	}
	return nil
}

func TestStart(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	text, err := born(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := isIn(n, text); err != nil {
		t.Error(err)
	}
	// The guard is not an accident: without Start it is elsewhere.
	plain := exec.Command("/proc/self/exe")
	plain.Env = []string{childEnv + "=1"}
	if out, err := plain.Output(); err != nil || isIn(n, string(out)) == nil {
		t.Errorf("a child that was not started in the cgroup: %v\n%s", err, out)
	}
	if at, err := cgfs.Where("self"); err != nil {
		t.Error(err)
	} else if dir, _ := n.hs[0].Dir(at); dir == n.dir() {
		t.Error("this process has moved itself")
	}
	if pids := must[[]int](t)(n.Procs()); len(pids) > 0 {
		t.Errorf("%v are left in the cgroup; this process is %d", pids, os.Getpid())
	}
}

func TestStartInUnified(t *testing.T) {
	has(t, "unified")
	host := open(t, "unified")
	n := create(t, host, "unified:/a")
	text, err := born(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := isIn(n, text); err != nil {
		t.Error(err)
	}
}

// TestStartInFrozenUnified: a cgroup of v2 that one above it keeps frozen is no place to be born.
func TestStartInFrozenUnified(t *testing.T) {
	has(t, "unified")
	host := open(t, "unified")
	n := create(t, host, "unified:/a/b")
	if err := n.Parent().Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(5*time.Second, func() { _ = n.Parent().Thaw(context.Background()) })
	defer late.Stop()
	defer func() { _ = n.Parent().Thaw(t.Context()) }()
	if err := n.Start(exec.Command("true")); !isKind(err, ErrBusy) {
		t.Errorf("start below a frozen cgroup: %v", err)
	}
}

// TestStartInParallel: no child is ever outside, nor in another's cgroup.
func TestStartInParallel(t *testing.T) {
	host := openGrouped(t)
	var nodes []*Node
	for i := range 8 {
		nodes = append(nodes, create(t, host, fmt.Sprintf("/p%d", i)))
	}
	var all sync.WaitGroup
	children := 200
	if os.Getenv("CGROUPARCHD_GUEST") != "" {
		children = 40 // in a virtual machine, whose processor is emulated
	}
	for i := range children {
		all.Go(func() {
			n := nodes[i%len(nodes)]
			text, err := born(n)
			if err == nil {
				err = isIn(n, text)
			}
			if err != nil {
				t.Errorf("child %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for _, n := range nodes {
		if pids := must[[]int](t)(n.Procs()); len(pids) > 0 {
			t.Errorf("%v are left in %s; this process is %d", pids, n, os.Getpid())
		}
	}
}

func TestStartRefused(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	missing, err := host.Node("/missing")
	if err != nil {
		t.Fatal(err)
	}
	if err := missing.Start(exec.Command("true")); !isKind(err, ErrNotExist) {
		t.Errorf("start in a cgroup that is not there: %v", err)
	}
	if err := n.Start(exec.Command("/nosuch/command")); !isKind(err, os.ErrNotExist) {
		t.Errorf("start of a command that is not there: %v", err)
	}
	if err := n.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Thaw(t.Context()) }()
	if err := n.Start(exec.Command("true")); !isKind(err, ErrBusy) {
		t.Errorf("start in a frozen cgroup: %v", err)
	}
}

// TestStartInFreezing: a cgroup of v1 that cannot freeze all that is in it freezes who joins.
func TestStartInFreezing(t *testing.T) {
	has(t, "freezer")
	host := open(t, "freezer")
	n := create(t, host, "/a")
	if n.Version() != 1 {
		t.Skip("the freezer is that of v2")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childEnv + "=" + childSticks}
	if err := n.Add(testhost.Stuck(t, cmd)); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile("freezer.state", "FROZEN"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Thaw(t.Context()) }()
	if state := must[string](t)(n.ReadFile("freezer.state")); state != "FREEZING" {
		t.Fatalf("the cgroup is %s", state)
	}
	late := time.AfterFunc(5*time.Second, func() { _ = n.WriteFile("freezer.state", "THAWED") })
	defer late.Stop()
	cmd = exec.Command("true")
	if err := n.Start(cmd); !isKind(err, ErrBusy) || !strings.Contains(fmt.Sprint(err), "it is freezing") {
		t.Errorf("start in a freezing cgroup: %v", err)
		_ = cmd.Wait()
	}
}

// TestStartInInner: an inner cgroup of v2 takes no processes, which is no fault of the
// command.
func TestStartInInner(t *testing.T) {
	host := wholeHost(t)
	i := slices.IndexFunc([]string{"memory", "hugetlb"}, func(c string) bool { return host.Version(c) == 2 })
	if i < 0 {
		t.Skip("no controller of this host makes an inner cgroup of v2")
	}
	c := []string{"memory", "hugetlb"}[i]
	host = open(t, c)
	create(t, host, c+":/a/b")
	err := must[*Node](t)(host.Node(c + ":/a")).Start(exec.Command("true"))
	if !isKind(err, ErrBusy) || !strings.Contains(fmt.Sprint(err), "start in "+c+":/a: ") {
		t.Errorf("%v", err)
	}
}

// TestStartWithoutDevices: the streams that are not given are opened by us, and not
// by the thread that is in the cgroup already.
func TestStartWithoutDevices(t *testing.T) {
	has(t, "devices")
	host := open(t, "devices")
	n := create(t, host, "devices:/a")
	all, err := ParseRule("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Devices().Deny(all); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat", os.DevNull)
	var refused strings.Builder
	cmd.Stderr = &refused
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(refused.String(), "Operation not permitted") {
		t.Errorf("the command may open the device: %v %s", err, refused.String())
	}
}

// BenchmarkStart and BenchmarkForkExec show what being born in a cgroup costs.
func BenchmarkStart(b *testing.B) {
	for _, name := range []string{"/", "cpu:/", "cpu,memory:/"} {
		b.Run(strings.ReplaceAll(name, "/", ""), func(b *testing.B) {
			h, err := Open(Options{Root: testhost.Root(b)})
			if err != nil {
				b.Skip(err)
			}
			defer h.Close()
			n, err := h.Node(name + "a")
			if err != nil {
				b.Skip(err)
			}
			if err := n.Create(); err != nil {
				b.Skip(err)
			}
			defer func() {
				for err := n.Delete(b.Context(), DeleteOptions{}); err != nil; err = n.Delete(b.Context(), DeleteOptions{}) {
					b.Log(err)
				}
				root := &Node{host: n.host, hs: n.hs}
				for _, h := range n.hs {
					_ = h.Rmdir(root.dir())
				}
			}()
			run(b, n.Start)
		})
	}
}

// spent is the CPU time of this process and of its children, which other load on the
// machine does not change as it does the time that passes.
func spent() (ns int64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			ns += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return ns
}

func BenchmarkForkExec(b *testing.B) { run(b, (*exec.Cmd).Start) }

func run(b *testing.B, start func(*exec.Cmd) error) {
	before := spent()
	defer func() { b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		cmd := exec.Command("/bin/true")
		if err := start(cmd); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
