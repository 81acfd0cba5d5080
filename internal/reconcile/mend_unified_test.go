package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// unifiedDrifts are documents with inner cgroups that have conf and such that have
// none, one for each kind of host: what the unified hierarchy has there, the document
// (CONF is a conf), and what somebody writes to which file.
var unifiedDrifts = []struct {
	needs    []string
	document string
	writes   map[string][]string
}{
	{
		needs: []string{"cpu", "pids"},
		document: `{"cpu": {"sub_cgroup": {
			"a": {"conf": {"share": 100}, "sub_cgroup": {"b": {"conf": {"share": 200}, "sub_cgroup": {"c": {"conf": {"share": 250}}}}, "d": {"conf": {}}}},
			"e": {"conf": {"share": 300, "cfs_quota_us": 50000, "cfs_period_us": 100000}},
			"g": {"sub_cgroup": {"h": {"conf": {"share": 400}}}}}},
			"pids": {"sub_cgroup": {"a": {"sub_cgroup": {"d": {"conf": {"max": 50}}}}, "g": {"sub_cgroup": {"i": {"conf": {"max": 60}}}}}}}`,
		writes: map[string][]string{
			"cpu.weight": {"7", "100", "9999"}, "cpu.max": {"20000 100000", "max 50000"}, "pids.max": {"5", "max"},
			ControlFile: {"-cpu", "+cpu", "-pids", "+pids"},
		},
	},
	{
		needs: []string{"hugetlb"}, // as where all others are v1's
		document: `{"hugetlb": {"sub_cgroup": {
			"a": {"conf": {"2MB_limit_in_bytes": "4M"}, "sub_cgroup": {"b": {"conf": {"2MB_limit_in_bytes": "6M"}, "sub_cgroup": {"c": {"conf": {"2MB_limit_in_bytes": "8M"}}}}, "d": {"conf": {}}}},
			"e": {"conf": {"2MB_limit_in_bytes": "2M"}},
			"g": {"sub_cgroup": {"h": {"conf": {"2MB_limit_in_bytes": "4M"}}}}}}}`,
		writes: map[string][]string{"hugetlb.2MB.max": {"0", "max", "10485760"}, ControlFile: {"-hugetlb", "+hugetlb"}},
	},
}

// onUnified makes a reconciler whose document is in a real unified hierarchy.
func onUnified(t *testing.T) (r *Reconciler, h *cgfs.Hierarchy, text string, writes map[string][]string) {
	t.Helper()
	r = onEither(t)
	host := HostOf(r.layout)
	for _, h := range r.layout.Hierarchies() {
		for _, d := range unifiedDrifts {
			there := !slices.ContainsFunc(d.needs, func(name string) bool { return host.Hierarchies[name] != h.Name() })
			if h.Version() == 2 && there {
				return r, h, d.document, d.writes
			}
		}
	}
	t.Skip("no unified hierarchy with a controller here")
	return nil, nil, "", nil
}

// unifiedDump is every cgroup below our root with all that somebody could change.
func unifiedDump(t *testing.T, r *Reconciler, h *cgfs.Hierarchy, files []string) string {
	t.Helper()
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		marked, err := h.Marked(dir)
		fmt.Fprintf(&b, "%q marked=%v %v", strings.TrimPrefix(dir, r.opt.Root), marked, err)
		for _, file := range append([]string{typeFile}, files...) {
			text, err := h.Read(dir, file)
			fmt.Fprintf(&b, " %s=%q,%t", file, text, err == nil)
		}
		pids, err := h.Procs(dir, nil)
		fmt.Fprintf(&b, " %d processes, %v\n", len(pids), err)
		children, _ := h.Children(dir)
		for _, name := range children {
			walk(dir + "/" + name)
		}
	}
	walk(r.opt.Root)
	return b.String()
}

