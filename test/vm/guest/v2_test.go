package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const example = `{
  "cpu": {"sub_cgroup": {
    "test_cgroup_a": {"conf": {"share": 1024}},
    "test_cgroup_b": {"conf": {"share": 100}, "sub_cgroup": {"test_cgroup_b_sub1": {"conf": {"share": 200}}}}}},
  "blkio": {"sub_cgroup": {"test_cgroup_a": {"conf": {"weight": 500}}}}
}`

// TestUnifiedTree: the example of the contract on a unified hierarchy: merged by path, controllers where needed, ratios kept, the members
// of an inner cgroup in its reserved child.
func TestUnifiedTree(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	inner, leaf := sleeper(t), shell(t, "sleep 3600 & sleep 3600 & wait")
	all := leaf.wantSession(3)
	h.pidFiles(map[string]int{"test_cgroup_b": inner.pid(), "test_cgroup_b_sub1": leaf.pid()})
	h.document(example)
	h.start()
	h.wantTree("cpu", "cpu.weight", "test_cgroup_a 10000", "test_cgroup_b 977", "test_cgroup_b/@members 10000", "test_cgroup_b/test_cgroup_b_sub1 1953")
	h.wantIn("cpu", "test_cgroup_b/@members", inner.pid())
	h.wantIn("cpu", "test_cgroup_b/test_cgroup_b_sub1", all...)
	h.wantNoFaults()
	if got := h.read("cpu", "test_cgroup_b", "cgroup.subtree_control"); got != "cpu" {
		t.Errorf("test_cgroup_b enables %q", got)
	}
	h.cli("plan").wantStatus(t, 0)
	if a := h.cli("get-cgexec-arg", "test_cgroup_b", "test_cgroup_b/test_cgroup_b_sub1").wantStatus(t, 0); a.out !=
		"-g cpu:cga/test_cgroup_b/@members\n-g cpu:cga/test_cgroup_b/test_cgroup_b_sub1\n" {
		t.Errorf("get-cgexec-arg: %q", a.out)
	}
	if code, status := get("/status"); code != 200 || strings.Contains(status, "@members") || !strings.Contains(status, strconv.Itoa(inner.pid())) {
		t.Errorf("/status shows the reserved child, or not its members: %s", status)
	}

	// The inner cgroup becomes a leaf, and the other one an inner one: nobody is lost.
	h.document(`{"cpu": {"sub_cgroup": {"test_cgroup_b": {"conf": {"share": 100}}}}}`)
	h.wantTree("cpu", "", append([]string{"test_cgroup_b"}, h.optional()...)...)
	h.wantIn("cpu", "test_cgroup_b", append(all, inner.pid())...)
	h.document(`{"cpu": {"sub_cgroup": {"test_cgroup_b": {"conf": {"share": 100}, "sub_cgroup": {"x": {"conf": {}}}}}}, "memory": {"sub_cgroup": {"test_cgroup_b": {"sub_cgroup": {"x": {}}}}}}`)
	h.wantIn("cpu", "test_cgroup_b/@members", append(all, inner.pid())...)
	h.wantTree("cpu", "", append([]string{"test_cgroup_b", "test_cgroup_b/@members", "test_cgroup_b/x"}, h.optional()...)...)
	h.wantNoFaults()
	h.cli("plan").wantStatus(t, 0)
}

// optional is our root's own reserved child, which is there once somebody was evacuated into it.
func (h *host) optional() []string {
	if _, err := os.Stat(h.path("cpu", "@members")); err == nil {
		return []string{"@members"}
	}
	return nil
}

// TestUnifiedPlacement: a process goes with all its descendants and threads, but for a child with a pid file of its own; a pid file that
// changes takes its processes elsewhere.
func TestUnifiedPlacement(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	file := filepath.Join(h.dir, "child.pid")
	family := shell(t, `
		for i in 1 2 3; do sh -c 'sleep 3600 & sleep 3600 & wait' & done
		sleep 3600 & echo $! >"$1.new"; mv "$1.new" "$1"
		wait`, file)
	members := family.wantSession(11)
	child := readPID(t, file)
	others := slices.DeleteFunc(slices.Clone(members), func(pid int) bool { return pid == child })
	many := startWorkload(t, "threads")
	h.pidFiles(map[string]int{"a": family.pid(), "a/deep": many.pid()})
	h.settings["cgroup_pid_files"].(map[string][]string)["own"] = []string{file}
	h.settings["tasks_update_interval"] = 3600
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"deep": {"conf": {}}}}, "own": {"conf": {}}}}, "memory": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.start()
	h.wantIn("cpu", "a/@members", others...)
	h.wantIn("cpu", "own", child)
	h.wantIn("cpu", "a/deep", many.pid())
	h.wantNoFaults()
	late := sleeper(t)
	must(t, os.Rename(h.file("new", strconv.Itoa(late.pid())), file))
	h.wantIn("cpu", "own", late.pid())
	h.wantIn("cpu", "a/@members", child) // one of the family again
}

