package e2e

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// badDocuments are rejected as a whole, each with the place of its fault.
var badDocuments = []struct{ name, document, place string }{
	{"list", `[]`, ""},
	{"not json", `{"cpu": {`, ""},
	{"trailing", `{"cpu": {}} x`, ""},
	{"number for a node", `{"cpu": 5}`, "cpu"},
	{"list for sub_cgroup", `{"cpu": {"sub_cgroup": []}}`, "cpu"},
	{"list for conf", `{"cpu": {"sub_cgroup": {"a": {"conf": []}}}}`, "cpu/a"},
	{"duplicate key", `{"cpu": {"sub_cgroup": {"a": {}, "a": {}}}}`, "a"},
	{"share is text", share(`"abc"`), "cpu/test_cgroup_b/test_cgroup_b_sub1: share:"},
	{"share is negative", share(`-1`), "cpu/test_cgroup_b/test_cgroup_b_sub1: share:"},
	{"share is huge", share(`1e30`), "cpu/test_cgroup_b/test_cgroup_b_sub1: share:"},
	{"share is true", share(`true`), "cpu/test_cgroup_b/test_cgroup_b_sub1: share:"},
	{"share is broken", share(`1.5`), "cpu/test_cgroup_b/test_cgroup_b_sub1: share:"},
	{"weight above", `{"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 1001}}}}}`, "blkio/a: weight:"},
	{"name ..", name(`..`), `..`},
	{"name .", name(`.`), `.`},
	{"name empty", name(``), "cpu"},
	{"name absolute", name(`/x`), `/x`},
	{"name with slash", name(`a/b`), `a/b`},
	{"name tasks", name(`tasks`), "tasks"},
	{"name release_agent", name(`release_agent`), "release_agent"},
	{"name notify_on_release", name(`notify_on_release`), "notify_on_release"},
	{"name cpu.shares", name(`cpu.shares`), "cpu.shares"},
	{"name cgroup.procs", name(`cgroup.procs`), "cgroup.procs"},
	{"name reserved", name(`@x`), "@x"},
	{"name with newline", name(`a\nb`), `a\`},
	{"name of 256 bytes", name(strings.Repeat("n", 256)), "nnnn"},
	{"tasks set", `{"cpu": {"sub_cgroup": {"a": {"tasks": [1]}}}}`, "cpu/a"},
	{"too deep", deep(65), "cpu"},
	{"too long", `{"cpu": {}}` + strings.Repeat(" ", 1048001), ""},
}

func share(value string) string {
	return `{"cpu": {"sub_cgroup": {"extra": {"conf": {}}, "test_cgroup_b": {"sub_cgroup": {"test_cgroup_b_sub1": {"conf": {"share": ` + value + `}}}}}}}`
}

func name(text string) string {
	return `{"cpu": {"sub_cgroup": {"extra": {"conf": {}}, "` + text + `": {"conf": {}}}}}`
}

func deep(n int) string {
	return `{"cpu": ` + strings.Repeat(`{"sub_cgroup": {"d": `, n) + `{}` + strings.Repeat(`}}`, n) + `}`
}

// TestBadDocuments puts each of them in force's way and finds the last good one unmoved.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(sample)
	d := h.startReady()
	h.wantShares(sampleShares...)
	for i, c := range badDocuments {
		before, _ := d.inForce()
		h.document(c.document)
		// The status must come to speak of this document: its place is in the reason, or, for faults that have none, the text changes.
		eventually(t, c.name, func() error { return d.rejected(c.place) })
		if _, got := d.inForce(); sameJSON(sampleFor(i), got) != nil {
			t.Errorf("%s: in force is now %s", c.name, got)
		}
		if after, _ := d.inForce(); after != before {
			t.Errorf("%s: version in force went from %d to %d", c.name, before, after)
		}
		if code, _ := d.get("/readyz"); code != 200 {
			t.Errorf("%s: not ready any more", c.name)
		}
		h.wantShares(sharesFor(i)...)
		h.document(sampleFor(i + 1)) // a good one in between: it clears the reason and proves that the daemon still listens
		h.wantShares(sharesFor(i + 1)...)
		d.wantInForce(sampleFor(i + 1))
		eventually(t, c.name+": cleared", func() error {
			if d.rejected("") == nil {
				return fmt.Errorf("still rejected: %s", d.status())
			}
			return nil
		})
	}
	if got := h.read("cpu", "../"+testhost.Name("escaped"), "tasks"); !strings.Contains(got, "no such file") {
		t.Errorf("something outside our root: %s", got)
	}
}

// The good documents alternate, so that each is a change.
func sampleFor(i int) string {
	return strings.Replace(sample, "100", strconv.Itoa(100+i%2), 1)
}

func sharesFor(i int) []string {
	return []string{"test_cgroup_a 1024", "test_cgroup_b " + strconv.Itoa(100+i%2), "test_cgroup_b/test_cgroup_b_sub1 200"}
}

// TestEveryFaultNamed: all faults of one document are reported together.
func TestEveryFaultNamed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"..": {}, "a": {"conf": {"share": "abc"}, "sub_cgroup": {"tasks": {}}}}},
		"blkio": {"sub_cgroup": {"b": {"conf": {"weight": 0}}, "c": 5}}}`)
	r := h.cli("check").wantExit(t, 1)
	for _, place := range []string{"..", "cpu/a: share:", "tasks", "blkio/b: weight:", "blkio/c"} {
		if !strings.Contains(r.stdout+r.stderr, place) {
			t.Errorf("check does not name %q: %v", place, r)
		}
	}
	d := h.start()
	eventually(t, "every fault in /status", func() error { return d.says("cpu/a: share:", "blkio/b: weight:", "blkio/c") })
	if code, _ := d.get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, _ := d.get("/readyz"); code != 503 {
		t.Errorf("/readyz without any good document: %d, want 503", code)
	}
	if got := d.ask(`{"cmd":"get_conf"}`); sameJSON(`{"version": -1, "value": null}`, got) != nil {
		t.Errorf("get_conf before the first document: %s", got)
	}
}

