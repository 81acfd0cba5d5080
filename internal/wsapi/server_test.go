package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

func TestReplies(t *testing.T) {
	addr, _ := start(t, &Server{})
	ws := dial(t, addr) // one for all: every case also shows that the last one left it open
	tests := []struct{ name, request, reply string }{
		{"no args", `{"cmd":"echo"}`, `null`},
		{"null args", `{"cmd":"echo","args":null}`, `null`},
		{"args", ` { "cmd" : "echo", "args" : {"nr_slot": 2} } `, `{"nr_slot": 2}`},
		{"unknown member", `{"id":5,"cmd":"echo","args":{}}`, `{}`},
		{"member twice", `{"cmd":"x","cmd":"value"}`, `{"version":7}`},
		{"escaped", `{"cmd":"\u0065cho"}`, `null`},
		{"unknown", `{"cmd":"x"}`, `{"error":"invalid cmd: x","code":"invalid_cmd"}`},
		{"unknown quoted", `{"cmd":"a\"<b>"}`, `{"error":"invalid cmd: a\"<b>","code":"invalid_cmd"}`},
		{"empty name", `{"cmd":""}`, `{"error":"invalid cmd: ","code":"invalid_cmd"}`},
		{"other case", `{"CMD":"echo"}`, `{"error":"no cmd","code":"bad_request"}`},
		{"no cmd", `{}`, `{"error":"no cmd","code":"bad_request"}`},
		{"null cmd", `{"cmd":null}`, `{"error":"cmd is not a string","code":"bad_request"}`},
		{"number", `{"cmd":5}`, `{"error":"cmd is not a string","code":"bad_request"}`},
		{"list args", `{"cmd":"echo","args":[]}`, `{"error":"args is not an object","code":"bad_request"}`},
		{"string args", `{"cmd":"echo","args":"{}"}`, `{"error":"args is not an object","code":"bad_request"}`},
		{"list", `[1]`, `{"error":"not an object","code":"bad_request"}`},
		{"null", `null`, `{"error":"not an object","code":"bad_request"}`},
		{"empty", ``, `{"error":"not JSON","code":"bad_request"}`},
		{"truncated", `{"cmd":"echo"`, `{"error":"not JSON","code":"bad_request"}`},
		{"two values", `{"cmd":"echo"}{}`, `{"error":"not JSON","code":"bad_request"}`},
		{"known error", `{"cmd":"busy"}`, `{"error":"too much <under> way","code":"busy"}`},
		{"unknown error", `{"cmd":"broken"}`, `{"error":"internal error","code":"internal"}`},
		{"no reply", `{"cmd":"silent"}`, `{"error":"internal error","code":"internal"}`},
		{"panic", `{"cmd":"panic"}`, `{"error":"internal error","code":"internal"}`},
		{"error after buffered bytes", `{"cmd":"late"}`, `{"error":"still in the buffer","code":"bad_request"}`},
	}
	for _, tt := range tests {
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			t.Run(fmt.Sprint(tt.name, kind), func(t *testing.T) {
				if err := ws.WriteMessage(kind, []byte(tt.request)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.reply, receive(t, ws)); diff != "" {
					t.Errorf("reply (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestAnyPath: every path that HTTP does not own is the websocket.
func TestAnyPath(t *testing.T) {
	addr, _ := start(t, &Server{})
	for _, path := range []string{"", "/", "/ws", "/a/b?c=d", "/healthzz"} {
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr+path, nil)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		send(t, ws, `{"cmd":"value"}`)
		if got := receive(t, ws); got != `{"version":7}` {
			t.Errorf("%q: %s", path, got)
		}
		ws.Close()
	}
}

func TestOrder(t *testing.T) {
	addr, _ := start(t, &Server{})
	ws := dial(t, addr)
	const n = 500
	for i := range n {
		send(t, ws, fmt.Sprintf(`{"cmd":"echo","args":{"i":%d}}`, i))
	}
	for i := range n {
		if got, want := receive(t, ws), fmt.Sprintf(`{"i":%d}`, i); got != want {
			t.Fatalf("reply %d: %s, want %s", i, got, want)
		}
	}
}

func TestLargeReplies(t *testing.T) {
	addr, _ := start(t, &Server{})
	ws := dial(t, addr)
	for _, n := range []int{replyBuffer - 1, replyBuffer, replyBuffer + 1, 2 * replyBuffer, 10 << 20} {
		send(t, ws, fmt.Sprintf(`{"cmd":"large","args":{"bytes":%d}}`, n))
		if got, want := receive(t, ws), `"`+strings.Repeat("x", n-2)+`"`; got != want {
			t.Errorf("%d bytes: got %d others", n, len(got))
		}
	}
}

func TestTornReply(t *testing.T) {
	addr, _ := start(t, &Server{})
	ws := dial(t, addr)
	send(t, ws, `{"cmd":"torn"}`)
	_, _, err := ws.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseInternalServerErr) {
		t.Errorf("error %v, want close code 1011", err)
	}
}

func TestRequestTooLarge(t *testing.T) {
	const hint = "do something else"
	addr, _ := start(t, &Server{TooLarge: hint})
	ws := dial(t, addr)
	exact := `{"cmd":"value"}` + strings.Repeat(" ", maxRequest-len(`{"cmd":"value"}`))
	send(t, ws, exact)
	if got := receive(t, ws); got != `{"version":7}` {
		t.Errorf("64 KiB: %s", got)
	}
	send(t, ws, exact+" ")
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("64 KiB + 1: %v, want close code 1009", err)
	}
	// More than the server has read when it gives up. The close frame is all
	// that comes, and the end of the stream after it, not a reset that would
	// make slower clients lose the frame.
	ws = dial(t, addr)
	send(t, ws, strings.Repeat("x", 512<<10))
	got, err := io.ReadAll(ws.NetConn())
	reason := "\x03\xf1" + "a request has at most 64 KiB; " + hint // 1009
	if err != nil || string(got) != "\x88"+string(rune(len(reason)))+reason {
		t.Errorf("512 KiB: %q, %v", got, err)
	}
}

func TestConnectionLimit(t *testing.T) {
	addr, _ := start(t, &Server{MaxConns: 3})
	open := []*websocket.Conn{dial(t, addr), dial(t, addr), dial(t, addr)}
	_, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr, nil)
	if err == nil || response == nil || response.StatusCode != 503 {
		t.Fatalf("beyond the limit: %v, want 503", err)
	}
	if status, _ := get(t, addr, "/healthz", nil); status != 200 {
		t.Errorf("/healthz on a full server: %d", status)
	}
	send(t, open[0], `{"cmd":"value"}`)
	receive(t, open[0])
	open[1].Close()
	eventually(t, "a place is free again", func() bool {
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr, nil)
		if err == nil {
			ws.Close()
		}
		return err == nil
	})
}

// inBubble runs a test with fake time on in-memory connections. The server
// stops before the bubble ends.
func inBubble(t *testing.T, s *Server, test func(t *testing.T, l *pipeListener, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s.Listener = l
		_, stop := start(t, s)
		test(t, l, stop)
	})
}

