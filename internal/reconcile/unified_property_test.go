package reconcile

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// fourControllers is a host with a v2 hierarchy that has what unifiedModel has.
var fourControllers = func() Host {
	h := unified
	h.Controllers = []string{"cpu", "io", "memory", "pids"}
	h.Hierarchies = map[string]string{}
	for _, s := range []string{"cpu", "cpuacct", "blkio", "memory", "pids"} {
		h.Hierarchies[s] = "unified"
	}
	return h
}()

// driver makes passes over a model as the Reconciler does over the kernel.
type driver struct {
	t interface {
		Helper()
		Fatal(...any)
		Fatalf(string, ...any)
	}
	m      *unifiedModel
	o      *observer
	doc    *zkconf.Document
	root   string
	shield Shield
	shared map[string]map[string]bool
	record record
	tree   *Tree
	self   string // the daemon's own cgroup
	log    []string
}

func (d *driver) compile() {
	d.tree = nil
	out := Compile(d.doc, fourControllers, Options{
		Root: d.root, Shield: d.shield, Owned: d.record.Settings, Hierarchies: d.record.Hierarchies, Shared: d.shared,
	})
	for _, t := range out.Trees {
		d.tree = t
	}
}

// pass makes one pass, full or with a fresh look at everything, and returns its
// plan and faults.
func (d *driver) pass() (Plan, []Fault) {
	if d.compile(); d.tree == nil {
		return nil, nil
	}
	if err := d.o.all(d.tree); err != nil {
		d.t.Fatal(err)
	}
	shared := map[string]map[string]bool{}
	if s := strangers(d.tree, d.o.state, d.shield, d.self); len(s) > 0 {
		shared["unified"] = s
	}
	if !maps.EqualFunc(shared, d.shared, maps.Equal) {
		d.shared = shared
		d.compile()
		if err := d.o.refit(d.tree); err != nil {
			d.t.Fatal(err)
		}
	}
	diff := Diff(d.tree, d.o.state, d.shield, d.self, d.m.now)
	d.record = d.record.before([]*Tree{d.tree}, diff.Plan)
	a := &applier{ctx: context.Background(), chase: evacuateFor, observers: map[string]*observer{"unified": d.o}}
	a.apply(diff.Plan)
	d.record = d.record.after(Desired{Trees: []*Tree{d.tree}}, map[string]*State{"unified": d.o.state})
	d.log = append(d.log, diff.Plan.String(), d.m.String())
	return diff.Plan, slices.Concat(diff.Faults, a.faults)
}

// whole is a document of every subsystem that the model has.
func wholeDocument(t *rapid.T) *zkconf.Document {
	doc := &zkconf.Document{Raw: []byte("{}"), Subsystems: map[string]*zkconf.Node{}}
	for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"blkio", "cpu", "memory", "pids"}), 0, 3, rapid.ID).Draw(t, "subsystems") {
		root := drawWhole(t, s, 3)
		root.HasConf, root.Conf = false, nil
		doc.Subsystems[s] = root
	}
	return doc
}

func drawWhole(t *rapid.T, subsystem string, depth int) *zkconf.Node {
	n := &zkconf.Node{Conf: map[string]string{}, Sub: map[string]*zkconf.Node{}}
	if n.HasConf = rapid.Bool().Draw(t, "conf"); n.HasConf {
		switch subsystem {
		case "cpu":
			n.Conf["share"] = rapid.SampledFrom([]string{"2", "100", "1024", "262144"}).Draw(t, "share")
		case "blkio":
			if rapid.Bool().Draw(t, "weighed") {
				n.Conf["weight"] = rapid.SampledFrom([]string{"1", "100", "1000"}).Draw(t, "weight")
			}
		case "memory":
			n.Conf["limit_in_bytes"] = "1048576"
		case "pids":
			n.Conf["max"] = "10"
		}
	}
	if depth > 0 {
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "keep"}), 0, 2, rapid.ID).Draw(t, "names") {
			n.Sub[name] = drawWhole(t, subsystem, depth-1)
		}
	}
	return n
}

