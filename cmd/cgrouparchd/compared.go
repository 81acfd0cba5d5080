package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// compareKey is all that an answer of compare depends on.
type compareKey struct {
	from, to       int32
	fromSum, toSum string // of the texts: a number can have been given twice
	sent           bool   // the newer one is a text, not a version
	verbose        bool
	passes         int // until the snapshot; 0: there is none
}

// What is kept of the answers: for those who ask the same again and again.
const (
	keptAnswers = 4
	keptAnswer  = 1 << 20 // bytes of each, at most
)

// compared makes the answers of compare, one at a time: however many clients ask, the host
// pays for one. The last ones are kept, and cost nothing when they are asked for again.
type compared struct {
	turn chan struct{} // capacity 1: held by who makes one

	mu   sync.Mutex
	last []answer // the newest first
}

// answer is one, or why there is none.
type answer struct {
	to   compareKey
	text []byte // JSON
	err  error
}

func newCompared() *compared { return &compared{turn: make(chan struct{}, 1)} }

// answer is the one that is kept, or that of f as JSON. f depends on the key alone.
func (c *compared) answer(ctx context.Context, q compareKey, f func() (any, error)) ([]byte, error) {
	if a, ok := c.find(q); ok {
		return a.text, a.err
	}
	if err := take(ctx, c.turn, "documents"); err != nil {
		return nil, err
	}
	defer func() { <-c.turn }()
	if a, ok := c.find(q); ok { // another client has asked the same
		return a.text, a.err
	}
	a := answer{to: q}
	v, err := f()
	if a.err = err; err == nil {
		if a.text, a.err = json.Marshal(v); a.err != nil {
			a.err = fmt.Errorf("encode reply: %w", a.err)
		}
	}
	c.keep(a)
	return a.text, a.err
}

func (c *compared) find(q compareKey) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.last, func(a answer) bool { return a.to == q })
	if i < 0 {
		return answer{}, false
	}
	a := c.last[i]
	c.last = slices.Insert(slices.Delete(c.last, i, i+1), 0, a) // the one that is asked for stays
	return a, true
}

func (c *compared) keep(a answer) {
	if len(a.text) > keptAnswer {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = slices.Insert(c.last, 0, a)
	if len(c.last) > keptAnswers {
		c.last = slices.Delete(c.last, keptAnswers, len(c.last))
	}
}
