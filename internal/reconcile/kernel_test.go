package reconcile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestMain(m *testing.M) {
	if os.Getenv(threadsEnv) == leaderless {
		endFirstThread()
	}
	goleak.VerifyTestMain(m)
}

// onKernel makes a reconciler on the real v1 hierarchies of this machine, below a
// root of its own that is removed again.
func onKernel(t testing.TB, files map[string][]string) *Reconciler {
	t.Helper()
	root := testhost.Root(t)
	r, err := New(Config{
		CgroupDir: "/sys/fs/cgroup", Root: root, StateDir: t.TempDir(), PidFiles: pidfiles.New(pidfiles.Config{Files: files}), Log: zap.NewNop(),
		Origin: func() zkconf.Origin { return zkconf.Origin{Kind: zkconf.KindFile, Path: "/test"} },
	})
	if err == nil {
		t.Cleanup(r.Close)
		for _, subsystem := range []string{"cpu", "cpuacct"} {
			h := r.layout.Hierarchy(subsystem)
			if h == nil {
				err = fmt.Errorf("no v1 hierarchy with %s", subsystem)
				break
			}
			if err = h.Mkdir(root); errors.Is(err, cgfs.ErrExist) {
				err = nil // cpu and cpuacct are mounted together
			} else if err != nil {
				break
			}
		}
	}
	if err != nil {
		testhost.Lacks(t, "needs root and writable v1 hierarchies: %v", err)
	}
	return r
}

// trees is in how many hierarchies each cgroup of cpu is: cpuacct mirrors it
// where it is mounted apart.
func trees(r *Reconciler) int {
	if r.layout.Hierarchy("cpu") == r.layout.Hierarchy("cpuacct") {
		return 1
	}
	return 2
}

// many is a document of n cgroups below cpu, of which the first has the share.
func many(n int, share string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"cpu": {"sub_cgroup": {"edited": {"conf": {"share": %s}}`, share)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `, "g%d": {"conf": {"share": 50}}`, i)
	}
	b.WriteString(`}}}`)
	return b.String()
}

func read(t testing.TB, r *Reconciler, subsystem, p, file string) string {
	t.Helper()
	text, err := r.layout.Hierarchy(subsystem).Read(r.opt.Root+"/"+p, file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestKernelPasses(t *testing.T) {
	r := onKernel(t, nil)
	s := r.pass(t.Context(), work{doc: document(t, many(20, "7")), full: true})
	if len(s.Faults) > 0 || read(t, r, "cpu", "edited", "cpu.shares") != "7" {
		t.Fatalf("first pass: %+v", s)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s.Pass)
	}
	if s := r.pass(t.Context(), work{doc: document(t, many(20, "8"))}); s.Pass.Written != 1 || s.Pass.Total() != 1 || s.Pass.Listings != 0 {
		t.Errorf("an edit of one setting did %+v", s.Pass)
	}
	if s := r.pass(t.Context(), work{doc: document(t, many(3, "8"))}); s.Pass.Removed != trees(r)*17 {
		t.Errorf("17 cgroups less, in cpu and in its mirror: %+v", s.Pass)
	}
	if s := r.pass(t.Context(), work{doc: document(t, `{}`)}); s.Pass.Removed != trees(r)*3 || len(r.record.Hierarchies) > 0 {
		t.Errorf("cpu has left the document: %+v, record %+v", s.Pass, r.record)
	}
}

// A setting that leaves the document is taken back once. Whoever sets it after that
// keeps it, also before the next full pass.
func TestKernelTakenBackOnce(t *testing.T) {
	r := onKernel(t, nil)
	s := r.pass(t.Context(), work{doc: document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 7}}, "b": {"conf": {"share": 9}}}}}`), full: true})
	if len(s.Faults) > 0 {
		t.Fatal(s.Faults)
	}
	if s := r.pass(t.Context(), work{doc: document(t, `{"cpu": {"sub_cgroup": {"a": {}, "b": {"conf": {"share": 9}}}}}`)}); s.Pass.Written != 1 || read(t, r, "cpu", "a", "cpu.shares") != "1024" {
		t.Fatalf("share has left the document: %+v, %s", s.Pass, read(t, r, "cpu", "a", "cpu.shares"))
	}
	h := r.layout.Hierarchy("cpu")
	for _, value := range []string{"55", "56"} {
		if err := h.Write(r.opt.Root+"/a", "cpu.shares", value); err != nil {
			t.Fatal(err)
		}
		s := r.pass(t.Context(), work{dirs: map[string]map[string]bool{h.Name(): {r.opt.Root + "/a": false}}})
		if got := read(t, r, "cpu", "a", "cpu.shares"); got != value || s.Pass.Total() != 0 {
			t.Errorf("share set by hand to %s: %s, %+v", value, got, s.Pass)
		}
	}
	if err := h.Write(r.opt.Root+"/b", "cpu.shares", "55"); err != nil {
		t.Fatal(err)
	}
	r.pass(t.Context(), work{dirs: map[string]map[string]bool{h.Name(): {r.opt.Root + "/b": false}}})
	if got := read(t, r, "cpu", "b", "cpu.shares"); got != "9" {
		t.Errorf("a share of the document set by hand: %s", got)
	}
}

