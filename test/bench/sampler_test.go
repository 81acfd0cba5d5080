package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// usageFiles are the files that one tick reads, as the daemon reads them on this kernel.
var usageFiles = map[string]struct{ hierarchy, file string }{
	"cpu":   {"cpuacct", "cpuacct.usage"},
	"blkio": {"blkio", "blkio.throttle.io_service_bytes"},
}

// ticking is a daemon and a bare reader of the same files, each of which reads everything once a second.
type ticking struct {
	b      *bench
	daemon *daemon
	floor  *process
	open   int // files that the daemon keeps open
	files  int // that there are
}

// ticking starts both, with Redis, and lets some of the cgroups work, so that numbers change.
func (b *bench) ticking(paths, active []string, subsystems ...string) *ticking {
	b.t.Helper()
	return b.tickingWith(map[string]any{}, paths, active, subsystems...)
}

// tickingWith is ticking with a daemon configured so.
func (b *bench) tickingWith(settings map[string]any, paths, active []string, subsystems ...string) *ticking {
	b.t.Helper()
	redis := testserver.Redis(b.t)
	host, port, _ := strings.Cut(redis.Addr(), ":")
	settings["redis_ip"], settings["redis_port"] = host, port
	d := b.daemon(document(paths, someShare, subsystems...), settings)
	k := &ticking{b: b, daemon: d}
	var files strings.Builder
	for _, subsystem := range subsystems {
		for _, p := range append([]string{""}, paths...) {
			fmt.Fprintln(&files, filepath.Join(d.dir(usageFiles[subsystem].hierarchy, p), usageFiles[subsystem].file))
			k.files++
		}
	}
	d.work(active)
	k.floor, _ = b.start(b.floor("sample"), b.file("files", files.String()))
	s := d.sampled(b.warm)
	if s.Sampler.Unread > 0 {
		b.t.Fatalf("%d cgroups cannot be read", s.Sampler.Unread)
	}
	k.open = s.Sampler.Open
	return k
}

// work lets a process work in each of some cgroups.
func (d *daemon) work(active []string) {
	d.t.Helper()
	if len(active) == 0 {
		return
	}
	var groups strings.Builder
	for _, p := range active {
		fmt.Fprintln(&groups, d.dir("cpu", p)+"/cgroup.procs", d.dir("cpuacct", p)+"/cgroup.procs")
	}
	busy, _ := d.b.start(d.b.floor("busy"), d.b.file("active", groups.String()))
	d.b.members = append(d.b.members, busy.end)
}

// seconds lets both work for some seconds, half a second apart, and returns the CPU time of each in each of them. The floor's
// is that of its loop, the daemon's is everything that the daemon did in that second.
func (k *ticking) seconds(n int) (floor, ours []time.Duration) {
	k.b.t.Helper()
	waitUntil(450 * time.Millisecond)
	before := k.b.cpuTime(k.daemon.pid())
	for range n {
		if w := k.floor.ask("go"); w.count == 0 {
			k.b.t.Fatal("the floor read nothing")
		} else {
			floor = append(floor, w.cpu)
		}
		waitUntil(450 * time.Millisecond)
		now := k.b.cpuTime(k.daemon.pid())
		ours = append(ours, now-before)
		before = now
	}
	return floor, ours
}

// every picks one of each n.
func every(n int, paths []string) []string {
	var some []string
	for i := 0; i < len(paths); i += n {
		some = append(some, paths[i])
	}
	return some
}

