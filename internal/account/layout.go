package account

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// layout says which cgroup each number of a slot belongs to. It never changes;
// slots that were sampled from the same tree share one.
//
// A slot's words are its numbers followed by a bitmap of those that could be
// read. A device has two numbers, and the bit of the first counts for both.
// Behind them are the words of the optional members, see [extraReader].
type layout struct {
	roots   []*node // one per subsystem, in the order of the output
	numbers int
	extras  int // words of the optional members
	full    *program
	// gauges and pairs are bitmaps of the numbers that do not only grow, and of
	// the first of each device's two.
	gauges, pairs []uint64

	mu    sync.Mutex
	views map[Filter]*program
}

// maxViews bounds what clients can make a layout keep.
const maxViews = 256

// node is one cgroup of a layout.
type node struct {
	name   string // the subsystem's name in a root
	path   string // relative to our root; "" is our root
	hasSub bool
	sub    []*node

	kind    cgfs.UsageKind
	key     string   // the member of a cgfs.UsageNumber
	gauge   bool     // its number is no counter
	first   int      // place of the first number
	devices []string // of a cgfs.UsageDevices: "8:0", sorted, two numbers each
	extras  []extraPlace
}

// newLayout numbers nothing: the nodes come with their places.
func newLayout(roots []*node, numbers, extras int) *layout {
	l := &layout{roots: roots, numbers: numbers, extras: extras}
	l.gauges, l.pairs = make([]uint64, (numbers+63)/64), make([]uint64, (numbers+63)/64)
	for _, r := range roots {
		r.walk(l.describe)
	}
	l.full = l.program(Filter{})
	return l
}

// describe notes what kind of numbers n has.
func (l *layout) describe(n *node) {
	if n.gauge && n.hasNumber() {
		setBit(l.gauges, 0, n.first)
	}
	for j := range n.devices {
		setBit(l.pairs, 0, n.first+2*j)
	}
}

func (n *node) hasNumber() bool { return n.kind == cgfs.UsageNumber }

// walk calls f for n and everything below it.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, child := range n.sub {
		child.walk(f)
	}
}

