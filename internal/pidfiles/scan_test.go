package pidfiles

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newScanner(tb testing.TB) *Scanner {
	tb.Helper()
	s, err := NewScanner("/proc")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func scan(t *testing.T, s *Scanner) []Proc {
	t.Helper()
	procs, err := s.Scan()
	if err != nil {
		t.Fatal(err)
	}
	return procs
}

func TestScan(t *testing.T) {
	// Pid 1 may be any program, in any group; what is known for sure is ourselves and what we start.
	before := Ticks()
	odd := filepath.Join(t.TempDir(), ") Z 1 (\n")
	if err := os.Symlink("/bin/sleep", odd); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(odd, "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	zombie := startZombie(t)
	after := Ticks()

	procs := scan(t, newScanner(t))
	if !slices.IsSortedFunc(procs, func(a, b Proc) int { return a.PID - b.PID }) {
		t.Error("not sorted by pid")
	}
	self := find(procs, os.Getpid())
	if self == nil {
		t.Fatal("we are not listed")
	}
	if self.PPID != os.Getppid() || self.Threads < 2 || self.Kernel || self.Ended() || self.Start > before {
		t.Errorf("ourselves: %+v", *self)
	}
	child := find(procs, cmd.Process.Pid)
	if child == nil {
		t.Fatal("our child is not listed")
	}
	if child.PPID != os.Getpid() || child.PGrp != child.PID || child.Session != child.PID || child.Threads != 1 {
		t.Errorf("our child: %+v", *child)
	}
	if child.Start < before || child.Start > after {
		t.Errorf("our child started at %d, not between %d and %d", child.Start, before, after)
	}
	if p := find(procs, zombie); p == nil || !p.Ended() {
		t.Errorf("the zombie: %+v", p)
	}
	if name, err := os.ReadFile("/proc/2/comm"); err == nil && string(name) == "kthreadd\n" {
		if p := find(procs, 2); p == nil || !p.Kernel {
			t.Errorf("kthreadd: %+v", p)
		}
	}
}

// TestScanComplete: processes that live through the scan are all in it.
func TestScanComplete(t *testing.T) {
	list := func() map[int]bool {
		found := map[int]bool{}
		names, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if pid, err := ParsePID([]byte(filepath.Base(name))); err == nil {
				found[pid] = true
			}
		}
		return found
	}
	s := newScanner(t)
	s.dir = s.dir[:512] // several calls for one scan
	before := list()
	procs := scan(t, s)
	after := list()
	for pid := range before {
		if after[pid] && find(procs, pid) == nil {
			t.Errorf("pid %d is missing", pid)
		}
	}
	if again := len(scan(t, s)); again == 0 {
		t.Error("the second scan is empty")
	}
}

func TestScanAllocations(t *testing.T) {
	s := newScanner(t)
	for range 3 {
		scan(t, s) // buffers grow
	}
	s.procs = slices.Grow(s.procs[:0], 2*cap(s.procs)) // the machine may start processes meanwhile
	if n := testing.AllocsPerRun(20, func() {
		if _, err := s.Scan(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a scan", n)
	}
}

func TestScanFaults(t *testing.T) {
	if _, err := NewScanner(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
	proc := t.TempDir()
	mkproc := func(name, stat string) {
		if err := os.Mkdir(filepath.Join(proc, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if stat != "" {
			writeFile(t, filepath.Join(proc, name, "stat"), stat)
		}
	}
	const rest = " 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n"
	mkproc("12", "12 (x) S 1 12 12"+rest)
	mkproc("9", "9 (x) S 1 9 9"+rest)
	mkproc("irq", "")
	mkproc("33", "") // has ended since it was listed
	s, err := NewScanner(proc)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	procs := scan(t, s)
	if len(procs) != 2 || procs[0].PID != 9 || procs[1].PID != 12 {
		t.Errorf("processes %+v, want 9 and 12", procs)
	}
	mkproc("44", "nonsense")
	if _, err := s.Scan(); !errors.Is(err, errStat) {
		t.Errorf("error %v, want the format", err)
	}
}

// TestClock: start times, Ticks and the wall clock fit together.
func TestClock(t *testing.T) {
	pid := startSleep(t, 0)
	p, err := (&reader{proc: "/proc"}).stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	age := time.Since(bootTime().Add(time.Duration(p.Start) * (time.Second / ticksPerSecond)))
	if age < -time.Second || age > time.Minute {
		t.Errorf("the process that was just started is %v old", age)
	}
	boot := time.Unix(1_700_000_000, 0)
	for _, test := range []struct {
		start    uint64
		modified time.Duration // after boot
		want     bool
	}{
		{1000, 10 * time.Second, false},
		{1000, 20 * time.Second, false},
		{1000, 8 * time.Second, false}, // exactly 2 s
		{1001, 8 * time.Second, true},
		{1000, -time.Hour, true}, // written before boot
		{0, 0, false},
	} {
		if got := isStale(test.start, boot, boot.Add(test.modified)); got != test.want {
			t.Errorf("started %d ticks, file written %v after boot: stale %v", test.start, test.modified, got)
		}
	}
}

func TestThreads(t *testing.T) {
	got, err := Threads(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(got, os.Getpid()) || len(got) < 2 || !slices.IsSorted(got) {
		t.Errorf("our threads: %v", got)
	}
	if got, err := Threads(startSleep(t, 0)); err != nil || len(got) != 1 {
		t.Errorf("threads of a process with one: %v, %v", got, err)
	}
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Threads(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		t.Errorf("threads of a process that has ended: %v", err)
	}
}

func BenchmarkScan(b *testing.B) {
	s := newScanner(b)
	b.ReportAllocs()
	processes := 0
	for b.Loop() {
		procs, err := s.Scan()
		if err != nil {
			b.Fatal(err)
		}
		processes += len(procs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(processes), "ns/process")
}
