package wsapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// benchReply is about two slots of 1,000 cgroups.
var benchReply = []byte(`"` + strings.Repeat("x", 429_000) + `"`)

// BenchmarkHTTPHello is the floor to compare with: net/http's own answer on a
// kept connection.
func BenchmarkHTTPHello(b *testing.B) {
	addr, _ := start(b, &Server{})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for b.Loop() {
		response, err := client.Get("http://" + addr + "/healthz")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

func benchmarkReply(b *testing.B, reply []byte) {
	commands := map[string]Command{"x": func(_ context.Context, _ json.RawMessage, w io.Writer) error {
		_, err := w.Write(reply)
		return err
	}}
	addr, _ := start(b, &Server{Commands: commands})
	ws := dial(b, addr)
	request := []byte(`{"cmd":"x"}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(reply)))
	for b.Loop() {
		if err := ws.WriteMessage(websocket.TextMessage, request); err != nil {
			b.Fatal(err)
		}
		_, r, err := ws.NextReader()
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || int(n) != len(reply) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkReplySmall and BenchmarkReplyLarge are one request and its reply.
func BenchmarkReplySmall(b *testing.B) { benchmarkReply(b, []byte(`"ok"`)) }
func BenchmarkReplyLarge(b *testing.B) { benchmarkReply(b, benchReply) }