// The same of a set, whose default is what the cgroup above has.
func TestKernelSetTakenBackOnce(t *testing.T) {
	r := onKernel(t, nil)
	if r.layout.Hierarchy("cpuset") == nil {
		testhost.Lacks(t, "no v1 cpuset")
	}
	r.pass(t.Context(), work{doc: document(t, `{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "0"}}}}}`), full: true})
	all := read(t, r, "cpuset", "", "cpuset.cpus")
	if got := read(t, r, "cpuset", "a", "cpuset.cpus"); got != "0" {
		t.Fatalf("a has CPUs %s", got)
	}
	r.pass(t.Context(), work{doc: document(t, `{"cpuset": {"sub_cgroup": {"a": {}}}}`)})
	if got := read(t, r, "cpuset", "a", "cpuset.cpus"); got != all {
		t.Fatalf("cpus has left the document: %s, and above it %s", got, all)
	}
	if len(r.record.Settings) > 0 {
		t.Errorf("still to be taken back: %v", r.record.Settings)
	}
	h := r.layout.Hierarchy("cpuset")
	if err := h.Write(r.opt.Root+"/a", "cpuset.cpus", "0"); err != nil {
		t.Fatal(err)
	}
	r.pass(t.Context(), work{dirs: map[string]map[string]bool{h.Name(): {r.opt.Root + "/a": false}}})
	if got := read(t, r, "cpuset", "a", "cpuset.cpus"); got != "0" {
		t.Errorf("cpus set by hand: %s", got)
	}
}

// What could not be read is not taken for taken back.
func TestRecordOfUnreadable(t *testing.T) {
	s := newScene(t, "cpu", `{"cpu": {"sub_cgroup": {"a": {}}}}`, Options{Owned: []string{"cpu/a share"}})
	s.model.make("a", s.model.now)
	s.diff()
	d := Desired{Trees: []*Tree{s.tree}}
	if len(s.tree.Resets) != 1 {
		t.Fatalf("resets %v", s.tree.Resets)
	}
	s.o.state.Unreadable["a"] = cgfs.ErrTooLong
	s.o.state.Nodes["a"].Values = nil
	states := map[string]*State{s.tree.Hierarchy: s.o.state}
	if got := (record{}).after(d, states).Settings; !slices.Equal(got, []string{"cpu/a share"}) {
		t.Errorf("unreadable: %v", got)
	}
	delete(s.o.state.Unreadable, "a")
	if got := (record{}).after(d, states).Settings; len(got) > 0 {
		t.Errorf("without the file: %v", got)
	}
}

// However many pid files there are, a pass that moves nothing lists the processes
// of the machine once.
func TestKernelOneListing(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]string{}
	for i := range 20 {
		file := filepath.Join(dir, strconv.Itoa(i)+".pid")
		if err := os.WriteFile(file, []byte(strconv.Itoa(testhost.Sleeper(t))), 0o600); err != nil {
			t.Fatal(err)
		}
		files["g"+strconv.Itoa(i+1)] = []string{file}
	}
	r := onKernel(t, files)
	doc := document(t, many(40, "5"))
	if s := r.pass(t.Context(), work{doc: doc, full: true}); s.Pass.Moved != trees(r)*20 || len(s.Faults) > 0 {
		t.Fatalf("first pass: %+v", s.Pass)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Listings != 1 || s.Pass.Total() != 0 {
		t.Errorf("a pass that moves nothing: %+v", s.Pass)
	}
}

// What was made right before a kill has no mark yet; the next start knows it all
// the same, also in a mirror, where only marked cgroups may go, and also when it was
// made again after somebody had removed it.
func TestKernelRecovery(t *testing.T) {
	for name, announce := range map[string]func(r *Reconciler, plan Plan){
		"new": func(r *Reconciler, plan Plan) { r.remember(r.record.before(r.desired.Trees, plan)) },
		"made again": func(r *Reconciler, plan Plan) {
			r.remember(r.record.before(r.desired.Trees, nil))
			_ = r.journal.write(plan)
		},
	} {
		t.Run(name, func(t *testing.T) { testRecovery(t, announce) })
	}
}