// TestUnifiedSettings: the v1 vocabulary becomes v2 files, edits and removals included.
func TestUnifiedSettings(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	h.settings["tasks_update_interval"] = 3600
	h.document(`{
		"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1000, "cfs_quota_us": 50000, "cfs_period_us": 100000}}, "b": {"conf": {"share": 500}}}},
		"memory": {"sub_cgroup": {"a": {"conf": {"limit_in_bytes": "64M"}}}},
		"pids": {"sub_cgroup": {"a": {"conf": {"max": 100}}}}}`)
	h.start()
	want := func(file, text string) {
		t.Helper()
		eventually(t, file, func() error { return differ(text, h.read("cpu", "a", file)) })
	}
	want("cpu.max", "50000 100000")
	want("memory.max", "67108864")
	want("pids.max", "100")
	h.wantNoFaults()
	a, _ := strconv.Atoi(h.read("cpu", "a", "cpu.weight"))
	b, _ := strconv.Atoi(h.read("cpu", "b", "cpu.weight"))
	if ratio := float64(a) / float64(b); ratio < 1.99 || ratio > 2.01 {
		t.Errorf("1000:500 became %d:%d", a, b)
	}
	h.write("cpu", "a", "memory.max", "1048576")
	want("memory.max", "67108864")
	h.document(`{
		"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}, "b": {"conf": {"share": 100}}}},
		"memory": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	want("cpu.max", "max 100000")
	want("memory.max", "max")
	eventually(t, "no pids.max", func() error {
		if _, err := os.Stat(filepath.Join(h.path("cpu", "a"), "pids.max")); err == nil {
			return fmt.Errorf("the controller pids is still enabled")
		}
		return nil
	})
	h.wantNoFaults()
	h.cli("plan").wantStatus(t, 0)
}

// TestUnifiedPrune: foreign cgroups go, and their processes into the reserved child of our root; protected ones stay.
func TestUnifiedPrune(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	h.settings["protected_cgroup"] = []string{"keep"}
	p := sleeper(t)
	h.mkdir("cpu", "x/y")
	h.mkdir("cpu", "z/keep")
	h.write("cpu", "x/y", "cgroup.procs", strconv.Itoa(p.pid()))
	h.document(`{"memory": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.start()
	h.wantTree("cpu", "", "@members", "a", "z", "z/keep")
	h.wantIn("cpu", "@members", p.pid())
	h.wantNoFaults()
}

// TestUnifiedDrift: a setting, a cgroup and a controller that somebody takes are put back at once.
func TestUnifiedDrift(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	h.settings["tasks_update_interval"] = 3600
	h.document(`{"pids": {"sub_cgroup": {"a": {"conf": {"max": 50}}}}}`)
	h.start()
	h.wantTree("cpu", "pids.max", "a 50")
	h.write("cpu", "a", "pids.max", "7")
	h.wantTree("cpu", "pids.max", "a 50")
	must(t, os.Remove(h.path("cpu", "a")))
	h.wantTree("cpu", "pids.max", "a 50")
	h.write("cpu", "", "cgroup.subtree_control", "-pids")
	h.wantTree("cpu", "pids.max", "a 50")
	eventually(t, "rmdir by hand", func() error { // the daemon may be faster than our second step
		_ = os.Remove(h.path("cpu", "a"))
		return os.Remove(h.path("cpu", ""))
	})
	h.wantTree("cpu", "pids.max", "a 50")
}

// TestUnifiedInnerRemoved: an inner cgroup is made again with what is below it, its controllers, weights and members, however often; and
// an edited share is in force at once as a weight.
func TestUnifiedInnerRemoved(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	h.settings["tasks_update_interval"] = 3600
	p := sleeper(t)
	h.pidFiles(map[string]int{"a": p.pid()})
	text := `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 512}, "sub_cgroup": {"b": {"conf": {"share": 256}}}}, "c": {"conf": {"share": 1024}}}}}`
	h.document(text)
	d := h.start()
	tree := []string{"a 5000", "a/@members 10000", "a/b 2500", "c 10000"}
	h.wantTree("cpu", "cpu.weight", tree...)
	h.wantIn("cpu", "a/@members", p.pid())
	for range 3 {
		must(t, d.cmd.Process.Signal(syscall.SIGSTOP)) // it is faster than our next step
		must(t, writeControl(filepath.Join(mounts, "cgroup.procs"), strconv.Itoa(p.pid())))
		for _, cgroup := range []string{"a/@members", "a/b", "a"} {
			eventually(t, "rmdir", func() error { return os.Remove(h.path("cpu", cgroup)) })
		}
		must(t, d.cmd.Process.Signal(syscall.SIGCONT))
		h.wantTree("cpu", "cpu.weight", tree...)
		h.wantIn("cpu", "a/@members", p.pid())
	}
	h.document(strings.Replace(text, "256", "512", 1))
	tree[2] = "a/b 5000"
	h.wantTree("cpu", "cpu.weight", tree...)
	h.document(strings.Replace(text, "256", "2048", 1)) // the largest of its set now
	tree[1], tree[2] = "a/@members 5000", "a/b 10000"
	h.wantTree("cpu", "cpu.weight", tree...)
	h.wantNoFaults()
	h.cli("plan").wantStatus(t, 0)
}

// TestUnifiedKill9: whatever a kill leaves, the next start converges.
func TestUnifiedKill9(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	p := sleeper(t)
	h.pidFiles(map[string]int{"a": p.pid()})
	for i := range 10 {
		h.document(fmt.Sprintf(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": %d}, "sub_cgroup": {"c%d": {"conf": {}}, "d%d": {}}}}}}`, 100+i, i, i))
		d := h.launch()
		time.Sleep(time.Duration(i*40) * time.Millisecond)
		d.kill9()
	}
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 100}}}}}`)
	h.start()
	h.wantTree("cpu", "", append([]string{"a"}, h.optional()...)...)
	h.wantIn("cpu", "a", p.pid())
	h.wantNoFaults()
}

// TestUnifiedUsage: CPU time, memory and processes are counted, an inner cgroup's with its members.
func TestUnifiedUsage(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	busy := shell(t, "while :; do :; done")
	h.pidFiles(map[string]int{"a": busy.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}, "memory": {"sub_cgroup": {"a": {}}}, "pids": {"sub_cgroup": {"a": {}}}}`)
	h.start()
	eventually(t, "usage", func() error {
		cpu, err1 := h.newest("cpu")
		memory, err2 := h.newest("memory")
		pids, err3 := h.newest("pids")
		if err1 != nil || err2 != nil || err3 != nil {
			return fmt.Errorf("%w %w %w", err1, err2, err3)
		}
		if cpu.at("a").number("usage") < 100e6 || memory.at("a").Value["usage"] == nil || pids.at("a").number("current") != 1 {
			return fmt.Errorf("cpu %v, memory %v, pids %v", cpu.at("a"), memory.at("a"), pids.at("a"))
		}
		if len(cpu.at("a").Sub) != 1 {
			return fmt.Errorf("the reserved child shows: %v", cpu)
		}
		return nil
	})
}

