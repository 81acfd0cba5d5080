package account

import "time"

// snapshot is a private copy of one slot, to be rendered without the ring's lock.
// It may be loaded many times; loading slots in their order costs least.
type snapshot struct {
	slot   int64
	seq    uint64
	at     time.Duration // when its sampling began, since the ring's epoch
	age    time.Duration
	layout *layout // nil: nothing was loaded
	// words are right where filter selects something, see program.need.
	words  []uint64
	filter Filter

	ring     *Ring
	key, end uint64 // what of the log words were made of; both 0: of none
	raw      []byte
}

// extra are the words of the optional members.
func (s *snapshot) extra() []uint64 { return s.words[s.layout.words():] }

// load copies what f selects of a slot, if it is still there.
func (r *Ring) load(slot int64, f Filter, s *snapshot) bool {
	r.mu.RLock()
	seq, held := r.find(slot)
	return r.takeAndUnlock(seq, held, f, s)
}

// loadSeq copies what f selects of the slot with a sequence number, if it is still
// there.
func (r *Ring) loadSeq(seq uint64, f Filter, s *snapshot) bool {
	r.mu.RLock()
	return r.takeAndUnlock(seq, seq >= r.firstSeq() && seq < r.next, f, s)
}

// loadNext copies the first slot sampled at or after the sequence number seq and
// returns its own number; ok is false when there is none yet.
func (r *Ring) loadNext(seq uint64, s *snapshot) (at uint64, ok bool) {
	r.mu.RLock()
	at = max(seq, r.firstSeq())
	return at, r.takeAndUnlock(at, at < r.next, Filter{}, s)
}

func (r *Ring) takeAndUnlock(seq uint64, held bool, f Filter, s *snapshot) bool {
	if !held {
		r.mu.RUnlock()
		return false
	}
	e := r.entry(seq)
	goOn := s.ring == r && s.layout == e.layout && s.filter == f && s.key == e.key && s.end <= e.end
	s.ring, s.slot, s.seq, s.at, s.age = r, e.slot, seq, e.at, time.Since(r.epoch)-e.at
	s.layout, s.filter = e.layout, f
	s.raw = s.raw[:0]
	if r.next-seq <= 2 {
		s.words = append(s.words[:0], r.recent[seq%2]...)
		s.key, s.end = e.key, e.end
		r.mu.RUnlock()
		return true
	}
	from := e.key
	if goOn {
		from = s.end
	}
	s.raw = r.log.read(s.raw, from, e.end)
	s.key, s.end = e.key, e.end
	r.mu.RUnlock()

	if !goOn {
		n := s.layout.total()
		if cap(s.words) < n {
			s.words = make([]uint64, n)
		}
		s.words = s.words[:n]
		clear(s.words)
	}
	need := s.layout.view(f).need
	for rest := s.raw; len(rest) > 0; {
		rest = applyChange(s.words, rest, need)
	}
	return true
}
