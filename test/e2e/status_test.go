package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestStatus finds in /status everything that the contract promises there.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	client.Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	h.useRedis(testserver.Redis(t), "cga")
	p := sleeper(t)
	file := h.pidFile("p.pid", p.pid())
	h.set("cgroup_pid_files", map[string][]string{"test_cgroup_b_sub1": {file}})
	d := h.startReady()
	h.wantIn("cpu", "test_cgroup_b/test_cgroup_b_sub1", p.pid())
	client.Put(node, `{"cpu": []}`)
	eventually(t, "rejected version", func() error { return d.rejected("cpu") })
	var status struct {
		CgroupRoot string `json:"cgroup_root"`
		Version    struct {
			Seen    *int `json:"seen"`
			InForce *int `json:"in_force"`
		}
		Hierarchies []map[string]any
		HostFaults  []any                       `json:"host_faults"`
		LastPass    map[string]any              `json:"last_pass"`
		Members     map[string]map[string][]int `json:"members"`
		PidFiles    []pidState                  `json:"pid_files"`
		ZooKeeper   map[string]any              `json:"zookeeper"`
		Redis       map[string]any              `json:"redis"`
		Missed      *int                        `json:"missed_slots"`
		Cost        map[string]float64          `json:"cost"`
	}
	if err := json.Unmarshal([]byte(d.status()), &status); err != nil {
		t.Fatal(err)
	}
	if status.CgroupRoot != h.root || len(status.Hierarchies) < len(uniqueMounts()) || len(status.HostFaults) != 0 || status.Missed == nil {
		t.Errorf("root, layout, faults or missed slots: %s", d.status())
	}
	if v := status.Version; v.Seen == nil || *v.Seen != 1 || v.InForce == nil || *v.InForce != 0 {
		t.Errorf("versions: %s", d.status())
	}
	if len(status.LastPass) == 0 || len(status.ZooKeeper) == 0 || len(status.Redis) == 0 {
		t.Errorf("last pass, ZooKeeper or Redis: %s", d.status())
	}
	for _, part := range []string{"sampler_seconds", "reconciler_seconds", "encoder_seconds"} {
		if c := status.Cost; c[part] <= 0 || c[part] > c["cpu_seconds"] {
			t.Errorf("%s: %v", part, c)
		}
	}
	if _, ok := status.Cost["server_seconds"]; !ok {
		t.Errorf("cost: %v", status.Cost)
	}
	if got := status.Members["cpu"]["test_cgroup_b/test_cgroup_b_sub1"]; differ([]int{p.pid()}, got) != nil {
		t.Errorf("members: %v", status.Members)
	}
	if err := differ([]pidState{{file, "test_cgroup_b/test_cgroup_b_sub1", "ok", p.pid()}}, status.PidFiles); err != nil {
		t.Errorf("pid files: %v", err)
	}
	if response, err := httpClient.Get("http://" + d.addr + "/status"); err != nil || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		t.Errorf("content type of /status: %v %v", response, err)
	} else {
		response.Body.Close()
	}
}

// TestDescriptors: whatever happened in between, the same document holds the same number of descriptors.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(numbered(100))
	d := h.startReady()
	h.wantShares("a 100", "b100 1024")
	open := func() int { return d.descriptors() }
	settle := func() int { // the sampler follows within a second or two
		n, same := open(), 0
		eventually(t, "descriptors settle", func() error {
			if now := open(); now != n {
				n, same = now, 0
			}
			if same++; same < 150 {
				return fmt.Errorf("%d descriptors", n)
			}
			return nil
		})
		return n
	}
	before := settle()
	for i := range 20 {
		var many []string
		for j := range 20 {
			many = append(many, fmt.Sprintf(`"c%d_%d": {"conf": {}}`, i, j))
		}
		h.document(`{"cpu": {"sub_cgroup": {` + strings.Join(many, ",") + `}}, "blkio": {"sub_cgroup": {` + strings.Join(many, ",") + `}}}`)
		d.wantInForce(`{"cpu": {"sub_cgroup": {` + strings.Join(many, ",") + `}}, "blkio": {"sub_cgroup": {` + strings.Join(many, ",") + `}}}`)
		d.signal(syscall.SIGHUP)
		d.slots(3)
	}
	h.document(numbered(100))
	h.wantShares("a 100", "b100 1024")
	h.wantTree("blkio", "")
	if after := settle(); after > before+2 { // a connection that lingers
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestOddNames: every legal name works from the document to the usage that clients read.
func TestOddNames(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	names := []string{
		"with blank", " ", "ünï-☃", `quo"te`, `back\slash`, "'", "$(x)", "%s", "-rf", "...", "*", "conf", "sub_cgroup", "value", "cpu",
		"a:b", "a=b", "a,b", "<b>&amp;", strings.Repeat("n", 255), "tasks2", "cpux.shares",
	}
	tree := map[string]any{}
	var want []string
	for _, name := range names {
		tree[name] = map[string]any{"conf": map[string]any{"share": 300}, "sub_cgroup": map[string]any{"inner": nil}}
		want = append(want, name, name+"/inner")
	}
	text, err := json.Marshal(map[string]any{"cpu": map[string]any{"sub_cgroup": tree}})
	if err != nil {
		t.Fatal(err)
	}
	h.document(string(text))
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{`quo"te`: {h.pidFile("p.pid", p.pid())}})
	d := h.startReady()
	h.wantTree("cpu", "", want...)
	h.wantIn("cpu", `quo"te`, p.pid())
	eventually(t, "usage", func() error {
		u := d.newest("cpu")
		if u == nil {
			return fmt.Errorf("no slot yet")
		}
		for _, name := range names {
			if cgroup, ok := u.Sub[name]; !ok || cgroup.Value["usage"] == nil || len(cgroup.Sub) != 1 {
				return fmt.Errorf("no usage of %q", name)
			}
		}
		return differ(len(names), len(u.Sub))
	})
	h.document(`{"cpu": {}}`)
	h.wantShares()
}

// TestConfFile: a file that comes late, changes, vanishes and comes back; its version counts the changes of content.
func TestConfFile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	d := h.start()
	if code, reason := d.get("/readyz"); code != 503 || strings.TrimSpace(reason) == "" {
		t.Errorf("/readyz without a document: %d %q", code, reason)
	}
	h.document(numbered(100))
	h.wantShares("a 100", "b100 1024")
	must(t, os.Remove(h.path("document.json")))
	h.write("cpu", "a", "cpu.shares", "555")
	h.wantShares("a 100", "b100 1024")
	h.document(numbered(100)) // the same content
	h.document(numbered(101))
	h.wantShares("a 101", "b101 1024")
	h.file("document.json", numbered(102), 0o600) // in place, as a careless editor writes
	h.wantShares("a 102", "b102 1024")
	// Three contents, counted from 0; the file may have been seen while it was empty.
	if version, _ := d.inForce(); version != 2 && version != 3 {
		t.Errorf("version %d, want 2", version)
	}
}
