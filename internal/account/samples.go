package account

import (
	"math"
	"time"
)

// Samples are what is read between the slots, for the peaks inside a second. They
// are numbered by their interval since 1970, kept in memory only, packed as slots
// are, and have no optional members. Slots, Redis and subscriptions know nothing of
// them.

const (
	// sampleTime is how long samples are kept.
	sampleTime = time.Minute
	// maxSampleBytes bounds the memory that they take, besides three samples as
	// numbers. A thousand cgroups of which a tenth is busy take about 0.2 kB a sample.
	maxSampleBytes = 32 << 20
)

// NewSamples makes a history of samples of the last minute, for
// [SamplerOptions.Samples]; the interval divides a second into whole milliseconds.
// When it takes more than 32 MiB the oldest samples leave memory early.
func NewSamples(interval time.Duration) *Ring {
	r := newRing(int(sampleTime/interval), sampleTime)
	r.per, r.most = int64(time.Second/interval), maxSampleBytes
	return r
}

// interval is what one number of the ring stands for.
func (r *Ring) interval() time.Duration { return time.Second / time.Duration(r.per) }

// number is that of the interval that now is in.
func (r *Ring) number(now time.Time) int64 { return now.UnixNano() / int64(r.interval()) }

// within are the numbers of the seconds from start to end.
func (r *Ring) within(start, end int64) (from, to int64) {
	if r.per == 1 {
		return start, end
	}
	const most = math.MaxInt64/1000 - 1 // beyond all times that there are
	start, end = min(max(start, -most), most), min(max(end, -most), most)
	return start * r.per, (end+1)*r.per - 1
}

// samples is the sampler's side of them.
type samples struct {
	ring   *Ring // nil: there are none
	second int64 // the last one that was looked at as a whole
	last   int64 // the last number that was dealt with
	any    bool  // there was one
	spare  []uint64
}

// look samples what is due now; whole says that it is the first look in a second.
func (s *Sampler) look() (whole bool) {
	now := s.now()
	if s.samples.ring == nil {
		s.tick(now)
		s.lookForKills(false)
		return true
	}
	whole = now.Unix() != s.samples.second
	s.samples.second = now.Unix()
	switch {
	case whole && s.due(now): // a slot is from the start of its second
		s.tick(now)
	case s.sampleDue(now):
		begun := time.Now()
		words, _, _ := s.sample()
		s.keepSample(now, begun, words)
	}
	s.samples.last = s.samples.ring.number(now)
	if whole {
		s.lookForKills(false)
	}
	return whole
}

// sampleDue says whether the interval that now is in has no sample yet.
func (s *Sampler) sampleDue(now time.Time) bool {
	r := s.samples.ring
	return r != nil && s.subs != nil && r.number(now) != s.samples.last && !r.has(r.number(now))
}

// keepSample adds what has been read to the samples.
func (s *Sampler) keepSample(now, begun time.Time, words []uint64) {
	r := s.samples.ring
	if r == nil {
		return
	}
	if cap(s.samples.spare) < len(words) {
		s.samples.spare = make([]uint64, len(words))
	}
	kept := s.samples.spare[:len(words)]
	n := s.layout.words()
	copy(kept, words[:n])
	clear(kept[n:])
	number := r.number(now)
	var missed int64
	if s.samples.any && number > s.samples.last {
		missed = number - s.samples.last - 1 - int64(r.held(s.samples.last+1, number-1))
	}
	var added bool
	s.samples.spare, added = r.appendSlot(number, begun, s.layout, kept)
	s.samples.any = true
	if !added {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Samples++
	s.status.MissedSamples += uint64(missed)
}
