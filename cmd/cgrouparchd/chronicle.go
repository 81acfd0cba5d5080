package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// chronicle knows the document's earlier versions: those that this daemon has had in
// force, and those in ZooKeeper's history, which also reach back before its start.
type chronicle struct {
	control *control
	// recent reads ZooKeeper's history; nil with conf_file, which has none.
	recent func(context.Context) ([]zkconf.Entry, error)

	reading  chan struct{} // capacity 1: held by who reads it
	counting chan struct{} // capacity 1: held by who counts what versions have changed

	mu   sync.Mutex
	past past
	what map[[2]string]string // what was counted; not changed, but replaced
}

// past is ZooKeeper's history as it was read.
type past struct {
	list []zkconf.Entry   // when it could be read last; not changed
	err  error            // why it could not be read since
	read time.Time        // when that was tried
	of   *zkconf.Document // what was in force then
}

func newChronicle(c *control, source zkconf.Source) *chronicle {
	k := &chronicle{control: c, reading: make(chan struct{}, 1), counting: make(chan struct{}, 1)}
	if z, ok := source.(*zkconf.ZooKeeper); ok {
		k.recent = (&zkconf.Recent{ZooKeeper: z}).Read
	}
	return k
}

// Limits of reading the history: never unless somebody asks, at most every few
// seconds however many do, and never for long.
const (
	chroniclePause   = 5 * time.Second
	chronicleTimeout = 2 * time.Second
)

func (k *chronicle) last() past {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.past
}

func (k *chronicle) due(p past) bool {
	return k.recent != nil && (k.control.document() != p.of || time.Since(p.read) >= chroniclePause)
}

// look is the history, read anew unless that was just tried. While another one reads it, it is
// worth waiting for, unless ZooKeeper could not be read before either.
func (k *chronicle) look(ctx context.Context) past {
	p := k.last()
	if !k.due(p) {
		return p
	}
	select {
	case k.reading <- struct{}{}:
	default:
		if p.err != nil {
			return p
		}
		ctx, cancel := context.WithTimeout(ctx, lookTime) // the other one takes less
		defer cancel()
		select {
		case k.reading <- struct{}{}:
		case <-ctx.Done():
			return k.last()
		}
	}
	defer func() { <-k.reading }()
	if p = k.last(); !k.due(p) {
		return p
	}
	// Not with the time of who asks: it says nothing about ZooKeeper.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), chronicleTimeout)
	defer cancel()
	p.of = k.control.document()
	list, err := k.recent(ctx)
	if err == nil {
		p.list = list
	}
	p.err, p.read = err, time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.past = p
	return p
}

// entry is the newest version that has had this number, nil when there is none.
func (p *past) entry(version int32) *zkconf.Entry {
	for i := range p.list {
		if p.list[i].Version == version {
			return &p.list[i]
		}
	}
	return nil
}

// stored is one version of the document, as it was written.
type stored struct {
	version int32
	sum     string // zkconf.Sum; of no document empty
	raw     []byte
	doc     *zkconf.Document // nil: it has not been decoded
	entry   *zkconf.Entry    // has the text until it is unpacked
}

// unpack gives the version its text. cmd is who asks, for the error.
func (s *stored) unpack(cmd string) (err error) {
	if s.entry == nil {
		return nil
	}
	if s.raw, err = s.entry.Document(); err != nil {
		return badRequest("%s: %v", cmd, err)
	}
	s.entry = nil
	return nil
}

// decode is the document; an error lists its faults.
func (s stored) decode() (*zkconf.Document, error) {
	if s.doc != nil {
		return s.doc, nil
	}
	return zkconf.Decode(s.raw, s.version)
}

// stored is the version that was held, which has been decoded.
func (h held) stored() stored {
	return stored{version: h.Version, sum: h.sum(), raw: h.Raw, doc: h.Document}
}

// inForce is the document in force, version -1 and nothing before the first one.
func (k *chronicle) inForce() stored {
	known := k.control.known()
	if len(known) == 0 {
		return stored{version: -1}
	}
	return known[0].stored()
}

