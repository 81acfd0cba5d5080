package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestComountedTree: subsystems that share a hierarchy share its cgroups, each reached through either link, and a cgroup goes when no
// subsystem of the hierarchy names it any more.
func TestComountedTree(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.document(`{
		"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {"share": 100}, "sub_cgroup": {"b1": {"conf": {"share": 200}}}}}},
		"cpuacct": {"sub_cgroup": {"a": {"conf": {}}, "only_acct": {"conf": {}}}},
		"net_cls": {"sub_cgroup": {"n": {"conf": {}}}}, "net_prio": {"sub_cgroup": {"p": {}}}}`)
	h.start()
	for _, link := range []string{"cpu", "cpuacct", "cpu,cpuacct"} {
		h.wantTree(link, "cpu.shares", "a 1024", "b 100", "b/b1 200", "only_acct 1024")
	}
	h.wantTree("net_cls", "", "n", "p")
	h.wantNoFaults()

	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 7}}}}, "net_cls": {"sub_cgroup": {"n": {}}}, "net_prio": {}}`)
	h.wantTree("cpuacct", "cpu.shares", "a 7")
	h.wantTree("net_cls,net_prio", "", "n")

	// cpuacct alone keeps the hierarchy in use; what only cpu had goes, and the share with it.
	h.document(`{"cpuacct": {"sub_cgroup": {"b": {}}}}`)
	h.wantTree("cpu", "cpu.shares", "b 1024")
	h.wantTree("net_cls", "")
	h.document(`{}`)
	h.wantTree("cpu", "")
	h.wantNoFaults()
}

// TestEverySubsystem: every subsystem that is mounted takes a tree and processes; cpuset needs its files filled first.
func TestEverySubsystem(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	p := sleeper(t)
	subsystems := []string{
		"blkio", "cpu", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "net_prio", "perf_event", "pids",
	}
	var nodes []string
	for _, s := range subsystems {
		nodes = append(nodes, `"`+s+`": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": {}}}}}}`)
	}
	h.pidFiles(map[string]int{"inner": p.pid()})
	h.document("{" + strings.Join(nodes, ",") + "}")
	h.start()
	for _, s := range subsystems {
		h.wantTree(s, "", "outer", "outer/inner")
		h.wantIn(s, "outer/inner", p.pid())
	}
	if err := h.areIn("cpuacct", "outer/inner", p.pid()); err != nil {
		t.Error(err)
	}
	if got, want := h.read("cpuset", "outer/inner", "cpuset.cpus"), "0-1"; got != want {
		t.Errorf("cpuset.cpus %q, want %q", got, want)
	}
	h.wantNoFaults()
}

// TestRootOfHierarchy: on v1 the daemon's root is the root of the hierarchy unless it is told otherwise.
func TestRootOfHierarchy(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/")
	h.settings["cgroup_root"] = "auto"
	p := sleeper(t)
	for _, dir := range []string{"docker/one", "system.slice", "foreign"} {
		h.mkdir("cpu", dir)
	}
	h.mkdir("devices", "not_named")
	h.write("cpu", "foreign", "cgroup.procs", strconv.Itoa(p.pid()))
	h.document(`{"cpu": {"conf": {"share": 10}, "sub_cgroup": {"a": {"conf": {"share": 300}}}}}`)
	h.start()
	h.wantTree("cpu", "", "a", "docker", "docker/one", "system.slice")
	h.wantIn("cpu", "", p.pid())
	if got := h.read("cpu", "a", "cpu.shares"); got != "300" {
		t.Errorf("cpu.shares of a: %s", got)
	}
	if got := h.tree("devices", ""); !slices.Contains(got, "not_named") {
		t.Errorf("a subsystem that the document does not name was touched: %v", got)
	}
	// The root of a hierarchy has no share of anything.
	if faults := h.faults(); !strings.HasPrefix(faults, "cpu: share: ") || strings.Contains(faults, "\n") {
		t.Errorf("host faults:\n%s", faults)
	}
	if got := strings.TrimSpace(h.cli("get-cgexec-arg", "a").wantStatus(t, 0).out); got != "-g cpu:a" {
		t.Errorf("get-cgexec-arg: %q", got)
	}
}