func samplerRows(b *bench) {
	for _, c := range []struct {
		name       string
		paths      []string
		subsystems []string
		no         bool
	}{
		{"flat, cpu", flat(b.small), []string{"cpu"}, false},
		{"flat, cpu+blkio", flat(b.small), []string{"cpu", "blkio"}, false},
		{"nested, cpu+blkio", nested(b.small), []string{"cpu", "blkio"}, false},
		{"flat, cpu", flat(b.large), []string{"cpu"}, false},
		{"nested, cpu", nested(b.large), []string{"cpu"}, false},
		{"flat, cpu+blkio", flat(b.large), []string{"cpu", "blkio"}, true},
		{"cgroup: what a second costs by itself", flat(1), []string{"cpu"}, true},
	} {
		if b.smoke() && len(c.subsystems) == 1 {
			continue
		}
		b.part(func() {
			k := b.ticking(c.paths, every(max(10, len(c.paths)/100), c.paths), c.subsystems...)
			floor, ours := k.seconds(b.seconds)
			written := k.daemon.status().Redis.Written
			if written == 0 {
				b.t.Fatal("nothing written to Redis")
			}
			var mean time.Duration
			for _, d := range ours {
				mean += d / time.Duration(len(ours))
			}
			note := fmt.Sprintf("mean %s µs; %d of %d files kept open", number(µs(mean)), k.open, k.files)
			b.report(result{
				measure: fmt.Sprintf("sampler tick with Redis SET, %d %s", len(c.paths), c.name), unit: "µs", against: "C, kept files, pread",
				floor: µs(median(floor)), ours: µs(median(ours)), goal: 1.25, no: c.no, note: note,
			})
		})
	}
}

// part is a subtest within a row: its processes end and its cgroups go before the next.
func (b *bench) part(f func()) {
	outer := b.t
	defer func() { b.t = outer }()
	outer.Run("part", func(t *testing.T) {
		b.t = t
		f()
	})
}

// fewActiveRow: cost should follow activity, not size.
func fewActiveRow(b *bench) {
	paths := nested(b.large)
	var leaves []string
	for _, p := range paths {
		if strings.Contains(p, "/leaf_") {
			leaves = append(leaves, p)
		}
	}
	k := b.ticking(paths, every(max(1, len(leaves)/10), leaves)[:min(10, len(leaves))], "cpu")
	floor, ours := k.seconds(b.seconds)
	b.report(result{
		measure: fmt.Sprintf("stretch: sampler tick, %d nested, 10 active leaves, with Redis SET", len(paths)), unit: "µs",
		against: "C, reading all", floor: µs(median(floor)), ours: µs(median(ours)), goal: 0.15,
		note: "the slot is encoded and written whole, whatever changed",
	})
}

// allocationsRow runs the test that counts them: they cannot be counted from outside.
func allocationsRow(b *bench) {
	const measure = "allocations per steady tick in sample, encode, hand over"
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "Alloc", "./internal/account")
	cmd.Dir = repository()
	out, err := cmd.CombinedOutput()
	passed := regexp.MustCompile(`(?m)^--- PASS: (Test\w*Alloc\w*)`).FindAllSubmatch(out, -1)
	switch {
	case err != nil:
		b.report(result{measure: measure, ours: 1, goal: 0, note: "the test fails:\n" + string(out)})
	case len(passed) == 0:
		b.skip(measure, "no test of internal/account is named after allocations")
	default:
		var names []string
		for _, m := range passed {
			names = append(names, string(m[1]))
		}
		b.report(result{measure: measure, goal: 0, note: "internal/account " + strings.Join(names, ", ")})
	}
}

// samplesRow: a daemon that reads ten times a second. What is missed is counted over the whole time of the row beside hogs, but
// without those.
func samplesRow(b *bench) {
	paths := flat(b.small)
	d := b.daemon(document(paths, someShare, "cpu"), map[string]any{"sample_interval": "100ms"})
	d.work(every(max(10, len(paths)/100), paths)) // else nothing below our root would be read
	d.sampled(b.warm)
	first := d.status().Sampler
	var ours []time.Duration
	begin, before := time.Now(), b.cpuTime(d.pid())
	for range int(b.hog / time.Second) {
		waitUntil(450 * time.Millisecond)
		now := b.cpuTime(d.pid())
		ours = append(ours, now-before)
		before = now
	}
	last := d.status().Sampler
	took := time.Since(begin).Round(time.Second)
	b.report(result{
		measure: fmt.Sprintf("stretch: samples each 100 ms, %d flat, cpu: CPU time in a second", len(paths)), unit: "ms",
		ours: float64(median(ours)) / 1e6, goal: 50, note: "5 % of a core is 50 ms; the whole daemon, without Redis",
	})
	b.report(result{
		measure: fmt.Sprintf("stretch: samples missed in %v", took), ours: float64(last.MissedSamples - first.MissedSamples), goal: 0,
		note: fmt.Sprintf("%d samples", last.Samples-first.Samples),
	})
}
