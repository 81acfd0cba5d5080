// Package wsapi serves the daemon's websocket and HTTP interface: frames, limits, deadlines and who may connect, but no command of its own.
//
// One goroutine per connection reads a request, runs its command and writes
// the reply, so replies are in order and a client that sends without reading
// is held back by its own unread replies, not by our memory. A subscription
// has a goroutine beside it, and sends between replies.
package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// A Command answers one request. It writes exactly one JSON text to w, in as
// many pieces as it likes; args is the request's object, nil when there was
// none.
//
// An error returned before anything reached the client becomes an error
// reply: an [*Error] as it is, anything else as "internal" without its text.
// Later than that the reply is beyond repair, and the connection is closed.
// The context ends when the server has to stop.
type Command func(ctx context.Context, args json.RawMessage, w io.Writer) error

// JSON makes a command of a function that returns a value to encode.
func JSON(f func(ctx context.Context, args json.RawMessage) (any, error)) Command {
	return func(ctx context.Context, args json.RawMessage, w io.Writer) error {
		v, err := f(ctx, args)
		if err != nil {
			return err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode reply: %w", err)
		}
		_, err = w.Write(data)
		return err
	}
}

// Server answers websocket and HTTP requests on one listener. Fill in the
// fields, then call [Server.Run] once.
type Server struct {
	// Listener is where to accept, see [Listen]. Run closes it.
	Listener net.Listener
	// Commands is the API: each request's "cmd" is a name in it.
	Commands map[string]Command
	// Epochs names commands whose reply is the same for equal requests as long
	// as the function returns the same number, which never falls: such a reply
	// is made once for all clients. The function is called often.
	Epochs map[string]func() int64
	// Feeds are what clients can subscribe to.
	Feeds map[string]*Feed
	// Health and Ready decide about /healthz and /readyz: nil is 200, an error
	// is 503 with its text. A nil function is always 200.
	Health, Ready func() error
	// Status is what /status shows, as JSON; without it there is no /status.
	Status func() any
	// StatusEpoch is for Status what Epochs are for commands: the same answer is
	// given as long as it returns the same number. Without it each is made anew.
	StatusEpoch func() int64
	// Metrics serves /metrics; without it there is none.
	Metrics http.Handler
	// Work is called around the making of each reply and its sending, and Send
	// around the sending of one that was made for others, so that somebody can
	// count what that costs; nil means nobody does.
	Work, Send func(work func())
	// Page serves what people see: "/", "/favicon.ico" and what is below PagePrefix,
	// unless the request is for a websocket. Without one, "/" is the websocket only.
	Page       http.Handler
	PagePrefix string
	// Hostnames are this host's own names, AllowedHosts further names ("name"
	// or "name:port") by which browsers may speak to us.
	Hostnames, AllowedHosts []string
	// TooLarge is what to do instead of sending a request that is too large, for
	// the reason that its connection is closed with; all of that has at most 123 bytes.
	TooLarge string
	// Log is where connections and faults are logged; nil for nowhere.
	Log *zap.Logger

	// MaxConns is the number of open connections beyond which a websocket gets
	// 503; 0 means 4096. A few more are left for /healthz and the like.
	MaxConns int
	// WriteTimeout is how long a reply may take to write, beside one second
	// for each 64 KiB of it; 0 means 10 s. Slower readers are dropped.
	WriteTimeout time.Duration
	// PingInterval is the time between pings; 0 means 60 s.
	PingInterval time.Duration
	// IdleTimeout closes a connection without any message, ping or pong; 0
	// means 10 min. Missing pongs are no reason below that: clients that
	// answer pings only while they receive are usual.
	IdleTimeout time.Duration
	// StopTimeout is how long Run waits for clients once its context has
	// ended; 0 means 2 s.
	StopTimeout time.Duration

	names   hostNames
	shares  *shares
	status  lastStatus
	buffers websocket.BufferPool // write buffers, held only while writing

	mu       sync.Mutex
	plain    int                // HTTP connections, upgraded ones not counted
	sockets  int                // websocket handlers, from the limit's check to their end
	conns    map[*conn]struct{} // websockets
	stopping bool               // no further websockets
	drained  chan struct{}      // closed when stopping and there are no more sockets
}

const (
	defaultMaxConns     = 4096
	defaultWriteTimeout = 10 * time.Second
	defaultPingInterval = 60 * time.Second
	defaultIdleTimeout  = 10 * time.Minute
	defaultStopTimeout  = 2 * time.Second

	// reserve is how many plain connections are taken beyond MaxConns, so that
	// a full server still answers its health checks.
	reserve = 64

	headerTimeout  = 5 * time.Second
	httpTimeout    = 10 * time.Second
	keepAlive      = 60 * time.Second
	maxHeaderBytes = 16 << 10
	frameBuffer    = 4 << 10
)

