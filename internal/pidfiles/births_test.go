package pidfiles

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseBirths(t *testing.T) {
	const stat = "cpu  1 2 3\nintr 99 0 1\nctxt 5\nbtime 1700000000\nprocesses 1027827\nprocs_running 2\n"
	for text, want := range map[string]uint64{
		stat: 1027827, "processes 7\n": 0, "x\nprocesses 7": 0, "x\nprocesses \n": 0, "x\nprocesses -1\n": 0, "x\nprocesses 0\n": 0, "": 0,
		"x\nprocesses 99999999999999999999\n": 0,
	} {
		if n, ok := parseForks([]byte(text)); n != want || ok != (want > 0) {
			t.Errorf("forks in %q: %d, %v", text, n, ok)
		}
	}
	for text, want := range map[string]uint64{
		"0.04 0.30 1.21 1/93 22805\n": 93, "0 0 0 1/0 5\n": 0, "": 0, "0 0 0 1/9": 0, "1/x 4": 0, "0 0 0 0/7 0\n": 7,
	} {
		if n, ok := parseThreads([]byte(text)); n != want || ok != (want > 0) {
			t.Errorf("threads in %q: %d, %v", text, n, ok)
		}
	}
}

func FuzzParseBirths(f *testing.F) {
	f.Add([]byte("ctxt 5\nprocesses 1027827\nprocs_running 2\n"))
	f.Add([]byte("0.04 0.30 1.21 1/93 22805\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, ok := parseForks(data); ok != (n > 0) {
			t.Errorf("forks %d, %v", n, ok)
		}
		if n, ok := parseThreads(data); ok != (n > 0) {
			t.Errorf("threads %d, %v", n, ok)
		}
	})
}

// TestBirthsOfKernel: the counters move as the conclusions drawn from them need it.
func TestBirthsOfKernel(t *testing.T) {
	s := newScanner(t)
	before, ok := s.births()
	if !ok {
		t.Fatal("no forks")
	}
	startSleep(t, 0)
	if after, ok := s.births(); !ok || after <= before {
		t.Errorf("%d forks, then a process is started, %d", before, after)
	}
	if n, ok := s.living(); !ok || n < uint64(len(scan(t, s))/2) {
		t.Errorf("%d threads, %v", n, ok)
	}
}

// TestBirthsElsewhere: files that only look like the kernel's are not believed.
func TestBirthsElsewhere(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "stat"), "\nprocesses 5\n")
	writeFile(t, filepath.Join(dir, "loadavg"), "0 0 0 1/9 9\n")
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	if b, err := openBirths(fd); err == nil {
		b.close()
		t.Error("counters that are not in procfs are believed")
	}
}

// TestBirthsGrow: a long /proc/stat is read as a whole.
func TestBirthsGrow(t *testing.T) {
	s := newScanner(t)
	s.born.buf = make([]byte, 16)
	if _, ok := s.births(); !ok {
		t.Error("not read")
	}
}

// TestUnchangedIsTrue: whenever a Lister says that nothing has happened since its list, a plain scan finds that list, with
// the same numbers of threads, while processes and threads are born and end, are waited for and are left to others, and one
// becomes another program from a thread that is not its first.
func TestUnchangedIsTrue(t *testing.T) {
	storm := startHelper(t, "storm", nil)
	l, err := NewLister("/proc")
	must(t, err)
	defer func() { _ = l.Close() }()
	s := newScanner(t)
	same, other, last := 0, 0, []Proc(nil)
	deadline := time.Now().Add(20 * time.Second)
	for (same < 50 || other < 200) && time.Now().Before(deadline) {
		l.Begin()
		procs, err := l.List()
		must(t, err)
		for i := range procs {
			procs[i].Threads = l.Threads(procs[i].PID)
		}
		plain := scan(t, s)
		if !l.Unchanged() {
			other++
			continue
		}
		same++
		equal := func(a, b Proc) bool {
			return a.PID == b.PID && a.Start == b.Start && (a.Threads == b.Threads || a.Threads == 0 && b.Ended())
		}
		if !slices.EqualFunc(procs, plain, equal) {
			for i := range min(len(procs), len(plain)) {
				if !equal(procs[i], plain[i]) {
					t.Fatalf("listed %+v, found %+v", procs[i], plain[i])
				}
			}
			t.Fatalf("listed %d processes, found %d", len(procs), len(plain))
		}
		last = procs
	}
	if same == 0 || other == 0 {
		t.Skipf("the machine was never quiet, or never busy: %d and %d listings", same, other)
	}
	if _, ok := search(last, os.Getpid()); !ok {
		t.Error("we are not listed")
	}
	t.Logf("%d listings held, %d did not; the storm is process %d", same, other, storm.Process.Pid)
}

// storm lets processes and threads come and go, with pauses, until its standard input ends.
func storm() error {
	go func() {
		for i := 0; ; i++ {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			switch i % 5 {
			case 0:
				_ = exec.Command("/bin/true").Run()
			case 1:
				_ = exec.Command("/bin/sh", "-c", "sleep 0.02 & exit 0").Run() // left to others
			case 2, 3:
				go func() {
					runtime.LockOSThread() // the thread ends with it
					time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
				}()
			case 4:
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), helperEnv+"=exec")
				_ = cmd.Run()
			}
		}
	}()
	return untilClosed()
}

// execElsewhere becomes another program, from a thread that is not the process's first.
func execElsewhere() error {
	errs := make(chan error)
	for range 4 {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() != os.Getpid() {
				errs <- syscall.Exec("/bin/true", []string{"true"}, nil)
			}
		}()
	}
	return <-errs
}
