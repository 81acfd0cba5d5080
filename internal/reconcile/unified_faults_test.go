package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func newDriver(t *testing.T, root, text string) *driver {
	t.Helper()
	m := newUnifiedModel(time.Unix(1_700_000_000, 0))
	d := &driver{t: t, m: m, root: root, self: outside}
	d.o = newObserver(m, nil)
	d.o.now = func() time.Time { return m.now }
	d.doc = document(t, text)
	return d
}

// converged makes passes until nothing is left to do.
func (d *driver) converged(state string) {
	d.t.Helper()
	d.converge()
	d.state(state)
}

func (d *driver) state(want string) {
	d.t.Helper()
	if diff := cmp.Diff(want, d.m.String()); diff != "" {
		d.t.Fatalf("state (-want +got):\n%s", diff)
	}
}

func (d *driver) faults(want ...string) {
	d.t.Helper()
	_, faults := d.pass()
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Fatalf("faults (-want +got):\n%s", diff)
	}
}

// Settings of our root itself need controllers from above, as does its usage.
func TestUnifiedConfOfOurRoot(t *testing.T) {
	d := newDriver(t, "p/r", `{"cpu": {"conf": {"share": 2048}}, "memory": {}}`)
	d.converged(`/ +cpu+memory
/p +cpu+memory
/p/r cpu.weight=200
`)
	// Somebody takes the controller from above and gives it back.
	if err := d.m.control("p", "-cpu"); err != nil {
		t.Fatal(err)
	}
	if err := d.m.control("p", "+cpu"); err != nil {
		t.Fatal(err)
	}
	if err := d.o.some(d.tree, map[string]bool{"p": true}); err != nil {
		t.Fatal(err)
	}
	if got := Diff(d.tree, d.o.state, d.shield, outside, d.m.now).Plan.String(); got != "write unified:/p/r/cpu.weight 200\n" {
		t.Errorf("plan %q", got)
	}
}

// A controller that is taken away and given back has forgotten its settings:
// the event about it says that the children are to be read again.
func TestUnifiedControllerTakenAndGivenBack(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 512}}, "b": {"conf": {}}}}}`)
	d.converged("/ +cpu\n/r +cpu\n/r/a cpu.weight=5000\n/r/b cpu.weight=10000\n")
	for _, text := range []string{"-cpu", "+cpu"} {
		if err := d.m.control("r", text); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		doubted map[string]bool
		want    string
	}{
		{map[string]bool{"r": false}, ""}, // the twin: looking at the directory alone does not find it
		{map[string]bool{"r": true}, "write unified:/r/a/cpu.weight 5000\nwrite unified:/r/b/cpu.weight 10000\n"},
	} {
		if err := d.o.some(d.tree, c.doubted); err != nil {
			t.Fatal(err)
		}
		if got := Diff(d.tree, d.o.state, d.shield, outside, d.m.now).Plan.String(); got != c.want {
			t.Errorf("looking at %v: plan %q, want %q", c.doubted, got, c.want)
		}
	}
}

// A whole branch goes, and its parent takes processes itself again: the
// controllers of what goes are in the way, though it goes only later.
func TestUnifiedFromInnerToLeaf(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}, "sub_cgroup": {"c": {"conf": {}}}}}}}}}`)
	d.pass()
	d.m.at[1], d.m.at[2] = "r/a/b/c", "r/a/@members"
	d.doc = document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d.converged("/ +cpu\n/r +cpu\n/r/a cpu.weight=10000 pids=[1 2]\n")
	d.doc = document(t, `{}`)
	d.converged("/ +cpu\n/r pids=[1 2]\n")
}

// Processes that somebody put into an inner cgroup, where the kernel takes them
// while nobody is below and only cpu is enabled, keep everybody out of it.
func TestUnifiedThreadRootIsHealed(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {"share": 512}}}}}}}`)
	d.pass()
	d.m.at[1] = ""
	if err := d.m.Move("r/a", []int{1}, func(_ int, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}); err != nil || d.m.kind("r/a/b") != "domain invalid" {
		t.Fatalf("%v\n%s", err, d.m)
	}
	d.converged(`/ +cpu