// Listen opens the server's TCP port; port 0 takes any free one, which the
// listener's Addr then tells.
func Listen(ip string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
}

// Run serves until ctx ends, then tells every client that we go away, waits
// at most StopTimeout for replies under way, and closes what is left. It
// returns nil then; an error means that the listener broke.
func (s *Server) Run(ctx context.Context) error {
	s.prepare()
	// The commands' context outlives ctx by the stop timeout, so that replies
	// under way can be finished.
	base, settle := context.WithCancel(context.WithoutCancel(ctx))
	defer settle()
	httpServer := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       httpTimeout,
		WriteTimeout:      httpTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.countPlain,
		ErrorLog:          quietLog(s.Log),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.stop(httpServer, settle)
	})
	err := httpServer.Serve(s.Listener)
	if stop() { // the context has not ended: the listener broke
		s.stop(httpServer, settle)
		return fmt.Errorf("serve %s: %w", s.Listener.Addr(), err)
	}
	<-stopped
	return nil
}

// prepare fills in defaults.
func (s *Server) prepare() {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	setDefault(&s.MaxConns, defaultMaxConns)
	setDefault(&s.WriteTimeout, defaultWriteTimeout)
	setDefault(&s.PingInterval, defaultPingInterval)
	setDefault(&s.IdleTimeout, defaultIdleTimeout)
	setDefault(&s.StopTimeout, defaultStopTimeout)
	if s.Work == nil {
		s.Work = func(work func()) { work() }
	}
	if s.Send == nil {
		s.Send = func(work func()) { work() }
	}
	s.names = newHostNames(s.Hostnames, s.AllowedHosts)
	s.shares = newShares()
	s.conns = map[*conn]struct{}{}
	s.buffers = &sync.Pool{}
	s.drained = make(chan struct{})
}

func setDefault[T ~int | ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// countPlain keeps the number of HTTP connections, and closes what exceeds
// the limit and its reserve at once: each costs a descriptor even before its
// first byte.
func (s *Server) countPlain(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.plain++
		if s.plain+s.sockets > s.MaxConns+reserve {
			c.Close()
		}
	case http.StateHijacked, http.StateClosed:
		s.plain--
	}
}

// admit takes a place among the websockets. The caller's own plain connection
// is counted still, hence the comparison.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.plain+s.sockets > s.MaxConns {
		return false
	}
	s.sockets++
	return true
}

// leave gives the place back.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets--
	if s.stopping && s.sockets == 0 {
		close(s.drained)
	}
}

// serveWebsocket is the life of one websocket connection.
func (s *Server) serveWebsocket(w http.ResponseWriter, r *http.Request) {
	if !s.admit() {
		w.Header().Set("Retry-After", "10")
		httpError(w, http.StatusServiceUnavailable, "too many connections")
		return
	}
	defer s.leave()
	upgrader := websocket.Upgrader{
		HandshakeTimeout:  httpTimeout,
		EnableCompression: true,
		WriteBufferPool:   s.buffers,
		WriteBufferSize:   frameBuffer,
		CheckOrigin:       func(*http.Request) bool { return true }, // checked before, see serveHTTP
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-Websocket-Version", "13")
			httpError(w, status, reason.Error())
		},
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.Log.Debug("websocket refused", zap.String("client", r.RemoteAddr), zap.Error(err))
		return
	}
	c := newConn(s, ws)
	if !s.track(c) {
		c.goAway() // came between the check and the stop
	}
	defer s.untrack(c)
	c.serve(r.Context())
}

// track makes a websocket known to stop; false when it has begun already.
func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	return !s.stopping
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// open lists the websockets.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// stop ends everything within StopTimeout and a little. The HTTP server's own
// Shutdown knows nothing of upgraded connections: it returns with them open.
func (s *Server) stop(httpServer *http.Server, settle context.CancelFunc) {
	s.mu.Lock()
	s.stopping = true
	if s.sockets == 0 {
		close(s.drained)
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.StopTimeout)
	defer cancel()
	for _, c := range s.open() {
		// A writer each: a client that does not read must not delay the others' farewell.
		go c.goAway()
	}
	if err := httpServer.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = httpServer.Close()
	}
	select {
	case <-s.drained:
		return
	case <-ctx.Done():
	}
	settle()
	for _, c := range s.open() {
		_ = c.ws.Close()
	}
	select {
	case <-s.drained:
	case <-time.After(s.StopTimeout):
		s.Log.Warn("websocket command does not end")
	}
}
