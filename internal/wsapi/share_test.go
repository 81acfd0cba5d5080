package wsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// counting is a server whose command "shared" says how often it has run in an
// epoch, padded to args.bytes.
func counting(t testing.TB) (addr string, s *Server, runs, epoch *atomic.Int64) {
	runs, epoch = new(atomic.Int64), new(atomic.Int64)
	commands := testCommands()
	commands["shared"] = func(_ context.Context, args json.RawMessage, w io.Writer) error {
		var a struct {
			Bytes int
			Fail  bool
		}
		if args != nil {
			if err := json.Unmarshal(args, &a); err != nil {
				return err
			}
		}
		n := runs.Add(1)
		if a.Fail {
			return badRequest("run %d", n)
		}
		text := fmt.Sprintf(`"epoch %d run %d`, epoch.Load(), n)
		_, err := io.WriteString(w, text+strings.Repeat(" ", max(0, a.Bytes-len(text)-1))+`"`)
		return err
	}
	s = &Server{Commands: commands, Epochs: map[string]func() int64{"shared": epoch.Load}}
	addr, _ = start(t, s)
	return addr, s, runs, epoch
}

// live is how many bytes of shared replies there are.
func (s *shares) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// TestSharedReply: one run of the command per epoch and question, whoever asks.
func TestSharedReply(t *testing.T) {
	addr, s, runs, epoch := counting(t)
	clients := []*websocket.Conn{dial(t, addr), dial(t, addr), dial(t, addr)}
	ask := func(request, want string) {
		t.Helper()
		for _, ws := range clients {
			send(t, ws, request)
			if diff := cmp.Diff(want, strings.Trim(receive(t, ws), `" `)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", request, diff)
			}
		}
	}
	ask(`{"cmd":"shared"}`, "epoch 0 run 1")
	ask(`{"cmd":"shared"}`, "epoch 0 run 1")
	ask(`{"cmd":"shared","args":{"bytes":100000}}`, "epoch 0 run 2")
	ask(`{"cmd":"shared"}`, "epoch 0 run 1")
	epoch.Store(1)
	ask(`{"cmd":"shared"}`, "epoch 1 run 3")
	if n := len(s.shares.entries); n != 1 {
		t.Errorf("%d replies are kept, want those of this epoch only: 1", n)
	}
	if got, want := s.shares.total(), len(`"epoch 1 run 3"`); got != want {
		t.Errorf("%d bytes live, want %d", got, want)
	}
	if n := runs.Load(); n != 3 {
		t.Errorf("%d runs, want 3", n)
	}
}

// TestWorkIsCounted: each reply is counted once, as work or, where another connection
// had made it, as sending.
func TestWorkIsCounted(t *testing.T) {
	var worked, sent atomic.Int64
	addr, _ := start(t, &Server{
		Commands: testCommands(), Epochs: map[string]func() int64{"value": func() int64 { return 1 }},
		Work: func(work func()) { worked.Add(1); work() }, Send: func(send func()) { sent.Add(1); send() },
	})
	for range 3 {
		ws := dial(t, addr)
		for _, request := range []string{`{"cmd":"value"}`, `{"cmd":"echo"}`} {
			send(t, ws, request)
			receive(t, ws)
		}
	}
	if got := [2]int64{worked.Load(), sent.Load()}; got != [2]int64{4, 2} {
		t.Errorf("worked and sent %d times, want 4 and 2", got)
	}
}