func testRecovery(t *testing.T, announce func(r *Reconciler, plan Plan)) {
	r := onKernel(t, nil)
	if trees(r) == 1 {
		t.Skip("cpu and cpuacct are mounted together: there is no mirror")
	}
	doc := document(t, many(2, "5"))
	r.doc = doc
	r.load()
	r.look()
	r.compile()
	r.observe(work{full: true})
	plan, _ := r.diff(time.Now())
	announce(r, plan)
	h := r.layout.Hierarchy("cpuacct")
	if err := os.Mkdir(filepath.Join(h.Mount(), r.opt.Root, "g1"), 0o755); err != nil { // made, not marked: killed
		t.Fatal(err)
	}
	again, err := New(r.opt)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	faults, err := again.Once(t.Context(), document(t, many(1, "5")))
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	children, err := h.Children(r.opt.Root)
	if err != nil || !slices.Equal(children, []string{"edited"}) {
		t.Errorf("in the mirror: %v %v", children, err)
	}
	if left := loadJournal(r.opt.StateDir); len(left) > 0 {
		t.Errorf("still about to be made: %v", left)
	}
}

// The kernel takes the steps by which a branch of cpusets goes from one CPU to
// another in one pass.
func TestKernelCpusetsSwap(t *testing.T) {
	r := onKernel(t, nil)
	h := r.layout.Hierarchy("cpuset")
	if h == nil {
		t.Skip("no v1 hierarchy with cpuset")
	}
	cpus, err := h.Read("", "cpuset.cpus")
	if err != nil || !strings.HasPrefix(cpus, "0-") {
		t.Skipf("needs the CPUs 0 and 1, has %q %v", cpus, err)
	}
	if err := h.Mkdir(r.opt.Root); err != nil {
		t.Fatal(err)
	}
	for i, cpu := range []string{"0", "1", "0"} {
		text := fmt.Sprintf(`{"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": %q}, "sub_cgroup": {"b": {"conf": {"cpus": %[1]q}}}}}}}`, cpu)
		if s := r.pass(t.Context(), work{doc: document(t, text)}); len(s.Faults) > 0 || s.Pass.Failed > 0 {
			t.Fatalf("to CPU %s: %v", cpu, s.Faults)
		}
		if got := read(t, r, "cpuset", "a/b", "cpuset.cpus"); got != cpu {
			t.Errorf("pass %d: b has CPU %s, want %s", i, got, cpu)
		}
		if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 {
			t.Errorf("a second pass did %+v", s.Pass)
		}
	}
}

