package reconcile

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// The short ways over the model of a unified hierarchy.

// reconciler is one that has just made the driver's last pass. Its hierarchy has no
// name, like the zero cgfs.Hierarchy, which events come from here.
func (d *driver) reconciler() *Reconciler {
	tree := *d.tree
	tree.Hierarchy = ""
	return &Reconciler{
		opt: Config{Root: d.root, Beat: func() {}, Measure: func(pass func()) { pass() }}, log: zap.NewNop(), inbox: newInbox(), fights: fights{},
		observers: map[string]*observer{"": d.o}, desired: Desired{Trees: []*Tree{&tree}}, host: fourControllers, doc: d.doc,
		shared: map[string]map[string]bool{"": d.shared["unified"]}, quiet: true, settled: true, last: &Snapshot{},
	}
}

// somebodyRemoves removes cgroups and gives the events.
func (d *driver) somebodyRemoves(dirs ...string) (events []cgfs.Event) {
	h := &cgfs.Hierarchy{}
	for _, dir := range dirs {
		if err := d.m.Rmdir(dir); err != nil {
			d.t.Fatal(err)
		}
		events = append(events, gone(h, dir)...)
	}
	return events
}

// Whatever somebody removes or writes of what is configured is mended as it was: the
// kernel refuses nothing of it, and a full pass finds nothing left to do.
func TestUnifiedMend(t *testing.T) {
	made := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newUnifiedModel(time.Unix(1_700_000_000, 0))
		d := &driver{t: t, m: m, self: outside, root: rapid.SampledFrom([]string{"", "r", "r/s"}).Draw(t, "root")}
		d.o = newObserver(m, nil)
		d.o.now = func() time.Time { return m.now }
		d.doc = wholeDocument(t)
		d.converge()
		if d.tree == nil || len(d.tree.Dirs) < 2 {
			return
		}
		h, events := &cgfs.Hierarchy{}, []cgfs.Event(nil)
		var remove func(dir string)
		remove = func(dir string) {
			for _, child := range m.below(dir) {
				remove(child)
			}
			if m.Rmdir(dir) == nil {
				events = append(events, gone(h, dir)...)
			}
		}
		for range rapid.IntRange(1, 3).Draw(t, "deeds") {
			dir := d.tree.Dirs[rapid.IntRange(1, len(d.tree.Dirs)-1).Draw(t, "cgroup")]
			full := d.tree.Full(dir.Path)
			if m.dirs[full] == nil {
				continue
			}
			if len(dir.Settings) == 0 || rapid.Bool().Draw(t, "remove") {
				d.log = append(d.log, "somebody removes "+full)
				remove(full)
				continue
			}
			file := dir.Settings[0].File
			d.log = append(d.log, "somebody writes "+full+"/"+file)
			if m.Write(full, file, strconv.Itoa(rapid.IntRange(1, 10000).Draw(t, "value"))) == nil {
				events = append(events, wrote(h, full, file)...)
			}
		}
		m.denied = nil
		r := d.reconciler()
		r.mend(t.Context(), events)
		if r.last.Pass.Created > 0 {
			made++
		}
		d.log = append(d.log, m.String())
		if plan, faults := d.pass(); len(plan)+len(faults)+len(m.denied) > 0 {
			t.Fatalf("refused %q, faults %v, left to do:\n%s\n%s", m.denied, faults, plan, strings.Join(d.log, "\n"))
		}
		d.reached()
	})
	if t.Logf("cgroups were made again %d times", made); made < 10 {
		t.Errorf("hardly ever")
	}
}

// What a foreign cgroup below a removed one has to do with its siblings, and what a
// cgroup above does not give any more, is for a pass.
func TestUnifiedMendLeaves(t *testing.T) {
	const text = `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 512}, "sub_cgroup": {"b": {"conf": {}}}}, "c": {"conf": {}}}}}`
	const all = "/ +cpu\n/r +cpu\n/r/a +cpu cpu.weight=5000\n/r/a/@members cpu.weight=10000\n/r/a/b cpu.weight=10000\n/r/c cpu.weight=10000\n"
	without := strings.ReplaceAll(all, "/r/a +cpu cpu.weight=5000\n/r/a/@members cpu.weight=10000\n/r/a/b cpu.weight=10000\n", "")
	for name, c := range map[string]struct {
		before func(d *driver, r *Reconciler)
		want   string
	}{
		"nothing in the way": {want: all},
		"a foreign cgroup":   {before: func(d *driver, _ *Reconciler) { d.o.state.Nodes["a/b"].Foreign = true }, want: without},
		"processes above":    {before: func(d *driver, _ *Reconciler) { d.o.state.Nodes[""].Populated = true }, want: without},
		"no controller":      {before: func(d *driver, _ *Reconciler) { d.o.state.Nodes[""].Enabled = nil }, want: without},
		"a fight about one": {before: func(_ *driver, r *Reconciler) {
			r.fights["cpu/a: cpu"] = &fight{until: time.Now().Add(time.Hour)}
		}, want: without},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, "r", text)
			d.converged(all)
			r := d.reconciler()
			if c.before != nil {
				c.before(d, r)
			}
			r.mend(t.Context(), d.somebodyRemoves("r/a/@members", "r/a/b", "r/a"))
			d.state(c.want)
		})
	}
}

