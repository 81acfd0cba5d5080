package testserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ZKProxy stands between a client and a ZooKeeper server and learns the
// sessions that pass through it, so that a test can make the server expire
// them at once.
type ZKProxy struct {
	t        testing.TB
	server   string
	listener net.Listener
	running  sync.WaitGroup
	gate     sync.RWMutex // held while sessions expire

	mu       sync.Mutex
	sessions map[int64][]byte // id to password
	conns    map[net.Conn]bool
	closed   bool
}

// Proxy starts a proxy before the server.
func (z *ZK) Proxy() *ZKProxy {
	z.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		z.t.Fatal(err)
	}
	p := &ZKProxy{t: z.t, server: z.addr, listener: l, sessions: map[int64][]byte{}, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	z.t.Cleanup(p.Close)
	return p
}

// Addr returns where the proxy listens, "127.0.0.1:PORT".
func (p *ZKProxy) Addr() string { return p.listener.Addr().String() }

// Close ends the proxy and every connection through it.
func (p *ZKProxy) Close() {
	_ = p.listener.Close() // ends accept
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// ExpireSessions makes the server forget every session that was made through
// the proxy, as if it had timed out, and returns how many there were: at least one,
// it waits for that. It does what the owner of a session would: it takes it over
// with its id and password on a new connection and closes it.
//
// The server hangs up on the owner then, who comes back at once, with the same
// session, and would take it away from us before we have closed it: hence nobody
// gets through meanwhile.
func (p *ZKProxy) ExpireSessions() int {
	p.t.Helper()
	p.gate.Lock()
	defer p.gate.Unlock()
	for deadline := time.Now().Add(clientTimeout); ; {
		n := 0
		for id, password := range p.take() {
			if p.expire(id, password, deadline) {
				n++
			}
		}
		if n > 0 {
			return n
		}
		if time.Now().After(deadline) {
			p.t.Fatal("nobody has a session that could expire")
		}
		p.gate.Unlock() // somebody may be about to make one
		time.Sleep(retryPause)
		p.gate.Lock()
	}
}

// retryPause is between two attempts at what the server was not ready for.
const retryPause = 20 * time.Millisecond

// take returns the sessions that were made, and forgets them.
func (p *ZKProxy) take() map[int64][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	sessions := p.sessions
	p.sessions = map[int64][]byte{}
	return sessions
}

// expire says whether the server knew the session until now.
func (p *ZKProxy) expire(id int64, password []byte, deadline time.Time) bool {
	p.t.Helper()
	known := false
	for {
		taken, ended, err := closeSession(p.server, id, password)
		known = known || taken
		switch {
		case err == nil && (ended || !taken):
			return known
		case err != nil && !errors.Is(err, io.EOF) || time.Now().After(deadline):
			p.t.Fatalf("expire session %#x: %v", id, err)
		}
		// A session that is just being closed is hung up on, and so are we when its owner was on the way already.
		time.Sleep(retryPause)
	}
}

func (p *ZKProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.gate.RLock() // nobody gets through while sessions expire
		server, err := net.DialTimeout("tcp", p.server, time.Second)
		p.gate.RUnlock()
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.running.Go(func() { p.pipe(server, client, nil) })
		p.running.Go(func() { p.pipe(client, server, p.learn) })
	}
}

// keep registers the connections for Close; false if that has happened.
func (p *ZKProxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
		}
		p.conns[c] = true
	}
	return !p.closed
}

// pipe copies until either side ends, and then ends both. The first packet goes
// through first, when that is not nil.
func (p *ZKProxy) pipe(dst, src net.Conn, first func(dst io.Writer, src io.Reader) error) {
	defer dst.Close()
	defer src.Close()
	if first != nil {
		if err := first(dst, src); err != nil {
			return
		}
	}
	_, _ = io.Copy(dst, src) // an end for any reason is an end
}

// learn passes on the server's answer to the connect request and notes the
// session: length, protocol version, timeout (4 bytes each), id (8), password
// (4 bytes of length, then 16).
func (p *ZKProxy) learn(dst io.Writer, src io.Reader) error {
	head := make([]byte, 40)
	if _, err := io.ReadFull(src, head); err != nil {
		return err
	}
	if id := int64(binary.BigEndian.Uint64(head[12:])); id != 0 {
		p.mu.Lock()
		p.sessions[id] = head[24:40]
		p.mu.Unlock()
	}
	_, err := dst.Write(head)
	return err
}

// closeSession takes the session over and ends it. It is not taken when the server
// does not know it any more. It has ended when the server says so: a connection that
// is closed without an answer was taken away from us again.
func closeSession(addr string, id int64, password []byte) (taken, ended bool, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false, false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return false, false, err
	}
	// ConnectRequest: protocol version, last zxid seen, timeout in ms, id,
	// password.
	var b []byte
	b = binary.BigEndian.AppendUint32(b, 44)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint32(b, 10_000)
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = binary.BigEndian.AppendUint32(b, uint32(len(password)))
	b = append(b, password...)
	if _, err := conn.Write(b); err != nil {
		return false, false, err
	}
	head := make([]byte, 20)
	if _, err := io.ReadFull(conn, head); err != nil {
		return false, false, hungUp(err)
	}
	if binary.BigEndian.Uint64(head[12:]) == 0 {
		return false, false, nil // ended already
	}
	rest := make([]byte, binary.BigEndian.Uint32(head)-16)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return true, false, hungUp(err)
	}
	// RequestHeader: length 8, xid 1, type -11 (closeSession).
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5}); err != nil {
		return true, false, hungUp(err)
	}
	// ReplyHeader: length 16, xid 1, zxid (8 bytes), error.
	reply := make([]byte, 20)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return true, false, hungUp(err)
	}
	return true, true, nil
}

// hungUp makes one error of all the ways in which a connection can be closed.
func hungUp(err error) error {
	for _, e := range []error{io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return io.EOF
		}
	}
	return err
}
