package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// sample is the document of the contract.
const sample = `{
  "cpu": {
    "sub_cgroup": {
      "test_cgroup_a": { "conf": { "share": 1024 } },
      "test_cgroup_b": {
        "conf": { "share": 100 },
        "sub_cgroup": { "test_cgroup_b_sub1": { "conf": { "share": 200 } } }
      }
    }
  },
  "blkio": { "sub_cgroup": { "test_cgroup_a": { "conf": { "weight": 500 } } } }
}`

var sampleShares = []string{"test_cgroup_a 1024", "test_cgroup_b 100", "test_cgroup_b/test_cgroup_b_sub1 200"}

const (
	prefix   = "/cga/e2e"
	node     = prefix + "/arch_conf"
	identity = "digest:super:123456"
)

// useZooKeeper makes the document come from the server, with digest authentication.
func (h *host) useZooKeeper(addr string) {
	h.set("conf_file", nil)
	h.set("zk_host", addr)
	h.set("zk_prefix", prefix)
	h.set("zk_auth_data", []string{identity})
}

// unhurried makes every pass that is not arranged by an event come far too late for the test.
func (h *host) unhurried() { h.set("tasks_update_interval", 3600) }

func TestDocumentFromZooKeeper(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	h.unhurried()
	d := h.startReady()
	h.wantShares(sampleShares...)
	h.wantTree("blkio", "blkio.bfq.weight", "test_cgroup_a 500")
	version, document := d.inForce()
	if err := sameJSON(sample, document); err != nil || version != 0 {
		t.Errorf("get_conf: version %d, %v", version, err)
	}
	if document != sample {
		if text := d.ask(`{"cmd":"get_conf"}`); !strings.Contains(compact(text), compact(sample)) {
			t.Errorf("get_conf does not give the document as it was written: %s", text)
		}
	}

	t.Run("nobody else may read it", func(t *testing.T) { // else the test above proves no authentication
		other := newHost(t)
		other.useZooKeeper(zk.Addr())
		other.set("zk_auth_data", []string{"digest:super:wrong"})
		d := other.start()
		throughout(t, 2*time.Second, "without the password", func() error { return differ("", other.tree("cpu", "")) })
		if code, reason := d.get("/readyz"); code != 503 || strings.TrimSpace(reason) == "" {
			t.Errorf("/readyz: %d %q, want 503 and a reason", code, reason)
		}
		if strings.Contains(d.status()+d.logText(), "super:wrong") {
			t.Error("the secret is in /status or in the log")
		}
	})
}

func compact(text string) string { return strings.Join(strings.Fields(text), "") }

// TestEditAtOnce changes everything that an edit can change, while the interval is an hour.
func TestEditAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	h.unhurried()
	mover, stayer := sleeper(t), sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{
		"moved":          {h.pidFile("mover.pid", mover.pid())},
		"test_cgroup_a":  {h.pidFile("stayer.pid", stayer.pid())},
		"not_configured": {h.path("never.pid")},
	})
	client.Create(node, `{"cpu": {"sub_cgroup": {
		"test_cgroup_a": {"conf": {"share": 500}},
		"gone": {"conf": {}, "sub_cgroup": {"below": {"conf": {}}}},
		"old_place": {"sub_cgroup": {"moved": {"conf": {"share": 300}}}}}}}`, identity)
	h.startReady()
	h.wantShares("test_cgroup_a 500", "gone 1024", "gone/below 1024", "old_place 1024", "old_place/moved 300")
	h.wantIn("cpu", "old_place/moved", mover.pid())

	client.Put(node, `{"cpu": {"sub_cgroup": {
		"test_cgroup_a": {"conf": {"share": 600}, "sub_cgroup": {"added": {"conf": {"share": 7}}}},
		"new_place": {"conf": {"share": "250"}, "sub_cgroup": {"moved": {"conf": {"share": 3e2}}}}}}}`)
	h.wantShares("test_cgroup_a 600", "test_cgroup_a/added 7", "new_place 250", "new_place/moved 300")
	h.wantIn("cpu", "new_place/moved", mover.pid())
	h.wantIn("cpu", "test_cgroup_a", stayer.pid())

	// A setting that leaves the document returns to the kernel's default; one that was never in it is not touched.
	h.write("cpu", "test_cgroup_a/added", "cpu.cfs_quota_us", "50000")
	client.Put(node, `{"cpu": {"sub_cgroup": {
		"test_cgroup_a": {"sub_cgroup": {"added": {}}}}}}`)
	h.wantShares("test_cgroup_a 1024", "test_cgroup_a/added 1024")
	if got := h.read("cpu", "test_cgroup_a/added", "cpu.cfs_quota_us"); got != "50000" {
		t.Errorf("cpu.cfs_quota_us, which no document named, became %s", got)
	}

	// Nothing below our root is wanted; the processes stay alive, in our root.
	client.Put(node, `{"cpu": {}}`)
	h.wantShares()
	h.wantIn("cpu", "", mover.pid(), stayer.pid())
}

// TestBurst ends in the last of 50 quick edits.
func TestBurst(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	h.unhurried()
	client.Create(node, sample, identity)
	d := h.startReady()
	last := ""
	for i := 1; i <= 50; i++ {
		last = fmt.Sprintf(`{"cpu": {"sub_cgroup": {"burst_%d": {"conf": {"share": %d}}, "kept": {"conf": {"share": %d}}}}}`, i%7, 100+i, 1000+i)
		client.Put(node, last)
	}
	h.wantShares("burst_1 150", "kept 1050")
	d.wantInForce(last)
	if version, _ := d.inForce(); version != 50 {
		t.Errorf("version in force is %d, want 50", version)
	}
}

// TestSubsystemLeaves: what we made in a subsystem is removed once when that leaves the document; what others made stays.
func TestSubsystemLeaves(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(sample)
	h.startReady()
	h.wantTree("blkio", "", "test_cgroup_a")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.wantTree("blkio", "")
	h.wantShares("a 1024")
	h.mkdir("blkio", "foreign")
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {}}}}}`)
	h.wantShares("b 1024")
	throughout(t, 2*time.Second, "a subsystem that is not in the document", func() error { return differ("foreign", h.tree("blkio", "")) })
}

// TestEverySubsystem: tree and placement work in each mounted hierarchy, cpuset with its cpus and mems copied.
func TestEverySubsystem(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	mounts := testhost.Controllers()
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"outer/inner": {h.pidFile("p.pid", p.pid())}})
	document := map[string]any{}
	var names []string
	for _, name := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"} {
		if _, ok := mounts[name]; !ok {
			continue
		}
		names = append(names, name)
		document[name] = map[string]any{"sub_cgroup": map[string]any{
			"outer": map[string]any{"sub_cgroup": map[string]any{"inner": map[string]any{"conf": nil}}}}}
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	h.document(string(text))
	d := h.startReady()
	for _, name := range names {
		h.wantTree(name, "", "outer", "outer/inner")
		h.wantIn(name, "outer/inner", p.pid())
	}
	if got := h.read("cpuset", "outer/inner", "cpuset.cpus"); got == "" {
		t.Error("cpuset.cpus is empty")
	}
	var slots map[string]map[string]json.RawMessage
	eventually(t, "usage of every subsystem", func() error {
		if err := json.Unmarshal([]byte(d.ask(`{"cmd":"show_account","args":{"nr_slot":1}}`)), &slots); err != nil {
			t.Fatal(err)
		}
		for _, slot := range slots {
			if len(slot) == len(names) {
				return nil
			}
		}
		return fmt.Errorf("%v", slots)
	})
}
