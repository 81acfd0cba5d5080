package zkconf

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"
)

// node is what was read of the node, with the watch that was set by it.
type node struct {
	data  []byte
	stat  *zk.Stat
	watch <-chan zk.Event
	found bool
}

// follower reads the node through one session after the other.
type follower struct {
	z       *ZooKeeper
	updates func(Update)

	// What was delivered last.
	delivered bool
	version   int32
	raw       []byte
	doc       *Document // the last valid one

	// Of the present session.
	s     *session
	path  string
	added int // of the identities
	// watch is the channel of the watch that is set, nil for none. The library
	// keeps a channel for each call that sets one until it fires: no second one
	// is set meanwhile.
	watch <-chan zk.Event
	stat  *zk.Stat // of the node when the watch was set; nil: it was absent
}

// session follows the node until the session must be made anew, and says why.
func (f *follower) session(ctx context.Context) (err error) {
	if f.s, f.path, err = f.z.open(ctx); err != nil {
		return err
	}
	defer f.s.close()
	f.added, f.watch, f.stat = 0, nil, nil
	if err := f.await(ctx); err != nil {
		return err
	}
	f.z.tracker.newSession(f.s.serverName())
	defer f.z.share(nil)
	for {
		changed := f.s.changes() // what changes from here on is a reason to look again
		err := f.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		again := lookInterval
		switch {
		case err == nil:
			f.z.setState(StateConnected, nil)
		case errors.Is(err, zk.ErrNoNode):
			f.z.setState(StateNoNode, err)
		case errors.Is(err, zk.ErrNoAuth):
			f.watch = nil // none fires for a client without access
			f.z.setState(StateNoAccess, denied(err, f.z.Auth))
		case errors.Is(err, errExpired), errors.Is(err, errNoSession), errors.Is(err, zk.ErrAuthFailed):
			return err
		case lost(err):
			f.z.setState(StateDisconnected, err) // the library connects again
			again = dialPause
		default:
			f.z.setState(StateNoAccess, err)
		}
		if err := f.wait(ctx, changed, again); err != nil {
			return err
		}
	}
}

// await waits for a session, showing meanwhile why there is none.
func (f *follower) await(ctx context.Context) error {
	return f.s.await(ctx, f.z.grace(), func(err error) { f.z.setState(StateDisconnected, err) })
}

// wait returns when there is a reason to look: a watch that fired (or was
// dropped), a session that is back after a break, the time.
func (f *follower) wait(ctx context.Context, changed <-chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.watch:
		f.watch = nil
		f.z.spread(ctx)
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return nil
	}
	return f.whole(ctx)
}

// whole waits out a break of the session. The library sets the watches again, and
// the server fires those that were missed, but a look costs little.
func (f *follower) whole(ctx context.Context) error {
	if !f.s.isUp() {
		f.z.setState(StateDisconnected, errors.New("connection lost"))
		if err := f.await(ctx); err != nil {
			return err
		}
	}
	f.z.tracker.resumed(f.s.serverName())
	return nil
}

// look reads the node unless it is as it was when the watch was set.
func (f *follower) look(ctx context.Context) error {
	if err := f.z.addAuth(ctx, f.s, &f.added); err != nil {
		return err
	}
	f.z.share(f)
	if f.watch != nil {
		n, err := call(ctx, f.z.grace(), func() (n node, err error) {
			n.found, n.stat, err = f.s.conn.Exists(f.path)
			return n, err
		})
		switch {
		case err != nil:
			return err
		case !n.found && f.stat == nil:
			return zk.ErrNoNode
		case n.found && f.stat != nil && sameNode(n.stat, f.stat):
			return nil
		}
		// An event was lost, or is on its way.
	}
	return f.read(ctx)
}

// sameNode compares what identifies content and access rights.
func sameNode(a, b *zk.Stat) bool {
	return a.Czxid == b.Czxid && a.Mzxid == b.Mzxid && a.Version == b.Version && a.Aversion == b.Aversion
}

// read takes data and watch from one call, so that no change falls between them.
// GetW sets no watch on an absent node, and the node may appear before ExistsW
// does: hence the loop.
func (f *follower) read(ctx context.Context) error {
	for {
		f.watch = nil
		n, err := call(ctx, f.z.grace(), func() (n node, err error) {
			n.data, n.stat, n.watch, err = f.s.conn.GetW(f.path)
			return n, err
		})
		if err == nil {
			f.watch, f.stat = n.watch, n.stat
			f.deliver(n.data, n.stat.Version)
			return nil
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		n, err = call(ctx, f.z.grace(), func() (n node, err error) {
			n.found, n.stat, n.watch, err = f.s.conn.ExistsW(f.path)
			return n, err
		})
		if err != nil {
			return err
		}
		if !n.found {
			f.watch, f.stat = n.watch, nil
			return zk.ErrNoNode
		}
	}
}

// deliver passes on a version that differs from the one before. After a new
// session, or a node made anew, the same bytes may have another version, and
// other bytes the same version.
func (f *follower) deliver(data []byte, version int32) {
	if f.delivered && version == f.version && bytes.Equal(data, f.raw) {
		return
	}
	f.delivered, f.version, f.raw = true, version, data
	f.z.tracker.seen(version)
	u := newUpdate(f.doc, data, version)
	if u.Doc != nil {
		f.doc = u.Doc
	}
	f.updates(u)
}
