package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// event is something that happened at a moment, for the time line.
type event struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
	// Cgroup is the path that it is about, where it is about one.
	Cgroup string `json:"cgroup,omitempty"`
	// Version is the document's, of the kinds "version" and "rejected".
	Version *int32 `json:"version,omitempty"`
}

// eventKind says what a message of the log is on the time line.
type eventKind struct {
	kind string
	text func(f map[string]any) string
}

// eventKinds are the messages that become events. The log is where everything
// that happens is told already, once, so the time line takes it from there.
var eventKinds = map[string]eventKind{
	"started":                {"started", func(f map[string]any) string { return "the daemon started, version " + field(f, "version") }},
	"configuration in force": {"version", func(f map[string]any) string { return "version " + field(f, "version") + " is in force" }},
	"configuration rejected; the last good one stays in force": {"rejected", func(f map[string]any) string {
		return "version " + field(f, "version") + " rejected: " + field(f, "reasons")
	}},
	"configuration source": {"source", func(f map[string]any) string {
		return "document's source: " + join(field(f, "state"), field(f, "error"))
	}},
	"host fault":         {"host_fault", func(f map[string]any) string { return join(field(f, "place"), field(f, "reason")) }},
	"host fault is gone": {"host_fault_gone", func(f map[string]any) string { return field(f, "place") + ": no fault any more" }},
	"drift corrected":    {"drift", func(f map[string]any) string { return "changed by somebody else, put back: " + field(f, "step") }},
	"oom kill": {"oom_kill", func(f map[string]any) string {
		return field(f, "count") + " killed for want of memory in " + field(f, "cgroup")
	}},
	"pid file state changed": {"pid_file", func(f map[string]any) string {
		return join("pid file "+field(f, "pid_file")+" of "+field(f, "cgroup"), field(f, "state"))
	}},
	"slots missed": {"missed", func(f map[string]any) string {
		return "no sample between " + field(f, "last_slot") + " and " + field(f, "slot")
	}},
	"clock stepped back": {"missed", func(f map[string]any) string {
		return "clock stepped back from " + field(f, "last_slot") + " to " + field(f, "slot")
	}},
	"redis available again":    {"redis", func(map[string]any) string { return "Redis is available again" }},
	"tasks stalled":            {"stalled", func(f map[string]any) string { return "no progress of " + field(f, "tasks") }},
	"all tasks go on":          {"stalled", func(map[string]any) string { return "all tasks go on" }},
	"reading everything again": {"reload", func(map[string]any) string { return "asked to read everything again" }},
	"redis unavailable, slots are kept": {"redis", func(f map[string]any) string {
		return join("Redis is unavailable, slots are kept", field(f, "error"))
	}},
}

// eventsPerKind is how many of each kind are kept, the newest: a fight over a
// value must not push out which version was in force.
const eventsPerKind = 200

// events keeps what happened. It listens to the log as a [zapcore.Core] beside
// the one that writes it, and before that one samples.
type events struct {
	mu    sync.Mutex
	kinds map[string][]event
}

func newEvents() *events { return &events{kinds: map[string][]event{}} }

// attach lets e hear what log is told.
func (e *events) attach(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewTee(core, eventCore{e, nil})
	}))
}

// list is every event that is kept, oldest first.
func (e *events) list() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []event{}
	for _, of := range e.kinds {
		all = append(all, of...)
	}
	slices.SortFunc(all, func(a, b event) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Kind+a.Text, b.Kind+b.Text)
	})
	return all
}

func (e *events) add(v event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := append(e.kinds[v.Kind], v)
	if len(of) > eventsPerKind {
		of = slices.Delete(of, 0, len(of)-eventsPerKind)
	}
	e.kinds[v.Kind] = of
}

// eventCore is the log's side of events.
type eventCore struct {
	to     *events
	fields []zapcore.Field
}

func (c eventCore) Enabled(l zapcore.Level) bool { return l >= zapcore.InfoLevel }
func (c eventCore) Sync() error                  { return nil }

func (c eventCore) With(fields []zapcore.Field) zapcore.Core {
	return eventCore{c.to, slices.Concat(c.fields, fields)}
}

func (c eventCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if _, ok := eventKinds[entry.Message]; ok && c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c eventCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(encoder)
	}
	f := encoder.Fields
	kind := eventKinds[entry.Message]
	v := event{Time: entry.Time.UTC(), Kind: kind.kind, Text: clip(kind.text(f)), Cgroup: field(f, "cgroup")}
	if n, ok := f["version"].(int32); ok {
		v.Version = &n
	}
	c.to.add(v)
	return nil
}

// longestEvent bounds one event's text: the reasons of a rejected document can be
// as many as its cgroups.
const longestEvent = 500

func clip(text string) string {
	if len(text) <= longestEvent {
		return text
	}
	return strings.ToValidUTF8(text[:longestEvent], "") + " ..."
}

// field is a field of a log entry as text.
func field(f map[string]any, name string) string {
	switch v := f[name].(type) {
	case nil:
		return ""
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = fmt.Sprint(v[i])
		}
		return strings.Join(texts, "; ")
	default:
		return fmt.Sprint(v)
	}
}

// join is "a: b", or a alone.
func join(a, b string) string { return strings.TrimSuffix(a+": "+b, ": ") }
