package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// testCommands are the commands of the test servers.
func testCommands() map[string]Command {
	return map[string]Command{
		"echo": func(_ context.Context, args json.RawMessage, w io.Writer) error {
			if args == nil {
				args = json.RawMessage("null")
			}
			_, err := w.Write(args)
			return err
		},
		"value": JSON(func(context.Context, json.RawMessage) (any, error) {
			return map[string]int{"version": 7}, nil
		}),
		"busy": func(context.Context, json.RawMessage, io.Writer) error {
			return &Error{Code: CodeBusy, Message: "too much <under> way"}
		},
		"broken": func(context.Context, json.RawMessage, io.Writer) error {
			return errors.New("secret detail")
		},
		"silent": func(context.Context, json.RawMessage, io.Writer) error { return nil },
		"panic":  func(context.Context, json.RawMessage, io.Writer) error { panic("boom") },
		"late": func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			_, _ = io.WriteString(w, `{"a":`)
			return &Error{Code: CodeBadRequest, Message: "still in the buffer"}
		},
		"torn": func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			_, _ = io.WriteString(w, strings.Repeat(" ", 2*replyBuffer))
			return errors.New("too late")
		},
		"large": func(_ context.Context, args json.RawMessage, w io.Writer) error {
			var n struct{ Bytes int }
			if err := json.Unmarshal(args, &n); err != nil {
				return err
			}
			_, _ = io.WriteString(w, `"`)
			for left := n.Bytes - 2; left > 0; {
				piece := min(left, 1000)
				if _, err := io.WriteString(w, strings.Repeat("x", piece)); err != nil {
					return err
				}
				left -= piece
			}
			_, err := io.WriteString(w, `"`)
			return err
		},
	}
}

// start runs a server on a free port until the test ends, and returns its
// address and a function that stops it and waits.
func start(t testing.TB, s *Server) (addr string, stop func()) {
	t.Helper()
	if s.Listener == nil {
		l, err := Listen("127.0.0.1", 0)
		if err != nil {
			t.Fatal(err)
		}
		s.Listener = l
	}
	if s.Commands == nil {
		s.Commands = testCommands()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return s.Listener.Addr().String(), stop
}

func dial(t testing.TB, addr string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func send(t testing.TB, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, ws *websocket.Conn) string {
	t.Helper()
	kind, data, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	if kind != websocket.TextMessage {
		t.Errorf("reply of type %d, want text", kind)
	}
	return string(data)
}

// eventually polls until ok, for what another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// A pipeListener accepts in-memory connections, so that a server can live in
// a synctest bubble with fake time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "localhost" }

// dial connects a client.
func (l *pipeListener) dial(t testing.TB) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		l.conns <- server
		return client, nil
	}}
	ws, _, err := dialer.DialContext(t.Context(), "ws://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}
