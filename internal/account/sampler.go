package account

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// SamplerOptions configure a [Sampler].
type SamplerOptions struct {
	// Ring takes the slots. Required.
	Ring *Ring
	// Samples, if set, takes what is read between the slots, see [NewSamples].
	Samples *Ring
	// Log; nil: nothing is logged.
	Log *zap.Logger
	// MaxOpen is how many usage files are kept open; the rest are opened for each
	// read. 0: 800, which leaves room under the customary limit of 1024.
	MaxOpen int
	// SlotDone, if set, is called after each new slot, on the sampler's goroutine.
	// It must not block.
	SlotDone func()
	// Deliver, if set, is called about once a second on the sampler's goroutine, after
	// the slot if there is one. It may take most of a second, but not always: a
	// second that begins meanwhile is sampled late.
	Deliver func()
	// Beat, if set, is called about once a second on the sampler's goroutine,
	// whether there is a slot or not: a sign of life. It must not block.
	Beat func()
	// Alarm wakes the sampler at the start of each second; nil: a timer of the
	// runtime, which may be a millisecond late. Run does not close it.
	Alarm Alarm
	// Counters, if set, opens what reads CPU time without files. Where that is
	// refused, now or later, files are read.
	Counters OpenCounters
	// CPU counts what sampling costs; nil: nothing does.
	CPU *clock.Meter
	// Now is the wall clock; nil: time.Now. For tests: only an injected clock can
	// be stepped back.
	Now func() time.Time
}

// Alarm is what a [clock.Alarm] does.
type Alarm interface {
	// Wait blocks until the wall clock shows the time or is stepped (due), or Wake
	// is called.
	Wait(until time.Time) (due bool, err error)
	// Wake ends the present Wait, or the next one. Any goroutine may call it.
	Wake()
}

// Sampler reads the usage of every cgroup of its target once a second.
//
// Slot n is sampled at the start of second n of the wall clock. When the clock
// steps back to seconds that the history holds already, those are not sampled
// again; earlier ones that it does not hold are, so that accounting goes on
// after a large step. When a second's start is missed by more than half a second
// (an overrun, a suspended machine, a step forward) it has no slot.
type Sampler struct {
	ring     *Ring
	log      *zap.Logger
	slotDone func()
	deliver  func()
	beat     func()
	now      func() time.Time

	mail  atomic.Pointer[Target]
	alarm Alarm
	cpu   *clock.Meter

	// The rest belongs to Run's goroutine.
	meters    meters
	subs      []*subsystem // nil until the first target
	layout    *layout      // nil: to be made
	spare     []uint64
	devices   []cgfs.DeviceBytes
	extras    extraReader
	overLimit bool // the last target has more files than may be kept open
	oom       oomWatch
	last      int64     // the last second that was dealt with
	lastAt    time.Time // when, by the monotonic clock; zero: never
	samples   samples

	mu       sync.Mutex
	status   SamplerStatus
	oomKills []OOMKill
}

// SamplerStatus is the sampler's part of /status.
type SamplerStatus struct {
	// LastSlot is the newest slot, 0 before the first.
	LastSlot int64 `json:"last_slot"`
	// Slots counts the slots sampled since the start.
	Slots uint64 `json:"slots"`
	// MissedSlots counts seconds since the first slot that have none.
	MissedSlots uint64 `json:"missed_slots"`
	// Unread is how many configured cgroups have no value in the newest slot.
	Unread int `json:"unread"`
	// OpenFiles is how many usage files are kept open.
	OpenFiles int `json:"open_files"`
	// Counted is how many cgroups are read without a file of their own
	// (bpf_iterator); one of several subsystems counts in each.
	Counted int `json:"counted"`
	// LateMicroseconds is how long after the start of its second the newest slot
	// was begun, and DurationMicroseconds how long it took.
	LateMicroseconds     int64 `json:"late_us"`
	DurationMicroseconds int64 `json:"duration_us"`
	// Samples counts those between the slots, and the ones with them, since the
	// start, and MissedSamples the intervals since the first that have none.
	Samples       uint64 `json:"samples,omitempty"`
	MissedSamples uint64 `json:"missed_samples,omitempty"`
}

const (
	defaultMaxOpen = 800
	// maxLate: a sample nearer to the next second than to its own would belie its
	// number.
	maxLate = 500 * time.Millisecond
)

