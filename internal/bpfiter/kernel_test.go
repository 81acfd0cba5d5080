package bpfiter

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// tree is a cgroup of the test's own, and how its usage is read from files.
type tree struct {
	version int
	dir     string
	file    string
}

// eachVersion runs a test on each hierarchy that the machine has.
func eachVersion(t *testing.T, test func(t *testing.T, tr tree)) {
	for _, c := range []struct {
		name, file string
		version    int
		mounts     []string
	}{
		{"v1", "cpuacct.usage", 1, []string{"/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct"}},
		{"v2", "cpu.stat", 2, []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mount := range c.mounts {
				tr := tree{c.version, filepath.Join(mount, testhost.Root(t)), c.file}
				if err := os.Mkdir(tr.dir, 0o755); err != nil {
					continue
				}
				if _, err := os.Stat(filepath.Join(tr.dir, c.file)); err == nil {
					test(t, tr)
					return
				}
			}
			testhost.Lacks(t, "no cgroup %s hierarchy that counts CPU time can be written", c.name)
		})
	}
}

func enter(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		t.Fatal(err)
	}
}

func openReader(t *testing.T, version, places int) *Reader {
	t.Helper()
	r, err := Open(version, places)
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	t.Cleanup(r.Close)
	return r
}

func (tr tree) make(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(tr.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func add(t *testing.T, r *Reader, dir string) int {
	t.Helper()
	place, err := tryAdd(r, dir)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func tryAdd(r *Reader, dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return r.Add(fd)
}

// usage is what the file says, in nanoseconds.
func (tr tree) usage(t *testing.T, dir string) uint64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, tr.file))
	if err != nil {
		t.Fatal(err)
	}
	text, factor := strings.TrimSpace(string(data)), uint64(1)
	if tr.version == 2 {
		text, factor = strings.Fields(text)[1], 1000
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * factor
}

// read reads as the sampler does.
func (tr tree) read(t *testing.T, r *Reader) {
	t.Helper()
	if tr.version == 2 {
		tr.usage(t, tr.dir)
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
}

// burn uses some CPU time on each CPU.
func burn(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	for cpu := range runtime.NumCPU() {
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			_, _ = os.Stat("/proc/self/stat")
		}
	}
}

// TestEqualsFiles: while cgroups come and go, and we work in one after the other, no
// value is less than the file said before or more than it says after; in a cgroup
// where nothing runs it is the same.
func TestEqualsFiles(t *testing.T) {
	eachVersion(t, func(t *testing.T, tr tree) {
		r := openReader(t, tr.version, part+20)
		// More than one part; the places of interest on either side of the border.
		for i := range part - 5 {
			add(t, r, tr.make(t, "filler"+strconv.Itoa(i)))
		}
		places := map[string]int{tr.dir: add(t, r, tr.dir)}
		dirs := []string{tr.dir}
		if tr.version == 1 { // the root of v2 has counters of another kind
			dirs = append(dirs, filepath.Dir(tr.dir))
			places[dirs[1]] = add(t, r, dirs[1])
		}
		first := len(dirs)
		for i := range 10 {
			dir := tr.make(t, strconv.Itoa(i))
			dirs = append(dirs, dir)
			places[dir] = add(t, r, dir)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for round := range 100 {
			dir := dirs[first+random.IntN(10)]
			enter(t, dir)
			burn(t)
			enter(t, tr.dir)
			if random.IntN(3) == 0 {
				if err := os.Remove(dir); err != nil {
					t.Fatal(err)
				}
				tr.read(t, r)
				if v, ok := r.Value(places[dir]); ok {
					t.Fatalf("round %d: %s was removed and has %d", round, dir, v)
				}
				r.Remove(places[dir])
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				places[dir] = add(t, r, dir)
			}
			before := map[string]uint64{}
			for _, d := range dirs {
				before[d] = tr.usage(t, d)
			}
			tr.read(t, r)
			for _, d := range dirs {
				got, ok := r.Value(places[d])
				after := tr.usage(t, d)
				if !ok || got < before[d] || got > after {
					t.Fatalf("round %d: %s: %d, %v; its file said %d before, %d after", round, d, got, ok, before[d], after)
				}
			}
		}
		busy := 0
		for _, d := range dirs[first:] {
			if v, _ := r.Value(places[d]); v > 0 {
				busy++
			}
		}
		if busy < 5 {
			t.Errorf("only %d cgroups have used anything", busy)
		}
	})
}

// TestEveryCPU: each CPU's part is counted, to the nanosecond.
func TestEveryCPU(t *testing.T) {
	eachVersion(t, func(t *testing.T, tr tree) {
		r := openReader(t, tr.version, 2)
		dir := tr.make(t, "a")
		place := add(t, r, dir)
		enter(t, dir)
		burn(t)
		enter(t, tr.dir)
		var got, want uint64
		// Another thread of ours may be charged a little after it has left.
		for range 100 {
			want = tr.usage(t, dir)
			tr.read(t, r)
			if got, _ = r.Value(place); got == want && want > 0 {
				return
			}
		}
		t.Errorf("%d, the file says %d", got, want)
	})
}

// TestPlaces: they are given back, and none is taken beyond the last.
func TestPlaces(t *testing.T) {
	eachVersion(t, func(t *testing.T, tr tree) {
		r := openReader(t, tr.version, 2)
		a, b, c := tr.make(t, "a"), tr.make(t, "b"), tr.make(t, "c")
		first := add(t, r, a)
		add(t, r, b)
		if _, err := tryAdd(r, c); !errors.Is(err, errFull) {
			t.Errorf("a third of two: %v", err)
		}
		r.Remove(first)
		tr.read(t, r)
		if v, ok := r.Value(first); ok {
			t.Errorf("the place given back has %d", v)
		}
		if place := add(t, r, c); place != first {
			t.Errorf("place %d, want %d again", place, first)
		}
		fd, err := unix.Open(a, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := os.Remove(a); err != nil {
			t.Fatal(err)
		}
		r.Remove(first)
		if _, err := r.Add(fd); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a removed cgroup: %v", err)
		}
		if place := add(t, r, c); place != first {
			t.Errorf("place %d, want %d after what was refused", place, first)
		}
		if _, err := r.Add(-1); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no directory: %v", err)
		}
	})
}

// TestOtherHierarchy: a cgroup that has no such counter is not taken for one that
// has used nothing.
func TestOtherHierarchy(t *testing.T) {
	dir := filepath.Join("/sys/fs/cgroup/freezer", testhost.Root(t))
	if err := os.Mkdir(dir, 0o755); err != nil {
		testhost.Lacks(t, "%v", err)
	}
	if _, err := tryAdd(openReader(t, 1, 1), dir); !errors.Is(err, ErrGone) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cgroup of the freezer: %v", err)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, tr tree) {
		r := openReader(t, tr.version, part+2)
		for i := range part + 2 {
			add(t, r, tr.make(t, strconv.Itoa(i)))
		}
		if n := testing.AllocsPerRun(20, func() { _ = r.Read() }); n != 0 {
			t.Errorf("%v allocations in a read", n)
		}
	})
}