// unifiedBelief is what a reconciler takes for the state of a unified hierarchy.
func unifiedBelief(o *observer) map[string]Node {
	out := snapshotState(o.state)
	for p, n := range o.state.Nodes {
		c := out[p]
		c.Inode, c.Enabled, c.Foreign, c.Marked = 0, n.Enabled, n.Foreign, n.Marked
		c.Populated = n.Populated && (n.Foreign || len(n.Enabled) > 0) // of others nobody asks
		out[p] = c
	}
	return out
}

// meddler does what somebody may do behind a reconciler's back.
type meddler struct {
	r    *Reconciler
	h    *cgfs.Hierarchy
	pids []int
}

// remove removes a cgroup with all below it; processes leave first.
func (m *meddler) remove(dir string) (events []cgfs.Event) {
	children, _ := m.h.Children(dir)
	for _, name := range children {
		events = append(events, m.remove(dir+"/"+name)...)
	}
	pids, _ := m.h.Procs(dir, nil)
	if len(pids) > 0 {
		_ = m.h.Move("", pids, func(int, error) {})
	}
	if m.h.Rmdir(dir) == nil {
		events = append(events, gone(m.h, dir)...)
	}
	return events
}

// deed draws one of what may be done, for any meddler; it gives the events.
func deed(rng *rand.Rand, paths []string, writes map[string][]string) (name string, do func(m *meddler) []cgfs.Event) {
	p := paths[rng.IntN(len(paths))]
	file := sortedKeys(writes)[rng.IntN(len(writes))]
	text := writes[file][rng.IntN(len(writes[file]))]
	switch kind := rng.IntN(20); {
	case kind < 9:
		return "remove " + p, func(m *meddler) []cgfs.Event { return m.remove(m.r.opt.Root + "/" + p) }
	case kind < 16:
		return fmt.Sprintf("write %s %s/%s", text, p, file), func(m *meddler) []cgfs.Event {
			if m.h.Write(m.r.opt.Root+"/"+p, file, text) != nil {
				return nil
			}
			return wrote(m.h, m.r.opt.Root+"/"+p, file)
		}
	case kind < 18:
		return "make " + p + "/x", func(m *meddler) []cgfs.Event {
			if m.h.Mkdir(m.r.opt.Root+"/"+p+"/x") != nil { // marked, so that it is pruned at once
				return nil
			}
			return tree(m.h, m.r.opt.Root+"/"+p+"/x", false)
		}
	default:
		who := rng.IntN(3)
		return fmt.Sprintf("attach process %d to %s", who, p), func(m *meddler) []cgfs.Event {
			dir, refused := m.r.opt.Root+"/"+p, false
			err := m.h.Move(dir, m.pids[who:who+1], func(_ int, err error) { refused = err != nil })
			if err != nil || refused {
				return nil
			}
			return wrote(m.h, dir, "cgroup.procs")
		}
	}
}

// As TestKernelMendEqualsPass, in a real unified hierarchy: with controllers that
// cgroups give their children, and processes where none may be.
func TestKernelMendEqualsPassUnified(t *testing.T) {
	short, h, text, writes := onUnified(t)
	long, same, _, _ := onUnified(t)
	a, b := &meddler{r: short, h: h}, &meddler{r: long, h: same}
	for _, m := range []*meddler{a, b} {
		m.pids = []int{testhost.Sleeper(t), testhost.Sleeper(t), testhost.Sleeper(t)}
		if s := m.r.pass(t.Context(), work{doc: document(t, text), full: true}); len(s.Faults) > 0 {
			t.Fatal(s.Faults)
		}
	}
	var paths []string
	for _, d := range short.desired.treeIn(h.Name()).Dirs {
		if d.Path != "" && !d.Optional {
			paths = append(paths, d.Path)
		}
	}
	const rounds = 60
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 5))
	mended, made := 0, 0
	for i := range rounds {
		var names []string
		var events []cgfs.Event
		for range 1 + rng.IntN(3) {
			name, do := deed(rng, paths, writes)
			names = append(names, name)
			events = append(events, do(a)...)
			do(b)
		}
		step := fmt.Sprintf("seed %d, step %d: %s", seed, i, strings.Join(names, ", "))
		short.fights, long.fights = fights{}, fights{}
		passes := short.passes
		rest := short.mend(t.Context(), events)
		if short.passes > passes {
			mended++
			made += short.last.Pass.Created
		}
		short.note(rest)
		short.pass(t.Context(), short.inbox.take())
		long.pass(t.Context(), work{full: true})
		files := append(sortedKeys(writes), ControlFile)
		if diff := cmp.Diff(unifiedDump(t, long, same, files), unifiedDump(t, short, h, files)); diff != "" {
			t.Fatalf("%s: (-full pass +mended):\n%s", step, diff)
		}
		believed := unifiedBelief(short.observers[h.Name()])
		if s := short.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 || len(s.Faults) > 0 {
			t.Fatalf("%s: a full pass afterwards: %+v %v", step, s.Pass, s.Faults)
		}
		if diff := cmp.Diff(unifiedBelief(short.observers[h.Name()]), believed); diff != "" {
			t.Fatalf("%s: (-what is there +what is believed):\n%s", step, diff)
		}
	}
	t.Logf("%d of %d mended, %d cgroups", mended, rounds, made)
	if mended < rounds/3 || made < rounds/3 {
		t.Errorf("only %d of %d were mended, with %d cgroups", mended, rounds, made)
	}
}

