package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// profileEnv names a file for the CPU profile of each command of each reconciler, to which the command, the pid and a number are added.
const profileEnv = "CGROUPARCHD_BENCH_PROFILE"

// reconcilerOptions are the arguments of reconcilerRole, as JSON.
type reconcilerOptions struct {
	Root, StateDir string
	Watch          bool
	PidFiles       map[string][]string
}

// reconcilerRole is a reconciler by itself, the package as the daemon uses it, so that its passes can be measured without the
// sampler's and the server's part. Commands: "document FILE" reads and applies a document, "audit" is a full pass, "place" one
// after a pid file changed. The answer is CPU ns, wall ns, and what the pass changed.
func reconcilerRole(args []string) error {
	var o reconcilerOptions
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	shield, err := reconcile.NewShield(nil, true)
	if err != nil {
		return err
	}
	passes := make(chan *reconcile.Snapshot, 16)
	var busy atomic.Bool
	r, err := reconcile.New(reconcile.Config{
		CgroupDir: "/sys/fs/cgroup", Root: o.Root, StateDir: o.StateDir, Shield: shield, Interval: time.Hour, Log: zap.NewNop(),
		Origin:    func() zkconf.Origin { return zkconf.Origin{Kind: zkconf.KindFile, Path: "bench"} },
		PidFiles:  pidfiles.New(pidfiles.Config{Files: o.PidFiles, Hold: true}),
		Published: func(s *reconcile.Snapshot) { passes <- s },
		Measure:   func(pass func()) { busy.Store(true); pass(); busy.Store(false) },
	})
	if err != nil {
		return err
	}
	defer r.Close()
	ctx := context.Background()
	if o.Watch {
		started := make(chan struct{})
		go func() { fail(r.Watch(ctx, func() { close(started) })) }()
		<-started
	}
	go func() { fail(r.Run(ctx)) }()
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for version := int32(0); in.Scan(); version++ {
		what, file, _ := strings.Cut(in.Text(), " ")
		var data []byte
		if file != "" {
			if data, err = os.ReadFile(file); err != nil {
				return err
			}
		}
		settle(passes, &busy)
		stop, err := profile(what, version)
		if err != nil {
			return err
		}
		asked := time.Now()
		wall, cpu := clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_PROCESS_CPUTIME_ID)
		switch what {
		case "document":
			doc, err := zkconf.Decode(data, version)
			if err != nil {
				return err
			}
			r.SetDocument(doc)
		case "audit":
			r.Reload()
		case "place":
			r.Placed()
		}
		s := <-passes
		// An answer to an event that was under way is not the one.
		for s.Pass.Began.Before(asked) || what == "audit" && !s.Pass.Full || what == "document" && s.Document.Version != version {
			s = <-passes
		}
		cpu, wall = clock(unix.CLOCK_PROCESS_CPUTIME_ID)-cpu, clock(unix.CLOCK_MONOTONIC)-wall
		if err := stop(); err != nil {
			return err
		}
		if len(s.Faults) > 0 || s.Pass.Failed > 0 {
			return fmt.Errorf("%s: %d faults, first: %+v", what, len(s.Faults), s.Faults)
		}
		c := s.Pass.Counts
		fmt.Println(int64(cpu), int64(wall), c.Created+c.Written+c.Moved+c.Removed)
	}
	return nil
}

// fail ends a role whose part has failed.
func fail(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "ended:", err)
	os.Exit(1)
}

// profile begins the profile of one command, where one is wanted.
func profile(what string, version int32) (stop func() error, err error) {
	file := os.Getenv(profileEnv)
	if file == "" {
		return func() error { return nil }, nil
	}
	out, err := os.Create(fmt.Sprintf("%s.%s.%d.%d", file, what, os.Getpid(), version))
	if err == nil {
		err = pprof.StartCPUProfile(out)
	}
	return func() error { pprof.StopCPUProfile(); return out.Close() }, err
}

// settle waits until passes that answer our own events are over: none is under way, and none comes for a while. One may take
// longer than that while.
func settle(passes chan *reconcile.Snapshot, busy *atomic.Bool) {
	for {
		select {
		case <-passes:
		case <-time.After(50 * time.Millisecond):
			if !busy.Load() {
				return
			}
		}
	}
}

func (b *bench) reconciler(o reconcilerOptions) *process {
	b.t.Helper()
	if o.StateDir == "" {
		b.roots++
		o.StateDir = b.path(fmt.Sprintf("reconciler%d", b.roots))
	}
	text, err := json.Marshal(o)
	b.must(err)
	return b.role("reconciler", string(text))
}

