package reconcile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scene is a hierarchy in memory with a reconciler's view of it.
type scene struct {
	t      *testing.T
	model  *model
	tree   *Tree
	shield Shield
	self   string
	o      *observer
}

func newScene(t *testing.T, hierarchy, text string, opt Options) *scene {
	t.Helper()
	s := &scene{t: t, model: newModel(hierarchy), shield: opt.Shield}
	s.document(text, opt)
	s.o = newObserver(s.model, nil)
	return s
}

func (s *scene) document(text string, opt Options) {
	s.t.Helper()
	s.tree = nil
	for _, tree := range Compile(document(s.t, text), apart, opt).Trees {
		if tree.Hierarchy == s.model.name {
			s.tree = tree
		}
	}
	if s.tree == nil {
		s.t.Fatalf("no tree for %s", s.model.name)
	}
}

func (s *scene) diff() Difference {
	s.t.Helper()
	if err := s.o.all(s.tree); err != nil {
		s.t.Fatal(err)
	}
	return Diff(s.tree, s.o.state, s.shield, s.self, s.model.now)
}

func (s *scene) apply(plan Plan) *applier {
	a := &applier{ctx: s.t.Context(), chase: evacuateFor, observers: map[string]*observer{s.model.name: s.o}}
	a.apply(plan)
	return a
}

func (s *scene) want(plan string) Plan {
	s.t.Helper()
	d := s.diff()
	if diff := cmp.Diff(plan, d.Plan.String()); diff != "" {
		s.t.Fatalf("plan (-want +got):\n%s", diff)
	}
	return d.Plan
}

func (s *scene) wantState(state string) {
	s.t.Helper()
	if diff := cmp.Diff(state, s.model.String()); diff != "" {
		s.t.Fatalf("state (-want +got):\n%s", diff)
	}
}

func TestPrune(t *testing.T) {
	shield, _ := NewShield([]string{"keep"}, true)
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`, Options{Shield: shield})
	old := s.model.now.Add(-time.Hour)
	s.model.make("a", old)
	s.model.make("a/foreign", old).procs[10] = true
	s.model.make("x", old).procs[11] = true
	s.model.make("x/y", old).procs[12] = true
	s.model.make("p", old).procs[13] = true
	s.model.make("p/keep", old).procs[14] = true
	s.model.make("p/gone", old)
	s.model.make("docker", old)
	s.model.make("docker/abc", old)
	s.model.make("young", s.model.now.Add(-GraceAge+time.Millisecond)).procs[15] = true
	s.model.make("young/old", old)
	s.model.make("ours", s.model.now).marked = true
	plan := s.want(`write cpu:/a/cpu.shares 5
evacuate cpu:/a/foreign
rmdir cpu:/a/foreign
rmdir cpu:/ours
rmdir cpu:/p/gone
evacuate cpu:/x/y
rmdir cpu:/x/y
evacuate cpu:/x
rmdir cpu:/x
rmdir cpu:/young/old
`)
	d := s.diff()
	if diff := cmp.Diff([]string{"young"}, d.Young); diff != "" {
		t.Error(diff)
	}
	if want := s.model.now.Add(time.Millisecond); !d.Wake.Equal(want) {
		t.Errorf("wake at %v, want %v", d.Wake, want)
	}
	if a := s.apply(plan); len(a.faults) > 0 {
		t.Fatal(a.faults)
	}
	s.wantState(`cpu:/ cpu.shares=1024 pids=[11 12]
cpu:/a cpu.shares=5 pids=[10]
cpu:/docker cpu.shares=1024
cpu:/docker/abc cpu.shares=1024
cpu:/p cpu.shares=1024 pids=[13]
cpu:/p/keep cpu.shares=1024 pids=[14]
cpu:/young cpu.shares=1024 pids=[15]
`)
	s.model.now = s.model.now.Add(time.Second)
	s.apply(s.want("evacuate cpu:/young\nrmdir cpu:/young\n"))
	s.want("")
}

func TestNeverPrunesItself(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {}}`, Options{})
	old := s.model.now.Add(-time.Hour)
	s.model.make("unit", old)
	s.model.make("unit/daemon", old).procs[1000] = true
	s.model.make("unit/other", old)
	s.self = "unit/daemon"
	s.want("rmdir cpu:/unit/other\n")
	s.self = outside // the twin: without knowing itself it would
	s.want("evacuate cpu:/unit/daemon\nrmdir cpu:/unit/daemon\nrmdir cpu:/unit/other\nrmdir cpu:/unit\n")
}

