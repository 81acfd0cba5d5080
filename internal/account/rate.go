package account

import (
	"math"
	"math/bits"
	"time"
)

// rates are the numbers of s per second since before, a slot sampled earlier; they
// are appended to dst. Gauges stay as they are, and so do the optional members. A number that
// was not there before, or fell (its cgroup was made again), has no rate. What
// counts is the time that passed between the two samples, by the monotonic clock:
// a slot may be missing between them, and the wall clock may have been stepped.
func (s *snapshot) rates(dst []uint64, before *snapshot) []uint64 {
	words := append(dst, s.words...)
	l := s.layout
	passed := uint64(max(s.at-before.at, time.Millisecond))
	places := l.placesIn(before.layout)
	need := l.view(s.filter).need
	for i := 0; i < l.numbers; i++ {
		if need != nil && !hasBit(need, 0, i/groupWords) {
			i |= groupWords - 1
			continue
		}
		if !hasBit(words, l.numbers, i) || hasBit(l.gauges, 0, i) {
			continue
		}
		was := i
		if places != nil {
			was = places[i]
		}
		width := 1
		if hasBit(l.pairs, 0, i) {
			width = 2
		}
		if was < 0 || !hasBit(before.words, before.layout.numbers, was) || fell(words[i:i+width], before.words[was:was+width]) {
			clearBit(words, l.numbers, i)
			continue
		}
		for k := range width {
			words[i+k] = perSecond(words[i+k]-before.words[was+k], passed)
		}
	}
	return words
}

func fell(now, before []uint64) bool {
	for k := range now {
		if now[k] < before[k] {
			return true
		}
	}
	return false
}

// perSecond is n divided by so many nanoseconds, in seconds, rounded to the
// nearest.
func perSecond(n, passed uint64) uint64 {
	hi, lo := bits.Mul64(n, uint64(time.Second))
	lo, carry := bits.Add64(lo, passed/2, 0)
	hi += carry
	if hi >= passed {
		return math.MaxUint64
	}
	rate, _ := bits.Div64(hi, lo, passed)
	return rate
}

// placesIn says for each number of l where old has it, -1 for nowhere; nil when
// the two are the same.
func (l *layout) placesIn(old *layout) []int {
	if l == old {
		return nil
	}
	type number struct{ subsystem, path, device string }
	known := map[number]int{}
	old.eachNumber(func(subsystem, path, device string, at int) { known[number{subsystem, path, device}] = at })
	places := make([]int, l.numbers)
	for i := range places {
		places[i] = -1
	}
	l.eachNumber(func(subsystem, path, device string, at int) {
		if was, ok := known[number{subsystem, path, device}]; ok {
			places[at] = was
		}
	})
	return places
}

// eachNumber calls f with the place of each number, of a device's two the first.
func (l *layout) eachNumber(f func(subsystem, path, device string, at int)) {
	for _, root := range l.roots {
		root.walk(func(n *node) {
			switch {
			case len(n.devices) > 0:
				for j, d := range n.devices {
					f(root.name, n.path, d, n.first+2*j)
				}
			case n.hasNumber():
				f(root.name, n.path, "", n.first)
			}
		})
	}
}
