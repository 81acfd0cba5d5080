package cgfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The optional parts of a usage value.
const (
	PartPSI          = "psi"           // pressure stall information (v2)
	PartThrottling   = "throttling"    // of the CPU
	PartMemoryEvents = "memory_events" // (v2)
)

// Extra is an optional member of a subsystem's usage value: an object of numbers
// that are read from one control file.
type Extra struct {
	// Key is the member's name, File the control file.
	Key, File string
	// Fields are sorted by Name; at most 64.
	Fields []ExtraField

	pressure bool // the file has the form of PSI, else "name value" lines
}

// ExtraField is one number of an [Extra].
type ExtraField struct {
	Name string
	// Decimals is how many decimal places the number has: a value of 123 with 2
	// of them is 1.23.
	Decimals int

	line  string // what stands before the number in the file
	scale uint64 // from the file's unit to ours; 0: the same
}

// ExtraSource is an Extra as this host has it. The paths in Hierarchy are those
// of the subsystem's cgroups.
type ExtraSource struct {
	Hierarchy *Hierarchy
	*Extra
}

// extras are the rows of the table: v2's file, or v1's, is nil where that version
// has none. They are sorted by subsystem and key.
var extras = []struct {
	subsystem, part string
	v1, v2          *Extra
}{
	{"blkio", PartPSI, nil, pressure("io")},
	{"cpu", PartPSI, nil, pressure("cpu")},
	{"cpu", PartThrottling, throttling("throttled_time ", 1), throttling("throttled_usec ", 1000)},
	{"memory", PartMemoryEvents, nil, &memoryEvents},
	{"memory", PartPSI, nil, pressure("memory")},
}

// pressure is the row of one resource (Documentation/accounting/psi.rst): the
// share of the last 10 s in which some or all of the tasks waited for it, in
// percent, and the time they did, in microseconds.
func pressure(resource string) *Extra {
	return &Extra{Key: resource + "_pressure", File: resource + ".pressure", pressure: true, Fields: []ExtraField{
		{Name: "full_avg10", line: "full", Decimals: 2}, {Name: "full_total", line: "full"},
		{Name: "some_avg10", line: "some", Decimals: 2}, {Name: "some_total", line: "some"},
	}}
}

// throttling is the row of cpu.stat (sched-bwc.rst, cgroup-v2.rst); the time is
// in nanoseconds.
func throttling(time string, scale uint64) *Extra {
	return &Extra{Key: "throttling", File: "cpu.stat", Fields: []ExtraField{
		{Name: "periods", line: "nr_periods "}, {Name: "throttled", line: "nr_throttled "}, {Name: "time", line: time, scale: scale},
	}}
}

// memoryEvents counts a cgroup's events and those of the cgroups below it
// (cgroup-v2.rst).
var memoryEvents = Extra{Key: "memory_events", File: "memory.events", Fields: []ExtraField{
	{Name: "high", line: "high "}, {Name: "low", line: "low "}, {Name: "max", line: "max "}, {Name: "oom", line: "oom "},
	{Name: "oom_group_kill", line: "oom_group_kill "}, {Name: "oom_kill", line: oomKillLine},
}}

// Extras are the optional members of a subsystem's value that parts ask for,
// sorted by key: those that a version of cgroups has.
func Extras(subsystem string, version int, parts []string) (found []*Extra) {
	for _, row := range extras {
		e := row.v1
		if version == 2 {
			e = row.v2
		}
		if e != nil && row.subsystem == subsystem && slices.Contains(parts, row.part) {
			found = append(found, e)
		}
	}
	return found
}

// Extras are the optional members of a subsystem's value that parts ask for,
// sorted by key, where this host has them.
func (l *Layout) Extras(subsystem string, parts []string) (found []ExtraSource) {
	h := l.Hierarchy(subsystem)
	if h == nil && l.OnV2(subsystem) {
		h = l.unified()
	}
	if h == nil {
		return nil
	}
	for _, e := range Extras(subsystem, h.Version(), parts) {
		found = append(found, ExtraSource{h, e})
	}
	return found
}

var errExtra = errors.New("not a file of this form")

// Parse reads the file into values, one for each field, and tells by a bit for
// each which of them the file has. It does not allocate.
func (e *Extra) Parse(data []byte, values []uint64) (present uint64, err error) {
	for err == nil && len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		if e.pressure {
			err = e.pressureLine(line, values, &present)
		} else {
			err = e.numberLine(line, values, &present)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", e.File, err)
	}
	return present, nil
}

// numberLine reads "nr_periods 12". Lines of other names are left out.
func (e *Extra) numberLine(line []byte, values []uint64, present *uint64) error {
	for i := range e.Fields {
		f := &e.Fields[i]
		if len(line) < len(f.line) || string(line[:len(f.line)]) != f.line {
			continue
		}
		n, err := ParseNumber(line[len(f.line):])
		if err != nil {
			return err
		}
		scale := max(f.scale, 1)
		if n > math.MaxUint64/scale {
			return errExtra
		}
		values[i] = n * scale
		*present |= 1 << i
	}
	return nil
}

// pressureLine reads "some avg10=0.12 avg60=0.00 avg300=0.00 total=38211".
func (e *Extra) pressureLine(line []byte, values []uint64, present *uint64) error {
	kind, rest := cutField(line)
	for len(rest) > 0 {
		var field []byte
		field, rest = cutField(rest)
		name, text, _ := bytes.Cut(field, equals)
		for i := range e.Fields {
			f := &e.Fields[i]
			if f.line != string(kind) || f.Name[len(f.line)+1:] != string(name) {
				continue
			}
			n, err := parseDecimal(text, f.Decimals)
			if err != nil {
				return err
			}
			values[i] = n
			*present |= 1 << i
		}
	}
	return nil
}

var equals, dot = []byte("="), []byte(".")

// parseDecimal reads a number with exactly so many decimal places, as if it had
// no dot.
func parseDecimal(text []byte, decimals int) (uint64, error) {
	whole, fraction, _ := bytes.Cut(text, dot)
	n, err := ParseNumber(whole)
	if err != nil || len(fraction) != decimals {
		return 0, errExtra
	}
	for _, c := range fraction {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, errExtra
		}
		n = n*10 + d
	}
	return n, nil
}
