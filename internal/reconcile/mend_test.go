package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// drifts is a document with one setting, several, and none, at several depths.
const drifts = `{"cpu": {"sub_cgroup": {
	"a": {"conf": {"share": 100}, "sub_cgroup": {"b": {"conf": {"share": 200}, "sub_cgroup": {"c": {"conf": {"share": 250}}}}, "d": {"conf": {}}}},
	"e": {"conf": {"share": 300, "cfs_quota_us": 50000, "cfs_period_us": 100000}, "sub_cgroup": {"f": {"conf": {"cfs_quota_us": 20000, "cfs_period_us": 100000}}}},
	"g": {"sub_cgroup": {"h": {"conf": {"share": 400}}}}}}}`

// wrote and gone are the events of what somebody did.
func wrote(h *cgfs.Hierarchy, dir, file string) []cgfs.Event {
	return []cgfs.Event{{Hierarchy: h, Dir: dir, Name: file, Kind: cgfs.EventWrite}}
}

func gone(h *cgfs.Hierarchy, dir string) []cgfs.Event { return tree(h, dir, true) }

func tree(h *cgfs.Hierarchy, dir string, gone bool) []cgfs.Event {
	return []cgfs.Event{
		{Hierarchy: h, Dir: parent(dir), Name: path.Base(dir), Kind: cgfs.EventTree},
		{Hierarchy: h, Dir: dir, Kind: cgfs.EventTree, Gone: gone},
	}
}

// Whatever somebody does, mending it from its events and a pass over what mending
// left lead where a full pass leads, and what is believed then is what is there.
func TestKernelMendEqualsPass(t *testing.T) {
	short, long := onKernel(t, nil), onKernel(t, nil)
	doc := document(t, drifts)
	for _, r := range []*Reconciler{short, long} {
		if s := r.pass(t.Context(), work{doc: doc, full: true}); len(s.Faults) > 0 {
			t.Fatal(s.Faults)
		}
	}
	paths := []string{"a", "a/b", "a/b/c", "a/d", "e", "e/f", "g", "g/h"}
	rng := rand.New(rand.NewPCG(3, 4))
	mended := 0
	for i := range 300 {
		var did []func(r *Reconciler) []cgfs.Event
		var names []string
		for range 1 + rng.IntN(3) {
			subsystem, p := []string{"cpu", "cpu", "cpuacct"}[rng.IntN(3)], paths[rng.IntN(len(paths))]
			name, do := drawDrift(rng, subsystem, p)
			names, did = append(names, name), append(did, do)
		}
		step := fmt.Sprintf("step %d: %s", i, strings.Join(names, ", "))
		var events []cgfs.Event
		for _, do := range did {
			events = append(events, do(short)...)
			do(long)
		}
		short.fights, long.fights = fights{}, fights{}
		passes := short.passes
		rest := short.mend(t.Context(), events)
		if short.passes > passes {
			mended++
		}
		short.note(rest)
		short.pass(t.Context(), short.inbox.take())
		long.pass(t.Context(), work{full: true})
		for _, subsystem := range []string{"cpu", "cpuacct"} {
			if diff := cmp.Diff(dump(t, long, subsystem), dump(t, short, subsystem)); diff != "" {
				t.Fatalf("%s: %s (-full pass +mended):\n%s", step, subsystem, diff)
			}
		}
		believed := believes(short)
		if s := short.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 || len(s.Faults) > 0 {
			t.Fatalf("%s: a full pass afterwards: %+v %v", step, s.Pass, s.Faults)
		}
		if diff := cmp.Diff(believes(short), believed); diff != "" {
			t.Fatalf("%s: (-what is there +what is believed):\n%s", step, diff)
		}
	}
	if mended < 150 {
		t.Errorf("only %d of 300 were mended", mended)
	}
}

