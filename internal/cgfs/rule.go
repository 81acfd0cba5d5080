package cgfs

import (
	"fmt"
	"strings"
)

// Rule is a device, or several, and what may be done with it.
type Rule struct {
	Type         byte   // 'b' block, 'c' character, 'a' both
	Major, Minor int64  // -1: any
	Access       string // of r, w and m, in this order: read, write, make the node (mknod(2))
}

// everyRule is the rule about every use of every device.
var everyRule = Rule{Type: 'a', Major: -1, Minor: -1, Access: accessLetters}

// String is the rule as the kernel writes it: "c 1:3 rwm".
func (r Rule) String() string {
	return fmt.Sprintf("%c %s:%s %s", r.Type, starred(r.Major), starred(r.Minor), r.Access)
}

// MarshalText gives String.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// CanRead says whether the rule is about reading.
func (r Rule) CanRead() bool { return strings.Contains(r.Access, "r") }

// CanWrite says whether the rule is about writing.
func (r Rule) CanWrite() bool { return strings.Contains(r.Access, "w") }

// CanMknod says whether the rule is about making a node of the device.
func (r Rule) CanMknod() bool { return strings.Contains(r.Access, "m") }

// ParseRule reads a rule as the kernel takes it: "c 1:3 rwm", "b 8:* r", "a".
func ParseRule(text string) (Rule, error) {
	switch text {
	case denyAll, "all", AllDevices:
		return everyRule, nil
	}
	one := rules{}
	if err := one.add(text); err != nil {
		return Rule{}, err
	}
	for n, bits := range one {
		return Rule{Type: n.kind, Major: n.major, Minor: n.minor, Access: bits.String()}, nil
	}
	return Rule{}, nil // not reached: add added one
}

// ParseRules reads rules separated by commas or lines; "none" and "a" stand for no
// rule and for all.
func ParseRules(text string) ([]Rule, error) {
	out := []Rule{}
	if text == NoDevices {
		return out, nil
	}
	for one := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '\n' || c == ',' }) {
		r, err := ParseRule(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
