package reconcile

import (
	"context"
	"maps"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// node draws a configured cgroup of few names, so that what is desired and what
// is found meet often.
func drawNode(t *rapid.T, depth int) *zkconf.Node {
	n := &zkconf.Node{Conf: map[string]string{}, Sub: map[string]*zkconf.Node{}}
	if n.HasConf = rapid.Bool().Draw(t, "conf"); n.HasConf {
		n.Conf["share"] = rapid.SampledFrom([]string{"2", "100", "1024", "262144"}).Draw(t, "share")
	}
	if depth > 0 {
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "keep"}), 0, 3, rapid.ID).Draw(t, "names") {
			n.Sub[name] = drawNode(t, depth-1)
		}
	}
	return n
}

func drawDocument(t *rapid.T) *zkconf.Document {
	root := drawNode(t, 3)
	root.HasConf, root.Conf = false, nil // a real hierarchy root refuses settings
	return &zkconf.Document{Raw: []byte("{}"), Subsystems: map[string]*zkconf.Node{"cpu": root}}
}

// drawModel draws what is found: cgroups of anybody, with processes and values.
func drawModel(t *rapid.T) *model {
	m := newModel("cpu")
	pid := 100
	var grow func(dir string, depth int)
	grow = func(dir string, depth int) {
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "x", "keep", "docker"}), 0, 3, rapid.ID).Draw(t, "found") {
			age := time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Second
			d := m.make(path.Join(dir, name), m.now.Add(-age))
			d.marked = rapid.Bool().Draw(t, "marked")
			d.files["cpu.shares"] = rapid.SampledFrom([]string{"2", "1024", "5000"}).Draw(t, "found share")
			for range rapid.IntRange(0, 2).Draw(t, "processes") {
				d.procs[pid] = true
				pid++
			}
			if depth > 0 {
				grow(path.Join(dir, name), depth-1)
			}
		}
	}
	grow("", 2)
	return m
}

// Whatever is found, planning and applying reaches the document's tree, a second
// plan is empty, nothing protected is touched, and no process is lost.
func TestPlanReachesTheTree(t *testing.T) {
	shield, err := NewShield([]string{"keep"}, true)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		doc, m := drawDocument(t), drawModel(t)
		tree := Compile(doc, together, Options{Shield: shield}).Trees[0]
		tree.Hierarchy = "cpu"
		kept := map[string]string{}
		pids := map[int]string{}
		for dir, d := range m.dirs {
			for pid := range d.procs {
				pids[pid] = dir
			}
			if shield.Named(nil, dir) {
				kept[dir] = d.files["cpu.shares"]
			}
		}
		o := newObserver(m, nil)
		o.now = func() time.Time { return m.now }
		o.blind = rapid.Bool().Draw(t, "blind")
		step := func() Plan {
			if err := o.all(tree); err != nil {
				t.Fatal(err)
			}
			plan := Diff(tree, o.state, shield, "", m.now).Plan
			if again := Diff(tree, o.state, shield, "", m.now).Plan; again.String() != plan.String() {
				t.Fatalf("two plans of one state:\n%s\n%s", plan, again)
			}
			a := &applier{ctx: context.Background(), chase: evacuateFor, observers: map[string]*observer{"cpu": o}}
			a.apply(plan)
			if len(a.faults) > 0 {
				t.Fatalf("%v\nof the plan\n%s", a.faults, plan)
			}
			return plan
		}
		step()
		kept2 := snapshotState(o.state)
		if err := o.all(tree); err != nil {
			t.Fatal(err)
		}
		for p, n := range kept2 {
			if n.Inode == 0 { // made and not looked at
				n.Inode = m.dirs[p].inode
				kept2[p] = n
			}
		}
		if diff := cmp.Diff(kept2, snapshotState(o.state)); diff != "" {
			t.Fatalf("the state kept while applying is not what a fresh look finds:\n%s", diff)
		}
		m.now = m.now.Add(2 * GraceAge) // what was too young is not any more
		step()
		if plan := step(); len(plan) > 0 {
			t.Fatalf("a converged tree has a plan:\n%s", plan)
		}
		for _, d := range tree.Dirs {
			found := m.dirs[d.Path]
			if found == nil {
				t.Fatalf("%s is missing", d.Path)
			}
			for _, s := range d.Settings {
				if found.files[s.File] != s.Text {
					t.Fatalf("%s %s is %s, want %s", d.Path, s.File, found.files[s.File], s.Text)
				}
			}
		}
		for dir := range m.dirs {
			if _, configured := tree.Dir(dir); !configured && !shield.Kept(nil, dir) && !slices.ContainsFunc(slices.Collect(maps.Keys(m.dirs)), func(p string) bool {
				_, below := relativeTo(dir, p)
				return below && shield.Kept(nil, p)
			}) {
				t.Fatalf("foreign %s is still there", dir)
			}
		}
		for dir, share := range kept {
			if m.dirs[dir] == nil || m.dirs[dir].files["cpu.shares"] != share {
				t.Fatalf("protected %s was touched", dir)
			}
		}
		now := map[int]string{}
		for dir, d := range m.dirs {
			for pid := range d.procs {
				now[pid] = dir
			}
		}
		for pid, was := range pids {
			at, there := now[pid]
			if !there {
				t.Fatalf("process %d is lost", pid)
			}
			if m.dirs[was] != nil && at != was {
				t.Fatalf("process %d moved from %s, which stays, to %s", pid, was, at)
			}
			if m.dirs[was] == nil && at != tree.Refuge(was) {
				t.Fatalf("process %d of %s is in %s, not in its refuge %s", pid, was, at, tree.Refuge(was))
			}
		}
	})
}

