package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestStalled(t *testing.T) {
	for _, c := range []struct {
		name  string
		signs []sign
		want  []string
	}{
		{"nothing to watch", nil, nil},
		{"all go on", []sign{{"a", 0, time.Second}, {"b", time.Second, time.Second}}, nil},
		{"one is silent", []sign{{"a", 0, time.Second}, {"b", time.Second + 1, time.Second}}, []string{"b"}},
		{"each has its own limit", []sign{{"slow", time.Minute, time.Hour}, {"fast", time.Minute, time.Second}}, []string{"fast"}},
		{"sorted", []sign{{"b", 2, 1}, {"a", 2, 1}}, []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, stalled(c.signs)); diff != "" {
				t.Errorf("stalled (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPingPeriod(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		0: statusPeriod, -1: statusPeriod, 3 * time.Second: time.Second, 60 * time.Second: statusPeriod, time.Hour: statusPeriod,
	} {
		if got := pingPeriod(timeout); got != want {
			t.Errorf("pingPeriod(%s): %s, want %s", timeout, got, want)
		}
	}
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		v      versions
		faults int
		source string
		want   string
	}{
		{versions{InForce: -1}, -1, "disconnected", "no document yet; source disconnected"},
		{versions{InForce: 7}, -1, "connected", "version 7 read; source connected"},
		{versions{InForce: 7}, 0, "connected", "version 7 in force; source connected"},
		{versions{InForce: 7}, 1, "connected", "version 7 in force, 1 fault; source connected"},
		{versions{InForce: 7, Rejected: &rejection{Version: 8}}, 2, "no_access", "version 7 in force, 2 faults, version 8 rejected; source no_access"},
		{versions{InForce: -1, Rejected: &rejection{Version: 0}}, -1, "connected", "no document yet, version 0 rejected; source connected"},
	} {
		if got := summarize(c.v, c.faults, c.source); got != c.want {
			t.Errorf("summarize: %q, want %q", got, c.want)
		}
	}
}

// recorder takes messages instead of a service manager.
type recorder struct {
	mu       sync.Mutex
	messages []string
	err      error
}

func (r *recorder) send(state string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, state)
	return r.err
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.messages
	r.messages = nil
	return out
}

func TestNotifierPingsWhileTasksGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		r := &recorder{}
		var line atomic.Value
		line.Store("version 1 in force")
		p := newPulse("sampler", 10*time.Second)
		n := &notifier{log: zap.New(core), send: r.send, period: 4 * time.Second, watchdog: true, pulses: []*pulse{p}, summary: func() string { return line.Load().(string) }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- n.run(ctx) }()

		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, r.take()); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", what, diff)
			}
		}
		expect("start", "READY=1", "WATCHDOG=1\nSTATUS=version 1 in force")
		time.Sleep(4 * time.Second)
		expect("a quiet period", "WATCHDOG=1")
		line.Store("version 2 in force\nREADY=1")
		time.Sleep(4 * time.Second)
		expect("another status, kept on its line", "WATCHDOG=1\nSTATUS=version 2 in force READY=1")
		time.Sleep(4 * time.Second)
		expect("silent for 12 s", "STATUS=stalled: sampler")
		time.Sleep(4 * time.Second)
		expect("still silent") // neither pings nor the same line again
		p.beat()
		time.Sleep(4 * time.Second)
		expect("it goes on", "WATCHDOG=1\nSTATUS=version 2 in force READY=1")
		cancel()
		expect("stop", "STOPPING=1\nSTATUS=stopping")
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		var messages []string
		for _, e := range logs.All() {
			messages = append(messages, e.Message)
		}
		if diff := cmp.Diff([]string{"tasks stalled", "all tasks go on"}, messages); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// TestNotifierWithoutWatchdog: nobody asked for pings, so there are none.
func TestNotifierWithoutWatchdog(t *testing.T) {
	r := &recorder{}
	n := &notifier{log: zap.NewNop(), send: r.send, summary: func() string { return "x" }}
	n.tick()
	n.tick()
	if diff := cmp.Diff([]string{"STATUS=x"}, r.messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// TestNotifierUnheard: a service manager that is gone is logged once, and harms
// nobody.
func TestNotifierUnheard(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	r := &recorder{err: errors.New("connection refused")}
	n := &notifier{log: zap.New(core), send: r.send, watchdog: true, summary: func() string { return "x" }}
	for range 3 {
		n.tick()
	}
	r.err = nil
	n.tick()
	r.err = errors.New("again")
	n.tick()
	if got := logs.FilterMessage("service manager not told").Len(); got != 2 {
		t.Errorf("logged %d times, want 2", got)
	}
}

func TestBeatAllocatesNothing(t *testing.T) {
	p := newPulse("a", time.Second)
	if n := testing.AllocsPerRun(100, p.beat); n != 0 {
		t.Errorf("beat: %v allocations", n)
	}
}

// TestNewNotifier speaks the real protocol: a datagram on the socket that the
// environment names.
func TestNewNotifier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", "")
	n := newNotifier(zap.NewNop(), func() string { return "fine" })
	if !n.watchdog || n.period != time.Second {
		t.Errorf("watchdog %v, period %s; want true, 1s", n.watchdog, n.period)
	}
	n.tick()
	buf := make([]byte, 1000)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf[:size]), "WATCHDOG=1\nSTATUS=fine"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}

	// Another process's watchdog (that of the shell which runs us) is not ours.
	t.Setenv("WATCHDOG_PID", "1")
	if n := newNotifier(zap.NewNop(), nil); n.watchdog {
		t.Error("watchdog of another process is served")
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // put back by Setenv's cleanup
	}
	var b strings.Builder
	n = newNotifier(zap.NewNop(), func() string { b.WriteByte('.'); return "fine" })
	n.tick()
	if n.watchdog || n.unheard || b.Len() != 1 {
		t.Errorf("without a service manager: watchdog %v, unheard %v, %d summaries", n.watchdog, n.unheard, b.Len())
	}
}
