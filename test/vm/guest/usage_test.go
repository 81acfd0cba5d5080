package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBFQWeight: the weight of the scheduler that this kernel has, its default when the document drops it, and its bounds.
func TestBFQWeight(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.document(`{"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 500}}, "b": {"conf": {}}}}}`)
	h.start()
	h.wantTree("blkio", "blkio.bfq.weight", "a 500", "b 100")
	h.document(`{"blkio": {"sub_cgroup": {"a": {"conf": {"weight": "1000"}}, "b": {"conf": {"weight": 1}}}}}`)
	h.wantTree("blkio", "blkio.bfq.weight", "a 1000", "b 1")
	h.document(`{"blkio": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {"weight": 1}}}}}`)
	h.wantTree("blkio", "blkio.bfq.weight", "a 100", "b 1")
	h.wantNoFaults()
}

// TestCPUUsage: what a process burns is counted for its cgroup and all above it, as the kernel counts it.
func TestCPUUsage(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	p := shell(t, `while :; do :; done`)
	h.pidFiles(map[string]int{"inner": p.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": {}}}}, "idle": {"conf": {}}}},
		"cpuacct": {"sub_cgroup": {"outer": {"conf": {}}}}, "pids": {"sub_cgroup": {"inner": {"conf": {}}}}}`)
	h.start()
	h.wantIn("cpu", "outer/inner", p.pid())
	eventually(t, "half a second of CPU time", func() error {
		u, err := h.newest("cpu")
		if n := u.at("outer/inner").number("usage"); err != nil || n < 500e6 {
			return fmt.Errorf("%d ns, %w", n, err)
		}
		return nil
	})
	p.end()
	want := h.read("cpuacct", "outer/inner", "cpuacct.usage")
	eventually(t, "usage", func() error {
		u, err := h.newest("cpu")
		if err != nil {
			return err
		}
		acct, err := h.newest("cpuacct")
		if err != nil {
			return err
		}
		inner, outer, root := u.at("outer/inner").number("usage"), u.at("outer").number("usage"), u.number("usage")
		if fmt.Sprint(inner) != want || outer < inner || root < outer || u.at("idle").number("usage") != 0 || acct.at("outer").number("usage") != outer {
			return fmt.Errorf("the kernel says %s; cpu: %+v, cpuacct: %+v", want, u, acct)
		}
		return nil
	})
}

// TestShares: on one processor, two cgroups of shares 1000 and 500 get processor time in that ratio.
func TestShares(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	a, b := shell(t, `while :; do :; done`), shell(t, `while :; do :; done`)
	h.pidFiles(map[string]int{"a": a.pid(), "b": b.pid()})
	// One processor for both, by cpuset.
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1000}}, "b": {"conf": {"share": 500}}}}}`)
	h.mkdir("cpuset", "one")
	h.write("cpuset", "", "cpuset.cpus", "0-1")
	h.write("cpuset", "", "cpuset.mems", "0")
	h.write("cpuset", "one", "cpuset.cpus", "1")
	h.write("cpuset", "one", "cpuset.mems", "0")
	for _, p := range []*proc{a, b} {
		h.write("cpuset", "one", "cgroup.procs", fmt.Sprint(p.pid()))
	}
	h.start()
	h.wantIn("cpu", "a", a.pid())
	h.wantIn("cpu", "b", b.pid())
	h.wantTwoToOne()
}

// wantTwoToOne measures the processor time of a and b, which want all of one processor, until they have had three seconds of it.
func (h *host) wantTwoToOne() {
	h.t.Helper()
	var first, now usage
	eventually(h.t, "three seconds of processor time", func() (err error) {
		if now, err = h.newest("cpu"); err != nil {
			return err
		}
		if first.Value == nil {
			first = now
		}
		if n := now.number("usage") - first.number("usage"); n < 3e9 {
			return fmt.Errorf("%d ns", n)
		}
		return nil
	})
	used := func(cgroup string) float64 {
		return float64(now.at(cgroup).number("usage") - first.at(cgroup).number("usage"))
	}
	if ratio := used("a") / used("b"); ratio < 1.7 || ratio > 2.3 {
		h.t.Errorf("1000:500 gave %.2f", ratio)
	}
}

// TestDirectIO: real direct I/O on a real queue is counted whatever the disk's scheduler, for its cgroup and all above it, also after the
// cgroup is gone.
func TestDirectIO(t *testing.T) {
	need(t, "v1", "v2")
	disk := ownDisk(t)
	for _, scheduler := range []string{"bfq", "none"} {
		t.Run(scheduler, func(t *testing.T) {
			schedule(t, disk, scheduler)
			directIOCounted(t, "{}")
		})
	}
}

