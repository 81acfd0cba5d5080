package wsapi

import (
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// replyBuffer is how much of a reply is collected before the first byte is
	// sent: most replies are one frame, and can still become an error reply.
	replyBuffer = 64 << 10
	// slowestReader is what a client has to read per second on average, beside
	// the write timeout: a reply's memory must not be held for ever by one
	// byte now and then.
	slowestReader = 64 << 10
)

var replyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, replyBuffer)
	return &b
}}

// A reply collects what a command writes and sends it as one text message,
// fragmented into frames where it is large. From its first frame to its end it
// has the connection for itself.
type reply struct {
	c      *conn
	buf    *[]byte
	limit  int            // how much is collected before the first byte is sent
	stream io.WriteCloser // nil until the buffer has overflowed
	start  time.Time      // of the first frame
	sent   int64          // bytes, for the deadline
	err    error          // the connection's first error

	// making is what other clients wait for, nil for an ordinary reply.
	making *shared
}

// newReply starts a reply; making is nil unless it is to be shared.
func newReply(c *conn, making *shared) *reply {
	r := &reply{c: c, limit: replyBuffer, making: making, buf: replyBuffers.Get().(*[]byte)}
	if making != nil {
		r.limit = shareLimit
	}
	return r
}

// release gives back the buffer, unless it has grown, and the connection.
func (r *reply) release() {
	if r.making != nil {
		r.making.decide(nil, 0) // unless it has been
	}
	if r.stream != nil {
		r.c.writing.Unlock()
	}
	if cap(*r.buf) == replyBuffer {
		*r.buf = (*r.buf)[:0]
		replyBuffers.Put(r.buf)
	}
	r.buf = nil
}

func (r *reply) empty() bool     { return r.stream == nil && len(*r.buf) == 0 }
func (r *reply) streaming() bool { return r.stream != nil }

// keep throws away what has been collected and lets nobody share the rest.
func (r *reply) keep() {
	*r.buf = (*r.buf)[:0]
	if r.making != nil {
		r.making.decide(nil, 0)
		r.making = nil
	}
}

// Write takes a piece of the reply. It fails once the connection has.
func (r *reply) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		if r.err != nil {
			return n, r.err
		}
		room := min(r.limit-len(*r.buf), len(p))
		*r.buf = append(*r.buf, p[:room]...)
		p, n = p[room:], n+room
		if len(p) > 0 {
			r.err = r.flush()
		}
	}
	return n, r.err
}

// flush sends the buffer as a part of a message to be continued.
func (r *reply) flush() error {
	if r.stream == nil {
		if r.making != nil { // too large to be kept
			r.making.decide(nil, 0)
		}
		r.c.writing.Lock()
		w, err := r.c.ws.NextWriter(websocket.TextMessage)
		if err != nil {
			r.c.writing.Unlock()
			return err
		}
		r.stream, r.limit = w, replyBuffer
	}
	if err := r.setDeadline(); err != nil {
		return err
	}
	n, err := r.stream.Write(*r.buf)
	r.sent += int64(n)
	*r.buf = (*r.buf)[:0]
	return err
}

// finish sends what is left. A reply that fits into the buffer is one frame.
func (r *reply) finish() error {
	if r.err != nil {
		return r.err
	}
	if r.stream == nil {
		return r.whole()
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.stream.Close()
}

// whole sends a reply that has been collected to its end.
func (r *reply) whole() error {
	if r.making != nil {
		message, err := websocket.NewPreparedMessage(websocket.TextMessage, *r.buf)
		if err != nil {
			return err
		}
		r.making.decide(message, len(*r.buf))
		return r.c.send(r.making)
	}
	r.c.writing.Lock()
	defer r.c.writing.Unlock()
	if err := r.setDeadline(); err != nil {
		return err
	}
	return r.c.ws.WriteMessage(websocket.TextMessage, *r.buf)
}

// setDeadline gives the reply its time: the timeout, and one second more for
// every 64 KiB that the client has taken.
func (r *reply) setDeadline() error {
	if r.start.IsZero() {
		r.start = time.Now()
	}
	return r.c.ws.SetWriteDeadline(r.start.Add(r.c.server.WriteTimeout + fairTime(r.sent)))
}

// fairTime is what the slowest client that we bear with needs for so many bytes.
func fairTime(bytes int64) time.Duration {
	return time.Duration(bytes) * time.Second / slowestReader
}
