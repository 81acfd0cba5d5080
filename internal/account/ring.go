package account

import (
	"slices"
	"sync"
	"time"
)

// Ring is the history in memory: the slots sampled in the last seconds, the newest
// two as numbers, the others packed. In steady state it allocates nothing: what is
// packed goes where the slot that falls out was. It may be used by several
// goroutines; each holds the lock no longer than it takes to copy one slot.
//
// Slots leave in the order in which they were sampled, not by their number, and
// age by the monotonic clock: a clock that steps back must neither stop the
// history nor throw it away.
type Ring struct {
	keep  time.Duration
	epoch time.Time // of entry.at
	per   int64     // slots in a second

	mu      sync.RWMutex
	log     byteLog
	most    int64       // bytes that the log may hold
	trimmed bool        // slots left before their time, for want of room
	recent  [2][]uint64 // of the newest two slots, by the parity of their sequence number
	scratch []byte
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
	// The bytes of the log from key to end make the slot: a full one, which is the
	// change from nothing, and all changes since.
	key, end uint64
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

const (
	// keyEvery bounds how many changes make one slot.
	keyEvery = 32
	// maxHistoryBytes bounds the memory of a history of many seconds. A thousand
	// cgroups of which a tenth is busy take about 2 kB a second.
	maxHistoryBytes = 256 << 20
)

// NewRing makes a history of so many seconds, at least one. When it takes more
// than 256 MiB the oldest slots leave memory early; Redis still has them.
func NewRing(seconds int) *Ring {
	seconds = max(seconds, 1)
	return newRing(seconds, time.Duration(seconds)*time.Second)
}

func newRing(entries int, keep time.Duration) *Ring {
	backing := make([]slotRef, 2*entries)
	return &Ring{
		keep:    keep,
		epoch:   time.Now(),
		per:     1,
		most:    maxHistoryBytes,
		entries: make([]entry, entries),
		order:   backing[:0],
		backing: backing,
	}
}

// appendSlot adds a slot whose sampling began at the time begun. It takes words
// over and gives back a buffer that is free for the next slot. A slot that is
// held already is never replaced.
func (r *Ring) appendSlot(slot int64, begun time.Time, l *layout, words []uint64) (spare []uint64, added bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, held := slices.BinarySearchFunc(r.order, slot, bySlot); held {
		return words, false
	}
	if r.count == len(r.entries) {
		r.dropOldest()
	}
	if r.count == 0 {
		r.log.trim(r.log.end) // no slot needs any of it
	}
	e := entry{slot: slot, at: begun.Sub(r.epoch), layout: l}
	r.pack(&e, words)
	for r.log.bytes() > r.most && r.count > 0 {
		r.trimmed = true
		r.dropOldest()
	}
	pos := (r.oldest + r.count) % len(r.entries)
	r.entries[pos] = e
	spare, r.recent[r.next%2] = r.recent[r.next%2], words
	r.count++
	r.next++
	at, _ := slices.BinarySearchFunc(r.order, slot, bySlot)
	r.insertRef(at, slotRef{slot, pos})
	r.notify()
	return spare, true
}

// pack puts a slot's words into the log, as their change from the slot before if
// that has the same layout.
func (r *Ring) pack(e *entry, words []uint64) {
	var before []uint64
	e.key = r.log.end
	if r.count > 0 && r.next%keyEvery != 0 {
		if last := r.entry(r.next - 1); last.layout == e.layout {
			before, e.key = r.recent[(r.next-1)%2], last.key
		}
	}
	r.scratch = appendChange(r.scratch[:0], before, words)
	r.log.append(r.scratch)
	e.end = r.log.end
}

// dropOldest removes the slot that was sampled first, and the part of the log that
// no other slot needs.
func (r *Ring) dropOldest() {
	e := &r.entries[r.oldest]
	i, _ := slices.BinarySearchFunc(r.order, e.slot, bySlot)
	r.dropRef(i)
	e.layout = nil
	r.oldest = (r.oldest + 1) % len(r.entries)
	r.count--
	if r.count > 0 {
		r.log.trim(r.entries[r.oldest].key)
	}
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

// full says whether the history reaches back as far as anybody asks.
func (r *Ring) full() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return time.Since(r.epoch) >= r.keep && !r.trimmed
}

// entry is the one with a sequence number that is held.
func (r *Ring) entry(seq uint64) *entry {
	return &r.entries[(r.oldest+int(seq-r.firstSeq()))%len(r.entries)]
}

// firstSeq is the sequence number of the oldest slot held.
func (r *Ring) firstSeq() uint64 { return r.next - uint64(r.count) }

// find returns the sequence number of a slot. The lock is held.
func (r *Ring) find(slot int64) (seq uint64, held bool) {
	i, held := slices.BinarySearchFunc(r.order, slot, bySlot)
	if !held {
		return 0, false
	}
	back := (r.order[i].pos - r.oldest + len(r.entries)) % len(r.entries)
	return r.firstSeq() + uint64(back), true
}

// behind counts the slots sampled at or after seq.
func (r *Ring) behind(seq uint64) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int(r.next - min(max(seq, r.firstSeq()), r.next))
}
