package account

// Slot names one slot of the history. The same slot is always equal, and no other
// ever is, so it serves as a key.
type Slot struct {
	// Number is the second of Unix time.
	Number int64
	seq    uint64 // in the order of sampling
}

// Subscription tells one reader about new slots. Its methods are for one
// goroutine.
type Subscription struct {
	ring  *Ring
	wake  chan struct{}
	most  int
	next  uint64
	lost  uint64
	close func()
}

// Subscribe returns a subscription to the slots sampled from now on. At most most
// slots wait for a reader that does not keep up (less than 1 means 1, the newest);
// older ones are skipped. Close it when done.
func (s *Service) Subscribe(most int) *Subscription { return s.ring.subscribe(most) }

// Wake receives a value after there are new slots, one for any number of them.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Next returns the oldest slot that waits; ok is false when there is none.
func (s *Subscription) Next() (slot Slot, ok bool) {
	s.ring.mu.RLock()
	defer s.ring.mu.RUnlock()
	end := s.ring.next
	if waiting := end - s.next; waiting > uint64(s.most) {
		s.lost += waiting - uint64(s.most)
		s.next = end - uint64(s.most)
	}
	if s.next == end {
		return Slot{}, false
	}
	e := s.ring.entry(s.next)
	s.next++
	return Slot{e.slot, s.next - 1}, true
}

// Skipped counts the slots that the reader came too late for.
func (s *Subscription) Skipped() uint64 { return s.lost }

// Close ends the subscription; Wake receives nothing more.
func (s *Subscription) Close() { s.close() }

func (r *Ring) subscribe(most int) *Subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Subscription{ring: r, wake: make(chan struct{}, 1), most: min(max(most, 1), len(r.entries)), next: r.next}
	if r.subscribers == nil {
		r.subscribers = map[*Subscription]struct{}{}
	}
	r.subscribers[s] = struct{}{}
	s.close = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, s)
	}
	return s
}

// notify wakes the subscribers. The lock is held.
func (r *Ring) notify() {
	for s := range r.subscribers {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