// TestSharedErrors: an error is nobody else's, and neither is a reply that is
// too large to be kept.
func TestSharedErrors(t *testing.T) {
	addr, s, _, _ := counting(t)
	ws := dial(t, addr)
	for n := 1; n <= 2; n++ {
		send(t, ws, `{"cmd":"shared","args":{"fail":true}}`)
		if got, want := receive(t, ws), fmt.Sprintf(`{"error":"run %d","code":"bad_request"}`, n); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for n := 3; n <= 4; n++ {
		send(t, ws, fmt.Sprintf(`{"cmd":"shared","args":{"bytes":%d}}`, shareLimit+1))
		got := receive(t, ws)
		if want := fmt.Sprintf(`"epoch 0 run %d`, n); len(got) != shareLimit+1 || strings.TrimRight(got, ` "`) != want {
			t.Errorf("%d bytes: %.20s, want %s", len(got), got, want)
		}
	}
	if n := s.shares.total(); n != 0 {
		t.Errorf("%d bytes live", n)
	}
}

// TestSharedWhileMaking: those who come while the reply is being made wait for
// it instead of making their own.
func TestSharedWhileMaking(t *testing.T) {
	var runs atomic.Int64
	began, release := make(chan struct{}), make(chan struct{})
	s := &Server{
		Commands: map[string]Command{"slow": func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			if runs.Add(1) == 1 {
				close(began)
			}
			<-release
			_, err := io.WriteString(w, `"same"`)
			return err
		}},
		Epochs: map[string]func() int64{"slow": func() int64 { return 0 }},
	}
	addr, _ := start(t, s)
	var clients sync.WaitGroup
	for i := range 20 {
		ws := dial(t, addr)
		send(t, ws, `{"cmd":"slow"}`)
		if i == 0 {
			<-began
		}
		clients.Go(func() {
			if got := receive(t, ws); got != `"same"` {
				t.Errorf("reply %s", got)
			}
		})
	}
	eventually(t, "all of them wait", func() bool {
		s.shares.mu.Lock()
		defer s.shares.mu.Unlock()
		for _, e := range s.shares.entries {
			return e.users == 21
		}
		return false
	})
	close(release)
	clients.Wait()
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

// TestSharesAreBounded: beyond the bounds every client has its own reply.
func TestSharesAreBounded(t *testing.T) {
	s := newShares()
	zero := func() int64 { return 0 }
	var making []*shared
	for i := range shareKinds + 2 {
		e, maker := s.add(fmt.Append(nil, i), 0, zero)
		if e == nil {
			break
		}
		if !maker {
			t.Fatalf("%d: somebody else makes it", i)
		}
		making = append(making, e)
	}
	if got, want := len(making), shareTotal/shareLimit; got != want {
		t.Errorf("%d are being made at a time, want %d", got, want)
	}
	for _, e := range making {
		e.decide(nil, 10)
		e.release()
	}
	for i := range shareKinds + 2 {
		if e, maker := s.add(fmt.Append(nil, i), 0, zero); maker {
			e.decide(nil, 10)
			e.release()
		}
	}
	if len(s.entries) != shareKinds || s.live != 10*shareKinds {
		t.Errorf("%d kinds of %d bytes, want %d", len(s.entries), s.live, shareKinds)
	}
	if e, _ := s.add([]byte("late"), -1, zero); e != nil {
		t.Error("an epoch that is over is shared")
	}
}

// TestSlowReadersShare: what a slow client has not taken yet counts as live
// although the next epoch has begun.
func TestSlowReadersShare(t *testing.T) {
	s := newShares()
	epoch := int64(0)
	now := func() int64 { return epoch }
	slow, _ := s.add([]byte("x"), 0, now)
	slow.decide(nil, 1000)
	epoch = 1
	next, maker := s.add([]byte("x"), 1, now)
	if !maker {
		t.Fatal("an old reply is used")
	}
	next.decide(nil, 10)
	next.release()
	if s.live != 1010 {
		t.Errorf("%d bytes live, want 1010", s.live)
	}
	slow.release()
	if s.live != 10 {
		t.Errorf("%d bytes live, want 10", s.live)
	}
}

// TestCompression: shared replies are compressed for those who offer it, other
// replies for nobody, and both kinds of client read the same.
func TestCompression(t *testing.T) {
	addr, _, runs, _ := counting(t)
	dialer := websocket.Dialer{EnableCompression: true}
	able, response, err := dialer.DialContext(t.Context(), "ws://"+addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer able.Close()
	if !strings.Contains(response.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate") {
		t.Errorf("extensions %q", response.Header)
	}
	unable := dial(t, addr)
	const request = `{"cmd":"shared","args":{"bytes":200000}}`
	var replies []string
	for _, ws := range []*websocket.Conn{able, unable, able} {
		send(t, ws, request)
		replies = append(replies, receive(t, ws))
	}
	if replies[0] != replies[1] || replies[0] != replies[2] || len(replies[0]) != 200_000 {
		t.Errorf("different replies of %d, %d and %d bytes", len(replies[0]), len(replies[1]), len(replies[2]))
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
	for _, tt := range []struct {
		request    string
		compressed bool
	}{{request, true}, {`{"cmd":"shared"}`, false}, {`{"cmd":"large","args":{"bytes":200000}}`, false}} {
		send(t, able, tt.request)
		var head [2]byte
		if _, err := io.ReadFull(able.NetConn(), head[:]); err != nil {
			t.Fatal(err)
		}
		if got := head[0]&0x40 != 0; got != tt.compressed { // RSV1, RFC 7692
			t.Errorf("%s: compressed is %v, want %v", tt.request, got, tt.compressed)
		}
		drain(t, able, head[1])
	}
}

// drain reads the rest of a message whose second byte is known, frame by frame.
func drain(t *testing.T, ws *websocket.Conn, length byte) {
	t.Helper()
	conn := ws.NetConn()
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	rest := func(length byte) {
		n := int(length & 0x7f)
		if extended := map[int]int{126: 2, 127: 8}[n]; extended > 0 {
			n = 0
			for _, b := range read(extended) {
				n = n<<8 | int(b)
			}
		}
		read(n)
	}
	rest(length)
	// The end is where the server answers the next request.
	const mark = `{"mark":1}`
	send(t, ws, `{"cmd":"echo","args":`+mark+`}`)
	var seen []byte
	for !bytes.HasSuffix(seen, []byte(mark)) {
		seen = append(seen, read(1)...)
	}
}

// TestInflatedRequest: the limit of a request is of what it says, not of what
// is on the wire.
func TestInflatedRequest(t *testing.T) {
	addr, _ := start(t, &Server{})
	for _, tt := range []struct {
		size int
		ok   bool
	}{{maxRequest, true}, {maxRequest + 1, false}, {2 << 20, false}} {
		dialer := websocket.Dialer{EnableCompression: true}
		ws, _, err := dialer.DialContext(t.Context(), "ws://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.EnableWriteCompression(true)
		send(t, ws, `{"cmd":"value"}`+strings.Repeat(" ", tt.size-len(`{"cmd":"value"}`)))
		_, reply, err := ws.ReadMessage()
		switch {
		case tt.ok && (err != nil || string(reply) != `{"version":7}`):
			t.Errorf("%d bytes: %s, %v", tt.size, reply, err)
		case !tt.ok && !websocket.IsCloseError(err, websocket.CloseMessageTooBig):
			t.Errorf("%d bytes: %v, want close code 1009", tt.size, err)
		}
		ws.Close()
	}
}
