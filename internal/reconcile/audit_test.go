package reconcile

import (
	"context"
	"maps"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// audited checks a full pass that compares with what was known against one that
// knows nothing.
func audited(t *rapid.T, o *observer, tree *Tree, fs FS) {
	known := o.script
	if err := o.all(tree); err != nil {
		t.Fatal(err)
	}
	fresh := newObserver(fs, nil)
	fresh.now, fresh.blind = o.now, o.blind
	if err := fresh.all(tree); err != nil {
		t.Fatal(err)
	}
	same := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Node{}, "Since")}
	if diff := cmp.Diff(fresh.state, o.state, same); diff != "" {
		t.Fatalf("a fresh look and an audit differ (-fresh +audit), script kept: %t\n%s", o.script != nil, diff)
	}
	if o.script != nil && (o.script != known || o.reshaped || len(o.touched) > 0) {
		t.Fatal("the audit says that nothing has changed, and what has")
	}
}

// Whatever others do between two full passes, the second finds what a fresh look finds.
func TestAuditFindsWhatAFreshLookFinds(t *testing.T) {
	shield, err := NewShield([]string{"keep"}, true)
	if err != nil {
		t.Fatal(err)
	}
	scripts, kept := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		doc, m := drawDocument(t), drawModel(t)
		tree := Compile(doc, together, Options{Shield: shield}).Trees[0]
		tree.Hierarchy = "cpu"
		o := newObserver(m, nil)
		o.now = func() time.Time { return m.now }
		o.blind = rapid.Bool().Draw(t, "blind")
		m.now = m.now.Add(2 * GraceAge)
		for range 2 {
			audited(t, o, tree, m)
			a := &applier{ctx: context.Background(), chase: evacuateFor, observers: map[string]*observer{"cpu": o}}
			a.apply(Diff(tree, o.state, shield, "", m.now).Plan)
		}
		for range 3 {
			audited(t, o, tree, m)
			if len(Diff(tree, o.state, shield, "", m.now).Plan) > 0 {
				return // somebody else's doing is to be mended first
			}
			o.calm()
			if o.script == nil {
				o.script = o.learn(tree)
			}
			if o.script == nil {
				t.Fatal("nothing is to be done, and no script was written")
			}
			scripts++
			disturb(t, m)
			audited(t, o, tree, m)
			if o.script != nil {
				kept++
			}
		}
	})
	if scripts == kept || kept == 0 {
		t.Errorf("%d of %d scripts held", kept, scripts)
	}
}

// disturb does to a v1 hierarchy what others may do, once or not at all.
func disturb(t *rapid.T, m *model) {
	var dirs []string
	for dir := range m.dirs {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return
	}
	slices.Sort(dirs)
	dir := rapid.SampledFrom(dirs).Draw(t, "dir")
	d := m.dirs[dir]
	switch rapid.IntRange(0, 7).Draw(t, "deed") {
	case 0:
		d.files["cpu.shares"] = rapid.SampledFrom([]string{"2", "77", "1024"}).Draw(t, "other share")
	case 1:
		if p := path.Join(dir, "new"); m.dirs[p] == nil {
			m.make(p, m.now)
		}
	case 2:
		_ = m.Rmdir(dir)
	case 3: // another one of the same name
		if m.Rmdir(dir) == nil {
			m.make(dir, m.now)
		}
	case 4:
		d.marked = !d.marked
	case 5:
		d.procs[1000] = true
	case 6:
		delete(d.files, "cpu.shares")
	}
}

// The same on a unified hierarchy, where controllers come and go too.
func TestUnifiedAuditFindsWhatAFreshLookFinds(t *testing.T) {
	shield, err := NewShield([]string{"keep"}, true)
	if err != nil {
		t.Fatal(err)
	}
	scripts, kept := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := newUnifiedModel(time.Unix(1_700_000_000, 0))
		d := &driver{t: t, m: m, self: outside, root: rapid.SampledFrom([]string{"", "r", "r/s"}).Draw(t, "root"), shield: shield}
		d.o = newObserver(m, nil)
		d.o.now = func() time.Time { return m.now }
		meddle(t, m, shield, d.root)
		d.doc = wholeDocument(t)
		d.converge()
		if d.tree == nil {
			return
		}
		for range 3 {
			audited(t, d.o, d.tree, m)
			if len(Diff(d.tree, d.o.state, shield, d.self, m.now).Plan) > 0 {
				return
			}
			d.o.calm()
			if d.o.script == nil {
				d.o.script = d.o.learn(d.tree)
			}
			if d.o.script != nil {
				scripts++
			}
			before := maps.Clone(m.dirs)
			meddle(t, m, shield, d.root)
			audited(t, d.o, d.tree, m)
			if d.o.script != nil && maps.Equal(before, m.dirs) {
				kept++
			}
		}
	})
	if scripts == kept || kept == 0 {
		t.Errorf("%d of %d scripts held", kept, scripts)
	}
}

