package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// control keeps which version of the document is in force and which was
// rejected. What is in force stays so until a newer valid one comes.
type control struct {
	log      *zap.Logger
	stateDir string
	source   zkconf.Source
	apply    func(*zkconf.Document) // must not block

	mu        sync.Mutex
	seen      int32
	inForce   *zkconf.Document
	since     time.Time     // when it came into force
	sum       func() string // its held.sum
	past      []held        // that were in force before it, oldest first
	from      string
	unsaved   bool // the document in force could not be kept
	rejected  *rejection
	rejection int           // how many versions were
	saving    chan struct{} // capacity 1: something may have to be saved
	once      sync.Once
	arrived   chan struct{} // closed when the source has given a document
}

// held is a document that is or was in force, and since when.
type held struct {
	*zkconf.Document
	since time.Time
	sum   func() string // zkconf.Sum of the text, made when somebody asks, once
}

func sumOf(doc *zkconf.Document) func() string {
	raw := doc.Raw // and nothing else of it
	return sync.OnceValue(func() string { return zkconf.Sum(raw) })
}

// rejection is a version that is not in force, and why.
type rejection struct {
	Version int32    `json:"version"`
	Reasons []string `json:"reasons"`
	raw     []byte
}

// versions is control's part of /status.
type versions struct {
	Seen     int32      `json:"seen"`
	InForce  int32      `json:"in_force"`
	From     string     `json:"from,omitempty"` // fromSource or fromState
	Rejected *rejection `json:"rejected"`
	// Rejections counts the rejected versions since the start.
	Rejections int `json:"rejections"`
}

func newControl(log *zap.Logger, stateDir string, source zkconf.Source, apply func(*zkconf.Document)) *control {
	return &control{log: log, stateDir: stateDir, source: source, apply: apply, seen: -1, arrived: make(chan struct{}), saving: make(chan struct{}, 1)}
}

// update takes what the source has seen.
func (c *control) update(u zkconf.Update) {
	if u.Doc == nil {
		c.reject(u)
		return
	}
	if c.accept(u.Doc, fromSource) {
		c.mu.Lock()
		c.unsaved = true
		c.mu.Unlock()
		c.saveAgain()
	}
}

// lastGood enforces what an earlier run has kept, if need be, and from then on
// keeps what comes into force: apart from the source, which does not wait for a
// disk.
func (c *control) lastGood(ctx context.Context) error {
	err := c.fallBack(ctx)
	for {
		c.saveUnsaved()
		select {
		case <-ctx.Done():
			c.saveUnsaved()
			return err
		case <-c.saving:
		}
	}
}

// saveAgain lets what is not on disk be saved, also after a failure.
func (c *control) saveAgain() {
	select {
	case c.saving <- struct{}{}:
	default:
	}
}

// save keeps the last good document for the next start.
func (c *control) save(doc *zkconf.Document) {
	err := zkconf.SaveLastGood(c.stateDir, zkconf.LastGood{Origin: c.source.Origin(), Version: doc.Version, Raw: string(doc.Raw)})
	if err != nil {
		c.log.Error("last good document not saved", zap.Error(err))
	}
	c.mu.Lock()
	c.unsaved = err != nil || c.inForce != doc
	c.mu.Unlock()
}

func (c *control) saveUnsaved() {
	c.mu.Lock()
	doc, unsaved := c.inForce, c.unsaved
	c.mu.Unlock()
	if unsaved && doc != nil {
		c.save(doc)
	}
}

// Where the document in force came from.
const (
	fromSource = "source"
	fromState  = "state_dir" // an earlier run's last good one
)

// accept puts a document in force, unless it is the last good one of an earlier
// run and the source was faster. It says whether anything is new.
func (c *control) accept(doc *zkconf.Document, from string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from == fromState && c.inForce != nil {
		return false
	}
	if from == fromSource {
		c.seen, c.rejected = doc.Version, nil
		c.once.Do(func() { close(c.arrived) })
	}
	old := c.inForce
	c.keep(old, doc)
	fresh := old == nil || old.Version != doc.Version || c.from != from
	c.inForce, c.from = doc, from
	same := old != nil && bytes.Equal(old.Raw, doc.Raw)
	if !same {
		c.sum = sumOf(doc)
	}
	if !same || old.Version != doc.Version {
		c.since = time.Now()
	}
	if !same {
		c.apply(doc) // under the lock, so that two documents cannot overtake each other; first, because somebody waits for it
	}
	if !same || old.Version != doc.Version {
		c.log.Info("configuration in force", zap.Int32("version", doc.Version), zap.String("from", from), zap.Int("bytes", len(doc.Raw)))
	}
	if same {
		return fresh
	}
	for _, w := range warnings(doc) {
		c.log.Warn("value changed as the kernel would", zap.String("value", w))
	}
	return true
}

func (c *control) reject(u zkconf.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = u.Version
	if c.rejected != nil && c.rejected.Version == u.Version && bytes.Equal(c.rejected.raw, u.Raw) {
		return
	}
	c.rejected = &rejection{Version: u.Version, Reasons: zkconf.Faults(u.Err), raw: u.Raw}
	c.rejection++
	c.log.Error("configuration rejected; the last good one stays in force", zap.Int32("version", u.Version), zap.Strings("reasons", c.rejected.Reasons))
}

// patience is how long the source may take for its first document before the
// last good one is enforced without it.
const patience = time.Second

// fallBack enforces the last good document of an earlier run when the source has
// none to give.
func (c *control) fallBack(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.arrived:
		return nil
	case <-time.After(patience):
	}
	doc, err := lastGood(c.stateDir, c.source.Origin())
	if err != nil {
		c.log.Warn("last good document not used", zap.Error(err))
		return nil
	}
	if doc != nil {
		c.accept(doc, fromState)
	}
	return nil
}

func (c *control) document() *zkconf.Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inForce
}

func (c *control) versions() versions {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := versions{Seen: c.seen, InForce: -1, From: c.from, Rejected: c.rejected, Rejections: c.rejection}
	if c.inForce != nil {
		v.InForce = c.inForce.Version
	}
	return v
}

// What is kept of documents that were in force: "what has changed since" is asked
// of the history that is kept, not of all time.
const (
	pastDocuments = 16
	pastBytes     = 4 << 20
)

// keep remembers a document that another one replaces. The lock is held.
func (c *control) keep(old, doc *zkconf.Document) {
	if old == nil || old.Version == doc.Version && bytes.Equal(old.Raw, doc.Raw) {
		return
	}
	c.past = append(c.past, held{old, c.since, c.sum})
	size := 0
	for i := len(c.past) - 1; i >= 0; i-- {
		size += len(c.past[i].Raw)
		if size > pastBytes || len(c.past)-i > pastDocuments {
			c.past = slices.Delete(c.past, 0, i+1)
			break
		}
	}
}

// known are the documents that are or were in force since the start, as far as they
// are kept, newest first.
func (c *control) known() []held {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []held
	if c.inForce != nil {
		list = append(list, held{c.inForce, c.since, c.sum})
	}
	for _, h := range slices.Backward(c.past) {
		list = append(list, h)
	}
	return list
}
