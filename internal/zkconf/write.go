package zkconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
)

// maxRequest is the largest request that we send. From 1,048,575 bytes
// (jute.maxbuffer's default) a server closes the connection without a word.
const maxRequest = 1_048_500

// requestOverhead bounds what a request has besides data, paths, and ACLs.
const requestOverhead = 128

// ErrChanged says that the document is not any more the one that was to be
// replaced.
var ErrChanged = errors.New("somebody else has changed the document meanwhile")

// Current is the document's node as a command has read it.
type Current struct {
	Exists  bool // everything else is empty when it does not
	Raw     []byte
	Version int32
	Written time.Time // by the server's clock
}

// Read reads the node, which need not exist.
func (z *ZooKeeper) Read(ctx context.Context) (Current, error) {
	var cur Current
	err := z.within(ctx, func(ctx context.Context, c *client) (err error) {
		cur, err = c.current(ctx)
		return err
	})
	return cur, err
}

func (c *client) current(ctx context.Context) (Current, error) {
	n, err := c.get(ctx, c.path)
	if errors.Is(err, zk.ErrNoNode) {
		return Current{Version: -1}, nil
	}
	if err != nil {
		return Current{}, err
	}
	return currentOf(n), nil
}

func currentOf(n node) Current {
	return Current{Exists: true, Raw: n.data, Version: n.stat.Version, Written: time.UnixMilli(n.stat.Mtime)}
}

// Write is a document that is to replace another.
type Write struct {
	Over   Current // the one it replaces
	Raw    []byte  // valid: that is the caller's business
	Author string
	Reason string // one line; may be empty
	// Keep is how many earlier documents the history holds after it; 0 leaves
	// the history alone.
	Keep int
}

// Write writes the document if the node is still as it was read, and returns its
// new version. The document that it replaces is in the history before. The error
// is ErrChanged when somebody else was faster. ACLs stay as they are; a node that
// does not exist is made, for everybody or, with identities, for those.
//
// The new version may be written although there is an error: then the history
// could not be brought up to date, and the version is not -1.
func (z *ZooKeeper) Write(ctx context.Context, w Write) (version int32, err error) {
	version = -1
	err = z.within(ctx, func(ctx context.Context, c *client) (err error) {
		version, err = c.write(ctx, w)
		return err
	})
	return version, err
}

func (c *client) write(ctx context.Context, w Write) (int32, error) {
	if len(w.Raw) > MaxSize {
		return -1, fmt.Errorf("write %s: %d bytes, more than the %d that ZooKeeper takes", c.path, len(w.Raw), MaxSize)
	}
	if !w.Over.Exists {
		return c.first(ctx, w)
	}
	if w.Keep <= 0 {
		return c.set(ctx, w, func(conn *zk.Conn) error {
			_, err := conn.Set(c.path, w.Raw, w.Over.Version)
			return err
		})
	}
	acl, err := c.acl(ctx)
	if err != nil {
		return -1, fmt.Errorf("read the ACL of %s: %w", c.path, err)
	}
	acl = beside(acl, c.z.Auth)
	if err := c.keep(ctx, w.Over, acl); err != nil {
		return -1, fmt.Errorf("keep version %d in the history: %w", w.Over.Version, err)
	}
	set := &zk.SetDataRequest{Path: c.path, Data: w.Raw, Version: w.Over.Version}
	create := &zk.CreateRequest{Path: c.history() + "/" + entryPrefix, Data: w.entry(), Acl: acl, Flags: zk.FlagSequence}
	together := requestSize(set.Path, create.Path, acl)+len(set.Data)+len(create.Data) <= maxRequest
	version, err := c.set(ctx, w, func(conn *zk.Conn) error {
		if !together {
			_, err := conn.Set(set.Path, set.Data, set.Version)
			return err
		}
		_, err := conn.Multi(set, create) // the first error is the cause
		return err
	})
	if err != nil {
		return version, err
	}
	if !together { // who and why may be lost with us now, the document cannot
		if err := c.create(ctx, create.Path, create.Data, zk.FlagSequence, acl); err != nil {
			return version, err
		}
	}
	return version, c.prune(ctx, w.Keep)
}

// entry is what the history gets.
func (w *Write) entry() []byte {
	return newEntry(w.Raw, Entry{Version: w.Over.Version + 1, Time: time.Now(), Author: w.Author, Reason: w.Reason})
}

// requestSize bounds the size of a request without its data.
func requestSize(path1, path2 string, acl []zk.ACL) int {
	n := requestOverhead + len(path1) + len(path2)
	for _, a := range acl {
		n += 12 + len(a.Scheme) + len(a.ID)
	}
	return n
}

// set carries out the write. Where the answer is lost it looks what has become of
// it.
func (c *client) set(ctx context.Context, w Write, f func(conn *zk.Conn) error) (int32, error) {
	for {
		_, err := once(ctx, c, func(conn *zk.Conn) (struct{}, error) { return struct{}{}, f(conn) })
		switch {
		case err == nil:
			return w.Over.Version + 1, nil
		case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists):
			return -1, ErrChanged
		case !lost(err):
			return -1, fmt.Errorf("write %s: %w", c.path, err)
		}
		now, err := c.current(ctx)
		switch {
		case err != nil:
			return -1, fmt.Errorf("write %s: the answer was lost: it may have been done: %w", c.path, err)
		case now.Exists && now.Version == w.Over.Version+1 && bytes.Equal(now.Raw, w.Raw):
			return now.Version, nil
		case now.Exists != w.Over.Exists || now.Version != w.Over.Version:
			return -1, ErrChanged
		}
	}
}

// first makes the node.
func (c *client) first(ctx context.Context, w Write) (int32, error) {
	acl := beside(nil, c.z.Auth)
	if err := c.parents(ctx, c.path, acl); err != nil {
		return -1, err
	}
	w.Over.Version = -1 // the first version is 0
	version, err := c.set(ctx, w, func(conn *zk.Conn) error {
		_, err := conn.Create(c.path, w.Raw, 0, acl)
		return err
	})
	if err != nil || w.Keep <= 0 {
		return version, err
	}
	if err := c.ensureHistory(ctx, acl); err != nil {
		return version, err
	}
	if err := c.create(ctx, c.history()+"/"+entryPrefix, w.entry(), zk.FlagSequence, acl); err != nil {
		return version, err
	}
	return version, c.prune(ctx, w.Keep)
}
