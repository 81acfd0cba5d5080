package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPlacement: a process with all its descendants and threads, in every hierarchy that names its cgroup; a child with a pid file of
// its own stays in its own cgroup.
func TestPlacement(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	family := shell(t, `
		for i in 1 2 3; do sh -c 'sleep 3600 & sleep 3600 & wait' & done
		sleep 3600 & echo $! >"$1.new"; mv "$1.new" "$1"
		wait`, filepath.Join(h.dir, "child.pid"))
	members := family.wantSession(11)
	many := startWorkload(t, "threads")
	h.pidFiles(map[string]int{"a": family.pid(), "b/deep": many.pid()})
	files := h.settings["cgroup_pid_files"].(map[string][]string)
	files["own"] = []string{filepath.Join(h.dir, "child.pid")}
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"sub_cgroup": {"deep": {"conf": {}}}}, "own": {"conf": {}}}},
		"memory": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.start()
	child := readPID(t, filepath.Join(h.dir, "child.pid"))
	var others []int
	for _, pid := range members {
		if pid != child {
			others = append(others, pid)
		}
	}
	h.wantIn("cpu", "own", child)
	h.wantIn("cpu", "a", others...)
	h.wantIn("memory", "a", members...)
	h.wantIn("cpu", "b/deep", many.pid())
	h.wantIn("net_cls", "../", many.pid()) // not named: not moved
	throughout(t, 3*time.Second, "flapping", func() error {
		if err := h.areIn("cpu", "own", child); err != nil {
			return err
		}
		return h.areIn("cpu", "a", others...)
	})
	h.wantNoFaults()
}

func readPID(t *testing.T, file string) (pid int) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestForkStorm: nobody who is forked after the first move is outside.
func TestForkStorm(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	p := shell(t, `while :; do (sleep 0.2 & sleep 0.2) & sleep 0.02; done`)
	h.pidFiles(map[string]int{"storm": p.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"storm": {"conf": {}}}}}`)
	h.start()
	h.wantIn("cpu", "storm", p.pid())
	// Those from before the first pass end within a second; from then on everybody is inside.
	eventually(t, "all of the storm inside", func() error { return h.areInIfAlive("cpu", "storm", p.session()) })
	throughout(t, 3*time.Second, "the storm", func() error { return h.areInIfAlive("cpu", "storm", p.session()) })
}

// areInIfAlive is areIn for processes that may end at any moment.
func (h *host) areInIfAlive(subsystem, cgroup string, pids []int) error {
	for _, pid := range pids {
		if err := h.areIn(subsystem, cgroup, pid); err != nil && !ending(pid) {
			return err
		}
	}
	return nil
}

// ending says whether a process is on its way out: then its /proc/PID/cgroup shows "/", wherever it was (proc_cgroup_show in
// kernel/cgroup/cgroup.c).
func ending(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if err != nil || len(fields) < 7 {
		return true
	}
	const exiting = 0x4 // PF_EXITING in field 9, proc_pid_stat(5)
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return flags&exiting != 0
}

// TestCgexecArg: the argument names each hierarchy once by the subsystem that the document names, and nothing is changed by asking.
func TestCgexecArg(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"sub_cgroup": {"deep": {"conf": {}}}}}}, "blkio": {"sub_cgroup": {"a": {}}}}`)
	got := h.cli("get-cgexec-arg", "a", "deep", "/b/deep").wantStatus(t, 0).out
	want := "-g blkio:cga/a -g cpu:cga/a\n-g cpu:cga/b/deep\n-g cpu:cga/b/deep\n"
	if err := differ(want, got); err != nil {
		t.Error(err)
	}
	h.cli("get-cgexec-arg", "nosuch").wantStatus(t, 1)
	if _, err := os.Stat(h.path("cpu", "")); err == nil {
		t.Error("asking made a cgroup")
	}
	// What cgexec would do with it: the member that somebody else put there stays.
	h.start()
	p := shell(t, `for f; do echo $$ >"$f"; done; exec sleep 3600`,
		"/sys/fs/cgroup/cpu/cga/b/deep/cgroup.procs", "/sys/fs/cgroup/blkio/cga/a/cgroup.procs")
	h.wantIn("cpuacct", "b/deep", p.pid())
	h.wantIn("blkio", "a", p.pid())
}

// TestOnceAndPlan: run --once converges and says by its status what it could not do; plan then has nothing to do.
func TestOnceAndPlan(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	p := sleeper(t)
	h.pidFiles(map[string]int{"a": p.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}}}, "cpuacct": {"sub_cgroup": {"a": {"conf": {}}}},
		"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 500}}}}}`)
	plan := h.cli("plan").wantStatus(t, 3).out
	for _, step := range []string{"/cga/a/cpu.shares 300\n", "/cga/a/blkio.bfq.weight 500\n", fmt.Sprintf("move %d ", p.pid())} {
		if !strings.Contains(plan, step) {
			t.Errorf("no %q in the plan:\n%s", step, plan)
		}
	}
	if n := strings.Count(plan, fmt.Sprintf("move %d ", p.pid())); n != 2 {
		t.Errorf("the process is moved %d times in two hierarchies:\n%s", n, plan)
	}
	h.cli("run", "--once").wantStatus(t, 0)
	if err := h.areIn("cpuacct", "a", p.pid()); err != nil {
		t.Error(err)
	}
	if got := h.cli("plan").wantStatus(t, 0).out; got != "" {
		t.Errorf("converged, and yet to do:\n%s", got)
	}
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 400}}}}, "nosuch": {}}`)
	h.cli("run", "--once").wantStatus(t, 1) // one subsystem is not here: the rest is done
	if got := h.read("cpu", "a", "cpu.shares"); got != "400" {
		t.Errorf("cpu.shares %s", got)
	}
	h.document(`{"cpu": {"sub_cgroup": {"..": {}}}}`)
	h.cli("check").wantStatus(t, 1)
}
