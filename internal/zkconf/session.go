package zkconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/zap"
)

const (
	// dialTimeout bounds name look-up and connect for one server.
	dialTimeout = 3 * time.Second
	// dialPause is the least time between two dials. The library has none
	// after a session that broke at once, so that servers which accept and
	// drop us would be asked as fast as they answer.
	dialPause = 250 * time.Millisecond
	// resetPause is how long answers wait after a reconnect, see cappedConn.
	resetPause = 100 * time.Millisecond
	// closeTimeout is how long the library may take to end its goroutines.
	closeTimeout = 2 * time.Second
	// maxReply bounds what a server can make us allocate. It is well above
	// jute.maxbuffer's default of 1 MiB, because a limit that a node exceeds
	// makes the library reconnect for ever, and not more, because the library
	// allocates as much for each session to send from.
	maxReply = 4 << 20
)

var (
	errExpired   = errors.New("session expired")
	errNoSession = errors.New("no session")
)

// session is one client of the library from Connect to Close: new name look-ups,
// no memory of transactions seen, nothing of the one before. Its defects found
// are cured from outside:
//
//   - a hung server holds the handshake for 6.67 times the session timeout
//     (cappedConn);
//   - a server restarted with wiped or older data refuses for ever a client that
//     has seen later transactions (await gives up, and the caller makes a new
//     session);
//   - names are looked up once, and one that fails fails all (names, dial);
//   - after a reconnect it reads the last transaction seen, to set the watches
//     again from there, while answers already change it (cappedConn.Read);
//   - its calls take no context (call).
type session struct {
	conn   *zk.Conn
	events <-chan zk.Event
	log    *limitedLog
	dials  context.Context // done when nothing may be dialed or stay connected
	stop   context.CancelFunc
	cap    time.Duration

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when the state changes
	up       bool          // the library has a session with a server
	again    bool          // it has had one before
	expired  bool
	server   string
	current  *cappedConn
	dialErr  error
	lastDial time.Time
}

// openSession starts to connect; await says when that has succeeded.
func openSession(hosts []string, timeout time.Duration, log *zap.Logger) (*session, error) {
	s := &session{log: &limitedLog{log: log}, cap: timeout, changed: make(chan struct{})}
	// Not the caller's context: when that ends, Close must still be able to
	// tell the server.
	s.dials, s.stop = context.WithCancel(context.Background())
	var err error
	s.conn, s.events, err = zk.Connect(hosts, timeout, zk.WithHostProvider(&names{}), zk.WithDialer(s.dial),
		zk.WithEventCallback(s.event), zk.WithLogger(s.log), zk.WithLogInfo(false), zk.WithMaxBufferSize(maxReply))
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// close ends the session at the server if it can be reached, and in any case
// the library's goroutines.
func (s *session) close() {
	s.log.silence()
	if !s.isUp() {
		s.stop() // Close would wait a second for a server that is not there
	}
	s.conn.Close()
	s.stop()
	limit := time.NewTimer(closeTimeout)
	defer limit.Stop()
	for {
		select {
		case _, open := <-s.events:
			if !open {
				return
			}
		case <-limit.C:
			return
		}
	}
}

// event is called by the library on each change of its state; it must not block.
func (s *session) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return // watches have channels of their own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.State {
	case zk.StateHasSession:
		s.up, s.server, s.dialErr = true, e.Server, nil
		if s.current != nil {
			s.current.hold.Store(s.again)
			s.current.lifted.Store(true)
		}
		s.again = true
	case zk.StateExpired:
		s.up, s.expired = false, true
	default:
		s.up = false
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// changes returns a channel that is closed at the next change of state.
func (s *session) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *session) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up && !s.expired
}

func (s *session) serverName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// await waits until there is a session, at most for the limit, and reports each
// dial that fails meanwhile unless report is nil. An expired session is not used
// again although the library would make another: that one would have the servers'
// old addresses.
func (s *session) await(ctx context.Context, limit time.Duration, report func(error)) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		up, expired, dialErr, changed := s.up, s.expired, s.dialErr, s.changed
		s.mu.Unlock()
		switch {
		case expired:
			return errExpired
		case up:
			return nil
		case dialErr != nil && report != nil:
			report(dialErr)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if dialErr != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), dialErr)
			}
			return context.Cause(ctx) // within's says what was waited for
		case <-timer.C:
			if dialErr != nil {
				return fmt.Errorf("%w for %v: %w", errNoSession, limit, dialErr)
			}
			return fmt.Errorf("%w for %v", errNoSession, limit)
		}
	}
}

