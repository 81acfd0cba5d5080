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

// A conn is one websocket. The goroutine in serve reads and writes messages;
// pings and the farewell are control frames, which may be written beside it.
type conn struct {
	server *Server
	ws     *websocket.Conn
	log    *zap.Logger

	mu      sync.Mutex
	busy    bool // a request is being answered
	leaving bool // we go away: no further request is answered
	pinger  *time.Timer
}

func newConn(s *Server, ws *websocket.Conn) *conn {
	c := &conn{server: s, ws: ws, log: s.Log.With(zap.Stringer("client", ws.RemoteAddr()))}
	ws.SetReadLimit(maxRequest)
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
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			return err
		}
		if !c.begin() {
			continue // only the client's close frame is of interest
		}
		err = c.answer(ctx, data)
		c.end()
		if err != nil {
			return err
		}
	}
}

// begin marks a request as under way, unless we go away.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return false
	}
	c.busy = true
	return true
}

// end says the farewell that had to wait for the reply: after a close frame
// nothing else may be sent.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if c.leaving {
		c.farewell()
	}
}

// goAway tells the client that the server stops, at once or after the reply
// that is under way.
func (c *conn) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return
	}
	c.leaving = true
	if !c.busy {
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

// answer runs one request. An error ends the connection.
func (c *conn) answer(ctx context.Context, data []byte) error {
	reply := newReply(c)
	defer reply.release()
	err := c.run(ctx, data, reply)
	if err == nil && reply.empty() {
		err = errors.New("no reply")
	}
	if err == nil {
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
	reply.discard()
	if _, err := reply.Write(known.json()); err != nil {
		return err
	}
	return reply.finish()
}

// run finds and runs the command; a panic in it costs this request only.
func (c *conn) run(ctx context.Context, data []byte, w io.Writer) (err error) {
	request, err := parseRequest(data)
	if err != nil {
		return err
	}
	command, ok := c.server.Commands[request.cmd]
	if !ok {
		return &Error{Code: CodeInvalidCmd, Message: "invalid cmd: " + request.cmd}
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("websocket command panicked", zap.String("cmd", request.cmd), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return command(ctx, request.args, w)
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