// drawDrift draws what somebody does behind our back. It gives the events.
func drawDrift(rng *rand.Rand, subsystem, p string) (name string, do func(r *Reconciler) []cgfs.Event) {
	file := []string{"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"}[rng.IntN(3)]
	text := fmt.Sprint(2000 + 1000*rng.IntN(50))
	at := func(r *Reconciler) (*cgfs.Hierarchy, string) {
		return r.layout.Hierarchy(subsystem), r.opt.Root + "/" + p
	}
	switch kind := rng.IntN(10); {
	case kind < 5 && subsystem == "cpu":
		return fmt.Sprintf("write %s %s/%s", text, p, file), func(r *Reconciler) []cgfs.Event {
			h, dir := at(r)
			if h.Write(dir, file, text) != nil {
				return nil // refused, or gone a moment ago
			}
			return wrote(h, dir, file)
		}
	case kind < 8:
		return fmt.Sprintf("remove %s:%s", subsystem, p), func(r *Reconciler) []cgfs.Event {
			h, dir := at(r)
			return removeAll(h, dir)
		}
	case kind < 9:
		return fmt.Sprintf("make %s:%s/x", subsystem, p), func(r *Reconciler) []cgfs.Event {
			h, dir := at(r)
			if h.Mkdir(dir+"/x") != nil { // marked, so that it is pruned at once
				return nil
			}
			return tree(h, dir+"/x", false)
		}
	default:
		return fmt.Sprintf("rename %s:%s", subsystem, p), func(r *Reconciler) []cgfs.Event {
			h, dir := at(r)
			if os.Rename(filepath.Join(h.Mount(), dir), filepath.Join(h.Mount(), dir+"y")) != nil {
				return nil
			}
			return append(gone(h, dir), tree(h, dir+"y", false)...)
		}
	}
}

// removeAll removes a cgroup with all below it, as somebody else would.
func removeAll(h *cgfs.Hierarchy, dir string) (events []cgfs.Event) {
	children, _ := h.Children(dir)
	for _, name := range children {
		events = append(events, removeAll(h, dir+"/"+name)...)
	}
	if h.Rmdir(dir) == nil {
		events = append(events, gone(h, dir)...)
	}
	return events
}

// dump is every cgroup below our root, its marks and settings.
func dump(t testing.TB, r *Reconciler, subsystem string) string {
	t.Helper()
	h := r.layout.Hierarchy(subsystem)
	var b strings.Builder
	var walk func(dir string)
	walk = func(dir string) {
		marked, err := h.Marked(dir)
		if err != nil {
			fmt.Fprintf(&b, "%v", err)
		}
		fmt.Fprintf(&b, "%q marked=%v", strings.TrimPrefix(dir, r.opt.Root), marked)
		for _, file := range []string{"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"} {
			if text, err := h.Read(dir, file); err == nil {
				fmt.Fprintf(&b, " %s", text)
			}
		}
		b.WriteByte('\n')
		children, _ := h.Children(dir)
		for _, name := range children {
			walk(dir + "/" + name)
		}
	}
	walk(r.opt.Root)
	return b.String()
}

// believes is what a reconciler takes for the state of its hierarchies.
func believes(r *Reconciler) map[string]map[string]Node {
	out := map[string]map[string]Node{}
	for name, o := range r.observers {
		out[name] = snapshotState(o.state)
		for p, n := range out[name] {
			n.Inode = 0 // that of one made a moment ago is not asked for
			out[name][p] = n
		}
	}
	return out
}