// TestHostFaults: what this host cannot do is shown, and everything else is applied.
func TestHostFaults(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("protected_cgroup", []string{"shielded"})
	h.document(`{
		"nosuch": {"sub_cgroup": {"a": {"conf": {}}}},
		"cpu": {"sub_cgroup": {
			"a": {"conf": {"share": 200, "no_such_setting": 1, "pids": [1, 2]}},
			"shielded": {"conf": {"share": 300}},
			"z": {"conf": {"share": 400}}}},
		"freezer": {"conf": {}, "sub_cgroup": {"f": {"conf": {}}}}}`)
	d := h.startReady()
	h.wantShares("a 200", "z 400")
	h.wantTree("freezer", "", "f")
	d.wantStatus("nosuch", "no_such_setting", "shielded")
	if strings.Contains(d.status(), `"pids: `) {
		t.Errorf("conf.pids, which is ignored, became a fault: %s", d.status())
	}
	h.cli("check").wantExit(t, 1) // an unknown key is a fault for the tools
}

// TestMoveRefusedByKernel: a real-time process cannot enter a cgroup without real-time budget; the others are not disturbed.
func TestMoveRefusedByKernel(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	chrt := needTool(t, "chrt")
	if got := h.readTop("cpu", "cpu.rt_runtime_us"); got == "" {
		testhost.Lacks(t, "this kernel does not budget real-time processes by cgroup: nothing would refuse")
	}
	realtime, normal := startProc(t, nil, chrt, "--fifo", "1", "sleep", "600"), sleeper(t)
	eventually(t, "real-time process", func() error {
		out, err := exec.Command(chrt, "--pid", strconv.Itoa(realtime.pid())).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "SCHED_FIFO") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.set("cgroup_pid_files", map[string][]string{
		"a": {h.pidFile("realtime.pid", realtime.pid())},
		"b": {h.pidFile("normal.pid", normal.pid())},
	})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 200}}, "b": {"conf": {"share": 300}}}}}`)
	d := h.startReady()
	h.wantShares("a 200", "b 300")
	h.wantIn("cpu", "b", normal.pid())
	d.wantStatus(strconv.Itoa(realtime.pid()))
	throughout(t, time.Second, "a process that the kernel refuses", func() error {
		if in := h.areIn("cpu", "a", realtime.pid()); in == nil {
			return fmt.Errorf("the kernel accepted it: this test proves nothing")
		}
		return nil
	})
}
