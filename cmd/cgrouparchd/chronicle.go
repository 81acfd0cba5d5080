package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// chronicle knows the document's earlier versions: those that this daemon has had in
// force, and those in ZooKeeper's history, which also reach back before its start.
type chronicle struct {
	control *control
	// recent reads ZooKeeper's history; nil with conf_file, which has none.
	recent func(context.Context) ([]zkconf.Entry, error)

	turn chan struct{}    // capacity 1: held by who reads or uses what follows
	list []zkconf.Entry   // as it was last read
	err  error            // why it could not be read since
	read time.Time        // when that was tried
	of   *zkconf.Document // what was in force then
	what map[[2]string]string
}

func newChronicle(c *control, source zkconf.Source) *chronicle {
	k := &chronicle{control: c, turn: make(chan struct{}, 1)}
	if z, ok := source.(*zkconf.ZooKeeper); ok {
		k.recent = (&zkconf.Recent{ZooKeeper: z}).Read
	}
	return k
}

// Limits of reading the history: never unless somebody asks, at most every few
// seconds however many do, and never for long.
const (
	chroniclePause   = 5 * time.Second
	chronicleTimeout = 5 * time.Second
)

// hold takes the turn, and reads the history unless it was just read. A nil error is
// to be followed by release.
func (k *chronicle) hold(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return &wsapi.Error{Code: wsapi.CodeBusy, Message: "too many ask about documents, try again later"}
	}
	if inForce := k.control.document(); k.recent != nil && (inForce != k.of || time.Since(k.read) >= chroniclePause) {
		var list []zkconf.Entry
		if list, k.err = k.recent(ctx); k.err == nil {
			k.list = list
		}
		if ctx.Err() == nil || k.err == nil { // whose time was up says nothing about ZooKeeper
			k.read, k.of = time.Now(), inForce
		}
	}
	return nil
}

func (k *chronicle) release() { <-k.turn }

// stored is one version of the document, as it was written.
type stored struct {
	version int32
	raw     []byte
	doc     *zkconf.Document // nil: it has not been decoded
}

// decode is the document; an error lists its faults.
func (s stored) decode() (*zkconf.Document, error) {
	if s.doc != nil {
		return s.doc, nil
	}
	return zkconf.Decode(s.raw, s.version)
}

// inForce is the document in force, version -1 and nothing before the first one.
func (k *chronicle) inForce() stored {
	doc := k.control.document()
	if doc == nil {
		return stored{version: -1}
	}
	return stored{doc.Version, doc.Raw, doc}
}

