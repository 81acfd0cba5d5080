package account

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// promptPair is a prompt connection and its other end.
func promptPair(t *testing.T) (conn *promptConn, peer net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := dialPrompt(nil)(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if peer, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return c.(*promptConn), peer
}

// TestPromptRead: what is there, comes in a moment, or later, is read, and so is
// the end.
func TestPromptRead(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]time.Duration{"there": -1, "in a moment": 0, "later": 10 * promptly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, peer := promptPair(t)
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			buf := make([]byte, 16)
			for range 3 { // a slow one changes how the next is read
				send := func() { _, _ = peer.Write([]byte("+OK\r\n")) }
				if late < 0 {
					send()
					time.Sleep(10 * time.Millisecond)
				} else {
					time.AfterFunc(late, send)
				}
				if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "+OK\r\n" {
					t.Fatalf("read %q, %v", buf[:n], err)
				}
			}
			peer.Close()
			if n, err := conn.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %d, %v", n, err)
			}
		})
	}
}

// TestPromptDeadlines: they hold, for reads and for writes, and do not outlive the
// exchange that they were set for.
func TestPromptDeadlines(t *testing.T) {
	t.Parallel()
	conn, peer := promptPair(t)
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent peer: %v", err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := conn.Write(make([]byte, 64<<20))
	if !errors.As(err, &timeout) || !timeout.Timeout() || n == 0 {
		t.Errorf("a peer that reads nothing: %d, %v", n, err)
	}

	conn, peer = promptPair(t)
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	time.AfterFunc(50*time.Millisecond, func() { _, _ = peer.Write([]byte("x")) })
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("a peer that is slow: %v", err)
	}
	time.Sleep(250 * time.Millisecond) // until that deadline has passed
	_, _ = peer.Write([]byte("x"))
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the next exchange: %v", err)
	}
}

// TestPromptWrite: more than a socket takes at once arrives whole.
func TestPromptWrite(t *testing.T) {
	t.Parallel()
	conn, peer := promptPair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	got := make(chan []byte, 1)
	go func() {
		time.Sleep(20 * time.Millisecond)
		data, _ := io.ReadAll(peer)
		got <- data
	}()
	if n, err := conn.Write(want); n != len(want) || err != nil {
		t.Fatalf("written %d of %d, %v", n, len(want), err)
	}
	conn.Close()
	if !bytes.Equal(<-got, want) {
		t.Error("what arrived is not what was sent")
	}
}

// TestPromptErrors: they are those of the net package.
func TestPromptErrors(t *testing.T) {
	t.Parallel()
	conn, peer := promptPair(t)
	_ = peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	time.Sleep(10 * time.Millisecond)
	var op *net.OpError
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &op) || op.Op != "read" || op.Net != "tcp" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after a reset: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.As(err, &op) || op.Op != "write" || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after a reset: %v", err)
	}
	conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if _, err := dialPrompt(nil)(context.Background(), "tcp", "127.0.0.1:1"); !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("dial: %v", err)
	}
}
