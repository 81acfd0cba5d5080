package testserver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// clientTimeout is how long one operation of a ZKClient is repeated while the
// server is away.
const clientTimeout = time.Minute

const sessionTimeout = 10 * time.Second

// World is the identity of everybody, for ZKClient.SetACL.
const World = "world:anyone"

// ZKClient reads and writes nodes with one session, made anew when it breaks.
// Every method fails the test when the operation fails. It is for one goroutine
// at a time.
type ZKClient struct {
	t      testing.TB
	server *ZK
	auth   []string
	conn   *zk.Conn
}

// Client returns a client that identifies itself by each "scheme:auth", such as
// "digest:user:password".
func (z *ZK) Client(auth ...string) *ZKClient {
	c := &ZKClient{t: z.t, server: z, auth: auth}
	z.t.Cleanup(c.Close)
	return c
}

// Put sets the node's data, making it (open to everybody) and its parents when
// absent, and returns its new version.
func (c *ZKClient) Put(path, data string) (version int32) {
	c.t.Helper()
	c.do("put "+path, func(conn *zk.Conn) error {
		stat, err := conn.Set(path, []byte(data), -1)
		if err == nil {
			version = stat.Version
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		version = 0
		return create(conn, path, data, zk.WorldACL(zk.PermAll))
	})
	return version
}

// Create makes the node, and its parents (open to everybody), so that only the
// identities have access: World, or "digest:user:password". An existing node
// is an error.
func (c *ZKClient) Create(path, data string, identities ...string) {
	c.t.Helper()
	c.do("create "+path, func(conn *zk.Conn) error {
		return create(conn, path, data, acl(identities))
	})
}

// SetACL gives all permissions on the node to the identities and none to
// anybody else.
func (c *ZKClient) SetACL(path string, identities ...string) {
	c.t.Helper()
	c.do("set acl "+path, func(conn *zk.Conn) error {
		_, err := conn.SetACL(path, acl(identities), -1)
		return err
	})
}

// Get returns the node's data and version.
func (c *ZKClient) Get(path string) (data string, version int32) {
	c.t.Helper()
	c.do("get "+path, func(conn *zk.Conn) error {
		b, stat, err := conn.Get(path)
		if err == nil {
			data, version = string(b), stat.Version
		}
		return err
	})
	return data, version
}

// Delete removes the node.
func (c *ZKClient) Delete(path string) {
	c.t.Helper()
	c.do("delete "+path, func(conn *zk.Conn) error { return conn.Delete(path, -1) })
}

// Close ends the session. A later operation makes a new one.
func (c *ZKClient) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do repeats op with new sessions until it succeeds or fails for a reason that
// does not lie in the connection.
func (c *ZKClient) do(what string, op func(*zk.Conn) error) {
	c.t.Helper()
	began := time.Now()
	var history []string // of what went wrong, for a machine that is never so slow again
	for {
		err := c.once(op)
		if err == nil {
			return
		}
		took := time.Since(began)
		if history = append(history, fmt.Sprintf("%v: %v", took.Round(time.Millisecond), err)); !retriable(err) || took > clientTimeout {
			answer, down := c.server.FourLetter("srvr")
			c.t.Fatalf("zookeeper %s: %v\n%s\nsrvr: %v %s", what, err, strings.Join(history, "\n"), down, answer)
		}
		c.Close()
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *ZKClient) once(op func(*zk.Conn) error) error {
	if c.conn == nil {
		conn, _, err := zk.Connect([]string{c.server.addr}, sessionTimeout, zk.WithLogInfo(false), zk.WithLogger(quiet{}), zk.WithDialer(dial))
		if err != nil {
			return err
		}
		c.conn = conn
		for _, a := range c.auth {
			scheme, auth, _ := strings.Cut(a, ":")
			if err := conn.AddAuth(scheme, []byte(auth)); err != nil {
				return err
			}
		}
	}
	return op(c.conn)
}

// dial connects so that a handshake that nobody answers is given up: the library waits 6.7
// times the session timeout for it, longer than we have. Seen when a server was just
// coming up on a busy machine.
func dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return impatient{conn}, nil
}

// impatient is a connection whose reads and writes have a limit.
type impatient struct{ net.Conn }

// SetReadDeadline implements net.Conn.
func (c impatient) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(sooner(t)) }

// SetWriteDeadline implements net.Conn.
func (c impatient) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(sooner(t)) }

func sooner(t time.Time) time.Time {
	if limit := time.Now().Add(sessionTimeout); t.IsZero() || t.After(limit) {
		return limit
	}
	return t
}

func retriable(err error) bool {
	for _, e := range []error{zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrSessionExpired, zk.ErrClosing, zk.ErrSessionMoved} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func create(conn *zk.Conn, path, data string, acl []zk.ACL) error {
	for i, r := range path {
		if r != '/' || i == 0 {
			continue
		}
		_, err := conn.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	_, err := conn.Create(path, []byte(data), 0, acl)
	return err
}

func acl(identities []string) []zk.ACL {
	var list []zk.ACL
	for _, id := range identities {
		scheme, rest, _ := strings.Cut(id, ":")
		if user, password, ok := strings.Cut(rest, ":"); scheme == "digest" && ok {
			list = append(list, zk.DigestACL(zk.PermAll, user, password)...)
			continue
		}
		list = append(list, zk.ACL{Perms: zk.PermAll, Scheme: scheme, ID: rest})
	}
	return list
}

// quiet drops the client library's log lines: what matters fails the test.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