// Whatever is edited, the short way leaves nothing for a full pass to do that the
// long way would have done, and it is taken where only values change.
func TestKernelQuickEdits(t *testing.T) {
	r := onKernel(t, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	shares := map[string]int{"a": 100, "a/b": 200, "c": 300, "d": 400, "d/e": 500}
	limits := map[string]int{}
	text := func() string {
		conf := func(p string) string {
			out := fmt.Sprintf(`"conf": {"share": %d`, shares[p])
			if q := limits[p]; q > 0 {
				out += fmt.Sprintf(`, "cfs_quota_us": %d`, q)
			}
			return out + "}"
		}
		return fmt.Sprintf(`{"cpu": {"sub_cgroup": {"a": {%s, "sub_cgroup": {"b": {%s}}}, "c": {%s}, "d": {%s, "sub_cgroup": {"e": {%s}}}}}}`,
			conf("a"), conf("a/b"), conf("c"), conf("d"), conf("d/e"))
	}
	doc := document(t, text())
	r.pass(t.Context(), work{doc: doc, full: true})
	paths := sortedKeys(shares)
	short := 0
	for i := range 200 {
		for range 1 + rng.IntN(2) {
			shares[paths[rng.IntN(len(paths))]] = 2 + rng.IntN(5000)
		}
		if rng.IntN(4) == 0 {
			limits[[]string{"c", "d/e"}[rng.IntN(2)]] = rng.IntN(3) * 100000 // v1 refuses more than the parent's
		}
		next, err := zkconf.DecodeNext(doc, []byte(text()), int32(i))
		if err != nil {
			t.Fatal(err)
		}
		// What the short way makes of a document must be what compiling it makes.
		compiled := Compile(next, r.host, Options{Root: r.opt.Root, Owned: r.record.Settings, Hierarchies: r.record.Hierarchies})
		listed := r.compiled
		if s := r.pass(t.Context(), work{doc: next}); len(s.Faults) > 0 {
			t.Fatalf("step %d: %+v, faults %v", i, s.Pass, s.Faults)
		}
		if r.compiled == listed {
			short++
			if diff := cmp.Diff(compiled, r.desired, cmp.AllowUnexported(Tree{})); diff != "" {
				t.Fatalf("step %d: (-compiled +short way):\n%s", i, diff)
			}
		}
		for p, share := range shares {
			if got := read(t, r, "cpu", p, "cpu.shares"); got != strconv.Itoa(share) {
				t.Fatalf("step %d: %s has share %s, want %d", i, p, got, share)
			}
			want := "-1"
			if limits[p] > 0 {
				want = strconv.Itoa(limits[p])
			}
			if got := read(t, r, "cpu", p, "cpu.cfs_quota_us"); got != want {
				t.Fatalf("step %d: %s has quota %s, want %s", i, p, got, want)
			}
		}
		if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 {
			t.Fatalf("step %d: a full pass found %+v", i, s.Pass)
		}
		doc = next
	}
	if short < 100 {
		t.Errorf("only %d documents went the short way", short)
	}
}

// What is not plain is left to the pass.
func TestEditsOf(t *testing.T) {
	const first = `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}, "sub_cgroup": {"b": {"conf": {"share": 6}}}}}}}`
	earlier := document(t, first)
	for _, c := range []struct {
		from, to string
		want     []string
		plain    bool
	}{
		{`"share": 5`, `"share": 50`, []string{"a"}, true},
		{`"share": 6`, `"share": 66`, []string{"a/b"}, true},
		{`"share": 5}, "sub_cgroup": {"b": {"conf": {"share": 6`, `"share": 7}, "sub_cgroup": {"b": {"conf": {"share": 8`, []string{"a", "a/b"}, true},
		{`"share": 6`, `"share": 6, "idle": 0`, nil, false},
		{`"share": 6`, `"idle": 0`, nil, false},
		{`"share": 6`, `"shares": 6`, nil, false},
		{`{"conf": {"share": 6}}`, `{}`, nil, false},
		{`"b": {`, `"c": {`, nil, false},
		{`"share": 6`, `"share": 6, "later": 1`, nil, false},
		{`"share": 6}`, `"share": 6} `, nil, true},
	} {
		doc, err := zkconf.DecodeNext(earlier, []byte(strings.Replace(first, c.from, c.to, 1)), 2)
		if err != nil {
			t.Fatal(err)
		}
		change, known := doc.Since(earlier)
		edits, plain := editsOf(change, earlier, doc)
		var got []string
		for _, e := range edits {
			got = append(got, e.path)
		}
		if !known || plain != c.plain || plain && !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: %v %v (change known: %v), want %v %v", c.from, c.to, got, plain, known, c.want, c.plain)
		}
	}
}

// What an event tells of is put back without compiling or comparing the rest, and
// an event about our own writes changes nothing.
func TestKernelDriftByEvent(t *testing.T) {
	r := onKernel(t, nil)
	r.pass(t.Context(), work{doc: document(t, many(20, "7")), full: true})
	h := r.layout.Hierarchy("cpu")
	dir := r.opt.Root + "/edited"
	event := func() *Snapshot {
		return r.pass(t.Context(), work{dirs: map[string]map[string]bool{h.Name(): {dir: false}}})
	}
	compiled := r.compiled
	if s := event(); s.Pass.Total() != 0 || !r.quiet {
		t.Fatalf("an event about nothing: %+v", s.Pass)
	}
	if err := h.Write(dir, "cpu.shares", "99"); err != nil {
		t.Fatal(err)
	}
	if s := event(); s.Pass.Written != 1 || s.Corrections != 1 || read(t, r, "cpu", "edited", "cpu.shares") != "7" {
		t.Errorf("a changed value: %+v", s.Pass)
	}
	if err := h.Rmdir(dir); err != nil {
		t.Fatal(err)
	}
	if s := event(); s.Pass.Created != 1 || read(t, r, "cpu", "edited", "cpu.shares") != "7" {
		t.Errorf("a removed cgroup: %+v", s.Pass)
	}
	if s := event(); s.Pass.Total() != 0 {
		t.Errorf("afterwards: %+v", s.Pass)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || r.compiled != compiled {
		t.Errorf("a full pass: %+v, compiled %d times more", s.Pass, r.compiled-compiled)
	}
}
