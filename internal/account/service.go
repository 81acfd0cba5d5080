package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// ErrBusy: so many answers are on their way to slow clients that another one
// would exceed the bound on memory. The client may ask again.
var ErrBusy = errors.New("too many answers in flight")

// ServiceOptions configure a [Service].
type ServiceOptions struct {
	// Ring is the history in memory, of slots or of samples. Required.
	Ring *Ring
	// Writer is asked for slots from before the start; nil: there is no Redis.
	Writer *Writer
	// MaxInFlight bounds the bytes of all answers that are being sent. 0: 64 MiB.
	MaxInFlight int64
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
}

// Service answers show_account. It may be used by many goroutines.
type Service struct {
	ring    *Ring
	writer  *Writer
	now     func() time.Time
	budget  budget
	scratch sync.Pool // of *scratch
}

// scratch is what one answer needs; it is kept for the next one.
type scratch struct {
	slot, before snapshot
	rates        []uint64
	buf          []byte
}

const (
	defaultMaxInFlight = 64 << 20
	// flushAt gathers small slots into one write.
	flushAt = 64 << 10
	// redisTime is what one answer may spend waiting for Redis, in all.
	redisTime = 300 * time.Millisecond
	// redisChunk is how many slots are fetched from Redis at once.
	redisChunk = 16
)

