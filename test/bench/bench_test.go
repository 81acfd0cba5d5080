package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// bench is one run.
type bench struct {
	size
	t       *testing.T // of the run, then of the row
	dir     string     // binaries and scratch
	results []result
	name    string // of the row
	roots   int
	members []func() // end the processes that may be in our cgroups
}

// newBench compiles what is measured and what it is measured against.
func newBench(t *testing.T, s size) *bench {
	t.Helper()
	b := &bench{size: s, t: t}
	if os.Geteuid() != 0 {
		testhost.Lacks(t, "not root")
	}
	if mounts := testhost.Controllers(); mounts["cpu"] == "" || mounts["cpuacct"] == "" || mounts["blkio"] == "" {
		testhost.Lacks(t, "no cgroup v1 hierarchies for cpu, cpuacct and blkio")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		testhost.Lacks(t, "no C compiler for the floors")
	}
	b.dir = t.TempDir()
	for _, file := range b.floors() {
		b.must(command("gcc", "-O2", "-Wall", "-o", b.floor(file), filepath.Join("floor", file+".c")))
	}
	for _, pkg := range []string{"cmd/cgrouparchd", "test/bench/idle"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", b.path(filepath.Base(pkg)), "./"+pkg)
		cmd.Dir = repository()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		b.must(run(cmd))
	}
	return b
}

func (b *bench) floors() []string {
	files, err := filepath.Glob("floor/*.c")
	b.must(err)
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".c")
	}
	return files
}

func (b *bench) floor(name string) string { return b.path("floor-" + name) }
func (b *bench) path(name string) string  { return filepath.Join(b.dir, name) }

// row measures one row as a subtest, whose cleanups end its processes and remove its cgroups.
func (b *bench) row(r row) {
	parent := b.t
	defer func() { b.t = parent }()
	before := len(b.results)
	parent.Run(r.name, func(t *testing.T) {
		b.t, b.name = t, r.name
		defer func() {
			if t.Skipped() && len(b.results) == before {
				b.report(result{measure: r.name, skipped: "see the test's output"})
			}
		}()
		r.run(b)
		if len(b.results) == before {
			t.Errorf("row %s has no result", r.name)
		}
	})
}

// report adds a line to the table.
func (b *bench) report(r result) {
	b.results = append(b.results, r)
	if *table {
		r.print()
	}
	if r.skipped == "" {
		b.t.Logf("%+v", r)
	}
}

// skip is a row, or a part of one, that this version or machine does not have.
func (b *bench) skip(measure, reason string) { b.report(result{measure: measure, skipped: reason}) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

func command(argv ...string) error { return run(exec.Command(argv[0], argv[1:]...)) }

// patience bounds every wait for something that must happen.
const patience = 2 * time.Minute

// eventually waits until ok returns nil.
func (b *bench) eventually(what string, ok func() error) {
	b.t.Helper()
	b.within(patience, what, ok)
}

func (b *bench) within(limit time.Duration, what string, ok func() error) {
	b.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

// cpuTime is the CPU time that all threads of a process have used, those that ended included: its CPU clock, whose number
// clock_getcpuclockid(3) makes of the pid.
func (b *bench) cpuTime(pid int) time.Duration {
	b.t.Helper()
	const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers
	var ts unix.Timespec
	b.must(unix.ClockGettime(int32(^pid<<3|sched), &ts))
	return time.Duration(ts.Nano())
}

// less takes off what does not belong to a cost. In the tiny size of the smoke test that would leave noise, even below nothing.
func (b *bench) less(cost, other time.Duration) time.Duration {
	if b.smoke() {
		return cost
	}
	return cost - other
}

// monotonic is a time that other processes can compare with theirs.
func monotonic() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// waitUntil sleeps until so long after the start of a second of the wall clock.
func waitUntil(offset time.Duration) {
	now := time.Now()
	next := now.Truncate(time.Second).Add(offset)
	if !next.After(now) {
		next = next.Add(time.Second)
	}
	time.Sleep(time.Until(next))
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (b *bench) machine() string {
	data, _ := os.ReadFile("/proc/cpuinfo") // a name to print, no more
	for line := range strings.Lines(string(data)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

func (b *bench) commit() string {
	out, err := exec.Command("git", "-C", repository(), "describe", "--always", "--dirty").Output()
	if err != nil {
		return "no git"
	}
	return strings.TrimSpace(string(out))
}

// newRoot names a cgroup_root of this run's own and removes it, in every hierarchy, when the row ends, after the members.
func (b *bench) newRoot() string {
	b.roots++
	root := "/" + testhost.Root(b.t)
	b.t.Cleanup(func() {
		for _, end := range b.members {
			end()
		}
		b.members = nil
	})
	return root
}