// floorTree starts the floor of the work on trees, below a root of its own.
func (b *bench) floorTree(paths []string) (p *process, root string) {
	b.t.Helper()
	root = filepath.Join(testhost.Controllers()["cpu"], b.newRoot())
	b.must(os.Mkdir(root, 0o755))
	p, _ = b.start(b.floor("tree"), root, b.file(fmt.Sprintf("paths%d", b.roots), strings.Join(paths, "\n")+"\n"))
	return p, root
}

// withoutMirror names cpuacct, so that the cpu tree is not mirrored there.
func withoutMirror(paths []string) string {
	return strings.TrimSuffix(document(paths, someShare, "cpu"), "}") + `,"cpuacct":{}}`
}

// buildRows: cgroups from nothing. Every round makes them all and removes them again.
func buildRows(b *bench) {
	for _, c := range []struct {
		name  string
		paths []string
	}{{"flat", flat(b.build)}, {"nested", nested(b.build)}} {
		b.part(func() { b.buildRow(c.name, c.paths) })
	}
}

func (b *bench) buildRow(name string, paths []string) {
	floor, _ := b.floorTree(paths)
	plain := b.reconciler(reconcilerOptions{Root: b.newRoot()})
	mirror := b.reconciler(reconcilerOptions{Root: b.newRoot()})
	watch := b.reconciler(reconcilerOptions{Root: b.newRoot(), Watch: true})
	b.roots++
	one := b.file(fmt.Sprintf("document%d", b.roots), withoutMirror(paths))
	both := b.file(fmt.Sprintf("mirrored%d", b.roots), document(paths, someShare, "cpu"))
	none := b.file("nothing", `{"cpu":{},"cpuacct":{}}`)
	empty := b.file("empty", `{"cpu":{}}`)
	var bare, marked, ours, mirrored, watched, bareRemoved, removed []time.Duration
	cycle := func(p *process, full, nothing string) time.Duration {
		w := p.ask("document %s", full)
		if w.count < len(paths) {
			b.t.Fatalf("made %d of %d", w.count, len(paths))
		}
		gone := p.ask("document %s", nothing)
		if p == plain {
			removed = append(removed, gone.cpu)
		}
		return w.cpu
	}
	plain.ask("document %s", none)
	mirror.ask("document %s", empty)
	watch.ask("document %s", none)
	for range max(2, b.rounds/5) {
		bare = append(bare, floor.ask("build 100").cpu)
		bareRemoved = append(bareRemoved, floor.ask("remove").cpu)
		ours = append(ours, cycle(plain, one, none))
		marked = append(marked, floor.ask("mark 100").cpu)
		floor.ask("remove")
		mirrored = append(mirrored, cycle(mirror, both, empty))
		watched = append(watched, cycle(watch, one, none))
	}
	mark := median(marked) - median(bare)
	ms := func(d time.Duration) string { return number(float64(d)/1e6) + " ms" }
	b.report(result{
		measure: fmt.Sprintf("build %d cgroups %s, one setting each, marked", len(paths), name), unit: "ms", against: "C mkdirat, write, setxattr",
		floor: float64(median(marked)) / 1e6, ours: float64(median(ours)) / 1e6, goal: 1.3,
		note: fmt.Sprintf("from the document's text; C without mark %s, with %s; ours less the mark %.2f of the former; with mirror %s, with watches %s",
			ms(median(bare)), ms(median(marked)), float64(median(ours)-mark)/float64(median(bare)), ms(median(mirrored)), ms(median(watched))),
	})
	b.report(result{
		measure: "- removed again", unit: "ms", against: "C rmdir", floor: float64(median(bareRemoved)) / 1e6, ours: float64(median(removed)) / 1e6, no: true,
	})
}

// auditRow: a full pass that finds nothing to do.
func auditRow(b *bench) {
	for _, c := range []struct {
		name  string
		paths []string
	}{{"flat", flat(b.build)}, {"nested", nested(b.build)}} {
		b.part(func() {
			floor, _ := b.floorTree(c.paths)
			floor.ask("build 100")
			p := b.reconciler(reconcilerOptions{Root: b.newRoot(), Watch: true})
			p.ask("document %s", b.file("audit"+c.name, withoutMirror(c.paths)))
			p.ask("audit")
			var bare, ours []time.Duration
			for range b.rounds {
				w := floor.ask("audit")
				if w.count != len(c.paths) {
					b.t.Fatalf("the floor saw %d of %d", w.count, len(c.paths))
				}
				bare = append(bare, w.cpu)
				if w = p.ask("audit"); w.count != 0 {
					b.t.Fatalf("an audit changed %d", w.count)
				}
				ours = append(ours, w.cpu)
			}
			b.report(result{
				measure: fmt.Sprintf("audit of %d cgroups %s", len(c.paths), c.name), unit: "ms", against: "C getdents, nlink, read",
				floor: float64(median(bare)) / 1e6, ours: float64(median(ours)) / 1e6, goal: 1.3, note: "the whole full pass",
			})
		})
	}
}