// NewService makes a service.
func NewService(o ServiceOptions) *Service {
	s := &Service{ring: o.Ring, writer: o.Writer, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.budget.limit = o.MaxInFlight
	if s.budget.limit <= 0 {
		s.budget.limit = defaultMaxInFlight
	}
	s.scratch.New = func() any { return new(scratch) }
	return s
}

// ShowAccount answers one request: [ErrArguments] and [ErrBusy] come before
// anything was written, any other error is w's or ctx's.
func (s *Service) ShowAccount(ctx context.Context, args json.RawMessage, w io.Writer) error {
	q, err := s.Query(args)
	if err != nil {
		return err
	}
	return s.WriteSlots(ctx, q, w)
}

// Query reads the arguments of show_account as [ParseArgs] does. By default the
// range ends with the newest slot if that is at most a second old, else now.
func (s *Service) Query(args json.RawMessage) (Query, error) {
	end := s.now().Unix()
	if newest, ok := s.ring.Newest(); ok && newest/s.ring.per <= end && end-newest/s.ring.per <= 1 {
		end = newest / s.ring.per
	}
	return ParseArgs(args, end)
}

// WriteSlots writes one JSON object, slot by slot ascending, in pieces of about
// one slot. Slots that do not exist are left out. Its cost depends on the slots
// that exist. [ErrBusy] comes before anything was written.
func (s *Service) WriteSlots(ctx context.Context, q Query, w io.Writer) error {
	slots, layouts := s.ring.slots(s.ring.within(q.Start, q.End))
	largest := 0
	for _, l := range layouts {
		largest = max(largest, l.view(q.Filter).max)
	}
	grant, ok := s.budget.take(int64(flushAt + largest))
	if !ok {
		return fmt.Errorf("show_account: %w", ErrBusy)
	}
	defer grant.release()

	sc := s.scratch.Get().(*scratch)
	defer s.scratch.Put(sc)
	out := &answer{w: w, per: s.ring.per, buf: append(sc.buf[:0], '{')}
	defer func() { sc.buf = out.buf }()

	if err := s.writeOld(ctx, q, out, grant); err != nil {
		return err
	}
	for _, slot := range slots {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.ring.load(slot, q.Filter, &sc.slot) {
			continue // it has just fallen out
		}
		words, ok := sc.numbers(s.ring, q.Rate)
		if !ok {
			continue
		}
		p := sc.slot.layout.view(q.Filter)
		if p.max > largest {
			// Replaced since: only possible when the slot was sampled again after
			// a step back of the clock, at least a whole history later.
			continue
		}
		out.key(slot)
		out.buf = p.append(out.buf, words, sc.slot.extra())
		if err := out.flush(flushAt); err != nil {
			return err
		}
	}
	out.buf = append(out.buf, '}')
	return out.flush(0)
}

// AppendSlot appends the message about one slot to dst: an object with that slot,
// as show_account shows it. ok is false, and nothing is appended, when the slot
// has left memory.
//
// With v.Rate counters are shown per second since the slot sampled before, by the
// time that passed between the two: usage of the CPU in nanoseconds a second, I/O
// in bytes a second. Gauges and the optional members stay as they are; a number
// that was not there before, or fell, is left out. The first slot of the history
// has no rates: ok is false.
func (s *Service) AppendSlot(dst []byte, slot Slot, v View) (message []byte, ok bool) {
	sc := s.scratch.Get().(*scratch)
	defer s.scratch.Put(sc)
	if !s.ring.loadSeq(slot.seq, v.Filter, &sc.slot) {
		return dst, false
	}
	words, ok := sc.numbers(s.ring, v.Rate)
	if !ok {
		return dst, false
	}
	out := answer{per: s.ring.per, buf: append(dst, '{')}
	out.key(slot.Number)
	out.buf = sc.slot.layout.view(v.Filter).append(out.buf, words, sc.slot.extra())
	return append(out.buf, '}'), true
}

// numbers are those of the loaded slot, or its rates; ok is false when the slot
// before it is not held, which rates need.
func (sc *scratch) numbers(r *Ring, rate bool) (words []uint64, ok bool) {
	if !rate {
		return sc.slot.words, true
	}
	if sc.slot.seq == 0 || !r.loadSeq(sc.slot.seq-1, sc.slot.filter, &sc.before) {
		return nil, false
	}
	sc.rates = sc.slot.rates(sc.rates[:0], &sc.before)
	return sc.rates, true
}

// writeOld writes the slots that only Redis has: from before the start of this
// process, as long as they have not expired. What Redis does not answer in time
// is left out.
func (s *Service) writeOld(ctx context.Context, q Query, out *answer, grant *grant) error {
	if s.writer == nil || s.ring.full() || q.Rate {
		return nil
	}
	now := s.now().Unix()
	start := max(q.Start, now-int64(s.ring.keep/time.Second))
	end := min(q.End, now)
	if first, ok := s.ring.first(); ok {
		end = min(end, first-1)
	}
	left := redisTime
	for ; start <= end; start += redisChunk {
		asked := time.Now()
		values, err := s.writer.fetch(ctx, left, start, min(start+redisChunk-1, end))
		left -= time.Since(asked)
		if err != nil {
			return nil // the writer's state says so already
		}
		var size int64
		for _, v := range values {
			size += int64(len(v))
		}
		if size > 0 && !grant.grow(size) {
			if out.written {
				return nil
			}
			return fmt.Errorf("show_account: %w", ErrBusy)
		}
		err = out.values(start, values, q.Filter)
		grant.shrink(size)
		if err != nil || left <= 0 {
			return err
		}
	}
	return nil
}

// answer is the object being written.
type answer struct {
	w       io.Writer
	per     int64 // slots in a second
	buf     []byte
	members bool
	written bool
}

func (a *answer) key(slot int64) {
	if a.members {
		a.buf = append(a.buf, ',')
	}
	a.members = true
	a.buf = append(a.buf, '"')
	a.buf = strconv.AppendInt(a.buf, slot/a.per, 10)
	if a.per > 1 {
		thousandths := slot % a.per * 1000 / a.per
		a.buf = append(a.buf, '.', byte('0'+thousandths/100), byte('0'+thousandths/10%10), byte('0'+thousandths%10))
	}
	a.buf = append(a.buf, `":`...)
}

// values writes slots as Redis holds them. What is not a JSON object is left
// out: it would spoil the whole answer.
func (a *answer) values(slot int64, values []string, f Filter) error {
	for i, v := range values {
		if v == "" || v[0] != '{' || !json.Valid([]byte(v)) {
			continue
		}
		value, err := f.prune([]byte(v))
		if err != nil {
			continue
		}
		a.key(slot + int64(i))
		a.buf = append(a.buf, value...)
		if err := a.flush(flushAt); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what has gathered, if it is at least so many bytes.
func (a *answer) flush(atLeast int) error {
	if len(a.buf) < atLeast {
		return nil
	}
	a.written = true
	_, err := a.w.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}
