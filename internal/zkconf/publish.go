package zkconf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-zookeeper/zk"
	"go.uber.org/zap"
)

// Nodes beside the document's.
const (
	// agentsName is above one ephemeral node for each daemon.
	agentsName = "agents"
	// knownName is above one lasting node for each daemon that ever was, so that
	// one that is silent is missed.
	knownName = "agents_known"
)

const (
	// settle is how long we wait for what belongs to the same change: a version
	// that is seen is in force a moment later.
	settle = 50 * time.Millisecond
	// publishPause is the least time between two writes of one daemon.
	publishPause = time.Second
	// publishCheck is how often we look whether our node is still there. The time
	// after a refusal is the same: nothing says when it ends.
	publishCheck = 30 * time.Second
)

// Publisher keeps one ephemeral node that says how a daemon is. It uses the session
// that follows the document; its fields must not change once it runs.
type Publisher struct {
	// Source is the document's source.
	Source *ZooKeeper
	// Host names the node. When another daemon has that name already, it is
	// followed by "~" and ID.
	Host string
	// ID is this daemon's, also after a restart. What is published has it as
	// member "id", so that our own node of an earlier session can be told from
	// another's.
	ID string
	// Log may be nil.
	Log *zap.Logger

	mu     sync.Mutex
	data   []byte // newest, nil before the first
	wake   chan struct{}
	status PublisherStatus

	// Of Run.
	s       *session // in which the node was made
	name    string   // of the node, "" while there is none
	known   bool     // the lasting node has been written, too
	written []byte
	last    time.Time // of the last write
}

// PublisherStatus says whether a daemon is published.
type PublisherStatus struct {
	Name  string // of the node, "" while there is none
	Error string // why there is none
}

// Publish takes what is to be published. Only the newest counts, and nothing is
// written when nothing has changed.
func (p *Publisher) Publish(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Equal(p.data, data) {
		return
	}
	p.data = data
	select {
	case p.waker() <- struct{}{}:
	default:
	}
}

// waker is called with mu held.
func (p *Publisher) waker() chan struct{} {
	if p.wake == nil {
		p.wake = make(chan struct{}, 1)
	}
	return p.wake
}

// Status says how it is now.
func (p *Publisher) Status() PublisherStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Run publishes until ctx ends. Nothing else makes it return: not to be allowed to
// is a warning.
func (p *Publisher) Run(ctx context.Context) error {
	p.mu.Lock()
	wake := p.waker()
	p.mu.Unlock()
	check := time.NewTimer(publishCheck)
	defer check.Stop()
	var before *client
	for {
		c, changed := p.Source.following()
		if c == before {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				continue
			case <-wake:
			case <-check.C:
			}
		}
		before = c
		if !sleep(ctx, max(settle, time.Until(p.last.Add(publishPause)))) {
			return nil
		}
		again := publishCheck
		switch err := p.publish(ctx, c); {
		case ctx.Err() != nil:
			return nil
		case lost(err), errors.Is(err, errNoSession), errors.Is(err, errExpired):
			again = publishPause // the source says what is the matter
		default:
			p.report(err)
		}
		check.Reset(again)
	}
}

