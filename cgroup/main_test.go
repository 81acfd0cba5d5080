package cgroup

import (
	"context"
	"flag"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
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
	o.Root = testhost.Root(t)
	h, err := Open(o)
	if err != nil {
		testhost.Lacks(t, "needs cgroups: %v", err)
	}
	t.Cleanup(h.Close)
	n, err := h.Node(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeRoot(t, o.Root, n) })
	if err := n.Create(); err != nil {
		testhost.Lacks(t, "needs root and writable cgroups: %v", err)
	}
	return h
}

// has skips a test where a controller is not to be had: that is this host's layout,
// and no fault even where everything has to be run.
func has(t *testing.T, controllers ...string) {
	t.Helper()
	h, err := Open(Options{})
	if err != nil {
		testhost.Lacks(t, "needs cgroups: %v", err)
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