/r +cpu
/r/a +cpu cpu.weight=10000
/r/a/@members cpu.weight=10000 pids=[1]
/r/a/b cpu.weight=5000
`)
}

// What could not leave a cgroup must not find controllers enabled over it.
func TestUnifiedStuckProcessStopsEnabling(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d.pass()
	d.m.at[1] = "r/a"
	d.m.stuck = map[int]bool{1: true}
	d.doc = document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	d.pass()
	d.state("/ +cpu\n/r +cpu\n/r/a cpu.weight=10000 pids=[1]\n/r/a/@members\n/r/a/b\n")
	d.m.stuck, d.m.denied = nil, nil
	d.converged("/ +cpu\n/r +cpu\n/r/a +cpu cpu.weight=10000\n/r/a/@members cpu.weight=10000 pids=[1]\n/r/a/b cpu.weight=10000\n")
}

// Who could not leave is still known to be there when the next plan is made, although
// controllers were disabled meanwhile; and what is known of a cgroup that enabled
// controllers once is not believed when it does so again.
func TestUnifiedWhoIsInInnerCgroups(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	d.pass()
	d.m.at[1] = "r/a"
	d.m.stuck = map[int]bool{1: true}
	d.pass()
	evacuates := func() bool {
		return strings.Contains(Diff(d.tree, d.o.state, d.shield, outside, d.m.now).Plan.String(), "evacuate unified:/r/a\n")
	}
	if !evacuates() {
		t.Errorf("nobody is in r/a:\n%s", d.m)
	}
	d.m.stuck, d.m.denied = nil, nil
	d.converge()

	inner, leaf := d.doc, document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	for _, doc := range []*zkconf.Document{leaf, inner} {
		d.doc = doc
		d.compile()
		if err := d.o.refit(d.tree); err != nil {
			t.Fatal(err)
		}
		if doc == leaf {
			(&applier{ctx: t.Context(), chase: evacuateFor, observers: map[string]*observer{"unified": d.o}}).apply(Diff(d.tree, d.o.state, d.shield, outside, d.m.now).Plan)
			if err := d.o.refit(d.tree); err != nil {
				t.Fatal(err)
			}
			d.m.at[1] = "r/a" // which nobody asks of a leaf
		}
	}
	if !evacuates() {
		t.Errorf("nobody is in r/a, which becomes an inner cgroup again:\n%s", d.m)
	}
}

// Above our root nobody is moved, and the daemon moves itself nowhere: both are
// said in plain words, and nothing is enabled over processes.
func TestUnifiedWhatCannotBeMoved(t *testing.T) {
	d := newDriver(t, "p/r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d.m.add("p", d.m.now)
	d.m.at[1] = "p"
	d.faults("cpu: unified:/p holds processes itself, so that it can enable no controllers for what is below it")
	d.state("/\n/p pids=[1]\n/p/r\n/p/r/a\n")

	d = newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	d.self = "a"
	d.m.add("r", d.m.now)
	d.m.add("r/a", d.m.now)
	d.m.at[1] = "r/a"
	d.faults("cpu/a: the daemon itself runs in this cgroup, which can therefore enable no controllers for those below it")
	d.state("/ +cpu\n/r +cpu\n/r/a cpu.weight=10000 pids=[1]\n/r/a/@members\n/r/a/b\n")
}

// A cgroup whose only child is somebody else's is an inner one all the same.
func TestUnifiedSharedCgroupHasMembers(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	d.shield, _ = NewShield([]string{"keep"}, false)
	d.pass()
	d.m.add("r/a/keep", d.m.now)
	d.m.at[1], d.m.at[2] = "r/a/keep", "r/a/b"
	d.doc = document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d.converged("/ +cpu\n/r +cpu\n/r/a +cpu cpu.weight=10000\n/r/a/@members pids=[2]\n/r/a/keep pids=[1]\n")
}

// A sibling's weight was written to keep a ratio: it goes back with the ratio.
func TestUnifiedSiblingWeightsAreTakenBack(t *testing.T) {
	d := newDriver(t, "r", `{"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 500}}, "b": {"conf": {}}}}}`)
	d.converged("/ +io\n/r +io\n/r/a io.weight=default 10000\n/r/b io.weight=default 2000\n")
	d.doc = document(t, `{"blkio": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}}`)
	d.converged("/ +io\n/r +io\n/r/a\n/r/b\n")
}

// Threads of a foreign cgroup go with their processes before it is removed.
func TestUnifiedThreadedForeigner(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d.pass()
	d.m.add("r/x", d.m.now.Add(-time.Hour))
	d.m.add("r/x/y", d.m.now.Add(-time.Hour)).threaded = true
	d.m.at[1] = "r/x/y"
	d.converged("/ +cpu\n/r +cpu\n/r/@members cpu.weight=10000 pids=[1]\n/r/a cpu.weight=10000\n")
}

// In a container the mount's own root is no root of the kernel's: nothing can be
// enabled over its processes.
func TestUnifiedNestedMount(t *testing.T) {
	nested := with(unified, func(h *Host) { h.Nested = true })
	d := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`), nested, Options{})
	if root, _ := d.Trees[0].Dir(""); root.Home != Reserved {
		t.Errorf("home %q", root.Home)
	}
	d = Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`), unified, Options{})
	if root, _ := d.Trees[0].Dir(""); root.Home != "" {
		t.Errorf("home %q of the kernel's own root", root.Home)
	}
}

// Members of a followed cgroup may be in its reserved child.
func TestMirrorOfUnified(t *testing.T) {
	host := Host{
		Hierarchies: map[string]string{"cpu": "unified", "cpuacct": "cpuacct"}, Unified: "unified", Controllers: []string{"cpu"},
		Caps: map[string]cgfs.Caps{"cpu": unified.Caps["cpu"], "cpuacct": apart.Caps["cpuacct"]},
	}
	d := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`), host, Options{Root: "r"})
	if got := homeIn(d.Trees, "unified", "a"); got != "a/@members" {
		t.Errorf("members of a are in %s", got)
	}
}

// While a young cgroup below may need the controllers, processes cannot return to
// a cgroup that has become a leaf for us: they wait, and nothing fails.
func TestUnifiedReturnWaitsForYoungCgroup(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}, "memory": {"sub_cgroup": {"a": {"sub_cgroup": {"b": {}}}}}}`)
	d.pass()
	d.m.at[1] = "r/a/@members"
	d.m.add("r/a/x", d.m.now)
	d.doc = document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}, "memory": {"sub_cgroup": {"a": {}}}}`)
	d.faults()
	d.state(`/ +cpu+memory
/r +cpu+memory
/r/a +cpu+memory cpu.weight=10000
/r/a/@members pids=[1]
/r/a/x
`)
	d.m.now = d.m.now.Add(2 * GraceAge)
	d.converged("/ +cpu+memory\n/r +cpu+memory\n/r/a cpu.weight=10000 pids=[1]\n")
}