func TestMirrorRemovesOnlyItsOwn(t *testing.T) {
	s := newScene(t, "cpuacct", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`, Options{})
	old := s.model.now.Add(-time.Hour)
	s.model.make("foreign", old)
	s.model.make("foreign/child", old)
	s.model.make("gone", old).marked = true
	s.model.make("stays", old).marked = true
	s.model.make("stays/foreign", old)
	plan := s.want("mkdir cpuacct:/a\nrmdir cpuacct:/gone\n")
	s.apply(plan)
	s.want("")
}

func TestSubsystemLeaves(t *testing.T) {
	s := newScene(t, "memory", `{"memory": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {}}}}}}`, Options{})
	s.model.make("theirs", s.model.now.Add(-time.Minute))
	s.shield, _ = NewShield([]string{"theirs"}, false)
	s.apply(s.diff().Plan)
	s.model.dirs["a/b"].procs[7] = true
	s.document(`{"cpu": {}}`, Options{Hierarchies: []string{"memory"}})
	if s.tree.Mode != Leave {
		t.Fatalf("mode %v", s.tree.Mode)
	}
	s.apply(s.want("evacuate memory:/a/b\nrmdir memory:/a/b\nrmdir memory:/a\n"))
	s.wantState("memory:/ pids=[7]\nmemory:/theirs\n")
	r := record{Hierarchies: []string{"memory"}}.after(Desired{Trees: []*Tree{s.tree}}, map[string]*State{"memory": s.o.state})
	if len(r.Hierarchies) > 0 {
		t.Errorf("memory is still on record: %v", r.Hierarchies)
	}
}

func TestResets(t *testing.T) {
	first := `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}, "s": {"conf": {"share": 6}}}}}`
	s := newScene(t, "cpu", first, Options{})
	s.apply(s.diff().Plan)
	owned := record{}.before([]*Tree{s.tree}, nil).Settings
	if diff := cmp.Diff([]string{"cpu/a share", "cpu/s share"}, owned); diff != "" {
		t.Fatal(diff)
	}
	s.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}, "s": {}}}}`, Options{Owned: owned})
	s.apply(s.want("write cpu:/s/cpu.shares 1024\n"))
	s.want("")
	if got := (record{}).after(Desired{Trees: []*Tree{s.tree}}, map[string]*State{"cpu": s.o.state}).Settings; len(got) != 1 {
		t.Errorf("still on record: %v", got)
	}
	// A setting that no document ever named is not touched.
	s.model.dirs["s"].files["cpu.shares"] = "77"
	s.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}, "s": {}}}}`, Options{Owned: []string{"cpu/a share"}})
	s.want("")
}

func TestOneFailureStopsNothing(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"conf": {"share": 9}, "sub_cgroup": {"a": {"conf": {"share": 5}}, "b": {"sub_cgroup": {"c": {"conf": {}}}}, "d": {"conf": {"share": 7}}}}}`, Options{})
	s.model.refuse["mkdir b"] = true
	s.model.refuse["a/cpu.shares 5"] = true
	a := s.apply(s.diff().Plan)
	var got []string
	for _, f := range a.faults {
		got = append(got, f.String())
	}
	want := []string{
		"cpu/a: share: write cpu:/a/cpu.shares: invalid argument",
		"cpu/b: mkdir cpu:/b: operation not permitted",
		"cpu/b/c: mkdir cpu:/b/c: cpu:/b could not be made",
		"cpu/b/c: share: write cpu:/b/c/cpu.shares 1024: cpu:/b could not be made",
		"cpu: share: write cpu:/cpu.shares: invalid argument",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	s.wantState("cpu:/ cpu.shares=1024\ncpu:/a cpu.shares=1024\ncpu:/d cpu.shares=7\n")
}

