package wsapi

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// serveHTTP checks who asks, then serves the few HTTP paths; every other path
// is the websocket.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.names.host(r) {
		httpError(w, http.StatusForbidden, "this server does not go by the name in the Host header; see allowed_hosts")
		return
	}
	if !s.names.origin(r) {
		httpError(w, http.StatusForbidden, "the page's origin is not this server; see allowed_hosts")
		return
	}
	switch r.URL.Path {
	case "/healthz":
		s.serveCheck(w, r, s.Health)
	case "/readyz":
		s.serveCheck(w, r, s.Ready)
	case "/status":
		s.serveStatus(w, r)
	case "/metrics":
		s.serveMetrics(w, r)
	default:
		s.serveOther(w, r)
	}
}

// serveOther upgrades to a websocket, or explains.
func (s *Server) serveOther(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		if s.Page != nil && (r.URL.Path == "/" || r.URL.Path == favicon || strings.HasPrefix(r.URL.Path, s.PagePrefix)) {
			if readOnly(w, r) {
				s.Page.ServeHTTP(w, r)
			}
			return
		}
		if r.URL.Path != "/" {
			httpError(w, http.StatusNotFound, "not found; there are /healthz, /readyz, /status, and a websocket on any other path")
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		httpError(w, http.StatusUpgradeRequired, "this is a websocket: connect with ws:// and send {\"cmd\":\"show_account\"}; over HTTP there are /healthz, /readyz and /status")
		return
	}
	s.serveWebsocket(w, r)
}

// favicon is what some browsers ask for whatever the page says about its icon.
const favicon = "/favicon.ico"

func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	httpError(w, http.StatusMethodNotAllowed, "GET and HEAD only")
	return false
}

func (s *Server) serveCheck(w http.ResponseWriter, r *http.Request, check func() error) {
	if !readOnly(w, r) {
		return
	}
	if check != nil {
		if err := check(); err != nil {
			httpError(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	httpError(w, http.StatusOK, "ok")
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	if s.Status == nil {
		httpError(w, http.StatusNotFound, "no status")
		return
	}
	data, err := s.status.get(s.StatusEpoch, s.Status)
	if err != nil {
		s.Log.Error("status not encoded", zap.Error(err))
		httpError(w, http.StatusInternalServerError, "internal error")
		return
	}
	commonHeader(w, "application/json")
	// Whoever went away while we wrote has no use for an error.
	_, _ = w.Write(data)
}

// lastStatus is what /status has answered last: many ask for it, at the same time,
// and each answer reads who is in every cgroup.
type lastStatus struct {
	mu    sync.Mutex // held while an answer is made
	data  []byte
	epoch int64 // when its making began
}

// get is an answer that is not older than the epoch in which it was asked for.
func (l *lastStatus) get(epoch func() int64, status func() any) ([]byte, error) {
	if epoch == nil {
		epoch = func() int64 { return 0 }
		l = new(lastStatus)
	}
	asked := epoch()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.data != nil && l.epoch >= asked {
		return l.data, nil
	}
	began := epoch()
	data, err := json.MarshalIndent(status(), "", "  ")
	if err != nil {
		return nil, err
	}
	l.data, l.epoch = append(data, '\n'), began
	return l.data, nil
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	if s.Metrics == nil {
		httpError(w, http.StatusNotFound, "no metrics")
		return
	}
	s.Metrics.ServeHTTP(w, r)
}

// httpError writes a line of plain text.
func httpError(w http.ResponseWriter, status int, text string) {
	commonHeader(w, "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func commonHeader(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// quietLog takes net/http's complaints about clients: nothing an operator has
// to act on.
func quietLog(l *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(l.Named("http"), zapcore.DebugLevel)
	if err != nil {
		return log.New(io.Discard, "", 0)
	}
	return std
}