// Mending reads and writes no more than the event speaks of, keeps its hands off what
// is not plain, and is told like any correction.
func TestKernelMend(t *testing.T) {
	r := onKernel(t, nil)
	var told []*Snapshot
	r.opt.Published = func(s *Snapshot) { told = append(told, s) }
	h := r.layout.Hierarchy("cpu")
	dir := r.opt.Root + "/a/b"
	change := func() {
		if err := h.Write(dir, "cpu.shares", "7"); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(t.Context(), work{doc: document(t, drifts), full: true})
	if rest := r.mend(t.Context(), wrote(h, dir, "cpu.shares")); len(rest) > 0 || len(told) > 0 {
		t.Errorf("an event about nothing: %v is left, %d snapshots", rest, len(told))
	}
	change()
	if rest := r.mend(t.Context(), wrote(h, dir, "cpu.shares")); len(rest) > 0 || read(t, r, "cpu", "a/b", "cpu.shares") != "200" {
		t.Errorf("a changed value: %v is left", rest)
	}
	if len(told) != 1 || told[0].Corrections != 1 || told[0].Pass.Written != 1 || told[0].Pass.Total() != 1 {
		t.Errorf("told %d: %+v", len(told), told[0].Pass)
	}
	if rest := r.mend(t.Context(), append(wrote(h, dir, "tasks"), wrote(h, "elsewhere", "cpu.shares")...)); len(rest) != 1 {
		t.Errorf("members are a matter of a pass, others' cgroups of nobody: %v", rest)
	}

	for name, hindrance := range map[string]func() (undo func()){
		"a pass with faults": func() func() { r.quiet = false; return func() { r.quiet = true } },
		"a fight": func() func() {
			r.fights["cpu/a/b: share"] = &fight{until: time.Now().Add(time.Hour)}
			return func() { clear(r.fights) }
		},
		"a fault of its own": func() func() {
			r.faults = []Fault{{Place: "cpu/a/b: share"}}
			return func() { r.faults, r.places = nil, nil }
		},
		"a doubtful state": func() func() {
			r.observers[h.Name()].stale = true
			return func() { r.observers[h.Name()].stale = false }
		},
		"settings to reset": func() func() {
			t := r.desired.treeIn(h.Name())
			t.Resets = []Reset{{}}
			return func() { t.Resets = nil }
		},
	} {
		undo := hindrance()
		change()
		if rest := r.mend(t.Context(), wrote(h, dir, "cpu.shares")); len(rest) != 1 || read(t, r, "cpu", "a/b", "cpu.shares") != "7" {
			t.Errorf("%s: it was mended", name)
		}
		undo()
	}
	r.mend(t.Context(), wrote(h, dir, "cpu.shares"))

	journal := r.journal
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.journal = newJournal(file) // which is no directory
	if rest := r.mend(t.Context(), removeAll(h, dir)); len(rest) == 0 || h.Exists("", dir) {
		t.Errorf("it was made before that was saved: %v is left", rest)
	}
	r.journal = journal
	r.pass(t.Context(), work{})

	told = nil
	if rest := r.mend(t.Context(), removeAll(h, r.opt.Root+"/a")); read(t, r, "cpu", "a/b/c", "cpu.shares") != "250" || len(rest) == 0 {
		t.Errorf("a removed tree: %v is left", rest)
	}
	if len(told) != 1 || told[0].Pass.Created != 4 || told[0].Pass.Written != 4 {
		t.Errorf("told %d: %+v", len(told), told[0].Pass)
	}
	if w := r.inbox.take(); !w.place {
		t.Error("nobody is placed in a cgroup that was made again")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	change()
	if r.answer(ctx, wrote(h, dir, "cpu.shares")); read(t, r, "cpu", "a/b", "cpu.shares") != "7" {
		t.Error("mended while stopping")
	}
	r.mu.Lock()
	r.answer(t.Context(), wrote(h, dir, "cpu.shares"))
	r.mu.Unlock()
	if w := r.inbox.take(); len(w.dirs[h.Name()]) != 1 || read(t, r, "cpu", "a/b", "cpu.shares") != "7" {
		t.Errorf("while a pass is under way: %+v", w)
	}
}

// A member of a mirror that was put out of it comes back when its cgroup is made
// again, although no event tells where it is.
// An event that is read late, when its cgroup is there again, changes nothing and counts as nothing. What is put back in
// one reading of events counts against the next event of the same reading.
func TestKernelMendStale(t *testing.T) {
	r := onKernel(t, nil)
	if s := r.pass(t.Context(), work{doc: document(t, drifts), full: true}); len(s.Faults) > 0 {
		t.Fatal(s.Faults)
	}
	h, dir := r.layout.Hierarchy("cpu"), r.opt.Root+"/a"
	events := removeAll(h, dir)
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Created == 0 {
		t.Fatal("nothing was made again")
	}
	r.pass(t.Context(), work{full: true})
	before := r.corrections
	rest := r.mend(t.Context(), events)
	if r.corrections != before || len(rest) == 0 {
		t.Errorf("%d corrections of what was there, %d events left to a pass", r.corrections-before, len(rest))
	}

	r.fights = fights{}
	stop, cancel := context.WithCancel(t.Context())
	var many []cgfs.Event
	for range 3 * fightFree {
		many = append(many, wrote(h, dir, "cpu.shares")...)
	}
	before = r.corrections
	for range 3 * fightFree {
		if err := h.Write(dir, "cpu.shares", "777"); err != nil {
			t.Fatal(err)
		}
		r.mend(stop, wrote(h, dir, "cpu.shares"))
	}
	if n := r.corrections - before; n != fightFree+1 {
		t.Errorf("%d corrections of one place in a row, want %d", n, fightFree+1)
	}
	cancel()
	if rest := r.mend(stop, many); len(rest) != len(many) {
		t.Errorf("%d of %d events are left when the daemon stops", len(rest), len(many))
	}
}

func TestKernelMendMirror(t *testing.T) {
	r := onKernel(t, nil)
	if trees(r) == 1 {
		t.Skip("cpu and cpuacct are mounted together: there is no mirror")
	}
	var err error
	if r.watcher, err = cgfs.NewWatcher(); err != nil {
		t.Fatal(err)
	}
	r.pass(t.Context(), work{doc: document(t, many(5, "7")), full: true})
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	cpu, acct := r.layout.Hierarchy("cpu"), r.layout.Hierarchy("cpuacct")
	dir := r.opt.Root + "/g1"
	if err := cpu.Move(dir, []int{cmd.Process.Pid}, func(int, error) {}); err != nil {
		t.Fatal(err)
	}
	r.note(r.mend(t.Context(), removeAll(acct, dir)))
	if s := r.pass(t.Context(), r.inbox.take()); s.Pass.Moved != 1 {
		t.Errorf("%+v", s.Pass)
	}
	if pids, err := acct.Procs(dir, nil); err != nil || len(pids) != 1 {
		t.Errorf("in the mirror: %v %v", pids, err)
	}
}

// With a watch and passes at work at the same time, all that others do is put back,
// and members are where they belong again, in the mirror too.
func TestKernelWatched(t *testing.T) {
	dir := t.TempDir()
	named, put := exec.Command("sleep", "1000"), exec.Command("sleep", "1000") // by a pid file, and by hand
	for _, cmd := range []*exec.Cmd{named, put} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	file := filepath.Join(dir, "g1.pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(named.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := onKernel(t, map[string][]string{"g1": {file}})
	passes := make(chan *Snapshot, 1)
	r.opt.Published = func(s *Snapshot) {
		select {
		case passes <- s:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	started := make(chan struct{})
	tasks.Go(func() { _ = r.Watch(ctx, func() { close(started) }) })
	<-started
	tasks.Go(func() { _ = r.Run(ctx) })
	defer func() { cancel(); tasks.Wait() }()
	r.SetDocument(document(t, many(60, "7")))
	<-passes
	cpu, acct := r.layout.Hierarchy("cpu"), r.layout.Hierarchy("cpuacct")
	move := func(h *cgfs.Hierarchy, p string, pid int) {
		var failed error
		if err := h.Move(r.opt.Root+p, []int{pid}, func(_ int, err error) { failed = err }); errors.Join(err, failed) != nil {
			t.Fatal(err, failed)
		}
	}
	away := func(h *cgfs.Hierarchy, pid int) { // where nobody watches
		if err := h.Move("", []int{pid}, func(int, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	members := func() string {
		var out []string
		for _, p := range []string{"/g1", "/g2"} {
			for _, h := range []*cgfs.Hierarchy{cpu, acct} {
				pids, err := h.Procs(r.opt.Root+p, nil)
				out = append(out, fmt.Sprint(pids, err))
			}
		}
		return strings.Join(out, " ")
	}
	home := fmt.Sprintf("[%d] <nil> [%[1]d] <nil> [%d] <nil> [%[2]d] <nil>", named.Process.Pid, put.Process.Pid)
	move(cpu, "/g2", put.Process.Pid)
	eventually(t, func() string { return members() }, home)
	want := dump(t, r, "cpu")
	for i := 58; i >= 0; i-- { // the mirror at last, so that no full pass comes behind
		name := "/g" + strconv.Itoa(i+1)
		switch {
		case i < 2:
			if trees(r) == 1 {
				continue
			}
			away(acct, []int{named.Process.Pid, put.Process.Pid}[i])
			removeAll(acct, r.opt.Root+name) // it may be there again already, with its member
		case i%2 == 0:
			_ = cpu.Write(r.opt.Root+name, "cpu.shares", "9")
		default:
			_ = cpu.Rmdir(r.opt.Root + name)
		}
		if i%10 == 5 {
			r.Reload()
		}
	}
	eventually(t, func() string { return dump(t, r, "cpu") }, want)
	eventually(t, members, home)
}

// eventually waits until something is what it should be.
func eventually(t *testing.T, got func() string, want string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		now := got()
		if now == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("(-want +got):\n%s", cmp.Diff(want, now))
		}
	}
}
