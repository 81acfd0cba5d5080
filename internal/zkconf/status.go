package zkconf

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// States of a SourceStatus.
const (
	StateStarting     = "starting"     // nothing is known yet
	StateConnected    = "connected"    // the document is being followed
	StateDisconnected = "disconnected" // no server, or no session with it
	StateNoNode       = "no_node"      // there is no document: node or file absent
	StateNoAccess     = "no_access"    // it may not or cannot be read
)

// SourceStatus is the state of a source, for people and for /status. It holds no
// secrets.
type SourceStatus struct {
	Kind  string   `json:"kind"`
	State string   `json:"state"`
	Error string   `json:"error,omitempty"` // why it is not connected
	Hosts []string `json:"hosts,omitempty"`
	Path  string   `json:"path"`
	// Server is the one we are or were connected to.
	Server string `json:"server,omitempty"`
	// VersionSeen is the newest version read, good or not; -1 before the first.
	VersionSeen int32 `json:"version_seen"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// SessionSince is when the present ZooKeeper session began, zero without.
	SessionSince time.Time `json:"session_since,omitzero"`
	// Sessions counts the ZooKeeper sessions so far.
	Sessions int `json:"sessions,omitempty"`
}

// tracker keeps a source's status and logs its changes. The zero value is that of
// a source that has not started.
type tracker struct {
	mu     sync.Mutex
	status SourceStatus
	read   bool // a version has been seen
	// sessionSince outlives a break of the connection, unlike the one shown.
	sessionSince time.Time
}

func (t *tracker) snapshot(o Origin) SourceStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.status
	if st.State == "" {
		st.State = StateStarting
	}
	if !t.read {
		st.VersionSeen = -1
	}
	st.Kind, st.Hosts, st.Path = o.Kind, o.Hosts, o.Path
	return st
}

// set notes a state and logs it when it is a new one.
func (t *tracker) set(log *zap.Logger, state string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Error = ""
	if err != nil {
		t.status.Error = err.Error()
	}
	if state == StateDisconnected {
		t.status.SessionSince = time.Time{}
	}
	if t.status.State == state {
		return
	}
	t.status.State, t.status.Since = state, time.Now()
	fields := []zap.Field{zap.String("state", state)}
	if t.status.Server != "" {
		fields = append(fields, zap.String("server", t.status.Server))
	}
	if state == StateConnected {
		log.Info("configuration source", fields...)
		return
	}
	log.Warn("configuration source", append(fields, zap.Error(err))...)
}

func (t *tracker) seen(version int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.VersionSeen, t.read = version, true
}

func (t *tracker) newSession(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessionSince = time.Now()
	t.status.Server, t.status.SessionSince = server, t.sessionSince
	t.status.Sessions++
}

// resumed notes that the session goes on, maybe with another server.
func (t *tracker) resumed(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Server, t.status.SessionSince = server, t.sessionSince
}
