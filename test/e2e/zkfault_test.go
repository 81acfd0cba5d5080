package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// zkCase is a daemon with a ZooKeeper of its own, whose document can be told by the share of one cgroup.
type zkCase struct {
	t      *testing.T
	h      *host
	d      *daemon
	zk     *testserver.ZK
	client *testserver.ZKClient
	share  int // of the document that is in force
}

func newZKCase(t *testing.T) *zkCase {
	t.Helper()
	c := &zkCase{t: t, h: newHost(t), zk: testserver.ZooKeeper(t), share: 100}
	c.client = c.zk.Client(identity)
	c.client.Create(node, numbered(c.share), identity)
	c.h.unhurried()
	c.h.useZooKeeper(c.zk.Addr())
	return c
}

func (c *zkCase) start() {
	c.d = c.h.startReady()
	c.wantInForce()
}

func numbered(share int) string {
	return fmt.Sprintf(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": %d}}, "b%d": {"conf": {}}}}}`, share, share)
}

// wantInForce waits until the kernel has the document of c.share, exactly.
func (c *zkCase) wantInForce() {
	c.t.Helper()
	c.h.wantShares(fmt.Sprintf("a %d", c.share), fmt.Sprintf("b%d 1024", c.share))
}

// enforced shows that what is in force is still enforced: a change by hand is put back, and nothing else changes for a while.
func (c *zkCase) enforced(what string) {
	c.t.Helper()
	c.h.write("cpu", "a", "cpu.shares", "555")
	c.wantInForce()
	want := c.h.tree("cpu", "cpu.shares")
	throughout(c.t, 500*time.Millisecond, what, func() error { return differ(want, c.h.tree("cpu", "cpu.shares")) })
	if !c.d.alive() {
		c.t.Fatalf("%s: the daemon ended", what)
	}
}

// edited applies the next edit, within the time that the contract names for a server that comes back (and a poll of a lost ACL).
func (c *zkCase) edited(what string) {
	c.t.Helper()
	c.share++
	c.client.Put(node, numbered(c.share))
	c.arrives(what)
}

func (c *zkCase) arrives(what string) {
	c.t.Helper()
	start := time.Now()
	c.wantInForce()
	if took := time.Since(start); took > 25*time.Second { // 20 s are promised; the rest is this machine's
		c.t.Errorf("%s: the next edit took %v", what, took)
	}
}

func TestZooKeeperKilledAndRestarted(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	c.start()
	c.zk.Kill()
	c.enforced("killed")
	time.Sleep(3 * time.Second) // longer than the session
	c.enforced("killed for longer")
	c.zk.Start()
	c.edited("restarted")
}

func TestZooKeeperFrozen(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	c.start()
	c.zk.Freeze()
	time.Sleep(5 * time.Second) // the session of 2 s ends meanwhile, on both sides
	c.enforced("frozen")
	c.zk.Thaw()
	c.edited("thawed")
}

// TestZooKeeperWiped: the server comes back empty, counting from zero; nothing changes until the document is there again.
func TestZooKeeperWiped(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	c.start()
	for range 5 {
		c.edited("before")
	}
	c.zk.Stop()
	c.client.Close()
	c.zk.Wipe()
	c.zk.Start()
	c.enforced("wiped")
	time.Sleep(2 * time.Second)
	c.enforced("wiped for longer")
	c.share = 300
	c.client.Create(node, numbered(c.share), identity)
	c.arrives("refilled")
	if version, _ := c.d.inForce(); version != 0 {
		t.Errorf("version in force is %d, want 0", version)
	}
}

func TestZooKeeperSessionExpired(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	proxy := c.zk.Proxy()
	c.h.useZooKeeper(proxy.Addr())
	c.start()
	for range 3 {
		proxy.ExpireSessions()
		c.enforced("expired")
		c.edited("expired")
	}
}

func TestZooKeeperNodeDeleted(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	c.start()
	c.client.Delete(node)
	c.enforced("deleted")
	c.share = 200
	c.client.Create(node, numbered(c.share), identity)
	c.arrives("made again")
	for _, bad := range []string{"", "{", "[]"} {
		c.client.Put(node, bad)
		c.enforced("bad document " + bad)
	}
	c.edited("after bad documents")
}

func TestZooKeeperACL(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	const other = "digest:somebody:else"
	admin := c.zk.Client(identity, other)
	c.start()
	admin.SetACL(node, other)
	c.share++
	admin.Put(node, numbered(c.share))
	c.share--
	throughout(t, 3*time.Second, "without access", func() error {
		return differ(fmt.Sprintf("a %d\nb%d 1024", c.share, c.share), c.h.tree("cpu", "cpu.shares"))
	})
	c.enforced("without access")
	admin.SetACL(node, identity)
	c.share++
	c.arrives("access given back")
	c.edited("access given back")
}

// TestZooKeeperDownAtStart: the last good document is enforced from state_dir.
func TestZooKeeperDownAtStart(t *testing.T) {
	t.Parallel()
	c := newZKCase(t)
	c.start()
	c.edited("before")
	c.d.stop()
	c.zk.Stop()
	c.client.Close()
	for _, line := range strings.Split(c.h.tree("cpu", ""), "\n") {
		if err := testhost.Remove(c.h.dir("cpu", line)); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	if version, document := c.d.inForce(); version != 1 || sameJSON(numbered(c.share), document) != nil {
		t.Errorf("in force: version %d, %s", version, document)
	}
	c.zk.Start()
	c.edited("server came")
	c.d.stop()

	// The file of another cluster is refused.
	c.h.set("zk_prefix", "/some/other/cluster")
	d := c.h.start()
	throughout(t, 2*time.Second, "another cluster's document", func() error {
		if code, _ := d.get("/readyz"); code != 503 {
			return fmt.Errorf("/readyz is %d", code)
		}
		return nil
	})
	if version, _ := d.inForce(); version != -1 {
		t.Errorf("version %d of another cluster is in force", version)
	}
}

// TestZooKeeperLate: without server and without last good document the daemon serves, not ready, and keeps trying.
func TestZooKeeperLate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeperStopped(t)
	h.useZooKeeper(zk.Addr())
	d := h.start()
	if code, _ := d.get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, reason := d.get("/readyz"); code != 503 || strings.TrimSpace(reason) == "" {
		t.Errorf("/readyz: %d %q, want 503 with the reason", code, reason)
	}
	time.Sleep(3 * time.Second)
	zk.Start()
	client := zk.Client(identity)
	client.Create(node, sample, identity)
	h.wantShares(sampleShares...)
	d.waitReady()
}

// TestGetZKHost runs the command that prints the hosts, with a chroot; the identity comes from a file of its own.
func TestGetZKHost(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create("/root/of/ours"+node, sample, identity)
	h.useZooKeeper("")
	h.set("zk_host", nil)
	h.set("zk_auth_data", nil)
	h.set("zk_auth_file", h.file("auth", "# a comment\n"+identity+"\n", 0o600))
	h.set("get_zk_host", []string{"/bin/sh", "-c", "echo ' 127.0.0.1:1 , " + zk.Addr() + "/root/of/ours'"})
	h.startReady()
	h.wantShares(sampleShares...)
}