// snapshotState is a state without what only a look at foreign cgroups tells.
func snapshotState(s *State) map[string]Node {
	out := map[string]Node{}
	for p, n := range s.Nodes {
		c := Node{Inode: n.Inode, Children: slices.Clone(n.Children), Values: append(Values(nil), n.Values...)}
		if len(c.Children) == 0 {
			c.Children = nil
		}
		out[p] = c
	}
	return out
}

func TestFights(t *testing.T) {
	f := fights{}
	now := time.Unix(1_700_000_000, 0)
	plan := Plan{{Op: OpWrite, Tree: &Tree{Hierarchy: "cpu"}, Dir: "a", File: "cpu.shares", Text: "5", Place: "cpu/a: share"}}
	made := 0
	for range 1000 {
		got, faults := f.hold(plan, true, now)
		if len(got)+len(faults) != 1 {
			t.Fatalf("%d steps and %d faults for one correction", len(got), len(faults))
		}
		for _, s := range got {
			made++
			f.made(s.Place, now)
		}
		now = now.Add(10 * time.Millisecond)
	}
	if made < fightFree || made > 15 {
		t.Errorf("%d corrections in 10 s of fight", made)
	}
	if f.wake(now).IsZero() {
		t.Error("nobody wakes up for the held correction")
	}
	if got, _ := f.hold(plan, false, now); len(got) != 1 {
		t.Error("a new document is held up by a fight")
	}
	now = now.Add(2 * (fightCalm + fightMost))
	if got, _ := f.hold(plan, true, now); len(got) != 1 {
		t.Error("a fight is not forgotten")
	}
	remade := append(Plan{{Op: OpMkdir, Tree: plan[0].Tree, Dir: "a", Place: "cpu/a"}}, plan...)
	f = fights{"cpu/a: share": {last: now, until: now.Add(time.Second)}}
	if got, _ := f.hold(remade, true, now); len(got) != 2 {
		t.Errorf("a cgroup that is made anew does not get its settings: %v", got)
	}
	f = fights{"cpu/a": {last: now, until: now.Add(time.Second)}}
	if got, faults := f.hold(remade, true, now); len(got) != 0 || len(faults) != 1 {
		t.Errorf("a cgroup is not made yet, but written to: %v, %v", got, faults)
	}
	failing := fights{} // a step that fails is never made, and so is no fight
	for range 20 {
		if got, _ := failing.hold(plan, true, now); len(got) != 1 {
			t.Fatal("a step that failed is held as if it were a fight")
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{most: time.Minute}
	now := time.Now()
	b.after(now, true)
	first := b.at
	if !first.After(now) || b.due(now) {
		t.Fatalf("after a failure: %+v", b)
	}
	b.after(now, true) // a pass that came in between
	if b.at != first {
		t.Error("a pass that came in between puts the retry off")
	}
	b.after(first, true)
	if b.delay != 2*retryFirst {
		t.Errorf("after a failed retry: %v", b.delay)
	}
	b.after(first, false)
	if !b.at.IsZero() || b.delay != 0 {
		t.Errorf("after success: %+v", b)
	}
	if got := sooner(now, time.Time{}, now.Add(time.Second), now.Add(-time.Second)); got != time.Millisecond {
		t.Errorf("sooner: %v", got)
	}
}
