package zkconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestNames(t *testing.T) {
	n := &names{}
	if err := n.Init([]string{"a", "b"}); err != nil || n.Len() != 2 {
		t.Fatalf("init: %v, %d hosts", err, n.Len())
	}
	var got []string
	next := func() {
		server, rest := n.Next()
		got = append(got, fmt.Sprint(server, " ", rest))
	}
	for range 5 {
		next()
	}
	n.Connected()
	for range 3 {
		next()
	}
	want := []string{"a false", "b false", "a true", "b false", "a true", "b false", "a false", "b true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosts and rests (-want +got):\n%s", diff)
	}
}

func TestLimitedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		l := &limitedLog{log: zap.New(core)}
		for i := range 70 { // seconds
			l.Printf("line %d", i)
			time.Sleep(time.Second)
		}
		l.silence()
		time.Sleep(time.Hour)
		l.Printf("after the end")
		var got []string
		for _, e := range logs.All() {
			got = append(got, fmt.Sprint(e.ContextMap()["detail"], ", dropped ", e.ContextMap()["dropped"]))
		}
		want := []string{"line 0, dropped 0", "line 30, dropped 29", "line 60, dropped 29"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

// deadlines notes what is set on it.
type deadlines struct {
	net.Conn
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

func TestCappedConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deadlines{}
		c := &cappedConn{Conn: d, limit: 2 * time.Second}
		now := time.Now()
		set := func(at time.Time) (read, write time.Time) {
			if err := errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at)); err != nil {
				t.Fatal(err)
			}
			return d.read, d.write
		}
		for _, tt := range []struct {
			name     string
			lifted   bool
			at, want time.Time
		}{
			{"soon", false, now.Add(time.Second), now.Add(time.Second)},
			{"late", false, now.Add(13 * time.Second), now.Add(2 * time.Second)},
			{"never", false, time.Time{}, now.Add(2 * time.Second)},
			{"late after the handshake", true, now.Add(13 * time.Second), now.Add(13 * time.Second)},
			{"never after the handshake", true, time.Time{}, time.Time{}},
		} {
			c.lifted.Store(tt.lifted)
			if read, write := set(tt.at); !read.Equal(tt.want) || !write.Equal(tt.want) {
				t.Errorf("%s: deadlines %v and %v, want %v", tt.name, read, write, tt.want)
			}
		}
	})
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		block := func() (int, error) { <-hung; return 0, nil }
		if n, err := call(t.Context(), time.Second, func() (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("call returned %d, %v", n, err)
		}
		start := time.Now()
		if _, err := call(t.Context(), time.Second, block); !errors.Is(err, errNoSession) || time.Since(start) != time.Second {
			t.Errorf("a hung call: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := call(ctx, time.Second, block); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled call: %v", err)
		}
		close(hung)
	})
}
