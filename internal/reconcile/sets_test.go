package reconcile

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// A branch goes from one CPU to another in one pass.
func TestCpusetsSwapInOnePass(t *testing.T) {
	s := newScene(t, "cpuset", `{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "0"}, "sub_cgroup": {"b": {"conf": {"cpus": "0"}}, "c": {"conf": {}}}}}}}`, Options{Root: "r"})
	if a := s.apply(s.diff().Plan); len(a.faults) > 0 {
		t.Fatal(a.faults)
	}
	s.document(`{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "1"}, "sub_cgroup": {"b": {"conf": {"cpus": "1"}}, "c": {"conf": {"cpus": ""}}, "d": {}}}}}}`, Options{Root: "r"})
	a := s.apply(s.want(`mkdir cpuset:/r/a/d
write cpuset:/r/a/cpuset.cpus 0-1
write cpuset:/r/a/b/cpuset.cpus 0-1
write cpuset:/r/a/c/cpuset.cpus 0-1
write cpuset:/r/a/d/cpuset.cpus 1
write cpuset:/r/a/d/cpuset.mems 0
write cpuset:/r/a/c/cpuset.cpus 1
write cpuset:/r/a/b/cpuset.cpus 1
write cpuset:/r/a/cpuset.cpus 1
`))
	if len(a.faults) > 0 {
		t.Fatal(a.faults)
	}
	s.want("")
}

// At the kernel's own root there is something to inherit, and nothing to write.
func TestCpusetAtTheRealRoot(t *testing.T) {
	s := newScene(t, "cpuset", `{"cpuset": {"sub_cgroup": {"a": {"conf": {}}}}}`, Options{})
	s.apply(s.want("mkdir cpuset:/a\nwrite cpuset:/a/cpuset.cpus 0-1\nwrite cpuset:/a/cpuset.mems 0\n"))
	s.want("")
}

// A parent that cannot have what it asks for does not leave its children empty.
func TestCpusetInheritsWhatThereIs(t *testing.T) {
	s := newScene(t, "cpuset", `{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "0"}}}}}`, Options{Root: "r"})
	s.apply(s.diff().Plan)
	s.document(`{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "7"}, "sub_cgroup": {"b": {"conf": {}}}}}}}`, Options{Root: "r"})
	a := s.apply(s.diff().Plan)
	if len(a.faults) == 0 || a.faults[0].Place != "cpuset/a: cpus" {
		t.Errorf("faults %v", a.faults)
	}
	if got := s.model.dirs["r/a/b"].files["cpuset.cpus"]; got != "0" {
		t.Errorf("b has %q, want its parent's", got)
	}
}

// Whatever sets a document asks for that the kernel can have at all, one pass
// takes any other tree of sets there.
func TestCpusetsReachTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{name: "cpuset", dirs: map[string]*modelDir{}, now: time.Unix(1_700_000_000, 0), refuse: map[string]bool{}, cpus: "0-3"}
		m.make("", time.Time{})
		root := rapid.SampledFrom([]string{"", "r"}).Draw(t, "root")
		o := newObserver(m, nil)
		var owned []string
		for i := range 3 {
			doc := &zkconf.Document{Raw: []byte("{}"), Subsystems: map[string]*zkconf.Node{"cpuset": drawSets(t, cgfs.Set{{First: 0, Last: 3}}, 3)}}
			doc.Subsystems["cpuset"].HasConf, doc.Subsystems["cpuset"].Conf = false, nil
			d := Compile(doc, apart, Options{Root: root, Owned: owned})
			tree := d.Trees[0]
			if err := o.all(tree); err != nil {
				t.Fatal(err)
			}
			was := m.String()
			diff := Diff(tree, o.state, Shield{}, outside, m.now)
			a := &applier{ctx: context.Background(), chase: evacuateFor, observers: map[string]*observer{"cpuset": o}}
			a.apply(diff.Plan)
			if len(a.faults)+len(diff.Faults) > 0 {
				t.Fatalf("%v %v\nfrom\n%s\nby\n%s", a.faults, diff.Faults, was, diff.Plan)
			}
			if again := Diff(tree, o.state, Shield{}, outside, m.now).Plan; len(again) > 0 {
				t.Fatalf("pass %d: a converged tree has a plan:\n%s\nafter\n%s\nfrom\n%s", i, again, diff.Plan, was)
			}
			for _, dir := range tree.Dirs {
				if got := m.dirs[tree.Full(dir.Path)].files["cpuset.cpus"]; got == "" {
					t.Fatalf("%q has no CPUs", dir.Path)
				}
			}
			owned = record{Settings: owned}.after(d, map[string]*State{"cpuset": o.state}).Settings
		}
	})
}

// drawSets draws a branch in which every set is within its parent's.
func drawSets(t *rapid.T, within cgfs.Set, depth int) *zkconf.Node {
	n := &zkconf.Node{Conf: map[string]string{}, Sub: map[string]*zkconf.Node{}}
	n.HasConf = true
	var cpus []uint32
	for _, r := range within {
		for c := r.First; c <= r.Last; c++ {
			cpus = append(cpus, c)
		}
	}
	var own cgfs.Set
	for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(cpus), 1, len(cpus), rapid.ID).Draw(t, "cpus") {
		own = own.Union(cgfs.Set{{First: c, Last: c}})
	}
	n.Conf["cpus"] = own.String()
	if depth > 0 {
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID).Draw(t, "names") {
			n.Sub[name] = drawSets(t, own, depth-1)
		}
	}
	return n
}
