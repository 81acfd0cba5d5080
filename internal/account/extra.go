package account

import (
	"strconv"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// extraTime is how long a reading of the optional members serves, in seconds:
// their files cost several times as much as those of the usage.
const extraTime = 10

// extraReader reads the optional members of one layout. Their words are, for
// each member, a bitmap of the fields that the file had and the fields' numbers.
type extraReader struct {
	places []extraSource
	words  int
	last   []uint64 // as read for slot; nil: nothing read yet
	slot   int64
}

type extraSource struct {
	cgfs.ExtraSource
	dir string
	at  int // place of the bitmap
}

// extraPlace is one optional member in a layout.
type extraPlace struct {
	extra *cgfs.Extra
	at    int
}

// place gives places to the members of one cgroup.
func (r *extraReader) place(extras []cgfs.ExtraSource, dir string) (places []extraPlace) {
	for _, e := range extras {
		places = append(places, extraPlace{e.Extra, r.words})
		r.places = append(r.places, extraSource{e, dir, r.words})
		r.words += 1 + len(e.Fields)
	}
	return places
}

// read returns the words for a slot: anew in the first slot of each ten seconds,
// and of each layout, else those before. They are valid until the next call. What
// cannot be read has an empty bitmap: a cgroup without the file is no fault.
func (r *extraReader) read(m *meters, slot int64) []uint64 {
	if r.words == 0 || r.last != nil && slot/extraTime == r.slot/extraTime {
		return r.last
	}
	if r.last == nil {
		r.last = make([]uint64, r.words)
	}
	words := r.last
	clear(words)
	for i := range r.places {
		p := &r.places[i]
		data, err := m.once(p.Hierarchy, p.File, p.dir)
		if err != nil {
			continue
		}
		values := words[p.at+1 : p.at+1+len(p.Fields)]
		words[p.at], _ = p.Parse(data, values) // 0 with an error
	}
	r.slot = slot
	return words
}

// once reads a file that is not kept open.
func (r *meters) once(h *cgfs.Hierarchy, file, dir string) ([]byte, error) {
	fd, err := r.kernel.open(h, dir, file)
	if err != nil {
		return nil, err
	}
	defer r.kernel.close(fd)
	return r.pread(fd)
}

// extraStep is an optional member made ready for output.
type extraStep struct {
	begin  string // `"cpu_pressure":{`
	fields []extraField
	at     int
}

type extraField struct {
	name     string // `"some_avg10":`
	decimals int
}

func (p *extraPlace) step() extraStep {
	s := extraStep{begin: quote(p.extra.Key) + ":{", at: p.at}
	for _, f := range p.extra.Fields {
		s.fields = append(s.fields, extraField{quote(f.Name) + ":", f.Decimals})
	}
	return s
}

func (s *extraStep) max() int {
	n := len(s.begin) + len("},")
	for _, f := range s.fields {
		n += len(f.name) + maxDigits + len(".,") + f.decimals
	}
	return n
}

// append renders the member with a comma behind it, or nothing if it is absent.
func (s *extraStep) append(dst []byte, extra []uint64) []byte {
	present := extra[s.at]
	if present == 0 {
		return dst
	}
	dst = append(dst, s.begin...)
	for i := range s.fields {
		if present&(1<<i) == 0 {
			continue
		}
		dst = append(dst, s.fields[i].name...)
		dst = appendDecimal(dst, extra[s.at+1+i], s.fields[i].decimals)
		dst = append(dst, ',')
	}
	dst[len(dst)-1] = '}'
	return append(dst, ',')
}

func appendDecimal(dst []byte, n uint64, decimals int) []byte {
	scale := uint64(1)
	for range decimals {
		scale *= 10
	}
	dst = strconv.AppendUint(dst, n/scale, 10)
	if decimals == 0 {
		return dst
	}
	dst = append(dst, '.')
	for scale /= 10; scale > 0; scale /= 10 {
		dst = append(dst, byte('0'+n/scale%10))
	}
	return dst
}

// appendAll renders a value that has optional members. Sorted, they stand before
// "usage" and behind the devices, whose names are digits.
func (s *step) appendAll(dst []byte, words []uint64, numbers int, extra []uint64) []byte {
	from := len(dst)
	if s.devices {
		dst = s.appendDevices(dst, words, numbers)
		if len(dst) > from {
			dst = append(dst, ',')
		}
	}
	for i := range s.extras {
		dst = s.extras[i].append(dst, extra)
	}
	if !s.devices {
		n := len(dst)
		dst = s.appendNumber(dst, words, numbers)
		if len(dst) > n {
			return dst
		}
	}
	if len(dst) > from {
		dst = dst[:len(dst)-1] // the last comma
	}
	return dst
}