// find finds a version: the newest that has had this number, as far as it is kept. It may have
// to be unpacked. cmd is who asks, for the error.
func (k *chronicle) find(ctx context.Context, cmd string, version int32) (stored, error) {
	for _, h := range k.control.known() {
		if h.Version == version {
			return h.stored(), nil
		}
	}
	p := k.last()
	e := p.entry(version)
	if e == nil || p.of != k.control.document() { // else the node may have been made anew
		p = k.look(ctx)
		e = p.entry(version)
	}
	switch {
	case e != nil:
		return stored{version: version, sum: e.Sum, entry: e}, nil
	case k.recent == nil:
		return stored{}, badRequest("%s: version %d is not kept (a file has no history: there are the versions since the daemon started)", cmd, version)
	case p.err != nil:
		return stored{}, badRequest("%s: version %d is not kept since the daemon started, and ZooKeeper's history cannot be read: %v", cmd, version, p.err)
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
		if err = s.unpack("get_conf"); err != nil {
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
	p := k.look(ctx)
	out := historyReply{Source: zkconf.KindFile, InForce: -1}
	if k.recent != nil {
		out.Source = zkconf.KindZooKeeper
	}
	if p.err != nil {
		out.Problem = p.err.Error()
	}
	known := k.control.known()
	if len(known) > 0 {
		out.InForce = known[0].Version
	}
	out.Versions = withKnown(k.entries(ctx, p.list), known)
	return out, nil
}

// entries are ZooKeeper's versions, with what each changed.
func (k *chronicle) entries(ctx context.Context, list []zkconf.Entry) []versionEntry {
	out, changed := []versionEntry{}, k.count(ctx, list)
	for i, e := range list {
		v := versionEntry{Version: e.Version, Time: e.Time, Author: e.Author, Reason: e.Reason, Size: e.Size, Sum: e.Sum}
		if what, known := changed[neighbours(list, i)]; known {
			v.What = &what
		}
		out = append(out, v)
	}
	return out
}

// neighbours names a version and the one before it.
func neighbours(list []zkconf.Entry, i int) [2]string {
	if i+1 == len(list) {
		return [2]string{}
	}
	return [2]string{list[i+1].Sum, list[i].Sum}
}

// count says what each version has changed: counted once for each pair of neighbours, because it takes
// decoding both, and by one at a time. What there is no time for is left to the next question.
func (k *chronicle) count(ctx context.Context, list []zkconf.Entry) map[[2]string]string {
	if known, all := k.counted(list); all {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	select {
	case k.counting <- struct{}{}:
	case <-ctx.Done():
		known, _ := k.counted(list)
		return known
	}
	defer func() { <-k.counting }()
	known, _ := k.counted(list)
	for i := range list[:max(len(list)-1, 0)] {
		if ctx.Err() != nil {
			break
		}
		if pair := neighbours(list, i); !has(known, pair) {
			known[pair] = changes(&list[i+1], &list[i])
		}
	}
	k.mu.Lock()
	k.what = known
	k.mu.Unlock()
	return known
}

// counted is what is known of a list, and whether that is all; it is the caller's.
func (k *chronicle) counted(list []zkconf.Entry) (known map[[2]string]string, all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, all = map[[2]string]string{}, true
	for i := range list[:max(len(list)-1, 0)] {
		pair := neighbours(list, i)
		if what, ok := k.what[pair]; ok {
			known[pair] = what
		} else {
			all = false
		}
	}
	return known, all
}

func has[K comparable, V any](m map[K]V, key K) bool {
	_, ok := m[key]
	return ok
}

// withKnown adds what this daemon has seen itself: since when, and versions that the
// history does not have. known is newest first, as the result. It is pure.
func withKnown(list []versionEntry, known []held) []versionEntry {
	next := 0 // where what is older than the last known one belongs
	for _, h := range known {
		since, sum := h.since.UTC(), h.sum()
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