// TestQuietClient: a client that neither sends nor reads is kept for more
// than five minutes, and dropped some time after.
func TestQuietClient(t *testing.T) {
	s := &Server{}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		ws := l.dial(t)
		// The pings would block on an unbuffered pipe: take them, but give no pong.
		ws.SetPingHandler(func(string) error { return nil })
		began := time.Now()
		_, _, err := ws.ReadMessage()
		if err == nil {
			t.Fatal("a message from nowhere")
		}
		if quiet := time.Since(began); quiet < 5*time.Minute || quiet > 20*time.Minute {
			t.Errorf("dropped after %v", quiet)
		}
	})
}

// TestPongKeepsAlive: the twin that answers pings, or sends its own, stays.
func TestPongKeepsAlive(t *testing.T) {
	s := &Server{}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		ws := l.dial(t)
		pings := 0
		answer := ws.PingHandler()
		ws.SetPingHandler(func(data string) error { pings++; return answer(data) })
		began := time.Now()
		ws.SetReadDeadline(began.Add(time.Hour))
		_, _, err := ws.ReadMessage()
		if lived := time.Since(began); lived < time.Hour {
			t.Errorf("dropped after %v: %v", lived, err)
		}
		if pings < 59 || pings > 61 {
			t.Errorf("%d pings in an hour", pings)
		}
	})
}

func TestOwnPingKeepsAlive(t *testing.T) {
	s := &Server{PingInterval: 24 * time.Hour}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		ws := l.dial(t)
		go func() {
			for range 6 {
				time.Sleep(9 * time.Minute)
				_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			}
		}()
		began := time.Now()
		_, _, err := ws.ReadMessage()
		if lived := time.Since(began); lived < 54*time.Minute || lived > 65*time.Minute {
			t.Errorf("dropped after %v: %v", lived, err)
		}
	})
}

// TestSlowReader: a client that sends and never reads is dropped by the write
// deadline.
func TestSlowReader(t *testing.T) {
	s := &Server{}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		ws := l.dial(t)
		send(t, ws, `{"cmd":"large","args":{"bytes":1000000}}`)
		began := time.Now()
		eventuallySockets(t, s, 0)
		if took := time.Since(began); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("dropped after %v, want 10 s", took)
		}
	})
}