// sleep says whether ctx has outlasted it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// report notes success or the reason against it, and logs it when it is new.
func (p *Publisher) report(err error) {
	log := p.Log
	if log == nil {
		log = zap.NewNop()
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	p.mu.Lock()
	before := p.status
	p.status = PublisherStatus{Name: p.name, Error: text}
	now := p.status
	p.mu.Unlock()
	switch {
	case err != nil && before.Error != now.Error:
		log.Warn("state not published, so that status cannot count this host", zap.Error(err))
	case err == nil && now.Name != before.Name && now.Name != "":
		log.Info("state published", zap.String("name", now.Name))
	}
}

// publish brings the node up to date.
func (p *Publisher) publish(ctx context.Context, c *client) error {
	p.mu.Lock()
	data := p.data
	p.mu.Unlock()
	if c == nil || data == nil || c.s != p.s {
		p.s, p.name, p.known = nil, "", false // the session that owned it is over, or will be
	}
	if c == nil || data == nil {
		return nil
	}
	if err := p.count(ctx, c); err != nil {
		return err
	}
	if p.name != "" {
		done, err := p.update(ctx, c, data)
		if err != nil {
			return err
		}
		if !done {
			p.name = ""
		}
	}
	if p.name == "" {
		name, err := p.make(ctx, c, data)
		if err != nil {
			return err
		}
		p.s, p.name, p.known, p.written, p.last = c.s, name, false, data, time.Now()
	}
	if p.known {
		return nil
	}
	err := p.know(ctx, c)
	p.known = err == nil
	return err
}

// count finds out how many daemons there are.
func (p *Publisher) count(ctx context.Context, c *client) error {
	n, err := once(ctx, c, func(conn *zk.Conn) (n node, err error) {
		n.found, n.stat, err = conn.Exists(c.sibling(agentsName))
		return n, err
	})
	if err != nil || !n.found {
		return err
	}
	c.z.mu.Lock()
	c.z.crowd = int(n.stat.NumChildren)
	c.z.mu.Unlock()
	return nil
}

// sibling is a node beside the document's.
func (c *client) sibling(name string) string { return strings.TrimSuffix(c.prefix(), "/") + "/" + name }

// update writes the node that we have made, or looks whether it is still there.
// It says whether all is well.
func (p *Publisher) update(ctx context.Context, c *client, data []byte) (bool, error) {
	path := c.sibling(agentsName) + "/" + p.name
	stat, err := once(ctx, c, func(conn *zk.Conn) (*zk.Stat, error) {
		if bytes.Equal(data, p.written) {
			found, stat, err := conn.Exists(path)
			if err == nil && !found {
				err = zk.ErrNoNode
			}
			return stat, err
		}
		return conn.Set(path, data, -1)
	})
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	if !bytes.Equal(data, p.written) {
		p.written, p.last = data, time.Now()
	}
	return stat.EphemeralOwner == c.s.conn.SessionID(), nil
}

// make makes the node and returns its name.
func (p *Publisher) make(ctx context.Context, c *client, data []byte) (string, error) {
	host := nodeNameFor(p.Host)
	for _, name := range []string{host, host + "~" + nodeNameFor(p.ID)} {
		path := c.sibling(agentsName) + "/" + name
		acl, err := c.besideDocument(ctx)
		if err != nil {
			return "", err
		}
		_, err = once(ctx, c, func(conn *zk.Conn) (string, error) { return conn.Create(path, data, zk.FlagEphemeral, acl) })
		if errors.Is(err, zk.ErrNoNode) {
			if err := c.parents(ctx, path, acl); err != nil {
				return "", err
			}
			_, err = once(ctx, c, func(conn *zk.Conn) (string, error) { return conn.Create(path, data, zk.FlagEphemeral, acl) })
		}
		if errors.Is(err, zk.ErrNodeExists) {
			var ours bool
			ours, err = p.replace(ctx, c, path, data, acl)
			if err == nil && !ours {
				continue
			}
		}
		if err != nil {
			return "", fmt.Errorf("create %s: %w", path, err)
		}
		return name, nil
	}
	return "", fmt.Errorf("publish %s: two other daemons have its name", p.Host)
}

// nodeNameFor makes a name that ZooKeeper takes of whatever a host calls itself.
func nodeNameFor(host string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, host)
	if name == "" || name == "." || name == ".." {
		return "_" + name
	}
	return name
}

// replace makes the node anew if the one that is there was ours: of an earlier
// session that the servers still wait for, or of a request whose answer was lost.
func (p *Publisher) replace(ctx context.Context, c *client, path string, data []byte, acl []zk.ACL) (ours bool, err error) {
	n, err := once(ctx, c, func(conn *zk.Conn) (n node, err error) {
		n.data, n.stat, err = conn.Get(path)
		return n, err
	})
	if err != nil {
		return false, err
	}
	var its struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(n.data, &its) != nil || its.ID != p.ID {
		return false, nil
	}
	_, err = once(ctx, c, func(conn *zk.Conn) (struct{}, error) {
		_, err := conn.Multi(&zk.DeleteRequest{Path: path, Version: n.stat.Version},
			&zk.CreateRequest{Path: path, Data: data, Acl: acl, Flags: zk.FlagEphemeral})
		return struct{}{}, err
	})
	return true, err
}

// know leaves a lasting node, changed at each session, that tells of this daemon
// when it is silent.
func (p *Publisher) know(ctx context.Context, c *client) error {
	path := c.sibling(knownName) + "/" + p.name
	data, err := json.Marshal(map[string]string{"host": p.Host, "id": p.ID})
	if err != nil {
		return err
	}
	_, err = once(ctx, c, func(conn *zk.Conn) (*zk.Stat, error) { return conn.Set(path, data, -1) })
	if errors.Is(err, zk.ErrNoNode) {
		var acl []zk.ACL
		if acl, err = c.besideDocument(ctx); err == nil {
			err = c.parents(ctx, path, acl)
		}
		if err == nil {
			_, err = once(ctx, c, func(conn *zk.Conn) (string, error) { return conn.Create(path, data, 0, acl) })
		}
		if errors.Is(err, zk.ErrNodeExists) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// besideDocument is the ACL for a node beside the document, which need not exist.
func (c *client) besideDocument(ctx context.Context) ([]zk.ACL, error) {
	acl, err := c.acl(ctx)
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNoAuth) {
		acl, err = nil, nil
	}
	return beside(acl, c.z.Auth), err
}
