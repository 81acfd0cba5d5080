package zkconf

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
)

func TestWindow(t *testing.T) {
	for crowd, want := range map[int]time.Duration{
		0: 0, 1: 0, 20: 0, 21: 21 * time.Millisecond, 300: 300 * time.Millisecond, 1000: 900 * time.Millisecond, 1_000_000: 900 * time.Millisecond,
	} {
		if got := window(crowd); got != want {
			t.Errorf("%d daemons: %v, want %v", crowd, got, want)
		}
	}
}

// One of a few reads at once; many spread over their window and use all of it.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		(&ZooKeeper{crowd: 20}).spread(t.Context())
		if d := time.Since(start); d != 0 {
			t.Errorf("a small crowd waits %v", d)
		}
		var late, early int
		for range 200 {
			start := time.Now()
			(&ZooKeeper{crowd: 1000}).spread(t.Context())
			switch d := time.Since(start); {
			case d >= time.Second:
				t.Errorf("a wait of %v", d)
			case d > 600*time.Millisecond:
				late++
			case d < 300*time.Millisecond:
				early++
			}
		}
		if late < 20 || early < 20 {
			t.Errorf("of 200 waits %d are short and %d long", early, late)
		}
	})
}

func TestNodeNameFor(t *testing.T) {
	for host, want := range map[string]string{
		"web1.example.com": "web1.example.com", "": "_", ".": "_.", "..": "_..", "a/b": "a_b", "a b\x00\u202e": "a_b__", "zürich": "zürich",
	} {
		if got := nodeNameFor(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
		if _, err := cleanPath(nodeNameFor(host)); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestLost(t *testing.T) {
	for _, err := range []error{zk.ErrConnectionClosed, zk.ErrNoServer, fmt.Errorf("write x: %w", &net.OpError{Op: "write", Err: syscall.EPIPE})} {
		if !lost(err) {
			t.Errorf("%v: not lost", err)
		}
	}
	// Each ends what is being done.
	for _, err := range []error{nil, zk.ErrNoNode, zk.ErrNoAuth, zk.ErrBadVersion, errNoSession, errExpired, context.DeadlineExceeded, context.Canceled,
		fmt.Errorf("%w: %w", context.DeadlineExceeded, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})} {
		if lost(err) {
			t.Errorf("%v: lost", err)
		}
	}
}
