package wsapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

// get asks over a connection of its own, so that none is left idle.
func get(t testing.TB, addr, path string, header http.Header) (status int, body string) {
	t.Helper()
	return ask(t, http.MethodGet, addr, path, header)
}

func ask(t testing.TB, method, addr, path string, header http.Header) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header
		request.Host = header.Get("Host")
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func TestHTTP(t *testing.T) {
	var notReady atomic.Bool
	s := &Server{
		Ready: func() error {
			if notReady.Load() {
				return errors.New("no document yet")
			}
			return nil
		},
		Status: func() any { return map[string]any{"version": 3} },
	}
	addr, _ := start(t, s)
	tests := []struct {
		method, path string
		status       int
		body         string // a part of it
	}{
		{"GET", "/healthz", 200, "ok"},
		{"HEAD", "/healthz", 200, ""},
		{"POST", "/healthz", 405, "GET"},
		{"GET", "/readyz", 200, "ok"},
		{"GET", "/status", 200, `"version": 3`},
		{"DELETE", "/status", 405, "GET"},
		{"GET", "/", 426, "ws://"},
		{"GET", "/nosuch", 404, "/healthz"},
	}
	for _, tt := range tests {
		status, body := ask(t, tt.method, addr, tt.path, nil)
		if status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, status, body, tt.status, tt.body)
		}
	}
	notReady.Store(true)
	if status, body := get(t, addr, "/readyz", nil); status != 503 || body != "no document yet\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
}

func TestStatusNotEncodable(t *testing.T) {
	addr, _ := start(t, &Server{Status: func() any { return func() {} }})
	if status, _ := get(t, addr, "/status", nil); status != 500 {
		t.Errorf("status %d, want 500", status)
	}
}

// TestStatusIsShared: whoever asks while another's answer is being made, or in the
// same epoch, gets that; never one that began before the epoch in which it was asked.
func TestStatusIsShared(t *testing.T) {
	var l lastStatus
	var epoch atomic.Int64
	making, goOn, answers := make(chan int), make(chan struct{}), make(chan string)
	made := 0
	ask := func() {
		data, err := l.get(epoch.Load, func() any {
			made++
			n := made
			making <- n
			<-goOn
			return n
		})
		if err != nil {
			t.Error(err)
		}
		answers <- string(data)
	}
	go ask()
	if n := <-making; n != 1 {
		t.Fatalf("answer %d", n)
	}
	for range 5 {
		go ask() // waits for the first one's, or comes when it is there
	}
	goOn <- struct{}{}
	for range 6 {
		if got := <-answers; got != "1\n" {
			t.Errorf("got %q", got)
		}
	}
	epoch.Add(1)
	go ask()
	<-making
	epoch.Add(1)
	go ask() // asked in a later epoch than the answer under way
	goOn <- struct{}{}
	<-making
	goOn <- struct{}{}
	if got := <-answers + <-answers; got != "2\n3\n" {
		t.Errorf("got %q", got)
	}
}

