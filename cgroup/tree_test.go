package cgroup

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func isKind(err, kind error) bool { return errors.Is(err, kind) }

// names lists what a walk yields.
func names(t *testing.T, walk func(func(*Node, error) bool)) []string {
	t.Helper()
	var out []string
	walk(func(n *Node, err error) bool {
		if err != nil {
			t.Error(err)
		}
		out = append(out, n.String())
		return true
	})
	return out
}

func TestGroupedTree(t *testing.T) {
	host := openGrouped(t)
	create(t, host, "/a/x")
	create(t, host, "/b.slice/c.scope")
	want := []string{"/", "/a", "/a/x", "/b.slice", "/b.slice/c.scope"}
	if diff := cmp.Diff(want, names(t, host.Root().Walk())); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
	want = []string{"/a/x", "/a", "/b.slice/c.scope", "/b.slice", "/"}
	if diff := cmp.Diff(want, names(t, host.Root().WalkUp())); diff != "" {
		t.Errorf("walk up (-want +got):\n%s", diff)
	}
	scope := must[*Node](t)(host.Root().Find("b.slice/c.scope"))
	if scope.Kind() != KindScope || scope.Parent().Kind() != KindSlice || scope.Parent().Parent().Kind() != KindRoot {
		t.Errorf("kinds %s %s %s", scope.Kind(), scope.Parent().Kind(), scope.Parent().Parent().Kind())
	}
	if scope.Name() != "c.scope" || scope.Path() != "/b.slice/c.scope" || host.Root().Parent() != nil {
		t.Errorf("%s %s", scope.Name(), scope.Path())
	}
	if _, err := host.Root().Find("nosuch"); !isKind(err, ErrNotExist) {
		t.Errorf("find what is not there: %v", err)
	}
	if _, err := host.Root().Find("../.."); !isKind(err, ErrInvalid) {
		t.Errorf("find a path that leaves the tree: %v", err)
	}
}

// TestPartlyThere: a node stands for the hierarchies in which it exists.
func TestPartlyThere(t *testing.T) {
	has(t, "cpu", "memory")
	host := openGrouped(t)
	if host.Root().Version() != 1 {
		t.Skip("one hierarchy has all")
	}
	create(t, host, "cpu:/only")
	children := must[[]*Node](t)(host.Root().Children())
	i := slices.IndexFunc(children, func(n *Node) bool { return n.Name() == "only" })
	if i < 0 {
		t.Fatal("it is not listed")
	}
	if got := children[i].Controllers(); !slices.Contains(got, "cpu") || slices.Contains(got, "memory") {
		t.Errorf("controllers %v", got)
	}
	if _, err := children[i].Memory().UsageInBytes.Get(); !isKind(err, ErrNotSupported) {
		t.Errorf("memory of a cgroup that is not there: %v", err)
	}
	both := must[*Node](t)(host.Node("cpu,memory:/only"))
	if _, err := both.Procs(); !isKind(err, ErrNotExist) || both.Exists() {
		t.Errorf("a node that was named with a controller in which it is missing: %v", err)
	}
}

func TestTree(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	create(t, host, "cpu:/a/b")
	root := host.Tree()
	if root.Kind() != KindRoot || root.Parent() != nil || root.Name() != "/" {
		t.Errorf("root: %s %s", root.Kind(), root.Name())
	}
	branches := must[[]*Node](t)(root.Children())
	if len(branches) != 1 || branches[0].Kind() != KindControllerRoot || branches[0].Parent().Kind() != KindRoot {
		t.Fatalf("branches %v", branches)
	}
	b := must[*Node](t)(root.Find("cpu/a/b"))
	if b.Kind() != KindCgroup || b.Parent().Parent().Kind() != KindControllerRoot {
		t.Errorf("%s: %s below %s", b, b.Kind(), b.Parent().Parent().Kind())
	}
	again := must[*Node](t)(host.Node(b.String()))
	if again.Path() != b.Path() || again.Dir() != b.Dir() {
		t.Errorf("%s names %s", b, again.Dir())
	}
	if _, err := root.Find("nosuch/a"); !isKind(err, ErrNotExist) {
		t.Errorf("find in a hierarchy that is not there: %v", err)
	}
	if err := root.Create(); !isKind(err, ErrNotSupported) {
		t.Errorf("create the mount: %v", err)
	}
}

func TestWithin(t *testing.T) {
	host := openGrouped(t)
	for _, p := range []string{"/a/x/1", "/a/y", "/b", "/ab"} {
		create(t, host, p)
	}
	some, err := Open(Options{Root: host.root, Within: []string{"/a/x", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer some.Close()
	want := []string{"/", "/a", "/a/x", "/a/x/1", "/b"}
	if diff := cmp.Diff(want, names(t, some.Root().Walk())); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
}

func TestOpenFaults(t *testing.T) {
	if h, err := Open(Options{Dir: t.TempDir()}); err == nil {
		h.Close()
		t.Error("a directory without cgroups was opened")
	}
	if h, err := Open(Options{Root: "/a/../.."}); !isKind(err, ErrInvalid) {
		t.Errorf("a root that leaves the hierarchy: %v %v", h, err)
	}
	if h, err := Open(Options{Controllers: []string{"nosuch"}}); !isKind(err, ErrNotSupported) {
		t.Errorf("a controller that does not exist: %v %v", h, err)
	}
	host := openGrouped(t)
	if _, err := host.Node("nosuch:/a"); !isKind(err, ErrNotSupported) {
		t.Errorf("a controller that does not exist: %v", err)
	}
}
