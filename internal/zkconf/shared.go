package zkconf

import (
	"context"
	"math/rand/v2"
	"time"
)

// share lets others use the follower's session, or ends that (nil).
func (z *ZooKeeper) share(f *follower) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case f == nil && z.shared == nil, f != nil && z.shared != nil && z.shared.s == f.s:
		return
	case f == nil:
		z.shared = nil
	default:
		z.shared = &client{z: z, s: f.s, path: f.path, added: len(z.Auth)}
	}
	if z.sharing != nil {
		close(z.sharing)
		z.sharing = nil
	}
}

// following returns a client on the session that follows the document, nil when
// there is none, and a channel that is closed when that changes.
func (z *ZooKeeper) following() (*client, <-chan struct{}) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.sharing == nil {
		z.sharing = make(chan struct{})
	}
	return z.shared, z.sharing
}

// In a large cluster every change makes every daemon read the document at once.
// They take that long, together, instead; a small one loses no time by it.
const (
	smallCrowd = 20
	perDaemon  = time.Millisecond
	maxSpread  = 900 * time.Millisecond
)

// window is how long the reads of a crowd are spread over.
func window(crowd int) time.Duration {
	if crowd <= smallCrowd {
		return 0
	}
	return min(time.Duration(crowd)*perDaemon, maxSpread)
}

// spread waits for this daemon's turn to read. The document is read after it, so
// that edits in quick succession become one.
func (z *ZooKeeper) spread(ctx context.Context) {
	z.mu.Lock()
	w := window(z.crowd)
	z.mu.Unlock()
	if w == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(rand.N(w)):
	}
}