// TestWhoMayConnect: the matrix of Host and Origin, through the real server.
func TestWhoMayConnect(t *testing.T) {
	addr, _ := start(t, &Server{
		Hostnames:    []string{"Box", "box.example.com"},
		AllowedHosts: []string{"cg.example.com", "proxy.example.com:8443"},
	})
	_, port, _ := net.SplitHostPort(addr)
	tests := []struct {
		host, origin string
		status       int
	}{
		// Host alone
		{"127.0.0.1:" + port, "", 101},
		{"10.1.2.3", "", 101},
		{"[::1]:" + port, "", 101},
		{"[fe80::1]", "", 101},
		{"localhost:" + port, "", 101},
		{"LocalHost", "", 101},
		{"localhost.", "", 101},
		{"box", "", 101},
		{"BOX.example.com:1", "", 101},
		{"cg.example.com", "", 101},
		{"cg.example.com:9", "", 101},
		{"proxy.example.com:8443", "", 101},
		{"proxy.example.com", "", 403},
		{"evil.example", "", 403},
		{"evil.example:" + port, "", 403},
		{"sub.cg.example.com", "", 403},
		{"127.0.0.1.evil.example", "", 403},
		{"localhost.evil.example", "", 403},
		// Origin against Host
		{"127.0.0.1:" + port, "http://127.0.0.1:" + port, 101},
		{"localhost:" + port, "http://LOCALHOST:" + port, 101},
		{"localhost", "http://localhost:80", 101},
		{"box", "https://box", 101},
		{"box:443", "https://box", 101},
		{"[::1]:" + port, "http://[::1]:" + port, 101},
		{"127.0.0.1:" + port, "http://127.0.0.1:1", 403},
		{"127.0.0.1:" + port, "http://127.0.0.1", 403},
		{"127.0.0.1:" + port, "http://localhost:" + port, 403},
		{"127.0.0.1:" + port, "http://evil.example", 403},
		{"127.0.0.1:" + port, "null", 403},
		{"127.0.0.1:" + port, "file://", 403},
		{"127.0.0.1:" + port, "chrome-extension://abc", 403},
		{"127.0.0.1:" + port, "http://user@127.0.0.1:" + port, 403},
		{"127.0.0.1:" + port, "http://127.0.0.1:" + port + "/x", 403},
		{"127.0.0.1:" + port, "%", 403},
		// allowed names
		{"127.0.0.1:" + port, "https://cg.example.com", 101},
		{"127.0.0.1:" + port, "https://proxy.example.com:8443", 101},
		{"127.0.0.1:" + port, "https://proxy.example.com", 403},
		{"127.0.0.1:" + port, "http://box", 403},
		// DNS rebinding: the origin matches the host, but the name is not ours
		{"evil.example:" + port, "http://evil.example:" + port, 403},
	}
	for _, tt := range tests {
		header := http.Header{"Host": {tt.host}}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr, header)
		if err == nil {
			ws.Close()
		}
		if response == nil || response.StatusCode != tt.status {
			t.Errorf("host %q origin %q: %v, want %d", tt.host, tt.origin, response, tt.status)
		}
	}
	// HTTP paths have the same check of Host.
	for host, want := range map[string]int{"box": 200, "evil.example": 403} {
		for _, path := range []string{"/healthz", "/status/", "/nosuch"} {
			status, _ := get(t, addr, path, http.Header{"Host": {host}})
			if (status == 403) != (want == 403) {
				t.Errorf("%s of %s: %d", path, host, status)
			}
		}
	}
}

// TestNoHost: HTTP/1.0 without Host is a health checker, unless it says Origin.
func TestNoHost(t *testing.T) {
	addr, _ := start(t, &Server{})
	for header, want := range map[string]string{"": "200", "Origin: http://evil.example\r\n": "403"} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.0\r\n"+header+"\r\n")
		answer, _ := io.ReadAll(c)
		c.Close()
		if !strings.HasPrefix(string(answer), "HTTP/1.0 "+want) {
			t.Errorf("header %q: %.40q, want %s", header, answer, want)
		}
	}
}

func TestTwoOrigins(t *testing.T) {
	r := &http.Request{Host: "localhost", Header: http.Header{"Origin": {"http://localhost", "http://localhost"}}}
	if newHostNames(nil, nil).origin(r) {
		t.Error("two Origin headers accepted")
	}
	r.Header["Origin"] = r.Header["Origin"][:1]
	if !newHostNames(nil, nil).origin(r) {
		t.Error("one Origin header refused")
	}
}

// TestFloodOfConnections: connections that never say anything are closed
// beyond the limit and its reserve.
func TestFloodOfConnections(t *testing.T) {
	s := &Server{MaxConns: 2}
	addr, stop := start(t, s)
	var dialer net.Dialer
	var conns []net.Conn
	for range 2 + reserve + 5 {
		c, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	eventually(t, "the server closes some", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.plain == 2+reserve
	})
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "all are forgotten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.plain == 0
	})
	ws, _, err := websocket.DefaultDialer.DialContext(context.Background(), "ws://"+addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.Close()
	stop()
}