// What the kernel reads back decides: a value that it took and spells otherwise,
// or that somebody else overwrote right away, is not in force.
func TestReadBackIsTheTruth(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`, Options{})
	s.tree.Dirs[1].Settings[0].Text, s.tree.Dirs[1].Settings[0].Want = "1", "1" // reads 2
	a := s.apply(s.want("mkdir cpu:/a\nwrite cpu:/a/cpu.shares 1\n"))
	if len(a.faults) != 1 || a.faults[0].Place != "cpu/a: share" {
		t.Errorf("faults %v", a.faults)
	}
	s.want("write cpu:/a/cpu.shares 1\n")
}

func TestArming(t *testing.T) {
	host := with(apart, func(h *Host) { h.Disks = []string{"8:0"} })
	s := newScene(t, "blkio", `{"blkio": {"sub_cgroup": {"a": {}, "b": {}}}}`, Options{})
	s.tree = Compile(document(t, `{"blkio": {"sub_cgroup": {"a": {}, "b": {}}}}`), host, Options{}).Trees[0]
	s.model.make("a", s.model.now).files["blkio.throttle.read_bps_device"] = "8:0 1000"
	s.apply(s.want("mkdir blkio:/b\nwrite blkio:/b/blkio.throttle.read_bps_device 8:0 0\n"))
	s.want("") // armed: the root lists the disk
}

// An edit of one cgroup among many reads nothing of the others.
func TestEditReadsOnlyWhatChanged(t *testing.T) {
	text := func(share string) string {
		doc := `{"cpu": {"sub_cgroup": {"edited": {"conf": {"share": ` + share + `}}`
		for i := range 1000 {
			doc += `, "g` + time.Unix(int64(i), 0).UTC().Format("150405") + `": {"conf": {"share": 50}}`
		}
		return doc + `}}}`
	}
	s := newScene(t, "cpu", text("5"), Options{})
	s.apply(s.diff().Plan)
	s.document(text("6"), Options{})
	s.model.readers, s.model.writes = 0, 0
	if err := s.o.some(s.tree, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.o.refit(s.tree); err != nil {
		t.Fatal(err)
	}
	plan := Diff(s.tree, s.o.state, s.shield, "", s.model.now).Plan
	if diff := cmp.Diff("write cpu:/edited/cpu.shares 6\n", plan.String()); diff != "" {
		t.Fatal(diff)
	}
	s.apply(plan)
	if s.model.readers > 1 || s.model.writes != 1 { // the read-back
		t.Errorf("%d reads and %d writes for one changed setting", s.model.readers, s.model.writes)
	}
}

// A root of several levels that is not there yet: every level gets what cpuset
// needs, and nothing empty is ever written.
func TestNestedCpusetRoot(t *testing.T) {
	s := newScene(t, "cpuset", `{"cpuset": {"sub_cgroup": {"a": {"conf": {}}}}}`, Options{Root: "x/y"})
	a := s.apply(s.want(`mkdir cpuset:/x
mkdir cpuset:/x/y
mkdir cpuset:/x/y/a
write cpuset:/x/cpuset.cpus 0-1
write cpuset:/x/cpuset.mems 0
write cpuset:/x/y/cpuset.cpus 0-1
write cpuset:/x/y/cpuset.mems 0
write cpuset:/x/y/a/cpuset.cpus 0-1
write cpuset:/x/y/a/cpuset.mems 0
`))
	if a.counts.Failed > 0 {
		t.Errorf("taken and read back, but a fault: %+v", a.counts)
	}
	s.want("")
	s.model.dirs[""].files["cpuset.cpus"] = ""
	s.model.dirs["x"].files["cpuset.cpus"] = ""
	s.model.dirs["x/y"].files["cpuset.cpus"] = ""
	s.model.dirs["x/y/a"].files["cpuset.cpus"] = ""
	d := s.diff()
	if len(d.Plan) > 0 || len(d.Faults) != 2 {
		t.Errorf("nothing to inherit: plan %q, faults %v", d.Plan, d.Faults)
	}
}

// Somebody removes our root, or puts another cgroup in the place of one.
func TestReplacedCgroups(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`, Options{Root: "r"})
	s.apply(s.diff().Plan)
	look := func(dirs ...string) string {
		doubted := map[string]bool{}
		for _, dir := range dirs {
			doubted[dir] = false
		}
		if err := s.o.some(s.tree, doubted); err != nil {
			t.Fatal(err)
		}
		return Diff(s.tree, s.o.state, s.shield, "", s.model.now).Plan.String()
	}
	delete(s.model.dirs, "r/a")
	s.model.make("r/a", s.model.now)
	if got := look("r"); got != "" {
		t.Errorf("the parent alone does not tell: %q", got) // hence the event on the directory itself
	}
	if got := look("r/a"); got != "write cpu:/r/a/cpu.shares 5\n" {
		t.Errorf("another cgroup of the same name: %q", got)
	}
	delete(s.model.dirs, "r/a")
	delete(s.model.dirs, "r")
	if got := look("r"); got != "mkdir cpu:/r\nmkdir cpu:/r/a\nwrite cpu:/r/a/cpu.shares 5\n" {
		t.Errorf("our root is gone: %q", got)
	}
}

