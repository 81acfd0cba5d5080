package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestThreadsMoveWhole: a process with eight threads is in its cgroup with each of them.
func TestThreadsMoveWhole(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	p := startWorkload(t, "threads")
	if n := threads(p.pid()); n < 9 {
		t.Fatalf("the sample process has %d threads", n)
	}
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.document(sampleA)
	h.startReady()
	h.wantIn("cpu", "a", p.pid()) // looks at every thread
	h.wantIn("cpuacct", "a", p.pid())
	h.wantIn("blkio", "a", p.pid())
}

// TestSplitThreads: a process of which somebody moved one thread is made whole again, as on a host where the Python library has
// moved main threads only; and a foreign cgroup that holds nothing but a thread goes.
func TestSplitThreads(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p, other := startWorkload(t, "threads"), startWorkload(t, "threads")
	h.mkdir("cpu", "a")
	h.write("cpu", "a", "tasks", strconv.Itoa(p.pid())) // the main thread only
	h.mkdir("cpu", "foreign")
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", other.pid()))
	if err != nil || len(tasks) < 2 {
		t.Fatal(tasks, err)
	}
	h.write("cpu", "foreign", "tasks", tasks[1].Name())
	if h.areIn("cpu", "a", p.pid()) == nil {
		t.Fatal("the sample process is not split")
	}
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.document(sampleA)
	h.startReady()
	h.wantIn("cpu", "a", p.pid())
	h.wantTree("cpu", "", "a")
}

const sampleA = `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}}}, "blkio": {"sub_cgroup": {"a": {"conf": {"weight": 200}}}}}`

// tenProcesses makes one process, three children and six grandchildren.
const tenProcesses = `
child() { sleep 600 & sleep 600 & wait; }
child & child & child & wait`

// TestTreeMovesWhole: a process tree of ten moves whole, and so do those who are forked later.
func TestTreeMovesWhole(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	p := shell(t, `while [ ! -e "$1" ]; do sleep 0.05; done & `+tenProcesses, h.path("never"))
	eventually(t, "six grandchildren", func() error {
		n := 0
		for _, pid := range p.session() {
			if commandOf(pid) == "sleep 600 " {
				n++
			}
		}
		return differ(6, n)
	})
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.document(sampleA)
	h.startReady()
	for _, subsystem := range []string{"cpu", "cpuacct", "blkio"} {
		eventually(t, "the whole tree in "+subsystem, func() error { return h.livingAreIn(subsystem, "a", p) })
	}
	// Its busy child, which forks all the time, is inside with everything that it forks.
	throughout(t, time.Second, "later children", func() error { return h.livingAreIn("cpu", "a", p) })
}

// livingAreIn says whether every living process of the session is in the cgroup; one that ends meanwhile does not count.
func (h *host) livingAreIn(subsystem, cgroup string, p *proc) error {
	for _, pid := range p.session() {
		if err := h.areIn(subsystem, cgroup, pid); err != nil {
			// A process that is ending gives up its memory, then its cgroups, and only then becomes a zombie (do_exit of the kernel).
			if command := commandOf(pid); command != "" {
				return fmt.Errorf("%w (child of %d, %q)", err, parentOf(pid), command)
			}
		}
	}
	return nil
}

// TestNestedClaim: a child with a pid file of its own stays in its own cgroup while its parent is placed in another, without flapping.
func TestNestedClaim(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	child, grandchild := h.path("child.pid"), h.path("grandchild.pid")
	p := shell(t, `
		sh -c 'echo $$ > "$1.new"; mv "$1.new" "$1"; sh -c "echo \$\$ > \"\$1.new\"; mv \"\$1.new\" \"\$1\"; sleep 600 & wait" sh "$2" & wait' sh "$1" "$2" &
		sleep 600 & wait`, child, grandchild)
	childPID, grandchildPID := pidIn(t, child), pidIn(t, grandchild)
	all := p.wantSession(5) // p, its sleep, the child, the grandchild and that one's sleep
	h.set("cgroup_pid_files", map[string][]string{
		"parent": {h.pidFile("parent.pid", p.pid())}, "parent/child": {child}, "back": {grandchild},
	})
	h.document(`{"cpu": {"sub_cgroup": {"parent": {"conf": {}, "sub_cgroup": {"child": {"conf": {}}}}, "back": {"conf": {}}}},
		"blkio": {"sub_cgroup": {"parent": {"conf": {}}}}}`)
	h.startReady()
	var ofParent, ofGrandchild []int
	for _, pid := range all {
		switch parent := parentOf(pid); {
		case pid == childPID:
		case pid == grandchildPID || parent == grandchildPID:
			ofGrandchild = append(ofGrandchild, pid)
		default:
			ofParent = append(ofParent, pid)
		}
	}
	if len(ofParent) != 2 || len(ofGrandchild) != 2 {
		t.Fatalf("sample processes: parent %v, child %d, grandchild %v", ofParent, childPID, ofGrandchild)
	}
	h.wantIn("cpu", "parent", ofParent...)
	h.wantIn("cpu", "parent/child", childPID)
	h.wantIn("cpu", "back", ofGrandchild...)
	h.wantIn("blkio", "parent", all...) // there, the nearest named ancestor is the parent
	throughout(t, 3*time.Second, "flapping", func() error {
		if err := h.areIn("cpu", "parent/child", childPID); err != nil {
			return err
		}
		if err := h.areIn("cpu", "back", ofGrandchild...); err != nil {
			return err
		}
		return h.areIn("cpu", "parent", ofParent...)
	})
}