// TestDirectIOWithLimits: what docs/settings.md advises for kernels from 5.16 to 6.4, whose throttle files count nothing else.
func TestDirectIOWithLimits(t *testing.T) {
	need(t, "v1")
	disk := ownDisk(t)
	schedule(t, disk, "none")
	number, err := os.ReadFile(filepath.Join(disk, "dev"))
	must(t, err)
	directIOCounted(t, fmt.Sprintf(`{"max": {%q: {"rbps": "1T", "wbps": "1T"}}}`, strings.TrimSpace(string(number))))
}

// ownDisk is the directory in /sys of a disk that only the test uses.
func ownDisk(t *testing.T) string {
	t.Helper()
	disks, err := filepath.Glob("/sys/block/vd*")
	must(t, err)
	if len(disks) == 0 {
		t.Skip("this guest has no disk of the test's own")
	}
	return disks[0]
}

// schedule gives a disk another I/O scheduler until the test ends.
func schedule(t *testing.T, disk, scheduler string) {
	t.Helper()
	file := filepath.Join(disk, "queue", "scheduler")
	before, err := os.ReadFile(file)
	must(t, err)
	_, old, _ := strings.Cut(string(before), "[")
	old, _, _ = strings.Cut(old, "]")
	must(t, writeControl(file, scheduler))
	t.Cleanup(func() { must(t, writeControl(file, old)) })
}

// directIOCounted: what a process in a cgroup with the conf writes and reads past the page cache is counted.
func directIOCounted(t *testing.T, conf string) {
	t.Helper()
	h := newHost(t, "/cga")
	start, done, data := filepath.Join(h.dir, "start"), filepath.Join(h.dir, "done"), filepath.Join("/var/tmp", filepath.Base(h.dir))
	t.Cleanup(func() { _ = os.Remove(data) })
	p := startWorkload(t, "direct "+start+" "+data+" "+done)
	h.pidFiles(map[string]int{"inner": p.pid()})
	h.document(`{"blkio": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": ` + conf + `}}}, "idle": {"conf": {}}}}}`)
	h.start()
	h.wantIn("blkio", "outer/inner", p.pid())
	h.file("start", "")
	eventually(t, "direct I/O", func() error { _, err := os.Stat(done); return err })
	const written = directBlocks * 64 << 10
	check := func(u usage, cgroup string) error {
		w, r := u.at(cgroup).bytes("Write"), u.at(cgroup).bytes("Read")
		// The file system adds a few blocks of its own.
		if w < written || w > 2*written || r < written/2 || r > written {
			return fmt.Errorf("%q: written %d, read %d; want %d and %d\nthrottle:\n%s\nbfq:\n%s", cgroup, w, r, written, written/2,
				h.read("blkio", "outer/inner", "blkio.throttle.io_service_bytes"), h.read("blkio", "outer/inner", "blkio.bfq.io_service_bytes"))
		}
		return nil
	}
	eventually(t, "usage", func() error {
		u, err := h.newest("blkio")
		if err != nil {
			return err
		}
		for _, cgroup := range []string{"outer/inner", "outer", ""} {
			if err := check(u, cgroup); err != nil {
				return err
			}
		}
		if n := u.at("idle").bytes("Write"); n != 0 {
			return fmt.Errorf("idle wrote %d", n)
		}
		return nil
	})
	h.document(`{"blkio": {"sub_cgroup": {"outer": {}, "idle": {"conf": {}}}}}`)
	left := []string{"idle", "outer"}
	if os.Getenv(layoutEnv) == "v2" {
		left = append(left, "@members") // where the process is now: no cgroup above has a conf
	}
	h.wantTree("blkio", "", left...)
	eventually(t, "usage after inner is gone", func() error {
		u, err := h.newest("blkio")
		if err != nil {
			return err
		}
		return check(u, "outer")
	})
}

// TestMemoryAndPids: the values of the moment.
func TestMemoryAndPids(t *testing.T) {
	need(t, "v1", "v2")
	h := newHost(t, "/cga")
	start := filepath.Join(h.dir, "start")
	p := startWorkload(t, "memory "+start)
	h.pidFiles(map[string]int{"a": p.pid()})
	h.document(`{"memory": {"sub_cgroup": {"a": {"conf": {}}}}, "pids": {"sub_cgroup": {"a": {"conf": {}}}}, "freezer": {"sub_cgroup": {"a": {}}}}`)
	h.start()
	h.wantIn("memory", "a", p.pid())
	h.wantIn("pids", "a", p.pid())
	h.file("start", "")
	eventually(t, "memory in use", func() error {
		u, err := h.newest("memory")
		if n := u.at("a").number("usage"); err != nil || n < 16<<20 || u.number("usage") < n {
			return fmt.Errorf("%+v, %w", u, err)
		}
		return nil
	})
	u, err := h.newest("pids")
	must(t, err)
	if n := u.at("a").number("current"); n < 1 {
		t.Errorf("pids: %+v", u)
	}
	if u, err = h.newest("freezer"); err != nil || len(u.Value) != 0 || len(u.at("a").Value) != 0 {
		t.Errorf("freezer has no usage: %+v %v", u, err)
	}
}
