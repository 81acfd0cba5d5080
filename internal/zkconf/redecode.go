package zkconf

import (
	"bytes"
	"maps"
	"slices"
	"unicode/utf8"
)

// span is where a node's value lies in the document's bytes. A document keeps one
// for each of its nodes, in the order of the bytes: parents before children.
type span struct {
	start, end int // of the value, which may be null
	parent     int // index of the parent's span, -1 for a subsystem's
	size       int // spans of the node and of everything below it
	name       string
	node       *Node
}

// identity tells documents apart without keeping them.
type identity struct{ _ byte }

// Change is where one document differs from another: in or below one node.
type Change struct {
	Subsystem string
	Path      string // relative to our root, "" for the subsystem's own node
}

// Since says where d differs from an earlier document. known is false when that
// is not known; then it may differ anywhere.
func (d *Document) Since(earlier *Document) (c Change, known bool) {
	if d.base == nil || earlier == nil || d.base != earlier.self {
		return Change{}, false
	}
	return d.change, true
}

// DecodeNext is Decode for the bytes that follow an earlier document: what it
// shares with that one it does not read again. The cost grows with what has
// changed, and little with the whole.
func DecodeNext(earlier *Document, data []byte, version int32) (*Document, error) {
	if earlier != nil && len(data) <= MaxSize {
		if doc := redecode(earlier, data, version); doc != nil {
			return doc, nil
		}
	}
	return Decode(data, version)
}

// redecode reads the smallest node that holds every difference between the two
// texts. It is nil when there is none, or when the node no longer ends where it
// should or has a fault: then the whole is read, to the same end.
func redecode(earlier *Document, data []byte, version int32) *Document {
	before := samePrefix(earlier.Raw, data)
	after := sameSuffix(earlier.Raw[before:], data[before:])
	i := enclosing(earlier.spans, before, len(earlier.Raw)-after)
	if i < 0 {
		return nil
	}
	old := earlier.spans[i]
	grown := len(data) - len(earlier.Raw)
	if !utf8.Valid(data[old.start : old.end+grown]) {
		return nil
	}
	d := decoder{scanner: scanner{data: data, pos: old.start}}
	names := pathOf(earlier.spans, i)
	d.enterSubsystem(names[0])
	d.place = append(d.place, names[1:]...)
	d.nesting = 2*len(names) - 1
	node, err := d.named(old.name)
	if err != nil || len(d.faults.list) > 0 || d.pos != old.end+grown {
		return nil
	}
	doc := &Document{Version: version, Raw: data, Subsystems: maps.Clone(earlier.Subsystems), self: new(identity), base: earlier.self}
	doc.change.Subsystem = names[0]
	for _, name := range names[1:] {
		doc.change.Path = join(doc.change.Path, name)
	}
	doc.spans = splice(earlier.spans, i, d.spans, grown)
	replace(doc, i, node)
	return doc
}

// samePrefix is how many bytes two texts begin with in common.
func samePrefix(a, b []byte) int {
	n, at := min(len(a), len(b)), 0
	for step := 4096; step > 0; step /= 8 {
		for at+step <= n && bytes.Equal(a[at:at+step], b[at:at+step]) {
			at += step
		}
	}
	return at
}

// sameSuffix is how many bytes two texts end with in common.
func sameSuffix(a, b []byte) int {
	n, at := min(len(a), len(b)), 0
	for step := 4096; step > 0; step /= 8 {
		for at+step <= n && bytes.Equal(a[len(a)-at-step:len(a)-at], b[len(b)-at-step:len(b)-at]) {
			at += step
		}
	}
	return at
}

// enclosing finds the smallest node between whose braces the bytes from first up
// to end lie; -1 for none.
func enclosing(spans []span, first, end int) int {
	i, _ := slices.BinarySearchFunc(spans, first, func(s span, at int) int {
		if s.start < at {
			return -1
		}
		return 1
	})
	for i--; i >= 0 && end >= spans[i].end; {
		i = spans[i].parent
	}
	return i
}

// pathOf lists the names from the subsystem down to a node.
func pathOf(spans []span, i int) []string {
	var names []string
	for ; i >= 0; i = spans[i].parent {
		names = append(names, spans[i].name)
	}
	slices.Reverse(names)
	return names
}

// splice puts the spans of a node that was read again in the place of its old
// ones. What comes behind has moved by so many bytes.
func splice(old []span, i int, fresh []span, grown int) []span {
	behind := i + old[i].size
	more := len(fresh) - old[i].size
	out := make([]span, 0, len(old)+more)
	out = append(out, old[:i]...)
	for _, s := range fresh {
		if s.parent += i; s.parent < i {
			s.parent = old[i].parent
		}
		out = append(out, s)
	}
	for _, s := range old[behind:] {
		s.start += grown
		s.end += grown
		if s.parent >= behind {
			s.parent += more
		}
		out = append(out, s)
	}
	for up := old[i].parent; up >= 0; up = old[up].parent {
		out[up].end += grown
		out[up].size += more
	}
	return out
}

// replace puts a node in its place, in copies of everything above it.
func replace(doc *Document, i int, node *Node) {
	for {
		s := &doc.spans[i]
		s.node = node
		if s.parent < 0 {
			doc.Subsystems[s.name] = node
			return
		}
		up := *doc.spans[s.parent].node
		up.Sub = maps.Clone(up.Sub)
		up.Sub[s.name] = node
		i, node = s.parent, &up
	}
}