// pidIn waits for a pid file and reads it.
func pidIn(t *testing.T, file string) int {
	t.Helper()
	pid := 0
	eventually(t, file, func() error {
		if pids := readPIDs(file); len(pids) == 1 {
			pid = pids[0]
			return nil
		}
		return fmt.Errorf("no pid yet")
	})
	return pid
}

func parentOf(pid int) int {
	s, _ := readStat(pid)
	return s.parent
}

// TestForkStormIsInside: four shells fork as fast as they can, with grandchildren that lose their parents at once; whoever lives a
// second after the first of them was placed is inside.
func TestForkStormIsInside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	p := shell(t, forkStorm)
	eventually(t, "storm", func() error {
		if n := len(p.session()); n < 10 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.document(sampleA)
	h.startReady()
	h.wantIn("cpu", "a", p.pid())
	h.wantIn("cpuacct", "a", p.pid())
	eventually(t, "members", func() error {
		if n := len(h.members("cpu", "a")); n < 10 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	// Nothing that a process of the storm forks lives longer than 0.2 s: after a second, all were born after the move.
	time.Sleep(time.Second)
	throughout(t, time.Second, "the storm", func() error {
		for _, subsystem := range []string{"cpu", "cpuacct", "blkio"} {
			if err := h.livingAreIn(subsystem, "a", p); err != nil {
				return err
			}
		}
		return nil
	})
	p.end()
}

// TestReparented: a process that was placed stays ours when its parent ends, and one that is no longer named stays where it is.
func TestReparented(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	file := h.path("p.pid")
	p := shell(t, `sh -c 'sleep 600 & sleep 600 & wait' & exec sleep 600`)
	pids := p.wantSession(4)
	h.pidFile("p.pid", p.pid())
	h.set("cgroup_pid_files", map[string][]string{"a": {file}})
	h.document(sampleA)
	d := h.startReady()
	h.wantIn("cpu", "a", pids...)
	var orphans []int
	for _, pid := range pids {
		if parentOf(pid) == p.pid() {
			kill(pid) // the middle one
		} else if pid != p.pid() {
			orphans = append(orphans, pid)
		}
	}
	h.write("cpu", "", "cgroup.procs", strconv.Itoa(orphans[0])) // somebody throws one out
	h.wantIn("cpu", "a", orphans...)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	d.wantPidState(file, "missing")
	throughout(t, 2*time.Second, "no longer named", func() error { return h.areIn("cpu", "a", orphans...) })
}

// TestShieldedDescendantStays: a descendant that sits in a protected cgroup is not moved by placement; its siblings are.
func TestShieldedDescendantStays(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	h.set("protected_cgroup", []string{"vault"})
	h.mkdir("cpu", "vault")
	h.mkdir("cpu", "system.slice") // only shielded from pruning: it does not stop placement
	p := shell(t, "sleep 600 & sleep 600 & sleep 600 & wait")
	pids := p.wantSession(4)
	h.write("cpu", "vault", "cgroup.procs", strconv.Itoa(pids[1]))
	h.write("cpu", "system.slice", "cgroup.procs", strconv.Itoa(pids[2]))
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.document(sampleA)
	h.startReady()
	h.wantIn("cpu", "a", pids[0], pids[2], pids[3])
	h.wantIn("blkio", "a", pids...)
	throughout(t, 2*time.Second, "protected", func() error { return h.areIn("cpu", "vault", pids[1]) })
}

// TestNeverMoved: pid 1 and kernel threads are not moved, whatever a pid file says, and neither is the daemon.
func TestNeverMoved(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	kthread := kernelThread(t)
	own := h.path("own.pid")
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("one.pid", 1), h.pidFile("kthread.pid", kthread), own}})
	h.set("pid_file_check", "off") // even an operator who trusts every pid file
	h.document(sampleA)
	before1, beforeK := cgroupOf(1, "cpu"), cgroupOf(kthread, "cpu")
	d := h.startReady()
	h.pidFile("own.pid", d.pid())
	h.wantShares("a 300")
	for _, file := range []string{h.path("one.pid"), h.path("kthread.pid"), own} {
		d.wantPidState(file, "refused")
	}
	throughout(t, time.Second, "never moved", func() error {
		if err := differ([]string{before1, beforeK}, []string{cgroupOf(1, "cpu"), cgroupOf(kthread, "cpu")}); err != nil {
			return err
		}
		if h.areIn("cpu", "a", d.pid()) == nil {
			return fmt.Errorf("the daemon moved itself")
		}
		return nil
	})
}

// kernelThread finds a kernel thread that the kernel would let us move: not one that is bound to a CPU.
func kernelThread(t *testing.T) int {
	t.Helper()
	const boundToCPU = 0x04000000 // PF_NO_SETAFFINITY of the kernel's sched.h
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid <= 2 {
			continue
		}
		if s, ok := readStat(pid); ok && s.parent == 2 && s.flags&boundToCPU == 0 {
			return pid
		}
	}
	testhost.Lacks(t, "no kernel thread is visible here")
	return 0
}