// Somebody was quicker than the mending to put a process into an inner cgroup: the
// next pass has to move it.
func TestUnifiedMendPopulated(t *testing.T) {
	d := newDriver(t, "r", `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	d.converge()
	r := d.reconciler()
	d.o.calm()
	events := d.somebodyRemoves("r/a/@members", "r/a/b", "r/a")
	d.o.watch = func(dir string) error {
		if dir == "r/a" {
			d.m.at[7] = dir
		}
		return nil
	}
	r.mend(t.Context(), events)
	if n := d.o.state.Nodes["a"]; n == nil || !n.Populated || !d.o.reshaped {
		t.Errorf("believed: %+v, to be compared whole: %t", n, d.o.reshaped)
	}
	d.o.watch = nil
	d.converge()
	if d.m.at[7] != "r/a/@members" {
		t.Errorf("the process is in %q\n%s", d.m.at[7], d.m)
	}
}

// Values edited in a document are planned in the short way as in the long one, among
// siblings too, and the tree is the one that the document compiles to.
func TestUnifiedQuickPlan(t *testing.T) {
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newUnifiedModel(time.Unix(1_700_000_000, 0))
		d := &driver{t: t, m: m, self: outside, root: rapid.SampledFrom([]string{"", "r"}).Draw(t, "root")}
		d.o = newObserver(m, nil)
		d.o.now = func() time.Time { return m.now }
		d.doc = &zkconf.Document{Raw: []byte("{}"), Subsystems: map[string]*zkconf.Node{}}
		for _, subsystem := range []string{"blkio", "cpu", "pids"} {
			d.doc.Subsystems[subsystem] = drawDense(t, subsystem, 2)
		}
		d.converge()
		if rapid.Bool().Draw(t, "shared") { // a cgroup of somebody's that stays fixes the scale
			m.add(d.tree.Full("x"), m.now.Add(-time.Hour))
			d.shield, _ = NewShield([]string{"x"}, false)
			d.converge()
		}
		subsystem := rapid.SampledFrom(sortedKeys(d.doc.Subsystems)).Draw(t, "subsystem")
		next := &zkconf.Document{Raw: []byte("{}"), Version: 2, Subsystems: maps.Clone(d.doc.Subsystems)}
		next.Subsystems[subsystem] = edited(t, d.doc.Subsystems[subsystem], rapid.SampledFrom([]int{0, 4}).Draw(t, "spared"))
		edits, plain := editsOf(zkconf.Change{Subsystem: subsystem}, d.doc, next)
		if !plain {
			t.Fatalf("more than values was edited")
		}
		r := d.reconciler()
		r.desired.Trees, r.observers = []*Tree{d.tree}, map[string]*observer{"unified": d.o}
		r.shared = d.shared
		tree, plan, plain := r.quickPlan(subsystem, edits, work{})
		if !plain {
			return
		}
		if len(plan) > 0 {
			short++
		}
		for doc, got := range map[*zkconf.Document]*Tree{d.doc: d.tree, next: tree} { // the earlier tree stays as it was
			d.doc = doc
			d.compile()
			if diff := cmp.Diff(d.tree, got, cmp.AllowUnexported(Tree{})); diff != "" {
				t.Fatalf("(-compiled +short way):\n%s", diff)
			}
		}
		if diff := cmp.Diff(Diff(tree, d.o.state, d.shield, d.self, m.now).Plan.String(), plan.String()); diff != "" {
			t.Fatalf("(-whole comparison +short way):\n%s", diff)
		}
	})
	if t.Logf("the short way was taken %d times", short); short < 5 {
		t.Errorf("hardly ever")
	}
}

// drawDense draws a node of which most have a conf; our root has none.
func drawDense(t *rapid.T, subsystem string, depth int) *zkconf.Node {
	n := &zkconf.Node{Conf: map[string]string{}, Sub: map[string]*zkconf.Node{}}
	if depth < 2 && rapid.IntRange(0, 5).Draw(t, "conf") > 0 {
		key := map[string]string{"blkio": "weight", "cpu": "share", "pids": "max"}[subsystem]
		n.HasConf, n.Conf[key] = true, rapid.SampledFrom(editedValues[key]).Draw(t, key)
		if key == "share" && rapid.IntRange(0, 3).Draw(t, "with idle") == 0 {
			n.Conf["idle"] = rapid.SampledFrom(editedValues["idle"]).Draw(t, "idle")
		}
	}
	for _, name := range []string{"a", "b", "c"}[:rapid.IntRange(0, 3).Draw(t, "names")] {
		if depth > 0 {
			n.Sub[name] = drawDense(t, subsystem, depth-1)
		}
	}
	return n
}

// edited is a node with other values in some of its confs.
func edited(t *rapid.T, n *zkconf.Node, spared int) *zkconf.Node {
	out := *n
	out.Conf, out.Sub = maps.Clone(n.Conf), maps.Clone(n.Sub)
	for _, key := range sortedKeys(out.Conf) {
		if rapid.IntRange(0, spared).Draw(t, "edit") == 0 {
			out.Conf[key] = rapid.SampledFrom(editedValues[key]).Draw(t, key)
		}
	}
	for _, name := range sortedKeys(out.Sub) {
		out.Sub[name] = edited(t, out.Sub[name], spared)
	}
	return &out
}

var editedValues = map[string][]string{
	"share": {"2", "100", "512", "1024", "4096"}, "weight": {"1", "50", "100", "500"}, "max": {"10", "20"}, "idle": {"0", "1"},
}