// TestDrift: what others change or remove is put back at once, long before the next audit.
func TestDrift(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}, "sub_cgroup": {"x": {"conf": {}}}}}},
		"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 500}}}}}`)
	h.settings["tasks_update_interval"] = 3600
	h.start()
	h.wantTree("cpu", "cpu.shares", "a 300", "a/x 1024")
	h.wantTree("blkio", "blkio.bfq.weight", "a 500")
	h.write("cpuacct", "a", "cpu.shares", "5")
	h.wantTree("cpu", "cpu.shares", "a 300", "a/x 1024")
	h.write("blkio", "a", "blkio.bfq.weight", "5")
	h.wantTree("blkio", "blkio.bfq.weight", "a 500")
	eventually(t, "rmdir by hand", func() error { // the daemon may be faster than our second step
		_ = os.Remove(h.path("cpuacct", "a/x"))
		return os.Remove(h.path("cpuacct", "a"))
	})
	h.wantTree("cpu", "cpu.shares", "a 300", "a/x 1024")
}

// TestPrune: foreign cgroups of the shared hierarchy go and their processes move up; protected ones stay under either name of it.
func TestPrune(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.settings["protected_cgroup"] = []string{"mine", "cpuacct:/by_acct"}
	for _, dir := range []string{"plain/below", "x/mine", "by_acct", "a/foreign", "machine.slice/vm"} {
		h.mkdir("cpu", dir)
	}
	inPlain, inA, kept := sleeper(t), sleeper(t), sleeper(t)
	for dir, p := range map[string]*proc{"plain/below": inPlain, "a/foreign": inA, "x/mine": kept} {
		h.write("cpu", dir, "cgroup.procs", strconv.Itoa(p.pid()))
	}
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.start()
	h.wantTree("cpu", "", "a", "by_acct", "machine.slice", "machine.slice/vm", "x", "x/mine")
	h.wantIn("cpu", "", inPlain.pid())
	h.wantIn("cpu", "a", inA.pid())
	h.wantIn("cpu", "x/mine", kept.pid())
	h.wantNoFaults()
}

// TestRemovalUnderForks: a foreign cgroup whose processes fork as fast as they can is removed all the same.
func TestRemovalUnderForks(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	h.mkdir("cpu", "storm/inner")
	p := shell(t, `echo $$ >"$1"; while :; do sleep 0.01 & sleep 0.01 & wait; done`, h.path("cpu", "storm/inner/cgroup.procs"))
	eventually(t, "the storm", func() error { return h.areIn("cpu", "storm/inner", p.pid()) })
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.start()
	h.wantTree("cpu", "", "a")
	h.wantIn("cpu", "", p.pid())
}

// TestKill9: wherever the daemon is killed during a burst of edits, the next one converges and nothing of ours is left over.
func TestKill9(t *testing.T) {
	need(t, "v1")
	h := newHost(t, "/cga")
	p := shell(t, `sleep 3600 & sleep 3600 & wait`)
	p.wantSession(3)
	h.pidFiles(map[string]int{"last": p.pid()})
	edits := []string{
		`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 10}, "sub_cgroup": {"last": {"conf": {}}}}, "b": {"conf": {}}}}}`,
		`{"cpu": {"sub_cgroup": {"last": {"conf": {"share": 20}}}}, "blkio": {"sub_cgroup": {"last": {"conf": {"weight": 7}}}}}`,
		`{"blkio": {"sub_cgroup": {"b": {}, "last": {"conf": {}}}}, "memory": {"sub_cgroup": {"m": {"conf": {}}}}}`,
	}
	h.document(edits[0])
	for round := range 8 {
		d := h.launch()
		// From before the first pass to well after it, in steps; an edit comes now before, now after the former one is in force.
		pause := time.Duration(10+40*(round%4)) * time.Millisecond
		for i := range round {
			h.document(edits[(round+i)%len(edits)])
			time.Sleep(pause)
		}
		d.kill9()
	}
	h.document(`{"cpu": {"sub_cgroup": {"last": {"conf": {"share": 30}}}}}`)
	h.start()
	h.wantTree("cpu", "cpu.shares", "last 30")
	h.wantTree("blkio", "")
	h.wantTree("memory", "")
	h.wantIn("cpu", "last", p.session()...)
	h.wantNoFaults()
	left, err := filepath.Glob(filepath.Join(h.dir, "state", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over in the state directory: %v %v", left, err)
	}
}