// meddle does what others may do to the hierarchy, as far as the kernel lets them.
func meddle(t *rapid.T, m *unifiedModel, shield Shield, root string) {
	names := []string{"a", "b", "x", "keep", Reserved}
	if root != "" && m.dirs[root] == nil && m.dirs[parent(root)] == nil {
		return // nobody makes the way to it by hand here
	}
	pid := 100 + len(m.at)
	for range rapid.IntRange(0, 12).Draw(t, "deeds") {
		var dirs []string
		for dir := range m.dirs {
			if _, below := relativeTo(root, dir); below {
				dirs = append(dirs, dir)
			}
		}
		if len(dirs) == 0 {
			dirs = []string{""}
		}
		slices.Sort(dirs)
		dir := rapid.SampledFrom(dirs).Draw(t, "dir")
		shielded := shield.Kept(nil, strings.TrimPrefix(strings.TrimPrefix(dir, root), "/"))
		switch rapid.IntRange(0, 5).Draw(t, "deed") {
		case 0, 1:
			p := path.Join(dir, rapid.SampledFrom(names).Draw(t, "name"))
			if dir == "" && root != "" {
				p = root
			}
			if m.dirs[p] == nil && (path.Base(p) != "keep" || !strings.Contains(dir, Reserved)) {
				m.add(p, m.now.Add(-time.Duration(rapid.IntRange(0, 2).Draw(t, "age"))*time.Second)).marked = rapid.Bool().Draw(t, "marked")
			}
		case 2, 3:
			if dir == "" && root != "" {
				continue
			}
			m.at[pid] = ""
			_ = m.Move(dir, []int{pid}, func(_ int, err error) {
				if err != nil {
					delete(m.at, pid)
				}
			})
			pid++
		case 4:
			if !shielded { // what a protected cgroup enables its neighbours cannot take back
				_ = m.control(dir, rapid.SampledFrom([]string{"+", "+", "-"}).Draw(t, "sign")+rapid.SampledFrom(m.offers).Draw(t, "controller"))
			}
		case 5:
			if !shielded && dir != "" && dir != root {
				_ = m.Rmdir(dir)
			}
		}
	}
	m.denied = nil
}

// Whatever is found and whatever was in force before, planning and applying
// reaches what the document says on a unified hierarchy, nothing protected is
// touched, no process is lost, the kernel refuses nothing, and a further plan is
// empty.
func TestUnifiedPlanReachesTheTree(t *testing.T) {
	shield, err := NewShield([]string{"keep"}, true)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newUnifiedModel(time.Unix(1_700_000_000, 0))
		d := &driver{t: t, m: m, self: outside, root: rapid.SampledFrom([]string{"", "r", "r/s"}).Draw(t, "root"), shield: shield}
		d.o = newObserver(m, nil)
		d.o.now = func() time.Time { return m.now }
		meddle(t, m, shield, d.root)
		for range rapid.IntRange(1, 3).Draw(t, "documents") {
			d.doc = wholeDocument(t)
			d.converge()
			meddle(t, m, shield, d.root)
		}
	})
}

func (d *driver) converge() {
	d.log = []string{d.m.String()}
	was := maps.Clone(d.m.at)
	kept := d.protected()
	for i := range 3 {
		before := maps.Clone(d.m.at)
		plan, faults := d.pass()
		if d.tree == nil {
			return
		}
		if len(faults) > 0 || len(d.m.denied) > 0 {
			d.t.Fatalf("faults %v\nrefused %q\nin pass %d:\n%s", faults, d.m.denied, i, strings.Join(d.log, "\n"))
		}
		d.processes(before)
		if i == 2 && len(plan) > 0 {
			d.t.Fatalf("a converged tree has a plan:\n%s", strings.Join(d.log, "\n"))
		}
		d.m.now = d.m.now.Add(2 * GraceAge)
	}
	for pid := range was {
		if _, there := d.m.at[pid]; !there {
			d.t.Fatalf("process %d is lost:\n%s", pid, strings.Join(d.log, "\n"))
		}
	}
	if now := d.protected(); !maps.Equal(kept, now) {
		d.t.Fatalf("protected cgroups were %v and are %v:\n%s", kept, now, strings.Join(d.log, "\n"))
	}
	d.reached()
}

