package wsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// ticker is a feed of numbers, one per call of tick.
type ticker struct {
	runs atomic.Int64

	mu   sync.Mutex
	last int64
	woke chan struct{}
}

func newTicker() *ticker { return &ticker{woke: make(chan struct{})} }

func (n *ticker) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	close(n.woke)
	n.woke = make(chan struct{})
}

func (n *ticker) newest() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

func (n *ticker) next(ctx context.Context, after int64) (int64, error) {
	for {
		n.mu.Lock()
		last, woke := n.last, n.woke
		n.mu.Unlock()
		if last > after {
			return max(after+1, 1), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-woke:
		}
	}
}

// write pads the number to args.bytes, and knows a few bad ones.
func (n *ticker) write(_ context.Context, args json.RawMessage, item int64, w io.Writer) error {
	n.runs.Add(1)
	var a struct {
		Bytes                 int
		Skip, Silent, Failing int64
	}
	if args != nil {
		if err := json.Unmarshal(args, &a); err != nil {
			return err
		}
	}
	switch item {
	case a.Skip:
		return &Error{Code: CodeBusy}
	case a.Silent:
		return nil
	case a.Failing:
		panic("item")
	}
	text := fmt.Sprintf(`{"%d":0}`, item)
	_, err := io.WriteString(w, text+strings.Repeat(" ", max(0, a.Bytes-len(text))))
	return err
}

func (n *ticker) feed() *Feed {
	return &Feed{
		Newest: n.newest, Next: n.next, Write: n.write,
		Check: func(args json.RawMessage) error {
			if strings.Contains(string(args), "bad") {
				return badRequest("bad")
			}
			return nil
		},
	}
}

func startTicker(t *testing.T) (addr string, n *ticker, s *Server, stop func()) {
	n = newTicker()
	s = &Server{Feeds: map[string]*Feed{"n": n.feed()}}
	addr, stop = start(t, s)
	return addr, n, s, stop
}

func expect(t *testing.T, ws *websocket.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := strings.TrimSpace(receive(t, ws)); got != w {
			t.Fatalf("%.100s, want %s", got, w)
		}
	}
}

func TestSubscription(t *testing.T) {
	addr, n, _, _ := startTicker(t)
	ws := dial(t, addr)
	send(t, ws, `{"cmd":"subscribe_n"}`)
	n.tick()
	expect(t, ws, `{"1":0}`)
	n.tick()
	n.tick()
	expect(t, ws, `{"2":0}`, `{"3":0}`)

	// Requests are answered as ever.
	send(t, ws, `{"cmd":"value"}`)
	expect(t, ws, `{"version":7}`)

	// Nobody gets an item by spelling what it is kept under.
	for _, key := range []string{"subscribe_n\x00", "\x00subscribe_n\x00"} {
		send(t, ws, key)
		expect(t, ws, `{"error":"not JSON","code":"bad_request"}`)
	}

	// Bad arguments leave what there is; good ones replace it, from the newest on.
	send(t, ws, `{"cmd":"subscribe_n","args":{"bad":1}}`)
	expect(t, ws, `{"error":"bad","code":"bad_request"}`)
	send(t, ws, `{"cmd":"subscribe_n","args":{"bytes":100000}}`)
	if got := receive(t, ws); len(got) != 100_000 || !strings.HasPrefix(got, `{"3":0}`) {
		t.Errorf("%d bytes: %.20s", len(got), got)
	}

	// After the reply nothing more comes.
	send(t, ws, `{"cmd":"unsubscribe_n"}`)
	expect(t, ws, `{"unsubscribed":true}`)
	n.tick()
	send(t, ws, `{"cmd":"unsubscribe_n"}`)
	expect(t, ws, `{"unsubscribed":false}`)
	send(t, ws, `{"cmd":"unsubscribe_x"}`)
	expect(t, ws, `{"error":"invalid cmd: unsubscribe_x","code":"invalid_cmd"}`)
	send(t, ws, `{"cmd":"subscribe_x"}`)
	expect(t, ws, `{"error":"invalid cmd: subscribe_x","code":"invalid_cmd"}`)
}

// TestSubscribersShare: an item is encoded once for all who want it in the same
// way, and everybody gets every item.
func TestSubscribersShare(t *testing.T) {
	addr, n, _, _ := startTicker(t)
	const clients, items = 20, 10
	var open []*websocket.Conn
	for range clients {
		ws := dial(t, addr)
		send(t, ws, `{"cmd":"subscribe_n"}`)
		send(t, ws, `{"cmd":"value"}`) // its reply says that the subscription has begun
		expect(t, ws, `{"version":7}`)
		open = append(open, ws)
	}
	for i := 1; i <= items; i++ {
		n.tick()
		for _, ws := range open {
			expect(t, ws, fmt.Sprintf(`{"%d":0}`, i))
		}
	}
	if runs := n.runs.Load(); runs != items {
		t.Errorf("%d runs for %d items", runs, items)
	}
}

