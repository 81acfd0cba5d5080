package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"go.uber.org/zap"
)

// A Feed is a series of items that clients can subscribe to: "subscribe_NAME"
// sends the newest item and then each one as it comes, "unsubscribe_NAME" ends
// that. A subscription has no reply but its items, or an error. A connection
// has at most one subscription to each feed: another replaces it.
//
// Items have ascending numbers. Nothing is queued: each connection makes its
// way through the items by itself, so one that reads slowly is late and then
// dropped, and costs the others nothing. What several clients get is encoded
// once.
type Feed struct {
	// Check refuses arguments before the subscription begins.
	Check func(args json.RawMessage) error
	// Newest is the number of the newest item, 0 before the first.
	Newest func() int64
	// Next waits for the first item after the one with this number. An error
	// means that the context has ended.
	Next func(ctx context.Context, after int64) (int64, error)
	// Write writes an item's message as a [Command] does; when it writes nothing
	// there is none. An [*Error] costs this one item only.
	Write func(ctx context.Context, args json.RawMessage, item int64, w io.Writer) error
}

// subscription is one connection's way through a feed, in a goroutine that
// ends before the connection does.
type subscription struct {
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	subscribe   = "subscribe_"
	unsubscribe = "unsubscribe_"
)

// feedRequest begins or ends a subscription; known is false when the request is
// nothing of the kind. Only serve's goroutine calls it.
func (c *conn) feedRequest(ctx context.Context, r request, w io.Writer) (known bool, err error) {
	if name, ok := strings.CutPrefix(r.cmd, unsubscribe); ok && c.server.Feeds[name] != nil {
		answer := `{"unsubscribed":false}`
		if c.end(name) {
			answer = `{"unsubscribed":true}`
		}
		_, err := io.WriteString(w, answer)
		return true, err
	}
	name, ok := strings.CutPrefix(r.cmd, subscribe)
	feed := c.server.Feeds[name]
	if !ok || feed == nil {
		return false, nil
	}
	if feed.Check != nil {
		if err := feed.Check(r.args); err != nil {
			return true, err
		}
	}
	c.end(name)
	ctx, cancel := context.WithCancel(ctx)
	s := &subscription{cancel, make(chan struct{})}
	c.subscriptions[name] = s
	go func() {
		defer close(s.done)
		c.follow(ctx, name, feed, r.args)
	}()
	return true, errNoReply
}

// errNoReply: a command that was carried out and has no reply.
var errNoReply = errors.New("no reply")

// end ends the subscription and waits until nothing more of it comes.
func (c *conn) end(name string) bool {
	s := c.subscriptions[name]
	if s == nil {
		return false
	}
	delete(c.subscriptions, name)
	s.cancel()
	<-s.done
	return true
}

// follow sends item after item.
func (c *conn) follow(ctx context.Context, name string, feed *Feed, args json.RawMessage) {
	key := append([]byte("\x00"+subscribe+name+"\x00"), args...) // as no request begins
	for item := max(feed.Newest()-1, 0); ; {
		var err error
		if item, err = feed.Next(ctx, item); err != nil {
			return
		}
		if !c.begin() {
			return // we go away
		}
		err = c.item(ctx, key, feed, args, item)
		c.finished()
		if err != nil {
			// The goroutine that reads has to learn of it.
			c.log.Debug("subscription ends", zap.String("feed", name), zap.Error(err))
			_ = c.ws.Close()
			return
		}
	}
}

// item sends one item. An error ends the connection.
func (c *conn) item(ctx context.Context, key []byte, feed *Feed, args json.RawMessage, item int64) error {
	share, maker := c.server.shares.add(key, item, feed.Newest)
	if share != nil {
		defer share.release()
	}
	if share != nil && !maker {
		<-share.done
		if share.message != nil {
			return c.pass(share)
		}
	}
	if !maker {
		share = nil // to be released, but not ours to make
	}
	var err error
	c.server.Work(func() { err = c.makeItem(ctx, key, feed, args, item, share) })
	return err
}

// makeItem makes and sends an item, for others too where making is not nil.
func (c *conn) makeItem(ctx context.Context, key []byte, feed *Feed, args json.RawMessage, item int64, making *shared) error {
	reply := newReply(c, making)
	defer reply.release()
	err := c.guard(string(key), func() error { return feed.Write(ctx, args, item, reply) })
	var known *Error
	switch {
	case reply.err != nil:
		return reply.err
	case ctx.Err() != nil && !reply.streaming():
		return nil // unsubscribed
	case err != nil && reply.streaming():
		return err
	case errors.As(err, &known):
		c.log.Debug("subscription skips an item", zap.Error(err))
		return nil
	case err != nil:
		c.log.Error("websocket command failed", zap.Error(err))
		return err
	case reply.empty():
		return nil
	}
	return reply.finish()
}
