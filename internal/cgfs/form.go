package cgfs

import (
	"math"
	"strconv"
	"strings"
)

// Form says which part of a control file's text one write is about, and how it
// reads. The zero value is the whole text.
type Form struct {
	// Line is the first word of the line that counts, "" for the whole text: a
	// device of "8:0 1048576", a member of "oom_kill_disable 0", or "default".
	Line string
	// Field is the part of that line that counts: "rbps" of "8:0 rbps=1 wbps=max".
	Field string
	// Absent is what it means that the line or the field is not there.
	Absent string
	// Unit is not 0 where the file counts bytes in units of so many, and prints a
	// huge number where there is no limit.
	Unit int64
	// Word: only the first word counts: "root invalid (...)".
	Word bool
}

// Read picks the part out of the file's text.
func (f Form) Read(text string) string {
	text = strings.TrimSpace(text)
	if f.Line != "" {
		text = f.line(text)
	}
	if f.Unit != 0 && unlimited(text, f.Unit) {
		return Unlimited
	}
	if f.Word {
		text, _, _ = strings.Cut(text, " ")
	}
	return text
}

func (f Form) line(text string) string {
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch {
		case name != f.Line:
		case f.Field == "":
			return strings.TrimSpace(value)
		default:
			return f.field(value)
		}
	}
	return f.Absent
}

func (f Form) field(line string) string {
	for pair := range strings.FieldsSeq(line) {
		if name, value, ok := strings.Cut(pair, "="); ok && name == f.Field {
			return value
		}
	}
	return f.Absent
}

// unlimited says whether a number of bytes is what the kernel prints for "no
// limit": 2^63 rounded down to a page, then to the unit.
func unlimited(text string, unit int64) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && n >= math.MaxInt64-max(unit, 1<<16)+1
}

// Limit says which values of a file give less than others.
type Limit int

// The limits.
const (
	// NoLimit: values are not ordered.
	NoLimit Limit = iota
	// Ceiling: less is tighter; "max" and -1 are no limit.
	Ceiling
	// Interval: more is tighter, as the period that a quota is for.
	Interval
	// Members: a subset is tighter.
	Members
	// Bandwidth: "QUOTA PERIOD", the lesser part is tighter.
	Bandwidth
)

// Tightens says whether a cgroup may do less once w reads want than while it
// reads now (both as w.Form reads them). It is false for what is no limit, and
// for values that cannot be compared.
func Tightens(w Write, now, want string) bool {
	switch w.Limit {
	case Ceiling:
		a, ok1 := ceiling(now)
		b, ok2 := ceiling(want)
		return ok1 && ok2 && b < a
	case Interval:
		a, ok1 := ceiling(now)
		b, ok2 := ceiling(want)
		return ok1 && ok2 && b > a
	case Members:
		a, err1 := ParseSet(now)
		b, err2 := ParseSet(want)
		// The empty set of v2 is all that the parent has.
		return err1 == nil && err2 == nil && len(b) > 0 && b.String() != a.String() && (len(a) == 0 || b.Within(a))
	case Bandwidth:
		a, ok1 := bandwidth(now)
		b, ok2 := bandwidth(want)
		return ok1 && ok2 && b < a
	}
	return false
}

func ceiling(text string) (float64, bool) {
	if text == Unlimited || text == "-1" {
		return math.Inf(1), true
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n)
}

func bandwidth(text string) (float64, bool) {
	quota, period, _ := strings.Cut(text, " ")
	q, ok1 := ceiling(quota)
	p, ok2 := ceiling(period)
	return q / p, ok1 && ok2 && p > 0 && !math.IsInf(p, 1)
}