// As TestKernelQuickEdits, where a share is a weight among siblings.
func TestKernelQuickEditsUnified(t *testing.T) {
	r, h, _, writes := onUnified(t)
	if writes["cpu.weight"] == nil {
		t.Skip("no unified hierarchy with cpu here")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	shares := map[string]int{"a": 100, "a/b": 200, "c": 300, "d": 400, "d/e": 500}
	text := func() string {
		return fmt.Sprintf(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": %d}, "sub_cgroup": {"b": {"conf": {"share": %d}}}}, "c": {"conf": {"share": %d}},
			"d": {"conf": {"share": %d}, "sub_cgroup": {"e": {"conf": {"share": %d}}}}, "large": {"conf": {"share": 2048}}}}}`,
			shares["a"], shares["a/b"], shares["c"], shares["d"], shares["d/e"])
	}
	doc := document(t, text())
	if s := r.pass(t.Context(), work{doc: doc, full: true}); len(s.Faults) > 0 {
		t.Fatal(s.Faults)
	}
	paths := sortedKeys(shares)
	short := 0
	for i := range 50 {
		for range 1 + rng.IntN(2) {
			shares[paths[rng.IntN(len(paths))]] = 2 + rng.IntN(1500)
		}
		next, err := zkconf.DecodeNext(doc, []byte(text()), int32(i))
		if err != nil {
			t.Fatal(err)
		}
		compiled := Compile(next, r.host, Options{Root: r.opt.Root, Owned: r.record.Settings, Hierarchies: r.record.Hierarchies})
		count := r.compiled
		s := r.pass(t.Context(), work{doc: next})
		if len(s.Faults) > 0 {
			t.Fatalf("step %d: %+v, faults %v", i, s.Pass, s.Faults)
		}
		if r.compiled == count {
			if short++; s.Pass.Written > 2 {
				t.Errorf("step %d: %+v", i, s.Pass)
			}
			if diff := cmp.Diff(compiled, r.desired, cmp.AllowUnexported(Tree{})); diff != "" {
				t.Fatalf("step %d: (-compiled +short way):\n%s", i, diff)
			}
		}
		for _, d := range compiled.Trees[0].Dirs {
			for _, s := range d.Settings {
				if d.Optional {
					continue // nobody needs it
				}
				if got, err := h.Read(compiled.Trees[0].Full(d.Path), s.File); err != nil || got != s.Text {
					t.Fatalf("step %d: %s %s is %q %v, want %s", i, d.Path, s.File, got, err, s.Text)
				}
			}
		}
		if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 {
			t.Fatalf("step %d: a full pass found %+v", i, s.Pass)
		}
		doc = next
	}
	if t.Logf("%d of 50 documents went the short way", short); short < 15 {
		t.Errorf("hardly any")
	}
}