// TestDripReader: reading one byte now and then does not hold a reply for
// ever either; the twin that reads at a fair rate gets all of it.
func TestDripReader(t *testing.T) {
	const size = 8 << 20
	read := func(t *testing.T, perSecond int) (got int, took time.Duration) {
		s := &Server{}
		inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
			ws := l.dial(t)
			// A pong cannot be written into an unbuffered pipe whose other end writes.
			ws.SetPingHandler(func(string) error { return nil })
			send(t, ws, fmt.Sprintf(`{"cmd":"large","args":{"bytes":%d}}`, size))
			began := time.Now()
			_, r, err := ws.NextReader()
			for err == nil {
				var n int64
				n, err = io.CopyN(io.Discard, r, int64(perSecond))
				got += int(n)
				time.Sleep(time.Second)
			}
			took = time.Since(began)
		})
		return got, took
	}
	if got, took := read(t, 16<<10); got >= size || took > 30*time.Second {
		t.Errorf("drip: %d bytes in %v", got, took)
	}
	if got, took := read(t, 128<<10); got != size {
		t.Errorf("fair reader: %d of %d bytes in %v", got, size, took)
	}
}

// eventuallySockets waits, in fake time, until n websockets are served.
func eventuallySockets(t *testing.T, s *Server, n int) {
	t.Helper()
	for range 60 {
		s.mu.Lock()
		open := s.sockets
		s.mu.Unlock()
		if open == n {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("never %d websockets", n)
}

func TestStop(t *testing.T) {
	release := make(chan struct{})
	commands := testCommands()
	began := make(chan struct{}, 1)
	commands["wait"] = func(_ context.Context, _ json.RawMessage, w io.Writer) error {
		began <- struct{}{}
		<-release
		_, err := io.WriteString(w, `"finished"`)
		return err
	}
	s := &Server{Commands: commands}
	addr, stop := start(t, s)
	idle, busy := dial(t, addr), dial(t, addr)
	send(t, busy, `{"cmd":"wait"}`)
	<-began
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	if _, _, err := idle.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("idle client: %v, want close code 1001", err)
	}
	close(release)
	if got := receive(t, busy); got != `"finished"` {
		t.Errorf("reply under way: %s", got)
	}
	if _, _, err := busy.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("busy client: %v, want close code 1001", err)
	}
	<-stopped
	if _, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr, nil); err == nil {
		t.Error("a stopped server accepts")
	}
}

// TestStopIsBounded: neither a client that does not read nor a command that
// waits for its context delays the end for long.
func TestStopIsBounded(t *testing.T) {
	commands := testCommands()
	commands["wait"] = func(ctx context.Context, _ json.RawMessage, _ io.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, request := range []string{`{"cmd":"wait"}`, `{"cmd":"large","args":{"bytes":1000000}}`, ``} {
		s := &Server{Commands: commands}
		inBubble(t, s, func(t *testing.T, l *pipeListener, stop func()) {
			ws := l.dial(t)
			if request != "" {
				send(t, ws, request)
			}
			synctest.Wait()
			began := time.Now()
			stop()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: stopped after %v", request, took)
			}
		})
	}
}

func TestListenerBreaks(t *testing.T) {
	l, err := Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := &Server{Listener: l}
	if err := s.Run(t.Context()); err == nil {
		t.Error("no error from a closed listener")
	}
}

func TestListenFreePort(t *testing.T) {
	if _, err := Listen("no-address", 0); err == nil {
		t.Error("listens on a name that does not exist")
	}
	l, err := Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if strings.HasSuffix(l.Addr().String(), ":0") {
		t.Errorf("port of %s", l.Addr())
	}
}

func TestAsk(t *testing.T) {
	addr, _ := start(t, &Server{})
	var b strings.Builder
	if err := Ask(t.Context(), addr, "echo", map[string]int{"nr_slot": 2}, &b); err != nil || b.String() != `{"nr_slot":2}` {
		t.Errorf("echo: %q, %v", b.String(), err)
	}
	b.Reset()
	if err := Ask(t.Context(), addr, "large", map[string]int{"bytes": 1 << 20}, &b); err != nil || b.Len() != 1<<20 {
		t.Errorf("large: %d bytes, %v", b.Len(), err)
	}
	b.Reset()
	err := Ask(t.Context(), addr, "nosuch", nil, &b)
	var known *Error
	if !errors.As(err, &known) || known.Code != CodeInvalidCmd || known.Message != "invalid cmd: nosuch" || b.Len() > 0 {
		t.Errorf("unknown command: %v, %q", err, b.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ask(ctx, addr, "echo", nil, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestAskCanceled: a server that never answers does not hold the client.
func TestAskCanceled(t *testing.T) {
	commands := testCommands()
	began := make(chan struct{}, 1)
	commands["wait"] = func(ctx context.Context, _ json.RawMessage, _ io.Writer) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	addr, _ := start(t, &Server{Commands: commands, StopTimeout: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := Ask(ctx, addr, "wait", nil, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
