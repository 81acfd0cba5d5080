package wsapi

import (
	"sync"

	"github.com/gorilla/websocket"
)

// Clients that poll ask the same at the same time: dashboards, one per person,
// and every one of them each second. A reply that is equal for all of them is
// made once, framed (and compressed) once, and written with one system call to
// each.
const (
	// shareLimit is the largest reply that is kept whole. Larger ones are
	// streamed to each client.
	shareLimit = 8 << 20
	// shareTotal bounds the bytes of all shared replies, whether another client
	// may still ask for them or a slow one is still taking them.
	shareTotal = 32 << 20
	// shareKinds bounds how many different requests have a shared reply.
	shareKinds = 64
	// compressAbove is the size from which compression is worth its frames.
	compressAbove = 1 << 10
)

// shares are the replies that more than one client may get.
type shares struct {
	mu      sync.Mutex
	entries map[string]*shared // by what was asked
	live    int                // bytes: of replies, and reserved for those being made
}

// shared is a reply to be made once by one connection, the maker, and sent by
// many. It counts as live until the last of them has let go of it.
type shared struct {
	owner *shares
	epoch int64        // of what it is made from
	now   func() int64 // the epoch at this moment

	done    chan struct{}              // closed when it is decided
	message *websocket.PreparedMessage // nil: every client makes its own
	size    int                        // of the reply in bytes
	live    int                        // how much of owner.live is ours
	users   int                        // who will release it; entries is one of them
	decided bool
}

func newShares() *shares { return &shares{entries: map[string]*shared{}} }

// get returns the reply to what was asked before, nil if there is none or
// things have changed since. The caller has to release it.
func (s *shares) get(asked []byte) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[string(asked)]
	if e == nil || e.now() != e.epoch {
		return nil
	}
	e.users++
	return e
}

// asked is what is shared of a request's replies. What is shared of a feed has a
// key that no request may spell.
func (s *Server) asked(data []byte) *shared {
	if len(data) == 0 || data[0] == 0 {
		return nil
	}
	return s.shares.get(data)
}

// add is get, but where there is no reply the caller becomes the maker of one:
// it has to call decide, and release as everybody. nil: there is no room, or
// epoch is over already.
func (s *shares) add(asked []byte, epoch int64, now func() int64) (e *shared, maker bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[string(asked)]; e != nil && e.epoch == epoch {
		e.users++
		return e, false
	}
	for key, e := range s.entries {
		if e.now() != e.epoch {
			delete(s.entries, key)
			e.drop()
		}
	}
	if s.entries[string(asked)] != nil || len(s.entries) >= shareKinds || s.live+shareLimit > shareTotal || now() != epoch {
		return nil, false
	}
	s.live += shareLimit
	e = &shared{owner: s, epoch: epoch, now: now, done: make(chan struct{}), live: shareLimit, users: 2}
	s.entries[string(asked)] = e
	return e, true
}

// decide ends the making: with the reply, or with nil when it cannot be
// shared. Only the first call counts.
func (e *shared) decide(message *websocket.PreparedMessage, size int) {
	e.owner.mu.Lock()
	defer e.owner.mu.Unlock()
	if e.decided {
		return
	}
	e.decided = true
	e.message, e.size = message, size
	e.owner.live += size - e.live
	e.live = size
	close(e.done)
}

// release is what everybody does who got it.
func (e *shared) release() {
	e.owner.mu.Lock()
	defer e.owner.mu.Unlock()
	e.drop()
}

// drop needs the lock.
func (e *shared) drop() {
	e.users--
	if e.users == 0 {
		e.owner.live -= e.live
		e.live = 0
	}
}