// dial connects to one server. The library's own limit of 1 s is too short for a
// name look-up with a retry.
func (s *session) dial(network, address string, _ time.Duration) (net.Conn, error) {
	s.mu.Lock()
	pause := time.Until(s.lastDial.Add(dialPause))
	s.mu.Unlock()
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-s.dials.Done():
			return nil, s.dials.Err()
		}
	}
	dialer := net.Dialer{Timeout: min(dialTimeout, s.cap)}
	conn, err := dialer.DialContext(s.dials, network, address)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastDial = time.Now()
	if err != nil {
		s.dialErr = err
		return nil, err
	}
	s.dialErr = nil
	s.current = &cappedConn{Conn: conn, limit: s.cap}
	s.current.release = context.AfterFunc(s.dials, func() { conn.Close() })
	return s.current, nil
}

// call runs one of the library's blocking calls within ctx and the limit. When it
// is given up it goes on until the session is closed, so the caller then does
// that.
func call[T any](ctx context.Context, limit time.Duration, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var zero T
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	case <-timer.C:
		return zero, fmt.Errorf("%w: no answer for %v", errNoSession, limit)
	}
}

// cappedConn lets no deadline lie further away than the limit, "none" included,
// until the handshake is over. The library gives a handshake 6.67 times the
// session timeout, and the kernel of a stopped server still accepts connections.
// After it the library's own limit holds, 2/3 of the timeout that the server has
// granted, which may be more than was asked for.
type cappedConn struct {
	net.Conn
	limit   time.Duration
	lifted  atomic.Bool
	hold    atomic.Bool // the next read waits
	release func() bool // ends the context's hold on the connection
}

func (c *cappedConn) capped(t time.Time) time.Time {
	latest := time.Now().Add(c.limit)
	if !c.lifted.Load() && (t.IsZero() || t.After(latest)) {
		return latest
	}
	return t
}

// Read implements net.Conn. After a reconnect it lets answers wait until the watches
// are on their way: they would otherwise be set from a transaction after a change
// that nobody has seen, and the library's two goroutines would race.
func (c *cappedConn) Read(b []byte) (int, error) {
	if c.hold.CompareAndSwap(true, false) {
		time.Sleep(resetPause)
	}
	return c.Conn.Read(b)
}

// SetReadDeadline implements net.Conn.
func (c *cappedConn) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.capped(t)) }

// SetWriteDeadline implements net.Conn.
func (c *cappedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.capped(t)) }

// Close implements net.Conn.
func (c *cappedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// names is a zk.HostProvider that hands out the servers as they are named: each
// dial looks the name up anew, and one that cannot be found is one server down
// instead of an error for all.
type names struct {
	mu    sync.Mutex
	hosts []string
	next  int
	tried int // since the last connection
}

// Init implements zk.HostProvider. The library has shuffled the hosts.
func (n *names) Init(hosts []string) error {
	n.hosts = hosts
	return nil
}

// Len implements zk.HostProvider.
func (n *names) Len() int { return len(n.hosts) }

// Next implements zk.HostProvider: the library rests for a second before a host
// that starts another round.
func (n *names) Next() (server string, retryStart bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	server = n.hosts[n.next]
	n.next = (n.next + 1) % len(n.hosts)
	if retryStart = n.tried >= len(n.hosts); retryStart {
		n.tried = 0
	}
	n.tried++
	return server, retryStart
}

// Connected implements zk.HostProvider.
func (n *names) Connected() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried = 0
}

// limitedLog passes the library's lines on to zap, at most one in logPause: while
// no server is there it has one a second and host.
type limitedLog struct {
	log     *zap.Logger
	mu      sync.Mutex
	last    time.Time
	dropped int
	silent  bool
}

// logPause is the least time between two of the library's lines.
const logPause = 30 * time.Second

// Printf implements zk.Logger.
func (l *limitedLog) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent {
		return
	}
	if now := time.Now(); l.last.IsZero() || now.Sub(l.last) >= logPause {
		l.log.Warn("zookeeper client", zap.String("detail", fmt.Sprintf(format, args...)), zap.Int("dropped", l.dropped))
		l.last, l.dropped = now, 0
		return
	}
	l.dropped++
}

// silence ends the log: what comes while we close is our own doing.
func (l *limitedLog) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
}