// A cgroup that cannot be read is left alone and stops nothing else.
func TestUnreadable(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}, "b": {"conf": {"share": 6}}}}}`, Options{})
	old := s.model.now.Add(-time.Hour)
	s.model.make("a", old)
	s.model.make("b", old)
	s.model.make("x", old)
	s.model.refuse["read a"], s.model.refuse["read x"] = true, true
	s.want("write cpu:/b/cpu.shares 6\n")
	if d := s.diff(); len(d.Faults) != 1 || d.Faults[0].Place != "cpu/a" {
		t.Errorf("faults %v", d.Faults)
	}
	clear(s.model.refuse)
	s.want("write cpu:/a/cpu.shares 5\nwrite cpu:/b/cpu.shares 6\nrmdir cpu:/x\n")
}

func TestShieldOfSharedHierarchy(t *testing.T) {
	shield, _ := NewShield([]string{"cpuacct:/keep", "cpuacct:/a"}, false)
	d := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {}, "b": {}}}}`), together, Options{Shield: shield})
	m := newModel("cpu,cpuacct")
	m.make("keep", m.now.Add(-time.Hour))
	o := newObserver(m, nil)
	if err := o.all(d.Trees[0]); err != nil {
		t.Fatal(err)
	}
	if got := Diff(d.Trees[0], o.state, shield, "", m.now).Plan.String(); got != "mkdir cpu,cpuacct:/b\n" {
		t.Errorf("plan %q", got)
	}
	apartTrees := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {}, "b": {}}}}`), apart, Options{Shield: shield}).Trees
	if _, there := apartTrees[1].Dir("a"); there || apartTrees[1].Mode != Mirror {
		t.Error("a protected cgroup of the mirror is configured there")
	}
}

// A cgroup that could not be watched, for a limit, is watched when that is raised.
func TestWatchedLater(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {}}}}`, Options{})
	s.model.make("a", s.model.now.Add(-time.Hour))
	full, watched := true, map[string]int{}
	s.o.watch = func(dir string) error {
		if full {
			return errUnwatched
		}
		watched[dir]++
		return nil
	}
	for i, want := range []int{0, 1, 1} {
		if err := s.o.all(s.tree); err != nil {
			t.Fatal(err)
		}
		if watched["a"] != want {
			t.Errorf("pass %d: watched %d times, want %d", i, watched["a"], want)
		}
		full = false
	}
}
