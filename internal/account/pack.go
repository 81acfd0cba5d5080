package account

import (
	"encoding/binary"
	"math/bits"
)

// A slot differs from the one before it in few numbers, and those by little, so
// the history keeps the differences. Words are packed in groups of 64: the length
// of the group's bytes, and unless that is 0 a bitmap of the words that changed and
// their differences, as varints. The length lets a reader of one cgroup step over
// the groups that it does not need.
const groupWords = 64

// appendChange appends what turns the words before, which may be shorter, into
// words. The rest of before counts as 0.
func appendChange(dst []byte, before, words []uint64) []byte {
	for from := 0; from < len(words); from += groupWords {
		group := words[from:min(from+groupWords, len(words))]
		var was []uint64
		if from < len(before) {
			was = before[from:min(from+groupWords, len(before))]
		}
		dst = appendGroup(dst, was, group)
	}
	return dst
}

func appendGroup(dst []byte, was, group []uint64) []byte {
	var changed uint64
	for i, w := range group {
		if i < len(was) {
			w -= was[i]
		}
		if w != 0 {
			changed |= 1 << i
		}
	}
	if changed == 0 {
		return append(dst, 0)
	}
	// Two bytes hold the length of any group: 8 + 64*10.
	at := len(dst)
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, changed)
	for rest := changed; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		difference := group[i]
		if i < len(was) {
			difference -= was[i]
		}
		dst = binary.AppendVarint(dst, int64(difference))
	}
	n := len(dst) - at - 2
	dst[at], dst[at+1] = byte(n)|0x80, byte(n>>7)
	return dst
}

// applyChange applies one change to words and returns what follows it in data.
// need is a bitmap of the groups that the caller will look at; nil: all.
func applyChange(words []uint64, data []byte, need []uint64) (rest []byte) {
	for from := 0; from < len(words); from += groupWords {
		n, width := int(data[0]), 1
		if n >= 0x80 {
			n, width = n&0x7f|int(data[1])<<7, 2
		}
		group := data[width : width+n]
		data = data[width+n:]
		if n == 0 || need != nil && !hasBit(need, 0, from/groupWords) {
			continue
		}
		changed := binary.LittleEndian.Uint64(group)
		group = group[8:]
		for ; changed != 0; changed &= changed - 1 {
			difference, width := binary.Varint(group)
			words[from+bits.TrailingZeros64(changed)] += uint64(difference)
			group = group[width:]
		}
	}
	return data
}

// byteLog is a queue of bytes: appended at one end, dropped at the other, read
// anywhere between. It grows and shrinks by chunks and reuses those it had.
type byteLog struct {
	start, end uint64 // positions never repeat
	chunks     []*chunk
	free       *chunk
}

const chunkBytes = 64 << 10

type chunk [chunkBytes]byte

// first is the position at which chunks[0] begins.
func (l *byteLog) first() uint64 { return l.start &^ (chunkBytes - 1) }

func (l *byteLog) append(p []byte) {
	for len(p) > 0 {
		at := l.end - l.first()
		if at/chunkBytes == uint64(len(l.chunks)) {
			c := l.free
			if c == nil {
				c = new(chunk)
			}
			l.free = nil
			l.chunks = append(l.chunks, c)
		}
		n := copy(l.chunks[at/chunkBytes][at%chunkBytes:], p)
		l.end += uint64(n)
		p = p[n:]
	}
}

// trim drops what stands before to.
func (l *byteLog) trim(to uint64) {
	n := int(to/chunkBytes - l.start/chunkBytes)
	l.start = to
	n = min(n, len(l.chunks))
	if n == 0 {
		return
	}
	l.free = l.chunks[0]
	rest := copy(l.chunks, l.chunks[n:])
	clear(l.chunks[rest:])
	l.chunks = l.chunks[:rest]
}

// read appends the bytes from one position to another to dst.
func (l *byteLog) read(dst []byte, from, to uint64) []byte {
	for from < to {
		at := from - l.first()
		c := l.chunks[at/chunkBytes]
		n := min(to-from, chunkBytes-at%chunkBytes)
		dst = append(dst, c[at%chunkBytes:at%chunkBytes+n]...)
		from += n
	}
	return dst
}

// bytes is how much memory the log holds.
func (l *byteLog) bytes() int64 { return int64(len(l.chunks)) * chunkBytes }
