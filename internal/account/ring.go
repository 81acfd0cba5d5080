package account

import (
	"slices"
	"sync"
	"time"
)

// Ring is the history in memory: the slots sampled in the last seconds, as
// numbers. In steady state it allocates nothing: a new slot takes the buffer of
// the one that falls out. It may be used by several goroutines; each holds the
// lock no longer than it takes to copy one slot's numbers.
//
// Slots leave in the order in which they were sampled, not by their number, and
// age by the monotonic clock: a clock that steps back must neither stop the
// history nor throw it away.
type Ring struct {
	keep  time.Duration
	epoch time.Time // of entry.at

	mu      sync.RWMutex
	entries []entry // circular, in the order of sampling
	oldest  int
	count   int
	next    uint64 // sequence number of the next slot; the first is 0
	// order is the same sorted by slot: a window that slides over its backing
	// array.
	order, backing []slotRef
	subscribers    map[*Subscription]struct{}
}

type entry struct {
	slot   int64
	at     time.Duration // when its sampling began, since epoch
	layout *layout
	words  []uint64
	extra  []uint64 // never changed: the slots of ten seconds share it
}

type slotRef struct {
	slot int64
	pos  int
}

func bySlot(r slotRef, slot int64) int {
	switch {
	case r.slot < slot:
		return -1
	case r.slot > slot:
		return 1
	}
	return 0
}

// NewRing makes a history of so many seconds, at least one.
func NewRing(seconds int) *Ring {
	seconds = max(seconds, 1)
	backing := make([]slotRef, 2*seconds)
	return &Ring{
		keep:    time.Duration(seconds) * time.Second,
		epoch:   time.Now(),
		entries: make([]entry, seconds),
		order:   backing[:0],
		backing: backing,
	}
}

// appendSlot adds a slot whose sampling began at the time begun. It takes words
// over and gives back a buffer that is free for the next slot. A slot that is
// held already is never replaced.
func (r *Ring) appendSlot(slot int64, begun time.Time, l *layout, words, extra []uint64) (spare []uint64, added bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, held := slices.BinarySearchFunc(r.order, slot, bySlot)
	if held {
		return words, false
	}
	if r.count == len(r.entries) {
		i, _ := slices.BinarySearchFunc(r.order, r.entries[r.oldest].slot, bySlot)
		r.dropRef(i)
		if i < at {
			at--
		}
		r.oldest = (r.oldest + 1) % len(r.entries)
		r.count--
	}
	pos := (r.oldest + r.count) % len(r.entries)
	e := &r.entries[pos]
	spare = e.words
	*e = entry{slot: slot, at: begun.Sub(r.epoch), layout: l, words: words, extra: extra}
	r.count++
	r.next++
	r.insertRef(at, slotRef{slot, pos})
	r.notify()
	return spare, true
}

// dropRef removes order[i]; nearly always that is the first.
func (r *Ring) dropRef(i int) {
	if i == 0 {
		r.order = r.order[1:]
		return
	}
	r.order = slices.Delete(r.order, i, i+1)
}

func (r *Ring) insertRef(at int, ref slotRef) {
	if len(r.order) == cap(r.order) {
		n := copy(r.backing, r.order)
		r.order = r.backing[:n]
	}
	r.order = slices.Insert(r.order, at, ref)
}

// has says whether the slot is held.
func (r *Ring) has(slot int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, held := slices.BinarySearchFunc(r.order, slot, bySlot)
	return held
}

// window is the part of order from start to end, both included.
func (r *Ring) window(start, end int64) []slotRef {
	if end < start {
		return nil
	}
	from, _ := slices.BinarySearchFunc(r.order, start, bySlot)
	to, held := slices.BinarySearchFunc(r.order, end, bySlot)
	if held {
		to++
	}
	return r.order[from:to]
}

// held counts the slots from start to end.
func (r *Ring) held(start, end int64) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.window(start, end))
}

// slots lists what is held from start to end and has not expired, ascending,
// and the layouts that they use. The cost depends on the slots that exist.
func (r *Ring) slots(start, end int64) (slots []int64, layouts []*layout) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := time.Since(r.epoch)
	for _, ref := range r.window(start, end) {
		e := &r.entries[ref.pos]
		if now-e.at >= r.keep {
			continue
		}
		slots = append(slots, ref.slot)
		if len(layouts) == 0 || layouts[len(layouts)-1] != e.layout {
			layouts = append(layouts, e.layout)
		}
	}
	return slots, layouts
}

// first is the lowest slot held.
func (r *Ring) first() (slot int64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.order) == 0 {
		return 0, false
	}
	return r.order[0].slot, true
}

// Newest is the slot that was sampled last, which after a step back of the clock
// need not be the highest; ok is false before the first one.
func (r *Ring) Newest() (slot int64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.count == 0 {
		return 0, false
	}
	return r.entries[(r.oldest+r.count-1)%len(r.entries)].slot, true
}

// full says whether the history reaches back as far as it ever will.
func (r *Ring) full() bool { return time.Since(r.epoch) >= r.keep }

// snapshot is a private copy of one slot, to be rendered without the lock.
type snapshot struct {
	slot   int64
	seq    uint64
	at     time.Duration // when its sampling began, since the ring's epoch
	age    time.Duration
	layout *layout // nil: nothing was loaded
	words  []uint64
	extra  []uint64
}

// take copies the slot of a sequence number, which is held.
func (s *snapshot) take(r *Ring, seq uint64) {
	e := r.entry(seq)
	s.slot, s.seq, s.at, s.age, s.layout, s.extra = e.slot, seq, e.at, time.Since(r.epoch)-e.at, e.layout, e.extra
	s.words = append(s.words[:0], e.words...)
}

// entry is the one with a sequence number that is held.
func (r *Ring) entry(seq uint64) *entry {
	return &r.entries[(r.oldest+int(seq-r.firstSeq()))%len(r.entries)]
}

// firstSeq is the sequence number of the oldest slot held.
func (r *Ring) firstSeq() uint64 { return r.next - uint64(r.count) }

// load copies a slot, if it is still there.
func (r *Ring) load(slot int64, s *snapshot) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i, held := slices.BinarySearchFunc(r.order, slot, bySlot)
	if held {
		back := (r.order[i].pos - r.oldest + len(r.entries)) % len(r.entries)
		s.take(r, r.firstSeq()+uint64(back))
	}
	return held
}

// loadSeq copies the slot with a sequence number, if it is still there.
func (r *Ring) loadSeq(seq uint64, s *snapshot) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if seq < r.firstSeq() || seq >= r.next {
		return false
	}
	s.take(r, seq)
	return true
}

// loadNext copies the first slot sampled at or after the sequence number seq and
// returns its own number; ok is false when there is none yet.
func (r *Ring) loadNext(seq uint64, s *snapshot) (at uint64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	seq = max(seq, r.firstSeq())
	if seq >= r.next {
		return seq, false
	}
	s.take(r, seq)
	return seq, true
}

// behind counts the slots sampled at or after seq.
func (r *Ring) behind(seq uint64) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int(r.next - min(max(seq, r.firstSeq()), r.next))
}
