package zkconf_test

import (
	"testing"
	"time"

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

func newEnsembleCase(t *testing.T) *ensembleCase {
	t.Helper()
	e := testserver.ZooKeeperEnsemble(t, 3)
	e[0].Client(identity).Create(nodePath, numbered(10), identity)
	z := follow(e.Hosts())
	z.SessionTimeout = 4 * time.Second
	c := &ensembleCase{t: t, servers: e, daemon: runDaemon(t, z, &zkconf.Publisher{Source: z, Host: "h", ID: "a"})}
	c.last(numbered(10))
	return c
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

// The server hangs, and until the daemon has found another one the node is made anew:
// with the version that it had, other bytes, and then the same bytes.
func TestEnsembleNodeReplaced(t *testing.T) {
	t.Parallel()
	c := newEnsembleCase(t)
	for i, text := range []string{numbered(11), numbered(11)} {
		before := len(c.all())
		hung, other := c.hang()
		admin := other.Client(identity)
		admin.Delete(nodePath)
		admin.Create(nodePath, text, identity)
		if u := c.last(text); u.Version != 0 {
			t.Errorf("version %d of the node made anew", u.Version)
		}
		c.moved(hung, zkconf.StateConnected)
		hung.Thaw()
		c.unchanged(before + 1 - i) // the same content is no news
		wantPublished(t, other.Addr(), map[string]string{"h": id("a", "start")}, "h")
	}
	// The watch is on the new node.
	c.servers[0].Client(identity).Put(nodePath, numbered(12))
	if u := c.last(numbered(12)); u.Version != 1 {
		t.Errorf("version %d after an edit", u.Version)
	}
}

// While the daemon looks for another server, the right to read is taken away and the
// document is changed.
func TestEnsembleAccessTakenAway(t *testing.T) {
	t.Parallel()
	c := newEnsembleCase(t)
	const somebody = "digest:other:x"
	hung, other := c.hang()
	admin := other.Client(identity, somebody)
	admin.SetACL(nodePath, somebody)
	admin.Put(nodePath, numbered(11))
	c.moved(hung, zkconf.StateNoAccess)
	hung.Thaw()
	c.unchanged(1)
	if st := c.source.Status(); st.Error == "" {
		t.Errorf("status %+v", st)
	}
	admin.SetACL(nodePath, identity)
	c.last(numbered(11))
	c.state(zkconf.StateConnected)
}

// Without two of three nothing is served; a server that hangs is not one that says so.
func TestEnsembleTwoHang(t *testing.T) {
	t.Parallel()
	c := newEnsembleCase(t)
	hung, other := c.hang()
	other.Freeze()
	c.state(zkconf.StateDisconnected)
	c.until("attempt that was given up", func() bool {
		st := c.source.Status()
		return st.State == zkconf.StateDisconnected && st.Error != "" && st.Error != "connection lost"
	})
	c.unchanged(1)
	other.Thaw()
	hung.Thaw()
	c.state(zkconf.StateConnected)
	other.Client(identity).Put(nodePath, numbered(11))
	c.last(numbered(11))
	c.unchanged(2)
	wantPublished(t, other.Addr(), map[string]string{"h": id("a", "start")}, "h")
}
