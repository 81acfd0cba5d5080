package zkconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"

	"github.com/go-zookeeper/zk"
)

// client is one session for a few requests, of the commands and not of the
// daemon.
type client struct {
	z     *ZooKeeper
	s     *session
	path  string // of the document's node
	added int    // of the identities
}

// within runs f with a client. Besides ctx, all of it is bounded by three session
// timeouts, at most 12 s.
func (z *ZooKeeper) within(ctx context.Context, f func(ctx context.Context, c *client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, z.grace(), fmt.Errorf("%w for %v", errNoSession, z.grace()))
	defer cancel()
	return z.session(ctx, func(c *client) error { return f(ctx, c) })
}

// session runs f with a client that nothing bounds but what f does.
func (z *ZooKeeper) session(ctx context.Context, f func(c *client) error) error {
	s, path, err := z.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return f(&client{z: z, s: s, path: path})
}

// prefix is the node above the document's.
func (c *client) prefix() string { return path.Dir(c.path) }

// once does one request. When the connection is lost meanwhile (see lost), nobody
// knows whether it was done.
func once[T any](ctx context.Context, c *client, f func(conn *zk.Conn) (T, error)) (T, error) {
	var zero T
	if err := c.s.await(ctx, c.z.grace(), nil); err != nil {
		return zero, err
	}
	if err := c.z.addAuth(ctx, c.s, &c.added); err != nil {
		return zero, err
	}
	v, err := call(ctx, c.z.grace(), func() (T, error) { return f(c.s.conn) })
	return v, denied(err, c.z.Auth)
}

// ask is once for what may be done twice without harm: it is repeated until there
// is an answer.
func ask[T any](ctx context.Context, c *client, f func(conn *zk.Conn) (T, error)) (T, error) {
	for {
		v, err := once(ctx, c, f)
		if !lost(err) || ctx.Err() != nil {
			return v, err
		}
	}
}

// lost says whether an answer was lost rather than given. The session goes on,
// and await waits for the connection. An error of the connection itself reaches
// the one whose request was being written.
func lost(err error) bool {
	if connection := (*net.OpError)(nil); errors.As(err, &connection) {
		return connection.Op != "dial" // await's reason why there is no session
	}
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionMoved)
}

// get reads a node.
func (c *client) get(ctx context.Context, path string) (node, error) {
	n, err := ask(ctx, c, func(conn *zk.Conn) (n node, err error) {
		n.data, n.stat, err = conn.Get(path)
		return n, err
	})
	if err != nil {
		return node{}, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

// children lists the names below a node, none when it does not exist.
func (c *client) children(ctx context.Context, path string) ([]string, error) {
	names, err := ask(ctx, c, func(conn *zk.Conn) ([]string, error) {
		names, _, err := conn.Children(path)
		return names, err
	})
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	return names, nil
}

// create makes a node. It must be one that can be made twice, or whose name says
// that it has been made.
func (c *client) create(ctx context.Context, path string, data []byte, flags int32, acl []zk.ACL) error {
	_, err := ask(ctx, c, func(conn *zk.Conn) (string, error) { return conn.Create(path, data, flags, acl) })
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

// parents makes what is missing of the way to a node.
func (c *client) parents(ctx context.Context, of string, acl []zk.ACL) error {
	dir := path.Dir(of)
	if dir == "/" {
		return nil
	}
	found, err := ask(ctx, c, func(conn *zk.Conn) (bool, error) {
		found, _, err := conn.Exists(dir)
		return found, err
	})
	if err != nil {
		return fmt.Errorf("look for %s: %w", dir, err)
	}
	if found {
		return nil
	}
	if err := c.parents(ctx, dir, acl); err != nil {
		return err
	}
	if err := c.create(ctx, dir, nil, 0, acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	return nil
}
