package zkconf_test

import (
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// ensembleCase is a daemon of three servers. Any may hang: it still accepts
// connections, and answers nothing.
type ensembleCase struct {
	*daemon
	t       *testing.T
	servers testserver.Ensemble
}

// TestEnsemble: one server of three hangs while something happens that the daemon must
// not miss; then two do. The cases follow each other, because three servers take long to
// start.
func TestEnsemble(t *testing.T) {
	t.Parallel()
	e := testserver.ZooKeeperEnsemble(t, 3)
	e[0].Client(identity).Create(nodePath, numbered(10), identity)
	z := follow(e.Hosts())
	c := &ensembleCase{t: t, servers: e, daemon: runDaemon(t, z, &zkconf.Publisher{Source: z, Host: "h", ID: "a"})}
	c.last(numbered(10))
	c.nodeReplaced()
	c.accessTakenAway()
	c.twoHang()
	wantPublished(t, e.Hosts(), map[string]string{"h": id("a", "start")}, "h")
}

// hang freezes the server that the daemon is connected to, and returns it and another.
func (c *ensembleCase) hang() (hung, other *testserver.ZK) {
	c.t.Helper()
	c.state(zkconf.StateConnected)
	addr := c.source.Status().Server
	for _, z := range c.servers {
		if z.Addr() == addr {
			hung = z
		} else {
			other = z
		}
	}
	if hung == nil || other == nil {
		c.t.Fatalf("connected to %q, which is none of %s", addr, c.servers.Hosts())
	}
	hung.Freeze()
	return hung, other
}

// moved waits until the daemon has left the server.
func (c *ensembleCase) moved(from *testserver.ZK, state string) {
	c.t.Helper()
	c.until("another server", func() bool {
		st := c.source.Status()
		return st.State == state && st.Server != from.Addr()
	})
}

// nodeReplaced: until the daemon has found another server the node is made anew: with
// the version that it had, other bytes, and then the same bytes.
func (c *ensembleCase) nodeReplaced() {
	c.t.Helper()
	for i, text := range []string{numbered(11), numbered(11)} {
		before := len(c.all())
		hung, other := c.hang()
		admin := other.Client(identity)
		admin.Delete(nodePath)
		admin.Create(nodePath, text, identity)
		c.moved(hung, zkconf.StateConnected)
		if u := c.last(text); u.Version != 0 {
			c.t.Errorf("version %d of the node made anew", u.Version)
		}
		hung.Thaw()
		c.unchanged(before + 1 - i) // the same content is no news
	}
	// The watch is on the new node.
	c.servers[0].Client(identity).Put(nodePath, numbered(12))
	if u := c.last(numbered(12)); u.Version != 1 {
		c.t.Errorf("version %d after an edit", u.Version)
	}
}

// accessTakenAway: while the daemon looks for another server, the right to read is taken
// away and the document is changed.
func (c *ensembleCase) accessTakenAway() {
	c.t.Helper()
	const somebody = "digest:other:x"
	before := len(c.all())
	hung, other := c.hang()
	admin := other.Client(identity, somebody)
	admin.SetACL(nodePath, somebody)
	admin.Put(nodePath, numbered(13))
	c.moved(hung, zkconf.StateNoAccess)
	hung.Thaw()
	c.unchanged(before)
	admin.SetACL(nodePath, identity)
	c.last(numbered(13))
	c.state(zkconf.StateConnected)
}

// twoHang: without two of three nothing is served, and a server that hangs does not say so.
func (c *ensembleCase) twoHang() {
	c.t.Helper()
	before := len(c.all())
	hung, other := c.hang()
	other.Freeze()
	c.until("attempt that was given up", func() bool {
		st := c.source.Status()
		return st.State == zkconf.StateDisconnected && st.Error != "" && st.Error != "connection lost"
	})
	c.unchanged(before)
	other.Thaw()
	hung.Thaw()
	c.state(zkconf.StateConnected)
	other.Client(identity).Put(nodePath, numbered(14))
	c.last(numbered(14))
	c.unchanged(before + 1)
}