// TestUnifiedShares: on one processor, given by the document itself, shares of 1000 and 500 are processor time in that ratio.
func TestUnifiedShares(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	a, b := shell(t, `while :; do :; done`), shell(t, `while :; do :; done`)
	h.pidFiles(map[string]int{"a": a.pid(), "b": b.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1000}}, "b": {"conf": {"share": 500}}}},
		"cpuset": {"sub_cgroup": {"a": {"conf": {"cpus": "1"}}, "b": {"conf": {"cpus": "1"}}}}}`)
	h.start()
	h.wantIn("cpu", "a", a.pid())
	h.wantIn("cpu", "b", b.pid())
	h.wantNoFaults()
	h.wantTwoToOne()
}

// TestUnifiedForkStorm: nobody forked after the move is outside, in an inner cgroup too.
func TestUnifiedForkStorm(t *testing.T) {
	need(t, "v2")
	h := newHost(t, "/cga")
	p := shell(t, "while :; do sleep 0.01 & sleep 0.02 & wait -n 2>/dev/null || wait; done")
	h.pidFiles(map[string]int{"a": p.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`)
	h.start()
	h.wantIn("cpu", "a/@members", p.pid())
	throughout(t, 2*time.Second, "fork storm", func() error { return h.areInIfAlive("cpu", "a/@members", p.session()) })
}