// A full pass over a kernel's cgroups on which nothing has changed compares, and
// allocates for none of them; whatever somebody changes unseen it mends.
func TestAuditOnKernel(t *testing.T) {
	r := onKernel(t, nil)
	const n = 200
	r.pass(t.Context(), work{doc: document(t, many(n, "7")), full: true})
	for range 2 {
		r.pass(t.Context(), work{full: true})
	}
	o := r.observers[r.layout.Hierarchy("cpu").Name()]
	if !r.calm || o.script == nil {
		t.Fatal("the third full pass of the same was not calm")
	}
	tree := o.script.tree
	if allocs := testing.AllocsPerRun(20, func() {
		if err := o.all(tree); err != nil || o.script == nil {
			t.Fatal(err)
		}
	}); allocs > n/10 && !raceEnabled {
		t.Errorf("an audit of %d cgroups allocates %.0f times", n, allocs)
	}
	h := r.layout.Hierarchy("cpu")
	at := func(p string) string { return path.Join(r.opt.Root, p) }
	for name, deed := range map[string]func() error{
		"a value": func() error { return h.Write(at("g1"), "cpu.shares", "99") },
		"a child": func() error { return h.Mkdir(at("g2/more")) },
		"one gone": func() error {
			return h.Rmdir(at("g3"))
		},
		"another of its name": func() error {
			if err := h.Rmdir(at("g4")); err != nil {
				return err
			}
			return h.Mkdir(at("g4"))
		},
	} {
		r.pass(t.Context(), work{full: true})
		r.pass(t.Context(), work{full: true})
		if !r.calm || o.script == nil {
			t.Fatalf("%s: not calm before", name)
		}
		if err := deed(); err != nil {
			t.Fatal(err)
		}
		if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() == 0 {
			t.Errorf("%s was not mended: %+v", name, s.Pass)
		}
		if r.calm {
			t.Errorf("%s: the pass that mended it was calm", name)
		}
		if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 {
			t.Errorf("%s was mended twice: %+v", name, s.Pass)
		}
	}
	// An edit and its own events in between: the state is another one.
	r.pass(t.Context(), work{doc: document(t, many(n, "8"))})
	if r.calm {
		t.Error("calm after an edit")
	}
	if err := h.Write(at("edited"), "cpu.shares", "7"); err != nil {
		t.Fatal(err)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Written != 1 || read(t, r, "cpu", "edited", "cpu.shares") != "8" {
		t.Errorf("what was in force before the edit came back and stayed: %+v", s.Pass)
	}
}

// What a pass between two full ones has seen is not forgotten by a script of before.
func TestAuditAfterAnotherPass(t *testing.T) {
	r := onKernel(t, nil)
	r.pass(t.Context(), work{doc: document(t, many(3, "7")), full: true})
	for range 2 {
		r.pass(t.Context(), work{full: true})
	}
	h := r.layout.Hierarchy("cpu")
	o := r.observers[h.Name()]
	strange := path.Join(r.opt.Root, "g2/strange")
	if err := os.Mkdir(path.Join(h.Mount(), strange), 0o755); err != nil {
		t.Fatal(err)
	}
	r.pass(t.Context(), work{dirs: map[string]map[string]bool{h.Name(): {path.Join(r.opt.Root, "g2"): false}}})
	if o.state.Nodes["g2/strange"] == nil {
		t.Fatal("a new cgroup was not seen")
	}
	if err := h.Rmdir(strange); err != nil {
		t.Fatal(err)
	}
	r.pass(t.Context(), work{full: true})
	if o.state.Nodes["g2/strange"] != nil {
		t.Error("a cgroup that is gone is still known")
	}
}

// A value that nobody asks for any more, and nothing keeps true, is forgotten.
func TestAuditForgetsWhatNobodyAsks(t *testing.T) {
	m := newModel("cpu")
	m.make("a", m.now)
	tree := Compile(document(t, `{"cpu":{"sub_cgroup":{"a":{"conf":{"share":1024}}}}}`), together, Options{}).Trees[0]
	o := newObserver(m, nil)
	if err := o.all(tree); err != nil {
		t.Fatal(err)
	}
	o.state.Nodes["a"].Values.set("cpu.old", Value{Text: "1", Exists: true})
	if err := o.all(tree); err != nil {
		t.Fatal(err)
	}
	if _, known := o.state.Nodes["a"].Values.find("cpu.old"); known {
		t.Error("it is still known")
	}
}
