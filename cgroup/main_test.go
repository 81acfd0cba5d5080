package cgroup

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test binary behave as a child that says where it is.
const childEnv = "CGATEST_CGROUP_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	if !canExamples() {
		_ = flag.Set("test.skip", "^Example") // an example cannot skip itself
	}
	goleak.VerifyTestMain(m)
}

// canExamples says whether this host has what the examples are about.
func canExamples() bool {
	flag.Parse()
	if flag.Lookup("test.skip").Value.String() != "" {
		return true
	}
	h, err := Open(Options{})
	if err != nil {
		return false
	}
	defer h.Close()
	for _, c := range []string{"cpu", "cpuset", "memory", "devices"} {
		if h.Version(c) == 0 {
			return false
		}
	}
	return os.Getuid() == 0
}

// open opens this host's cgroups below a root of this test's own, which exists in
// the hierarchies that the test is about.
func open(t *testing.T, controllers ...string) *Host {
	t.Helper()
	return openRoot(t, Options{Controllers: controllers}, strings.Join(controllers, ",")+":/")
}

// openGrouped opens all hierarchies that hold controllers.
func openGrouped(t *testing.T) *Host {
	t.Helper()
	return openRoot(t, Options{}, "/")
}

func openRoot(t *testing.T, o Options, root string) *Host {
	t.Helper()
	o.Root = fmt.Sprintf("cgatest-cgpkg-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
	h, err := Open(o)
	if err != nil {
		skip(t, "needs cgroups: %v", err)
	}
	t.Cleanup(h.Close)
	n, err := h.Node(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeRoot(t, o.Root, n) })
	if err := n.Create(); err != nil {
		skip(t, "needs root and writable cgroups: %v", err)
	}
	return h
}

// skip ends a test that this host cannot run, which is a failure where everything
// has to be run.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CGROUPARCHD_TEST_ALL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// has skips a test where a controller is not to be had: that is this host's layout,
// and no fault even where everything has to be run.
func has(t *testing.T, controllers ...string) {
	t.Helper()
	h, err := Open(Options{})
	if err != nil {
		skip(t, "needs cgroups: %v", err)
	}
	defer h.Close()
	for _, c := range controllers {
		if h.Version(c) == 0 {
			t.Skipf("this host does not have the controller %s", c)
		}
	}
}

// removeRoot ends what a test left in its root, and removes it.
func removeRoot(t *testing.T, root string, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, h := range n.hs {
		all := &Node{host: &Host{layout: n.host.layout, seen: n.host.seen}, hs: n.hs[:0:0], path: path.Clean(root)}
		all.hs = append(all.hs, h)
		if !all.Exists() {
			continue
		}
		if err := all.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := all.Delete(ctx, DeleteOptions{Recursive: true}); err != nil {
			t.Error(err)
		}
	}
}

// create makes a cgroup below the test's root.
func create(t *testing.T, h *Host, name string) *Node {
	t.Helper()
	n, err := h.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Create(); err != nil {
		t.Fatal(err)
	}
	return n
}

// sleeper starts a process that does nothing for long.
func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// must takes the error of a getter.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return v
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
