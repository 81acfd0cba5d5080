package testserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
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
// the proxy, as if it had timed out, and returns how many there were. It does
// what the owner of a session would: it takes it over with its id and password
// on a new connection and closes it.
func (p *ZKProxy) ExpireSessions() int {
	p.t.Helper()
	p.mu.Lock()
	sessions := p.sessions
	p.sessions = map[int64][]byte{}
	p.mu.Unlock()
	n := 0
	for id, password := range sessions {
		ended, err := closeSession(p.server, id, password)
		for range 10 { // a session that is just being closed is hung up on
			if !errors.Is(err, io.EOF) {
				break
			}
			time.Sleep(20 * time.Millisecond)
			ended, err = closeSession(p.server, id, password)
		}
		if err != nil {
			p.t.Fatalf("expire session %#x: %v", id, err)
		}
		if ended {
			n++
		}
	}
	return n
}

func (p *ZKProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.DialTimeout("tcp", p.server, time.Second)
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

// closeSession says whether the server still knew the session, and ends it.
func closeSession(addr string, id int64, password []byte) (bool, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false, err
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
		return false, err
	}
	head := make([]byte, 20)
	if _, err := io.ReadFull(conn, head); err != nil {
		return false, err
	}
	if binary.BigEndian.Uint64(head[12:]) == 0 {
		return false, nil // ended already
	}
	rest := make([]byte, binary.BigEndian.Uint32(head)-16)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return false, err
	}
	// RequestHeader: length 8, xid 1, type -11 (closeSession).
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5}); err != nil {
		return false, err
	}
	_, err = io.ReadAll(conn) // the server answers and hangs up
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return false, err
	}
	return true, nil
}