// protected is everything about the protected cgroups but what the kernel itself
// takes from them or gives them with their parents' controllers.
func (d *driver) protected() map[string]string {
	out := map[string]string{}
	for dir, x := range d.m.dirs {
		if p, below := relativeTo(d.root, dir); below && d.shield.Named(nil, p) {
			out[dir] = strings.Join(x.enabled, " ")
			pids, _ := d.m.Procs(dir, nil)
			for range pids {
				out[dir] += " p"
			}
		}
	}
	return out
}

// processes checks that each process is where design 2.2 and 2.4 say.
func (d *driver) processes(before map[int]string) {
	for pid, was := range before {
		at := d.m.at[pid]
		p, _ := relativeTo(d.root, was)
		_, inside := relativeTo(d.root, was)
		allowed := []string{was}
		if dir, configured := d.tree.Dir(p); inside && configured {
			allowed = append(allowed, d.tree.Full(dir.Home), d.tree.Full(d.tree.Refuge(p)))
		} else if d.m.dirs[was] == nil {
			allowed = []string{d.tree.Full(d.tree.Refuge(p))}
		}
		if !slices.Contains(allowed, at) {
			d.t.Fatalf("process %d of %s is in %s, not in %v:\n%s", pid, was, at, allowed, strings.Join(d.log, "\n"))
		}
	}
}

// reached checks the tree against the document, apart from how the plan was made.
func (d *driver) reached() {
	fail := func(format string, args ...any) {
		d.t.Helper()
		d.t.Fatalf(format+"\n%s", append(args, strings.Join(d.log, "\n"))...)
	}
	for _, dir := range d.tree.Dirs {
		full := d.tree.Full(dir.Path)
		found := d.m.dirs[full]
		if found == nil {
			if !dir.Optional && d.tree.Mode == Own {
				fail("%s is missing", full)
			}
			continue
		}
		if kind := d.m.kind(full); kind == "domain invalid" && (dir.Conf || len(dir.Enable) > 0) || kind != "domain" && full != "" && len(dir.Enable) > 0 {
			fail("%s is %s", full, kind)
		}
		if home := d.tree.Full(dir.Home); dir.Conf && d.m.vetMove(home) != 0 {
			fail("%s, which is for the processes of %s, can take none", home, full)
		}
		for _, s := range dir.Settings {
			if got := s.Form.Read(found.files[s.File]); got != s.Want {
				fail("%s %s is %s, want %s", full, s.File, got, s.Want)
			}
		}
		for _, name := range dir.Enable {
			if !slices.Contains(found.enabled, name) {
				fail("%s does not enable %s", full, name)
			}
		}
		// What nothing asks for reads as in a new cgroup.
		for file, text := range found.files {
			controller, _, _ := strings.Cut(file, ".")
			asked := slices.ContainsFunc(dir.Settings, func(s Setting) bool { return s.File == file })
			if !asked && text != controllerFiles[controller][file] {
				fail("%s %s is %s, though nothing asks for it", full, file, text)
			}
		}
	}
	for dir := range d.m.dirs {
		p, below := relativeTo(d.root, dir)
		_, configured := d.tree.Dir(p)
		if !below || configured || d.tree.Mode != Own && !d.m.dirs[dir].marked && !strings.Contains(dir, Reserved) {
			continue
		}
		holdsKept := slices.ContainsFunc(slices.Collect(maps.Keys(d.m.dirs)), func(q string) bool {
			_, within := relativeTo(dir, q)
			rest, _ := relativeTo(d.root, q)
			return within && (d.shield.Kept(nil, rest) || d.tree.Mode != Own && !d.m.dirs[q].marked)
		})
		if !holdsKept {
			fail("foreign %s is still there", dir)
		}
	}
}