// view is the program of a filter. Those asked for are kept: clients ask for the
// same again each second.
func (l *layout) view(f Filter) *program {
	if f == (Filter{}) {
		return l.full
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.views[f]
	if p == nil {
		if l.views == nil || len(l.views) >= maxViews {
			l.views = map[Filter]*program{}
		}
		p = l.program(f)
		l.views[f] = p
	}
	return p
}

// words is the length of a slot without the optional members, total with them.
func (l *layout) words() int { return l.numbers + (l.numbers+63)/64 }
func (l *layout) total() int { return l.words() + l.extras }

func setBit(words []uint64, numbers, i int) { words[numbers+i/64] |= 1 << (i % 64) }

func clearBit(words []uint64, numbers, i int) { words[numbers+i/64] &^= 1 << (i % 64) }

func hasBit(words []uint64, numbers, i int) bool {
	return words[numbers+i/64]&(1<<(i%64)) != 0
}

// program is a layout made ready for output: literal JSON with the places of
// numbers between. Keys are sorted bytewise, so "sub_cgroup" precedes "value".
type program struct {
	numbers int
	steps   []step
	tail    string
	max     int // no slot is longer, in bytes
	// need is a bitmap of the groups of words that it shows something of; nil: all.
	need []uint64
}

// step is the text up to one value and the members that may stand in it.
type step struct {
	text    string
	members []string // `"usage":`, or for each device `"8:0":{"Read":`
	devices bool
	first   int
	extras  []extraStep
}

const (
	writeMember = `,"Write":`
	maxDigits   = 20 // of a uint64
)

// append renders one slot.
func (p *program) append(dst []byte, words, extra []uint64) []byte {
	for i := range p.steps {
		s := &p.steps[i]
		dst = append(dst, s.text...)
		switch {
		case len(s.extras) > 0:
			dst = s.appendAll(dst, words, p.numbers, extra)
		case s.devices:
			dst = s.appendDevices(dst, words, p.numbers)
		default:
			dst = s.appendNumber(dst, words, p.numbers)
		}
	}
	return append(dst, p.tail...)
}

func (s *step) appendNumber(dst []byte, words []uint64, numbers int) []byte {
	if len(s.members) > 0 && hasBit(words, numbers, s.first) {
		dst = append(dst, s.members[0]...)
		dst = strconv.AppendUint(dst, words[s.first], 10)
	}
	return dst
}

func (s *step) appendDevices(dst []byte, words []uint64, numbers int) []byte {
	more := false
	for j, member := range s.members {
		at := s.first + 2*j
		if !hasBit(words, numbers, at) {
			continue
		}
		if more {
			dst = append(dst, ',')
		}
		more = true
		dst = append(dst, member...)
		dst = strconv.AppendUint(dst, words[at], 10)
		dst = append(dst, writeMember...)
		dst = strconv.AppendUint(dst, words[at+1], 10)
		dst = append(dst, '}')
	}
	return dst
}

// program compiles the part of the layout that f selects.
func (l *layout) program(f Filter) *program {
	b := builder{selected: f.selection(l.roots)}
	b.filtered = b.selected != nil
	b.text.WriteByte('{')
	b.list(l.roots)
	b.text.WriteByte('}')
	p := &program{numbers: l.numbers, steps: b.steps, tail: b.text.String()}
	p.max = len(p.tail)
	for i := range p.steps {
		p.max += p.steps[i].max()
	}
	if b.filtered {
		p.need = make([]uint64, (l.total()+groupWords*64-1)/(groupWords*64))
		for i := range p.steps {
			p.steps[i].markNeed(p.need, l)
		}
	}
	return p
}

// max is the longest that s can become, in bytes.
func (s *step) max() int {
	n := len(s.text)
	for _, m := range s.members {
		n += len(m) + maxDigits
		if s.devices {
			n += len(writeMember) + maxDigits + len("},")
		}
	}
	for i := range s.extras {
		n += s.extras[i].max()
	}
	return n
}

// markNeed sets the bits of the groups of words that s shows.
func (s *step) markNeed(need []uint64, l *layout) {
	width := len(s.members)
	if s.devices {
		width *= 2
	}
	for i := s.first; i < s.first+width; i++ {
		setBit(need, 0, i/groupWords)
		setBit(need, 0, (l.numbers+i/64)/groupWords)
	}
	for _, e := range s.extras {
		for i := range 1 + len(e.fields) {
			setBit(need, 0, (l.words()+e.at+i)/groupWords)
		}
	}
}

type builder struct {
	text     bytes.Buffer
	steps    []step
	selected map[*node]choice // nil: everything
	filtered bool
}

// list writes `"name":{...},...` for the selected nodes.
func (b *builder) list(nodes []*node) {
	more := false
	for _, n := range nodes {
		what := whole
		if b.selected != nil {
			what = b.selected[n]
		}
		if what == nothing {
			continue
		}
		if more {
			b.text.WriteByte(',')
		}
		more = true
		b.text.WriteString(quote(n.name))
		b.text.WriteString(`:{`)
		b.node(n, what)
		b.text.WriteByte('}')
	}
}

func (b *builder) node(n *node, what choice) {
	hasSub := n.hasSub && what != alone
	if hasSub {
		b.text.WriteString(`"sub_cgroup":{`)
		if what == whole {
			selected := b.selected
			b.selected = nil
			b.list(n.sub)
			b.selected = selected
		} else {
			b.list(n.sub)
		}
		b.text.WriteByte('}')
	}
	if what == wayTo {
		return
	}
	if hasSub {
		b.text.WriteByte(',')
	}
	b.text.WriteString(`"value":{`)
	b.value(n)
	b.text.WriteByte('}')
}

// value ends a step at the place where the node's members go.
func (b *builder) value(n *node) {
	s := step{first: n.first}
	switch {
	case n.kind == cgfs.UsageNumber:
		s.members = []string{quote(n.key) + ":"}
	case n.kind == cgfs.UsageDevices && len(n.devices) > 0:
		s.devices = true
		for _, d := range n.devices {
			s.members = append(s.members, quote(d)+`:{"Read":`)
		}
	case len(n.extras) == 0:
		return
	}
	for _, e := range n.extras {
		s.extras = append(s.extras, e.step())
	}
	s.text = b.text.String()
	b.text.Reset()
	b.steps = append(b.steps, s)
}

// quote is a JSON string, spelled as encoding/json spells it without escaping
// for HTML.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes, and the builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}
