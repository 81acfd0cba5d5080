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
// fragmented into frames where it is large.
type reply struct {
	c      *conn
	buf    *[]byte
	stream io.WriteCloser // nil until the buffer has overflowed
	start  time.Time      // of the first frame
	sent   int64          // bytes, for the deadline
	err    error          // the connection's first error
}

func newReply(c *conn) *reply {
	return &reply{c: c, buf: replyBuffers.Get().(*[]byte)}
}

// release gives the buffer back.
func (r *reply) release() {
	*r.buf = (*r.buf)[:0]
	replyBuffers.Put(r.buf)
	r.buf = nil
}

func (r *reply) empty() bool     { return r.stream == nil && len(*r.buf) == 0 }
func (r *reply) streaming() bool { return r.stream != nil }
func (r *reply) discard()        { *r.buf = (*r.buf)[:0] }

// Write takes a piece of the reply. It fails once the connection has.
func (r *reply) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		if r.err != nil {
			return n, r.err
		}
		room := min(replyBuffer-len(*r.buf), len(p))
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
		w, err := r.c.ws.NextWriter(websocket.TextMessage)
		if err != nil {
			return err
		}
		r.stream = w
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
		if err := r.setDeadline(); err != nil {
			return err
		}
		return r.c.ws.WriteMessage(websocket.TextMessage, *r.buf)
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.stream.Close()
}

// setDeadline gives the reply its time: the timeout, and one second more for
// every 64 KiB that the client has taken.
func (r *reply) setDeadline() error {
	if r.start.IsZero() {
		r.start = time.Now()
	}
	earned := time.Duration(r.sent) * time.Second / slowestReader
	return r.c.ws.SetWriteDeadline(r.start.Add(r.c.server.WriteTimeout + earned))
}