// TestSubscriptionItems: an item that cannot be had, or has nothing to say,
// costs itself only; a defect ends the connection.
func TestSubscriptionItems(t *testing.T) {
	addr, n, _, _ := startTicker(t)
	ws := dial(t, addr)
	send(t, ws, `{"cmd":"subscribe_n","args":{"skip":2,"silent":3,"failing":5}}`)
	for i, want := range []string{`{"1":0}`, "", "", `{"4":0}`} {
		n.tick()
		if want != "" {
			expect(t, ws, want)
		}
		eventually(t, "the item is written", func() bool { return n.runs.Load() == int64(i+1) })
	}
	n.tick()
	if _, _, err := ws.ReadMessage(); err == nil {
		t.Error("a defect is silent")
	}
}

// TestSubscriberGoes: what was subscribed ends with the connection, however
// that ends; goleak has the last word.
func TestSubscriberGoes(t *testing.T) {
	addr, n, s, _ := startTicker(t)
	for range 5 {
		ws := dial(t, addr)
		send(t, ws, `{"cmd":"subscribe_n","args":{"bytes":1000000}}`)
		n.tick()
		receive(t, ws)
		n.tick() // to be written when nobody reads any more
		ws.Close()
	}
	eventually(t, "no connection is left", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sockets == 0
	})
}

// TestSubscriberAtStop: the farewell comes after the item under way, and is the
// last word.
func TestSubscriberAtStop(t *testing.T) {
	addr, n, _, stop := startTicker(t)
	ws := dial(t, addr)
	send(t, ws, `{"cmd":"subscribe_n"}`)
	n.tick()
	expect(t, ws, `{"1":0}`)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	_, _, err := ws.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("%v, want close code 1001", err)
	}
	<-stopped
}

// TestSlowSubscriber: one that does not read is dropped, and those who share its
// items do not notice.
func TestSlowSubscriber(t *testing.T) {
	s := &Server{}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		n := newTicker() // here, so that its channels belong to the bubble
		s.Feeds = map[string]*Feed{"n": n.feed()}
		slow, quick := l.dial(t), l.dial(t)
		send(t, slow, `{"cmd":"subscribe_n"}`)
		send(t, quick, `{"cmd":"subscribe_n"}`)
		synctest.Wait()
		began := time.Now()
		for i := 1; i <= 60; i++ {
			n.tick()
			expect(t, quick, fmt.Sprintf(`{"%d":0}`, i))
			time.Sleep(time.Second)
			s.mu.Lock()
			sockets := s.sockets
			s.mu.Unlock()
			if sockets == 1 {
				break
			}
		}
		if took := time.Since(began); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("the slow one was dropped after %v, want 10 s", took)
		}
	})
}

// TestItemsBetweenReplies: an item never comes into the middle of a reply that
// is sent in parts.
func TestItemsBetweenReplies(t *testing.T) {
	addr, n, _, _ := startTicker(t)
	ws := dial(t, addr)
	send(t, ws, `{"cmd":"subscribe_n"}`)
	n.tick()
	expect(t, ws, `{"1":0}`)
	for range 20 {
		send(t, ws, `{"cmd":"large","args":{"bytes":500000}}`)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			n.tick()
		}
	}()
	replies, items := 0, int64(1)
	for replies < 20 || items < 201 {
		text := receive(t, ws)
		var item map[string]int
		if text[0] == '"' {
			replies++
			continue
		}
		if err := json.Unmarshal([]byte(text), &item); err != nil || len(item) != 1 {
			t.Fatalf("neither item nor reply: %.80s, %v", text, err)
		}
		items++
		if _, ok := item[fmt.Sprint(items)]; !ok {
			t.Fatalf("item %s, want %d", text, items)
		}
	}
	<-done
}

// TestUnsubscribeWaits: the reply comes when the item under way is over, so that
// nothing can come after it.
func TestUnsubscribeWaits(t *testing.T) {
	s := &Server{}
	inBubble(t, s, func(t *testing.T, l *pipeListener, _ func()) {
		n := newTicker()
		feed := n.feed()
		var over atomic.Bool
		feed.Write = func(context.Context, json.RawMessage, int64, io.Writer) error {
			time.Sleep(time.Second)
			over.Store(true)
			return nil
		}
		s.Feeds = map[string]*Feed{"n": feed}
		ws := l.dial(t)
		send(t, ws, `{"cmd":"subscribe_n"}`)
		n.tick()
		synctest.Wait()
		send(t, ws, `{"cmd":"unsubscribe_n"}`)
		expect(t, ws, `{"unsubscribed":true}`)
		if !over.Load() {
			t.Error("the reply overtook an item")
		}
	})
}
