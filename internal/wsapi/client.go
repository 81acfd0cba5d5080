package wsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// handshakeTimeout bounds connecting, beside the caller's context.
const handshakeTimeout = 5 * time.Second

// Ask sends one request to a daemon's address ("HOST:PORT") and copies the
// reply to w as it comes. An error reply is returned as an [*Error], and
// nothing is written. args is encoded as JSON; nil for none.
func Ask(ctx context.Context, addr, cmd string, args any, w io.Writer) (err error) {
	dialer := websocket.Dialer{HandshakeTimeout: handshakeTimeout}
	ws, response, err := dialer.DialContext(ctx, "ws://"+addr+"/", nil)
	if err != nil {
		if response != nil {
			return fmt.Errorf("connect %s: %w (%s)", addr, err, response.Status)
		}
		return fmt.Errorf("connect %s: %w", addr, err)
	}
	defer func() { _ = ws.Close() }()
	// The library's reads know no context: closing is what ends them.
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer func() {
		if !stop() && ctx.Err() != nil && err != nil {
			err = fmt.Errorf("ask %s: %w", addr, ctx.Err())
		}
	}()
	request := map[string]any{"cmd": cmd}
	if args != nil {
		request["args"] = args
	}
	if err := ws.WriteJSON(request); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	_, reply, err := ws.NextReader()
	if err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	if err := copyReply(w, reply); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	closing := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// We have what we came for: a farewell that fails is none of our business.
	_ = ws.WriteControl(websocket.CloseMessage, closing, time.Now().Add(time.Second))
	return nil
}

// errorPrefix is how error replies begin, and nothing else that we send.
const errorPrefix = `{"error":`

// copyReply copies a reply, or returns the error that it is.
func copyReply(w io.Writer, reply io.Reader) error {
	head := make([]byte, len(errorPrefix))
	n, err := io.ReadFull(reply, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	reply = io.MultiReader(bytes.NewReader(head[:n]), reply)
	if string(head[:n]) != errorPrefix {
		_, err = io.Copy(w, reply)
		return err
	}
	var answer struct{ Error, Code string }
	if err := json.NewDecoder(io.LimitReader(reply, 8*maxRequest)).Decode(&answer); err != nil {
		return fmt.Errorf("decode error reply: %w", err)
	}
	return &Error{Code: answer.Code, Message: answer.Error}
}
