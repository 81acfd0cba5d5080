package wsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// maxRequest is the limit of one request in bytes.
const maxRequest = 64 << 10

// lingerTime and lingerBytes bound what is read and thrown away after a
// request that was too large. Closing with unread bytes would make the kernel
// reset the connection, and the client would never see why.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// A conn is one websocket. The goroutine in serve reads requests and writes
// their replies, each subscription has one that writes its items; pings and
// the farewell are control frames, which may be written beside them.
type conn struct {
	server *Server
	ws     *websocket.Conn
	log    *zap.Logger
	in     []byte // the request; kept small between requests

	subscriptions map[string]*subscription // by feed

	writing sync.Mutex // held for a whole message

	mu      sync.Mutex
	busy    int  // messages being made or sent
	leaving bool // we go away: no further message
	pinger  *time.Timer
}

func newConn(s *Server, ws *websocket.Conn) *conn {
	c := &conn{server: s, ws: ws, subscriptions: map[string]*subscription{}, log: s.Log.With(zap.Stringer("client", ws.RemoteAddr()))}
	ws.EnableWriteCompression(false) // for shared replies only: else each reply would be compressed anew
	ws.SetPongHandler(func(string) error { return c.alive() })
	answer := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		if err := c.alive(); err != nil {
			return err
		}
		return answer(data)
	})
	return c
}

// alive starts the idle limit again.
func (c *conn) alive() error {
	return c.ws.SetReadDeadline(time.Now().Add(c.server.IdleTimeout))
}

// serve answers requests until the connection ends.
func (c *conn) serve(ctx context.Context) {
	defer c.unsubscribe()
	defer func() { _ = c.ws.Close() }()
	c.log.Debug("websocket opened")
	c.mu.Lock()
	c.pinger = time.AfterFunc(c.server.PingInterval, c.ping)
	c.mu.Unlock()
	err := c.loop(ctx)
	c.mu.Lock()
	c.leaving = true // no further ping is arranged
	c.pinger.Stop()
	c.mu.Unlock()
	if errors.Is(err, websocket.ErrReadLimit) {
		c.linger()
	}
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
		c.log.Debug("websocket closed")
		return
	}
	if isTimeout(err) {
		c.log.Info("websocket dropped", zap.Error(err))
		return
	}
	c.log.Debug("websocket lost", zap.Error(err))
}

func (c *conn) loop(ctx context.Context) error {
	for {
		if err := c.alive(); err != nil {
			return err
		}
		data, err := c.read()
		if err != nil {
			return err
		}
		if !c.begin() {
			continue // only the client's close frame is of interest
		}
		err = c.answer(ctx, data)
		c.finished()
		if err != nil {
			return err
		}
	}
}

// keptRequest is how large a buffer for requests a quiet connection keeps.
const keptRequest = 1 << 10

// read reads one request, valid until the next call, and no more of it than is
// allowed. The library's own limit is of what is on the wire (compressed, that could
// be a thousand times as much), and ends the connection without saying why.
func (c *conn) read() ([]byte, error) {
	if cap(c.in) > keptRequest {
		c.in = nil
	}
	_, r, err := c.ws.NextReader()
	if err != nil {
		return nil, err
	}
	in := c.in[:0]
	for {
		if len(in) == cap(in) {
			in = append(in, 0)[:len(in)]
		}
		n, err := r.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		c.in = in
		switch {
		case len(in) > maxRequest:
			c.close(websocket.CloseMessageTooBig, c.server.tooLarge())
			return nil, websocket.ErrReadLimit
		case errors.Is(err, io.EOF):
			return in, nil
		case err != nil:
			return nil, err
		}
	}
}

// tooLarge is the reason for which the connection of a request that is too large is
// closed.
func (s *Server) tooLarge() string {
	reason := fmt.Sprintf("a request has at most %d KiB", maxRequest>>10)
	if s.TooLarge != "" {
		reason += "; " + s.TooLarge
	}
	const most = 123 // RFC 6455, 5.5: a control frame has at most 125 bytes, two are the code
	return reason[:min(len(reason), most)]
}

// begin marks a message as under way, unless we go away.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return false
	}
	c.busy++
	return true
}

// finished says the farewell that had to wait for messages under way: after a
// close frame nothing else may be sent.
func (c *conn) finished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	if c.leaving && c.busy == 0 {
		c.farewell()
	}
}

