package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watched is a daemon beside a bare timer, both of which wake once a second.
type watched struct {
	b      *bench
	daemon *daemon
	timer  *process
}

func (b *bench) watched() *watched {
	b.t.Helper()
	d := b.daemon(document(flat(b.small), someShare, "cpu", "blkio"), nil)
	d.sampled(b.warm)
	// Not at the same moment as the daemon, or each would be in the other's way.
	timer, _ := b.start(b.floor("timer"), "300")
	return &watched{b, d, timer}
}

// lateness gathers, for some seconds, how late the timer woke and how late the daemon began its slot.
func (w *watched) lateness(seconds int) (floor, ours []time.Duration) {
	w.b.t.Helper()
	var last int64
	w.timer.line() // of the past
	for range seconds {
		ns, err := strconv.ParseInt(w.timer.line(), 10, 64)
		w.b.must(err)
		floor = append(floor, time.Duration(ns))
		waitUntil(600 * time.Millisecond)
		if s := w.daemon.status().Sampler; s.LastSlot != last {
			ours = append(ours, time.Duration(s.Late)*time.Microsecond)
			last = s.LastSlot
		}
	}
	return floor, ours
}

func latenessRow(b *bench) {
	w := b.watched()
	floor, ours := w.lateness(max(b.seconds, b.slots))
	b.report(result{
		measure: "lateness of the slot, quiet machine, p99", unit: "µs", against: "C timer thread", floor: µs(quantile(floor, 0.99)), ours: µs(quantile(ours, 0.99)),
		goal: 2, note: fmt.Sprintf("p50 %s, floor %s; of %d slots, as the daemon says in /status", number(µs(median(ours))), number(µs(median(floor))), len(ours)),
	})
}

// missedRow: a process that never rests on every core, at the same priority.
func missedRow(b *bench) {
	w := b.watched()
	b.start(b.floor("busy"), strconv.Itoa(runtime.NumCPU()))
	before := w.daemon.status()
	floor, ours := w.lateness(int(b.hog / time.Second))
	after := w.daemon.status()
	timer := 0
	for _, late := range floor {
		if late > 500*time.Millisecond {
			timer++
		}
	}
	note := fmt.Sprintf("%d slots; the C timer would have missed %d", after.Sampler.Slots-before.Sampler.Slots, timer)
	if b.hog < 10*time.Minute {
		note += "; short form, -long takes 10 minutes"
	}
	b.report(result{
		measure: fmt.Sprintf("seconds missed in %v with a CPU hog on every core", b.hog), ours: float64(after.MissedSlots - before.MissedSlots), goal: 0, note: note,
	})
	b.report(result{
		measure: "lateness of the slot beside the hogs, p99", unit: "µs", against: "C timer thread", floor: µs(quantile(floor, 0.99)), ours: µs(quantile(ours, 0.99)),
		goal: 2, note: fmt.Sprintf("p50 %s, floor %s", number(µs(median(ours))), number(µs(median(floor)))),
	})
}

// quietRow counts what a converged daemon asks of cgroup files apart from the sampler's reads.
func quietRow(b *bench) {
	measure := "system calls on cgroup files of a converged daemon, less the sampler's pread"
	strace, err := exec.LookPath("strace")
	if err != nil {
		b.skip(measure, err.Error())
		return
	}
	d := b.daemon(document(flat(b.small), someShare, "cpu", "blkio"), nil)
	d.sampled(b.warm)
	out := b.path("strace")
	cmd := exec.Command(strace, "-f", "-y", "-e", "trace=%file,%desc", "-e", "signal=none", "-o", out, "-p", strconv.Itoa(d.pid()))
	b.must(cmd.Start())
	var data []byte
	b.eventually("the sampler's reads under strace", func() error {
		if data, err = os.ReadFile(out); err == nil && !strings.Contains(string(data), "pread64(") {
			err = errors.New("none")
		}
		return err
	})
	time.Sleep(time.Duration(b.seconds) * time.Second / 2)
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	data, err = os.ReadFile(out)
	b.must(err)
	calls, reads := 0, 0
	example := ""
	for line := range strings.Lines(string(data)) {
		switch {
		case !strings.Contains(line, "/sys/fs/cgroup"):
		case strings.Contains(line, "pread64("):
			reads++
		default:
			calls++
			example = strings.TrimSpace(line)
		}
	}
	b.report(result{measure: measure, ours: float64(calls), goal: 0, note: strings.TrimSpace(fmt.Sprintf("%d preads by the sampler %s", reads, example))})
}