// TestManyCPUs: the kernel takes the program for a machine with more CPUs than this
// one, too.
func TestManyCPUs(t *testing.T) {
	r := openReader(t, 1, 1)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLayout(kernel, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newSyscall("read", read(l, 1, r.cgroups.FD(), r.values.fd(), make([]uint64, 2048)))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// TestForgets: a removed cgroup stays in the kernel only as long as it has a place.
func TestForgets(t *testing.T) {
	eachVersion(t, func(t *testing.T, tr tree) {
		if tr.version == 1 {
			return // v1 does not count cgroups that are dying
		}
		dying := func(want string) {
			t.Helper()
			var text string
			for range 500 { // the kernel takes its time
				data, err := os.ReadFile(tr.dir + "/cgroup.stat")
				if err != nil {
					t.Fatal(err)
				}
				if text = string(data); strings.Contains(text, "nr_dying_descendants "+want+"\n") {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%s dying cgroups are wanted: %s", want, text)
		}
		r, err := Open(tr.version, 2)
		if err != nil {
			testhost.Lacks(t, "%v", err)
		}
		a, b := tr.make(t, "a"), tr.make(t, "b")
		place := add(t, r, a)
		add(t, r, b)
		for _, dir := range []string{a, b} {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		dying("2")
		r.Remove(place)
		dying("1")
		r.Close()
		dying("0")
	})
}

const openEnv = "CGROUPARCHD_TEST_OPEN"

// openAsNobody says how a process without capabilities is refused.
func openAsNobody(version string) {
	v, _ := strconv.Atoi(version)
	r, err := Open(v, 1)
	if err == nil {
		r.Close()
	}
	fmt.Println(errors.Is(err, os.ErrPermission), err)
}

// TestRefusedWithoutCapabilities: with the reason, and nothing left behind.
func TestRefusedWithoutCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		testhost.Lacks(t, "needs root, to give it up")
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "bpfiter") // t.TempDir is for its owner only
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(exe, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2"} {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), openEnv+"="+version)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "true ") {
			t.Errorf("v%s: %v: %s", version, err, out)
		}
		t.Logf("v%s: %s", version, out)
	}
}
