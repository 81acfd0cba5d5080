package reconcile

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// threadsEnv makes this test binary a process of several threads; with leaderless, of
// which the first ends at once.
const (
	threadsEnv = "CGATEST_RECONCILE_THREADS"
	leaderless = "leaderless"
)

// init keeps the main goroutine on the first thread, as Go does for init functions.
func init() {
	if os.Getenv(threadsEnv) == leaderless {
		runtime.LockOSThread()
	}
}

// endFirstThread ends the thread that it runs on alone.
func endFirstThread() {
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	panic(errno)
}

func TestThreadsChild(t *testing.T) {
	if os.Getenv(threadsEnv) == "" {
		t.Skip("is started by others")
	}
	time.Sleep(time.Hour)
}

// threaded starts a process of at least three threads.
func threaded(t *testing.T) (pid int, threads []int) { return threadedAs(t, "1") }

func threadedAs(t *testing.T, mode string) (pid int, threads []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestThreadsChild$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), threadsEnv+"="+mode)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); len(threads) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no threads within 20 s")
		}
		threads = nil
		names, _ := filepath.Glob("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/*")
		for _, name := range names {
			if tid, err := strconv.Atoi(filepath.Base(name)); err == nil {
				threads = append(threads, tid)
			}
		}
	}
	return cmd.Process.Pid, threads
}

// TestKernelEvacuatesThreads: where only one thread of a process is in a cgroup that is
// pruned, the others stay where they are.
func TestKernelEvacuatesThreads(t *testing.T) {
	r := onKernel(t, nil)
	h := r.layout.Hierarchy("cpu")
	root := r.opt.Root
	r.pass(t.Context(), work{doc: document(t, `{"cpu": {"sub_cgroup": {"b": {"conf": {}}}}}`), full: true})
	if err := h.Mkdir(root + "/x"); err != nil {
		t.Fatal(err)
	}
	pid, threads := threaded(t)
	whole, _ := threaded(t)
	one := threads[1]
	moved := func(_ int, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := h.Move(root+"/b", []int{pid}, moved); err != nil {
		t.Fatal(err)
	}
	if err := h.MoveThread(root+"/x", one); err != nil {
		t.Fatal(err)
	}
	if err := h.Move(root+"/x", []int{whole}, moved); err != nil {
		t.Fatal(err)
	}

	s := r.pass(t.Context(), work{full: true})
	if _, err := h.Stat(root + "/x"); err == nil || len(s.Faults) > 0 {
		t.Fatalf("it is there (%v), faults %v", err, s.Faults)
	}
	at := func(dir string) []int {
		tids, err := h.Tasks(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tids
	}
	inRoot, inB := at(root), at(root+"/b")
	if !slices.Contains(inRoot, one) || !slices.Contains(inRoot, whole) {
		t.Errorf("thread %d and process %d are not in the refuge, where are %v", one, whole, inRoot)
	}
	for _, tid := range threads {
		if tid != one && !slices.Contains(inB, tid) {
			t.Errorf("thread %d was moved as well: %v are in b, %v in the refuge", tid, inB, inRoot)
		}
	}
	if procs, err := h.Procs(root+"/b", nil); err != nil || slices.Contains(procs, whole) {
		t.Errorf("processes in b: %v, %v", procs, err)
	}
}

// TestKernelLeaderless: of a process whose first thread has ended the kernel says that
// it is in no cgroup. It is placed all the same, in the mirror too, once.
func TestKernelLeaderless(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pid")
	r := onKernel(t, map[string][]string{"a": {file}})
	h, mirror := r.layout.Hierarchy("cpu"), r.layout.Hierarchy("cpuacct")
	pid, threads := threadedAs(t, leaderless)
	for deadline := time.Now().Add(20 * time.Second); cgfs.Runs(pid, pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first thread has not ended within 20 s")
		}
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := r.pass(t.Context(), work{doc: document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`), full: true}); len(s.Faults) > 0 || s.Pass.Moved != trees(r) {
		t.Errorf("first pass: %+v, faults %v", s.Pass, s.Faults)
	}
	for _, h := range []*cgfs.Hierarchy{h, mirror} {
		in, err := h.Tasks(r.opt.Root+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, tid := range threads {
			if tid != pid && !slices.Contains(in, tid) {
				t.Errorf("thread %d is not in %s:a, where are %v", tid, h.Name(), in)
			}
		}
	}
	for _, w := range []work{{full: true}, {place: true}, {procs: map[string]map[string]bool{h.Name(): {r.opt.Root + "/a": true}, mirror.Name(): {r.opt.Root + "/a": true}}}} {
		if s := r.pass(t.Context(), w); s.Pass.Total() != 0 {
			t.Errorf("%+v: a converged pass did %+v", w, s.Pass)
		}
	}
}
