package zkconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting bounds the recursion of values that we only look at to refuse or
// skip them. A legal document needs 2 levels a cgroup and a few.
const maxNesting = 1000

// scanner reads strict JSON (RFC 8259) in one pass over the bytes, which must be
// valid UTF-8. It is stricter than encoding/json, which lets duplicate keys and
// lone surrogates through, and cheaper: documents reach 1 MB, most of it names.
type scanner struct {
	data    []byte
	pos     int
	key     int // where the last member's key begins
	nesting int
	// duplicates are keys that a value read whole has twice; whoever knows its
	// place takes them.
	duplicates []string
}

// syntaxError is a fault after which nothing more can be read.
type syntaxError struct {
	offset int // of the offending byte
	text   string
}

func (e *syntaxError) Error() string { return e.text }

func (s *scanner) fail(offset int, format string, args ...any) error {
	return &syntaxError{offset, fmt.Sprintf(format, args...)}
}

// next skips blanks and returns the byte there without taking it, 0 at the end.
// A real NUL byte is no token either, so the two need not differ.
func (s *scanner) next() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// unexpected describes what stands where something else should.
func (s *scanner) unexpected(want string) error {
	if s.next(); s.pos >= len(s.data) {
		return s.fail(s.pos, "unexpected end, %s expected", want)
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return s.fail(s.pos, "unexpected %q, %s expected", r, want)
}

// member steps to the next member of the object whose opening brace is the next
// byte (first) or that has been read up to a member's end. It returns the key's
// bytes, valid until the next call, and false after the closing brace.
func (s *scanner) member(first bool) (key []byte, more bool, err error) {
	if first {
		if err := s.enter(); err != nil {
			return nil, false, err
		}
	}
	switch c := s.next(); {
	case c == '}':
		s.leave()
		return nil, false, nil
	case first:
	case c == ',':
		s.pos++
	default:
		return nil, false, s.unexpected("',' or '}'")
	}
	if s.next() != '"' {
		return nil, false, s.unexpected("a quoted key")
	}
	s.key = s.pos
	if key, err = s.str(); err != nil {
		return nil, false, err
	}
	if s.next() != ':' {
		return nil, false, s.unexpected("':'")
	}
	s.pos++
	return key, true, nil
}

// enter takes an opening brace or bracket, leave a closing one.
func (s *scanner) enter() error {
	if s.nesting++; s.nesting > maxNesting {
		return s.fail(s.pos, "nested more than %d deep", maxNesting)
	}
	s.pos++
	return nil
}

func (s *scanner) leave() {
	s.nesting--
	s.pos++
}

// value reads any value: nil, bool, string, json.Number, []any or
// map[string]any.
func (s *scanner) value() (any, error) {
	switch c := s.next(); {
	case c == '"':
		b, err := s.str()
		return string(b), err
	case c == '{':
		return s.object()
	case c == '[':
		return s.array()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 'n':
		return nil, s.literal("null")
	case c == 't':
		return true, s.literal("true")
	case c == 'f':
		return false, s.literal("false")
	}
	return nil, s.unexpected("a value")
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.unexpected("a value")
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) object() (any, error) {
	m := map[string]any{}
	for first := true; ; first = false {
		key, more, err := s.member(first)
		if err != nil || !more {
			return m, err
		}
		k := string(key)
		if _, twice := m[k]; twice {
			s.duplicates = append(s.duplicates, k)
		}
		if m[k], err = s.value(); err != nil {
			return nil, err
		}
	}
}

func (s *scanner) array() (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	for {
		switch c := s.next(); {
		case c == ']' && len(list) == 0:
			s.leave()
			return list, nil
		case len(list) == 0:
		case c == ',':
			s.pos++
		case c == ']':
			s.leave()
			return list, nil
		default:
			return nil, s.unexpected("',' or ']'")
		}
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// number takes a number as JSON writes it; what it means is the reader's.
func (s *scanner) number() (json.Number, error) {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if !s.digits() {
		return "", s.unexpectedHere("a digit")
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return "", s.unexpectedHere("a digit")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if !s.digits() {
			return "", s.unexpectedHere("a digit")
		}
	}
	return json.Number(s.data[start:s.pos]), nil
}

// unexpectedHere is unexpected within a token, where a blank counts.
func (s *scanner) unexpectedHere(want string) error {
	if s.pos < len(s.data) {
		r, _ := utf8.DecodeRune(s.data[s.pos:])
		return s.fail(s.pos, "unexpected %q, %s expected", r, want)
	}
	return s.unexpected(want)
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// str takes a quoted string, at whose opening quote the scanner stands. Without
// escapes the result lies within the data.
func (s *scanner) str() ([]byte, error) {
	start := s.pos
	for i := start + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start+1 : i], nil
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			return nil, s.fail(i, "control character %q in a string", c)
		}
	}
	return nil, s.fail(start, "string without an end")
}

// escaped goes on with the string that begins at start and has its first
// backslash at i.
func (s *scanner) escaped(start, i int) ([]byte, error) {
	out := bytes.Clone(s.data[start+1 : i])
	for i < len(s.data) {
		c := s.data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return out, nil
		case c < ' ':
			return nil, s.fail(i, "control character %q in a string", c)
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		r, n := unescape(s.data[i:])
		if n == 0 {
			return nil, s.fail(i, "invalid escape in a string")
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return nil, s.fail(start, "string without an end")
}

// unescape decodes the escape that b begins with, of n bytes; n is 0 when it is
// none. Half of a surrogate pair is none: it stands for no character, and as
// U+FFFD two different names would become one.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 reads \uXXXX.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
