package bench

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/bpfiter"
)

// iteratorRows: bpf_iterator, by the reader alone and by the whole daemon, against the same floor in the same seconds.
func iteratorRows(b *bench) {
	for _, n := range []int{b.small, b.large} {
		if b.smoke() && n != b.small {
			continue
		}
		b.part(func() {
			paths := flat(n)
			name := fmt.Sprintf("%d flat", n)
			k := b.tickingWith(map[string]any{"bpf_iterator": true}, paths, every(max(10, n/100), paths), "cpu")
			if got := k.daemon.status().Sampler.Counted; got != n+1 {
				b.skip("stretch: bpf_iterator, "+name, fmt.Sprintf("%d of %d are counted\n%s", got, n+1, k.daemon.tail()))
				return
			}
			floor, reading := k.reading(b.counters(k, paths), b.seconds)
			b.report(result{
				measure: "stretch: usage of " + name + " by BPF, reading alone", unit: "µs", against: "C, kept files, pread",
				floor: µs(median(floor)), ours: µs(median(reading)), goal: 0.4, note: "cgroup_mutex is not held; RCU for 512 cgroups at a time",
			})
			floor, ours := k.seconds(b.seconds)
			b.report(result{
				measure: "stretch: sampler tick by BPF, " + name + ", with Redis SET", unit: "µs", against: "C, kept files, pread",
				floor: µs(median(floor)), ours: µs(median(ours)), no: true,
				note: fmt.Sprintf("%d files kept open; %.1f MB resident", k.daemon.status().Sampler.Open, b.rss(k.daemon.pid())/1e6),
			})
		})
	}
}

// counters is a reader of the daemon's cgroups.
func (b *bench) counters(k *ticking, paths []string) *bpfiter.Reader {
	b.t.Helper()
	r, err := bpfiter.Open(1, len(paths)+1)
	b.must(err)
	b.t.Cleanup(r.Close)
	for _, p := range append([]string{""}, paths...) {
		dir, err := os.Open(k.daemon.dir("cpuacct", p))
		b.must(err)
		_, err = r.Add(int(dir.Fd()))
		dir.Close()
		b.must(err)
	}
	return r
}

// reading lets the floor and the reader read everything once in each of some seconds, at different moments. The CPU time of
// either is that of its loop.
func (k *ticking) reading(r *bpfiter.Reader, seconds int) (floor, ours []time.Duration) {
	k.b.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range seconds {
		waitUntil(350 * time.Millisecond)
		floor = append(floor, k.floor.ask("go").cpu)
		waitUntil(700 * time.Millisecond)
		before := threadTime()
		k.b.must(r.Read())
		var sum uint64
		for place := range k.files {
			usage, ok := r.Value(place)
			if !ok {
				k.b.t.Fatalf("no usage at place %d", place)
			}
			sum += usage
		}
		ours = append(ours, threadTime()-before)
		if sum == 0 {
			k.b.t.Fatal("nothing was used")
		}
	}
	return floor, ours
}

func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}