// NewSampler makes a sampler; Run starts it.
func NewSampler(o SamplerOptions) *Sampler {
	s := &Sampler{
		ring: o.Ring, log: o.Log, slotDone: o.SlotDone, deliver: o.Deliver, beat: o.Beat, now: o.Now,
		alarm: o.Alarm, cpu: o.CPU,
		meters: meters{kernel: realKernel{}, limit: o.MaxOpen, openCounters: o.Counters}, samples: samples{ring: o.Samples},
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.alarm == nil {
		s.alarm = &timerAlarm{now: s.now, wake: make(chan struct{}, 1)}
	}
	if s.slotDone == nil {
		s.slotDone = func() {}
	}
	if s.deliver == nil {
		s.deliver = func() {}
	}
	if s.beat == nil {
		s.beat = func() {}
	}
	if s.meters.limit <= 0 {
		s.meters.limit = defaultMaxOpen
	}
	return s
}

// SetTarget replaces what is sampled, from the next second on; the newest target
// wins. Before the first one there are no slots. Any goroutine may call it.
func (s *Sampler) SetTarget(t *Target) {
	s.mail.Store(t)
	s.alarm.Wake()
}

// Status returns the present state. Any goroutine may call it.
func (s *Sampler) Status() SamplerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// OOMKills lists the configured cgroups in which the kernel killed processes
// because memory was short, sorted. Any goroutine may call it; the result is
// never changed.
func (s *Sampler) OOMKills() []OOMKill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oomKills
}

// Run samples until ctx ends, then closes every file and returns nil.
func (s *Sampler) Run(ctx context.Context) error {
	defer s.close()
	defer context.AfterFunc(ctx, s.alarm.Wake)()
	adopt := func() { s.adopt(s.mail.Swap(nil)) }
	var whole bool
	look := func() { whole = s.look() }
	s.samples.second = s.now().Unix()
	next := s.boundary(s.now())
	for {
		s.beat()
		due, err := s.alarm.Wait(next)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !due:
			s.cpu.Measure(adopt)
		default:
			s.cpu.Measure(look)
			if whole {
				s.deliver()
			}
			next = s.following(s.now())
		}
	}
}

// following is when the next look is: at once when a second, or a sample's interval,
// began during the last one and can still be sampled in time.
func (s *Sampler) following(now time.Time) time.Time {
	if s.samples.ring == nil && s.due(now) || s.sampleDue(now) {
		return now
	}
	return s.boundary(now)
}

// boundary is the start of the next second, or of a sample's next interval.
func (s *Sampler) boundary(now time.Time) time.Time {
	step := time.Second
	if s.samples.ring != nil {
		step = s.samples.ring.interval()
	}
	return now.Add(step - time.Duration(now.Nanosecond())%step)
}

// due says whether the second that now is in can and should be sampled. The
// timer may be early against a wall clock that is being slewed; then that second
// is the last one again.
func (s *Sampler) due(now time.Time) bool {
	if s.subs == nil || time.Duration(now.Nanosecond()) > maxLate {
		return false
	}
	return s.lastAt.IsZero() || now.Unix() != s.last
}

// adopt compiles a target. Files of cgroups that stay are not opened again.
func (s *Sampler) adopt(t *Target) {
	if t == nil {
		return
	}
	old := make(map[string]*subsystem, len(s.subs))
	for _, sub := range s.subs {
		old[sub.name] = sub
	}
	subs := make([]*subsystem, len(t.Subsystems))
	for i := range t.Subsystems {
		next := &t.Subsystems[i]
		subs[i] = newSubsystem(next, old[next.Name], &s.meters)
		delete(old, next.Name)
	}
	for _, sub := range old {
		sub.close(&s.meters)
	}
	s.subs, s.layout = subs, nil
	s.meters.pool, s.meters.hand = subs, hand{}
	s.sayLimit()
	s.sayRefused()
	s.oom = newOOMWatch(t, &s.oom, &s.meters)
	s.lookForKills(true)
}

// sayLimit says, once while it is so, that not every file can be kept open.
func (s *Sampler) sayLimit() {
	files := 0
	for _, sub := range s.subs {
		if sub.counters == nil {
			files += len(sub.dirs)
		}
	}
	if files > s.meters.limit && !s.overLimit {
		s.log.Warn("more usage files than may be kept open; the idlest are opened for each read",
			zap.Int("files", files), zap.Int("limit", s.meters.limit))
	}
	s.overLimit = files > s.meters.limit
}