// unsubscribe ends all subscriptions, once the connection is closed so that
// none of them can be held up.
func (c *conn) unsubscribe() {
	for name := range c.subscriptions {
		c.end(name)
	}
}

// goAway tells the client that the server stops, at once or after the messages
// that are under way.
func (c *conn) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return
	}
	c.leaving = true
	if c.busy == 0 {
		c.farewell()
	}
}

func (c *conn) farewell() {
	c.close(websocket.CloseGoingAway, "server stops")
}

func (c *conn) close(code int, text string) {
	deadline := time.Now().Add(c.server.StopTimeout / 2)
	// The connection ends in any case: an error changes nothing.
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), deadline)
}

// ping keeps middleboxes and the idle limit content. A client whose buffer is
// full cannot take a ping: the write deadline of its reply decides about it.
func (c *conn) ping() {
	err := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.server.WriteTimeout))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving && (err == nil || isTimeout(err)) {
		c.pinger.Reset(c.server.PingInterval)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// answer answers one request. An error ends the connection.
func (c *conn) answer(ctx context.Context, data []byte) error {
	// What was asked before, word for word, needs not even be parsed.
	if share := c.server.asked(data); share != nil {
		defer share.release()
		if <-share.done; share.message != nil {
			return c.pass(share)
		}
	}
	var err error
	c.server.Work(func() { err = c.work(ctx, data) })
	return err
}

// work answers a request that no reply is there for yet.
func (c *conn) work(ctx context.Context, data []byte) error {
	request, err := parseRequest(data)
	epoch := c.server.Epochs[request.cmd]
	if err != nil || epoch == nil {
		return c.reply(ctx, request, err, nil)
	}
	share, maker := c.server.shares.add(data, epoch(), epoch)
	if share == nil {
		return c.reply(ctx, request, nil, nil)
	}
	defer share.release()
	if maker {
		return c.reply(ctx, request, nil, share)
	}
	if <-share.done; share.message != nil {
		return c.send(share)
	}
	return c.reply(ctx, request, nil, nil)
}

// pass is send of what another connection has made.
func (c *conn) pass(share *shared) (err error) {
	c.server.Send(func() { err = c.send(share) })
	return err
}

// send sends a shared reply in one piece.
func (c *conn) send(share *shared) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.ws.SetWriteDeadline(time.Now().Add(c.server.WriteTimeout + fairTime(int64(share.size)))); err != nil {
		return err
	}
	if share.size >= compressAbove {
		c.ws.EnableWriteCompression(true) // if the client has offered it
		defer c.ws.EnableWriteCompression(false)
	}
	return c.ws.WritePreparedMessage(share.message)
}

// reply runs a request's command and sends what it writes, or the error.
func (c *conn) reply(ctx context.Context, request request, err error, making *shared) error {
	reply := newReply(c, making)
	defer reply.release()
	if err == nil {
		err = c.run(ctx, request, reply)
	}
	switch {
	case errors.Is(err, errNoReply):
		return nil
	case err == nil && reply.empty():
		err = errors.New("nothing written")
	case err == nil:
		return reply.finish()
	}
	if reply.err != nil {
		return reply.err // the client, not the command
	}
	var known *Error
	if !errors.As(err, &known) {
		c.log.Error("websocket command failed", zap.Error(err))
		known = &Error{Code: CodeInternal, Message: "internal error"}
	}
	if reply.streaming() {
		c.log.Error("websocket reply cut off", zap.Error(err))
		c.close(websocket.CloseInternalServerErr, known.Message)
		return fmt.Errorf("reply cut off: %w", err)
	}
	reply.keep() // an error is one client's own
	if _, err := reply.Write(known.json()); err != nil {
		return err
	}
	return reply.finish()
}

// run finds and runs the command.
func (c *conn) run(ctx context.Context, request request, w io.Writer) error {
	if known, err := c.feedRequest(ctx, request, w); known {
		return err
	}
	command, ok := c.server.Commands[request.cmd]
	if !ok {
		return &Error{Code: CodeInvalidCmd, Message: "invalid cmd: " + request.cmd}
	}
	return c.guard(request.cmd, func() error { return command(ctx, request.args, w) })
}

// guard makes a panic in a command cost this request only.
func (c *conn) guard(cmd string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("websocket command panicked", zap.String("cmd", cmd), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// linger lets the client read our close frame before the connection is torn
// down over what it still sends.
func (c *conn) linger() {
	netConn := c.ws.NetConn()
	if half, ok := netConn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = netConn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, netConn, lingerBytes)
}