// placementRows: who is where, when everybody is where he should be.
func placementRows(b *bench) {
	for _, c := range []struct {
		name         string
		procs, group int
	}{{"1 pid file", b.procs, b.procs}, {"pid files of 5 processes", 5 * b.pidFiles, 5}} {
		b.part(func() {
			p, _, _ := b.placed(c.procs, c.group)
			scan, _ := b.start(b.floor("procs"))
			var bare, ours []time.Duration
			for range b.rounds {
				bare = append(bare, scan.ask("scan").cpu)
				w := p.ask("place")
				if w.count != 0 {
					b.t.Fatalf("moved %d", w.count)
				}
				ours = append(ours, w.cpu)
			}
			b.report(result{
				measure: fmt.Sprintf("placement, %d processes, %d %s, nothing to move", c.procs, c.procs/c.group, strings.TrimPrefix(c.name, "1 ")), unit: "ms",
				against: "C, one scan of /proc", floor: float64(median(bare)) / 1e6, ours: float64(median(ours)) / 1e6, goal: 0.8,
			})
		})
	}
}

// placed starts processes and a reconciler that has placed them, and gives the document and the pids.
func (b *bench) placed(n, group int) (p *process, document string, pids []string) {
	b.t.Helper()
	spawned, trees := b.start(b.floor("spawn"), fmt.Sprint(n), fmt.Sprint(group))
	b.members = append(b.members, spawned.end)
	files := map[string][]string{}
	var conf strings.Builder
	dir := b.path(fmt.Sprintf("pids%d", b.roots))
	b.must(os.Mkdir(dir, 0o755))
	for i, tree := range trees {
		name := fmt.Sprintf("group_%03d", i)
		all := strings.Fields(tree)
		pids = append(pids, all...)
		file := filepath.Join(dir, name+".pid")
		b.must(os.WriteFile(file, []byte(all[0]+"\n"), 0o644))
		files[name] = []string{file}
		fmt.Fprintf(&conf, `%q:{"conf":{}},`, name)
	}
	document = b.file(fmt.Sprintf("placed%d", b.roots), `{"cpu":{"sub_cgroup":{`+strings.TrimSuffix(conf.String(), ",")+`}},"cpuacct":{}}`)
	p = b.reconciler(reconcilerOptions{Root: b.newRoot(), PidFiles: files})
	if w := p.ask("document %s", document); w.count < len(pids) {
		b.t.Fatalf("placed %d of %d", w.count, len(pids))
	}
	p.ask("place")
	return p, document, pids
}

// movingRow: processes that are all somewhere else. In every round both take them out of the hierarchy's root.
func movingRow(b *bench) {
	p, _, pids := b.placed(b.procs, b.procs)
	root := filepath.Join(testhost.Controllers()["cpu"], "cgroup.procs")
	floorRoot := filepath.Join(testhost.Controllers()["cpu"], b.newRoot())
	b.must(os.Mkdir(floorRoot, 0o755))
	list := b.file("moving", strings.Join(pids, "\n")+"\n")
	procs, _ := b.start(b.floor("procs"))
	var bare, scans, still, ours, bareWall, wall []time.Duration
	for range b.rounds {
		procs.ask("move %s %s", root, list)
		w := procs.ask("move %s/cgroup.procs %s", floorRoot, list)
		if w.count != len(pids) {
			b.t.Fatalf("the floor moved %d of %d", w.count, len(pids))
		}
		bare, bareWall = append(bare, w.cpu), append(bareWall, w.wall)
		scans = append(scans, procs.ask("scan").cpu)
		procs.ask("move %s %s", root, list)
		w = p.ask("place")
		if w.count != len(pids) {
			b.t.Fatalf("moved %d of %d", w.count, len(pids))
		}
		ours, wall = append(ours, w.cpu), append(wall, w.wall)
		still = append(still, p.ask("place").cpu)
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	b.report(result{
		measure: fmt.Sprintf("moving %d processes", len(pids)), unit: "ms", against: "C writes in one burst",
		floor: ms(median(bare)), ours: ms(b.less(median(ours), median(still))), goal: 1.2,
		note: fmt.Sprintf("ours is the pass (%s ms) less one that moves nothing (%s ms); a scan in C %s ms; wall %s ms, C writes %s ms",
			number(ms(median(ours))), number(ms(median(still))), number(ms(median(scans))), number(ms(median(wall))), number(ms(median(bareWall)))),
	})
}
