package account

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// promptConn is a connection to a server that answers in a moment. While it does,
// one thread waits for the answer by itself, and no timer is set: the runtime's
// poller wakes a second thread for each answer, and a deadline that was set wakes
// two of them when its time comes, though the answer came long before. Both cost
// more than the exchange, which comes once a second to caches that are cold.
//
// Reads and writes may go on at once, but not two of either.
type promptConn struct {
	net.Conn
	raw             syscall.RawConn
	readBy, writeBy time.Time // set for the inner connection when it has to wait
	slow            int       // reads left that do not wait for an answer by themselves
}

const (
	// promptly is how long a thread waits by itself for an answer. The scheduler
	// leaves it its P for so long.
	promptly = 2 * time.Millisecond
	// slowReads is how many reads rely on the poller after one that waited in vain.
	slowReads = 60
)

// dialPrompt returns a dialer for the client library, with TLS if config is set.
func dialPrompt(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		inner, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := prompt(inner)
		if config == nil {
			return conn, nil
		}
		config := config.Clone()
		if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
			config.ServerName = host
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = inner.Close()
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: no answer for %v", errHandshake, dialTimeout)
			}
			return nil, err
		}
		return secure, nil
	}
}

// prompt leaves a connection that is no socket as it is.
func prompt(inner net.Conn) net.Conn {
	socket, ok := inner.(syscall.Conn)
	if !ok {
		return inner
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return inner
	}
	return &promptConn{Conn: inner, raw: raw}
}

// SyscallConn lets the client library see whether the server has closed.
func (c *promptConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// The deadlines are for the next time that the connection has to wait.

func (c *promptConn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return nil
}

func (c *promptConn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	return nil
}

func (c *promptConn) SetDeadline(t time.Time) error {
	c.readBy, c.writeBy = t, t
	return nil
}

func (c *promptConn) Read(p []byte) (n int, err error) {
	wait := promptly
	if c.slow > 0 {
		c.slow--
		wait = 0
	}
	if len(p) > 0 {
		closed := c.raw.Read(func(fd uintptr) bool {
			n, err = readSoon(int(fd), p, wait)
			return true
		})
		switch {
		case closed != nil:
			return 0, closed
		case err == nil && n == 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EAGAIN):
			return 0, c.failed("read", err)
		}
	}
	if wait > 0 {
		c.slow = slowReads
	}
	if err := c.Conn.SetReadDeadline(c.readBy); err != nil {
		return 0, err
	}
	if n, err = c.Conn.Read(p); err == nil {
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (c *promptConn) Write(p []byte) (n int, err error) {
	closed := c.raw.Write(func(fd uintptr) bool {
		n, err = writeNow(int(fd), p)
		return true
	})
	switch {
	case closed != nil:
		return 0, closed
	case err == nil:
		return n, nil
	case !errors.Is(err, unix.EAGAIN):
		return n, c.failed("write", err)
	}
	if err := c.Conn.SetWriteDeadline(c.writeBy); err != nil {
		return n, err
	}
	rest, err := c.Conn.Write(p[n:])
	if err == nil {
		err = c.Conn.SetWriteDeadline(time.Time{})
	}
	return n + rest, err
}

// failed is what the net package would make of the error.
func (c *promptConn) failed(op string, err error) error {
	return &net.OpError{
		Op: op, Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, err),
	}
}

// readSoon reads what is there, or comes within wait; unix.EAGAIN: nothing did.
func readSoon(fd int, p []byte, wait time.Duration) (int, error) {
	n, err := unix.Read(fd, p)
	if err == unix.EAGAIN && wait > 0 {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		// An error, or time that passed, shows in the read.
		_, _ = unix.Poll(ready, int(wait/time.Millisecond))
		n, err = unix.Read(fd, p)
	}
	if err == unix.EINTR {
		err = unix.EAGAIN // the poller's turn
	}
	return max(n, 0), err
}

// writeNow writes what the socket has room for, unix.EAGAIN unless that is all.
func writeNow(fd int, p []byte) (written int, err error) {
	for written < len(p) {
		n, err := unix.Write(fd, p[written:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return written, err
		default:
			written += n
		}
	}
	return written, nil
}
