package zkconf

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Published is what the daemons say, and the document that they should have in
// force.
type Published struct {
	Document Current
	// Agents is what each daemon says now, by the name of its node.
	Agents map[string][]byte
	// Known is every daemon that ever was, with the time when its last session
	// began.
	Known map[string]time.Time
}

// readers is how many requests are on their way at once.
const readers = 32

// Published reads it through the session that follows the document.
func (z *ZooKeeper) Published(ctx context.Context) (Published, error) {
	c, _ := z.following()
	if c == nil {
		return Published{}, errNoSession
	}
	return c.published(ctx)
}

// FollowPublished reads it again and again, with the pause between, until look
// says that it is done or ctx ends, which is no error. While there is no session
// it makes new ones; other errors end it.
func (z *ZooKeeper) FollowPublished(ctx context.Context, pause time.Duration, look func(Published) (done bool)) error {
	for {
		err := z.session(ctx, func(c *client) error {
			for {
				p, err := c.published(ctx)
				if err != nil || look(p) || !sleep(ctx, pause) {
					return err
				}
			}
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errExpired), lost(err):
		default:
			return err
		}
	}
}

// published asks a server for what is true, and not for what it has heard of so
// far (sync), and for the document again at the end: what the daemons say must not
// be taken for agreement with one that has been replaced meanwhile.
func (c *client) published(ctx context.Context) (Published, error) {
	for {
		_, err := ask(ctx, c, func(conn *zk.Conn) (string, error) { return conn.Sync(c.path) })
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return Published{}, fmt.Errorf("sync %s: %w", c.path, err)
		}
		cur, err := c.current(ctx)
		if err != nil {
			return Published{}, err
		}
		p := Published{Document: cur, Agents: map[string][]byte{}, Known: map[string]time.Time{}}
		err = c.each(ctx, knownName, func(name string, n node) { p.Known[name] = time.UnixMilli(n.stat.Mtime) })
		if err != nil {
			return Published{}, err
		}
		if err := c.each(ctx, agentsName, func(name string, n node) { p.Agents[name] = n.data }); err != nil {
			return Published{}, err
		}
		n, err := ask(ctx, c, func(conn *zk.Conn) (n node, err error) {
			n.found, n.stat, err = conn.Exists(c.path)
			return n, err
		})
		if err != nil {
			return Published{}, fmt.Errorf("look at %s: %w", c.path, err)
		}
		if n.found == cur.Exists && (!n.found || n.stat.Version == cur.Version && time.UnixMilli(n.stat.Mtime).Equal(cur.Written)) {
			return p, nil
		}
	}
}

// each reads every node below one beside the document, several at a time.
func (c *client) each(ctx context.Context, parent string, take func(name string, n node)) error {
	parent = c.sibling(parent)
	names, err := c.children(ctx, parent)
	if err != nil {
		return err
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		first   error
		next    = make(chan string)
	)
	for range min(readers, len(names)) {
		running.Go(func() {
			for name := range next {
				n, err := c.get(ctx, parent+"/"+name)
				mu.Lock()
				switch {
				case err == nil:
					take(name, n)
				case !errors.Is(err, zk.ErrNoNode) && first == nil: // one that has just gone is none
					first = err
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	running.Wait()
	return first
}

// Forget makes a daemon that is silent unknown, so that nobody misses it.
func (z *ZooKeeper) Forget(ctx context.Context, name string) error {
	if _, err := cleanPath(name); err != nil || name == "" {
		return fmt.Errorf("no name of a host: %s", quote(name))
	}
	return z.within(ctx, func(ctx context.Context, c *client) error {
		speaks, err := ask(ctx, c, func(conn *zk.Conn) (bool, error) {
			found, _, err := conn.Exists(c.sibling(agentsName) + "/" + name)
			return found, err
		})
		if err != nil {
			return err
		}
		if speaks {
			return fmt.Errorf("%s is not silent", name)
		}
		path := c.sibling(knownName) + "/" + name
		_, err = ask(ctx, c, func(conn *zk.Conn) (struct{}, error) { return struct{}{}, conn.Delete(path, -1) })
		if err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
		return nil
	})
}
