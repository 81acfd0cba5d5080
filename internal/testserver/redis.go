package testserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const redisPath = "/usr/bin/redis-server"

// RedisServer is a Redis server that keeps nothing on disk: a start after Kill
// or Stop finds it empty.
type RedisServer struct {
	process
	tlsAddr string
}

// Redis starts a server for the test, with these arguments besides its own, and
// waits until it serves.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	r := RedisStopped(t, args...)
	r.Start()
	return r
}

// RedisTLS starts a server that listens at a second port, TLSAddr, with TLS and the
// certificate.
func RedisTLS(t testing.TB, certFile, keyFile string, args ...string) *RedisServer {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	r := RedisStopped(t, append([]string{
		"--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile, "--tls-auth-clients", "no",
	}, args...)...)
	r.tlsAddr = "127.0.0.1:" + port
	r.Start()
	return r
}

// TLSAddr is where a server of RedisTLS speaks TLS, "127.0.0.1:PORT". Do, and Addr,
// stay with the plain port.
func (r *RedisServer) TLSAddr() string { return r.tlsAddr }

// RedisStopped prepares a server that is not running yet: its address is
// reserved and Start starts it.
func RedisStopped(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	need(t, redisPath)
	port := strconv.Itoa(freePort(t))
	r := &RedisServer{process: process{t: t, name: "redis", dir: tempDir(t), addr: "127.0.0.1:" + port}}
	r.argv = []string{redisPath, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"}
	r.argv = append(r.argv, args...)
	r.ready = func() error {
		answer, err := r.do(time.Second, "PING")
		if err == nil && answer != "PONG" {
			err = fmt.Errorf("PING answered %v", answer)
		}
		return err
	}
	t.Cleanup(func() { _ = r.signal(syscall.SIGKILL, true) })
	return r
}

// Do sends one command and returns the reply: a string, an int64, nil, or a
// []any of these. An error reply or no reply within 5 s fails the test. It
// speaks the protocol itself so that a test's view does not depend on the
// client library that it may be testing.
func (r *RedisServer) Do(args ...string) any {
	r.t.Helper()
	reply, err := r.do(5*time.Second, args...)
	if err != nil {
		r.t.Fatalf("redis %s: %v", strings.Join(args, " "), err)
	}
	return reply
}

func (r *RedisServer) do(timeout time.Duration, args ...string) (any, error) {
	conn, err := net.DialTimeout("tcp", r.addr, timeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	return readReply(bufio.NewReader(conn))
}

// readReply reads one value of Redis' protocol, version 2 (RESP2).
func readReply(in *bufio.Reader) (any, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, fmt.Errorf("empty line in a reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, fmt.Errorf("error reply: %s", rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reply %q: %w", line, err)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		data := make([]byte, n+2)
		if _, err := io.ReadFull(in, data); err != nil {
			return nil, err
		}
		return string(data[:n]), nil
	case kind == '*':
		values := make([]any, n)
		for i := range values {
			if values[i], err = readReply(in); err != nil {
				return nil, err
			}
		}
		return values, nil
	}
	return nil, fmt.Errorf("reply %q: unknown kind", line)
}