// find finds a version: the newest that has had this number, as far as it is kept. cmd
// is who asks, for the error.
func (k *chronicle) find(ctx context.Context, cmd string, version int32) (stored, error) {
	for _, h := range k.control.known() {
		if h.Version == version {
			return stored{version, h.Raw, h.Document}, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, chronicleTimeout)
	defer cancel()
	if err := k.hold(ctx); err != nil {
		return stored{}, err
	}
	defer k.release()
	for _, e := range k.list {
		if e.Version != version {
			continue
		}
		raw, err := e.Document()
		if err != nil {
			return stored{}, badRequest("%s: %v", cmd, err)
		}
		return stored{version: version, raw: raw}, nil
	}
	switch {
	case k.recent == nil:
		return stored{}, badRequest("%s: version %d is not kept (a file has no history: there are the versions since the daemon started)", cmd, version)
	case k.err != nil:
		return stored{}, badRequest("%s: version %d is not kept since the daemon started, and ZooKeeper's history cannot be read: %v", cmd, version, k.err)
	}
	return stored{}, badRequest("%s: version %d is not kept (get_history lists those that are)", cmd, version)
}

// getConf answers get_conf: the document byte for byte as it was written; the one
// in force, or that of an earlier version.
func (k *chronicle) getConf(ctx context.Context, raw json.RawMessage, w io.Writer) error {
	var args struct {
		Version *int32 `json:"version"`
	}
	if err := arguments("get_conf", raw, &args); err != nil {
		return err
	}
	s := k.inForce()
	if args.Version != nil && *args.Version >= 0 {
		var err error
		if s, err = k.find(ctx, "get_conf", *args.Version); err != nil {
			return err
		}
	}
	text := []byte("null")
	if s.version >= 0 {
		text = s.raw
	}
	if s.doc == nil && !json.Valid(text) { // somebody has written it by other means
		return badRequest("get_conf: version %d is not JSON", s.version)
	}
	_, err := fmt.Fprintf(w, `{"version":%d,"value":%s}`, s.version, text)
	return err
}

// historyReply answers get_history.
type historyReply struct {
	// Source is zkconf.KindZooKeeper or KindFile; of a file there is what this daemon saw.
	Source string `json:"source"`
	// Problem says why ZooKeeper's history could not be read just now: then the list is
	// as it was when it could, or of what this daemon saw.
	Problem  string         `json:"problem"`
	InForce  int32          `json:"in_force"` // -1: none
	Versions []versionEntry `json:"versions"` // newest first
}

// versionEntry is one version. The first members are those of conf history.
type versionEntry struct {
	Version int32     `json:"version"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Reason  string    `json:"reason"`
	Size    int       `json:"size"`
	Sum     string    `json:"sha256"`
	// What it changed, as conf history says; null: what came before is not known.
	What *string `json:"what"`
	// InForceSince is when it came into force on this host, since the daemon started.
	InForceSince *time.Time `json:"in_force_since"`
}

// getHistory answers get_history.
func (k *chronicle) getHistory(ctx context.Context, _ json.RawMessage) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, chronicleTimeout)
	defer cancel()
	if err := k.hold(ctx); err != nil {
		return nil, err
	}
	defer k.release()
	out := historyReply{Source: zkconf.KindFile, InForce: -1}
	if k.recent != nil {
		out.Source = zkconf.KindZooKeeper
	}
	if k.err != nil {
		out.Problem = k.err.Error()
	}
	known := k.control.known()
	if len(known) > 0 {
		out.InForce = known[0].Version
	}
	out.Versions = withKnown(k.entries(ctx), known)
	return out, nil
}

// entries are ZooKeeper's versions, with what each changed: counted once for each
// pair of neighbours, because it takes decoding both.
func (k *chronicle) entries(ctx context.Context) []versionEntry {
	out, counted := []versionEntry{}, map[[2]string]string{}
	for i, e := range k.list {
		v := versionEntry{Version: e.Version, Time: e.Time, Author: e.Author, Reason: e.Reason, Size: e.Size, Sum: e.Sum}
		if i+1 < len(k.list) {
			pair := [2]string{k.list[i+1].Sum, e.Sum}
			what, known := k.what[pair]
			if !known && ctx.Err() == nil { // else the next question goes on
				what, known = changes(&k.list[i+1], &k.list[i]), true
			}
			if known {
				counted[pair], v.What = what, &what
			}
		}
		out = append(out, v)
	}
	k.what = counted
	return out
}

// withKnown adds what this daemon has seen itself: since when, and versions that the
// history does not have. known is newest first, as the result. It is pure.
func withKnown(list []versionEntry, known []held) []versionEntry {
	next := 0 // where what is older than the last known one belongs
	for _, h := range known {
		since, sum := h.since.UTC(), zkconf.Sum(h.Raw)
		at := slices.IndexFunc(list, func(v versionEntry) bool {
			return v.Version == h.Version && v.Sum == sum && v.InForceSince == nil
		})
		if at < 0 {
			at = next
			list = slices.Insert(list, at, versionEntry{Version: h.Version, Time: since, Size: len(h.Raw), Sum: sum})
		}
		list[at].InForceSince = &since
		next = max(next, at+1)
	}
	return list
}