// sayRefused says, once, that files are read although counters were wanted.
func (s *Sampler) sayRefused() {
	if err := s.meters.refused; err != nil {
		s.meters.refused = nil
		s.log.Warn("bpf_iterator refused, so that files are read", zap.Error(err))
		s.sayLimit()
	}
}

// lookForKills brings OOMKills up to date.
func (s *Sampler) lookForKills(all bool) {
	if !s.oom.look(&s.meters, all, s.now(), s.log) && !all {
		return
	}
	list := s.oom.list()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oomKills = list
}

func (s *Sampler) close() {
	for _, sub := range s.subs {
		sub.close(&s.meters)
	}
	s.oom.close(&s.meters)
	s.subs = nil
}

// tick samples the second that now is in, if that is due.
func (s *Sampler) tick(now time.Time) {
	if !s.due(now) {
		return
	}
	slot, late := now.Unix(), time.Duration(now.Nanosecond())
	missed := s.gap(slot)
	s.last, s.lastAt = slot, time.Now()
	if s.ring.has(slot) {
		return
	}
	words, unread, reason := s.sample()
	s.sayRefused()
	s.keepSample(now, s.lastAt, words)
	copy(words[s.layout.words():], s.extras.read(&s.meters, slot))
	var added bool
	s.spare, added = s.ring.appendSlot(slot, s.lastAt, s.layout, words)
	if !added {
		return
	}
	s.publish(slot, missed, unread, late, reason)
	s.slotDone()
}

// gap reports the seconds between the last one and slot that stay without one.
func (s *Sampler) gap(slot int64) (missed uint64) {
	if s.lastAt.IsZero() || slot == s.last+1 {
		return 0
	}
	step := time.Duration(slot-s.last)*time.Second - time.Since(s.lastAt)
	if slot < s.last {
		s.log.Warn("clock stepped back", zap.Int64("slot", slot), zap.Int64("last_slot", s.last))
		return 0
	}
	missed = uint64(slot-s.last-1) - uint64(s.ring.held(s.last+1, slot-1))
	if missed > 0 {
		s.log.Warn("slots missed", zap.Int64("last_slot", s.last), zap.Int64("slot", slot),
			zap.Uint64("missed", missed), zap.Duration("clock_step", step.Round(time.Second)))
	}
	return missed
}

// sample reads everything once. The result belongs to the caller.
func (s *Sampler) sample() (words []uint64, unread int, reason error) {
	for _, sub := range s.subs {
		n, err := sub.read(&s.meters, &s.devices)
		unread += n
		if err != nil {
			reason = err
		}
	}
	if s.layout == nil {
		s.relayout()
	}
	words, ok := s.emit()
	if !ok {
		// A cgroup used a device for the first time.
		s.relayout()
		words, _ = s.emit()
	}
	return words, unread, reason
}

func (s *Sampler) emit() (words []uint64, ok bool) {
	n := s.layout.total()
	if cap(s.spare) < n {
		s.spare = make([]uint64, n)
	}
	words = s.spare[:n]
	clear(words)
	for _, sub := range s.subs {
		if !sub.emit(words, s.layout.numbers) {
			return words, false
		}
	}
	return words, true
}

func (s *Sampler) relayout() {
	roots := make([]*node, len(s.subs))
	next := 0
	s.extras = extraReader{}
	for i, sub := range s.subs {
		roots[i] = sub.layoutNode(&sub.root, sub.name, "", &next, &s.extras)
	}
	s.layout = newLayout(roots, next, s.extras.words)
}

func (s *Sampler) publish(slot int64, missed uint64, unread int, late time.Duration, reason error) {
	counted := 0
	for _, sub := range s.subs {
		counted += sub.counted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case unread > 0 && s.status.Unread == 0:
		s.log.Warn("usage of some cgroups cannot be read", zap.Int64("slot", slot), zap.Int("unread", unread), zap.Error(reason))
	case unread == 0 && s.status.Unread > 0:
		s.log.Info("usage of all cgroups can be read", zap.Int64("slot", slot))
	}
	s.status.LastSlot = slot
	s.status.Slots++
	s.status.MissedSlots += missed
	s.status.Unread = unread
	s.status.OpenFiles = s.meters.open
	s.status.Counted = counted
	s.status.LateMicroseconds = late.Microseconds()
	s.status.DurationMicroseconds = time.Since(s.lastAt).Microseconds()
}
