package e2e

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestLargestDocument: the limit is exact, through ZooKeeper, whose own limit lies just above.
func TestLargestDocument(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	const limit = 1_048_000
	padded := func(share, size int) string {
		text := numbered(share)
		return text + strings.Repeat(" ", size-len(text))
	}
	client.Create(node, padded(100, limit), identity)
	d := h.startReady()
	h.wantShares("a 100", "b100 1024")
	client.Put(node, padded(101, limit+1))
	eventually(t, "one byte too many", func() error { return d.rejected("") })
	h.wantShares("a 100", "b100 1024")
	client.Put(node, padded(102, limit))
	h.wantShares("a 102", "b102 1024")
}

// TestNulls: null for a node, conf or sub_cgroup means empty, and empty is not absent.
func TestNulls(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mkdir("blkio", "old")
	h.document(`{"cpu": {"sub_cgroup": {"a": null, "b": {"conf": null, "sub_cgroup": null}, "c": {"conf": {}}}}, "blkio": null}`)
	d := h.startReady()
	h.wantShares("a 1024", "b 1024", "c 1024")
	h.wantTree("blkio", "")
	h.write("cpu", "a", "cpu.shares", "500") // structure only: never given settings
	h.write("cpu", "b", "cpu.shares", "500") // conf is present: the default is enforced
	h.wantShares("a 500", "b 1024", "c 1024")
	eventually(t, "usage", func() error {
		u := d.newest("cpu")
		if u == nil {
			return fmt.Errorf("no slot yet")
		}
		if u.Sub["a"].Sub != nil || u.Sub["b"].Sub == nil || u.Sub["c"].Sub != nil {
			return fmt.Errorf("sub_cgroup is not where the document has it: %v", u.Sub)
		}
		return nil
	})
}

// TestClamped: values that the kernel would clamp are clamped with a warning, and do not make every pass write.
func TestClamped(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	h.document(`{"cpu": {"sub_cgroup": {
		"zero": {"conf": {"share": 0}}, "one": {"conf": {"share": "1"}}, "max": {"conf": {"share": 262144}}, "above": {"conf": {"share": 9223372036854775807}}}}}`)
	d := h.startReady()
	h.wantShares("zero 2", "one 2", "max 262144", "above 262144")
	warned := 0
	for _, line := range strings.Split(d.logText(), "\n") {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, "share") {
			warned++
		}
	}
	if warned != 3 {
		t.Errorf("%d warnings about a clamped share, want 3", warned)
	}
	time.Sleep(2 * time.Second)
	if n := d.number("corrections"); n != 0 {
		t.Errorf("%d corrections of what nobody changed", n)
	}
}

// TestNestedRoot: our root may lie deep, is made when absent, takes settings, and nothing beside it is touched.
func TestNestedRoot(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.set("cgroup_root", h.root+"/deep/er")
	h.mkdir("cpu", "deep/beside")
	h.document(`{"cpu": {"conf": {"share": 500}, "sub_cgroup": {"a": {"conf": {"share": 300}}}}}`)
	h.startReady()
	h.wantShares("deep 1024", "deep/beside 1024", "deep/er 500", "deep/er/a 300")
	if r := h.cli("get-cgexec-arg", "a").wantExit(t, 0); r.stdout != "-g cpu:"+h.root[1:]+"/deep/er/a\n" {
		t.Errorf("get-cgexec-arg: %q", r.stdout)
	}
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {"share": 300}}}}}`)
	h.wantShares("deep 1024", "deep/beside 1024", "deep/er 1024", "deep/er/b 300")
}

// TestSameContent: a new version with the same content is in force, and changes nothing.
func TestSameContent(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	client.Create(node, sample, identity)
	d := h.startReady()
	for range 3 {
		client.Put(node, sample)
	}
	eventually(t, "version", func() error {
		version, _ := d.inForce()
		return differ("3", strconv.Itoa(version))
	})
	h.wantShares(sampleShares...)
}

// TestPortTaken: a port that somebody else listens on is a failure that says so.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	h.document(sample)
	if r := h.cli("run", "--communicate-port", port).wantExit(t, 1); !strings.Contains(r.stderr, port) {
		t.Errorf("the reason does not name the port: %v", r)
	}
}

// TestPathBeatsName: pid files given for a path are not those of its name.
func TestPathBeatsName(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	byName, byPath := sleeper(t), sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{
		"web":        {h.pidFile("name.pid", byName.pid())},
		"/outer/web": {h.pidFile("path.pid", byPath.pid())}, // a leading slash is optional wherever people type a path
	})
	h.document(`{"cpu": {"sub_cgroup": {"outer": {"sub_cgroup": {"web": {"conf": {}}}}, "other": {"sub_cgroup": {"web": {"conf": {}}}}}}}`)
	h.startReady()
	h.wantIn("cpu", "outer/web", byPath.pid())
	h.wantIn("cpu", "other/web", byName.pid())
}
