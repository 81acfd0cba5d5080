package confdiff

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// What the short form shows.
const (
	shortLines = 10 // of each kind
	shortValue = 60 // bytes of a value
)

// Text shows the difference, one thing a line: first a line of counts, then what
// is removed (-), where more may be (!), what changes (~) and what is added (+).
// It is short, whatever the size of the documents: cgroups that come or go stand
// for all below them, and of many lines of a kind the first are shown. With
// verbose it is whole. Empty differences give "".
func (d *Diff) Text(verbose bool) string {
	if d.Empty() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintln(&b, d.Counts())
	for _, l := range d.Lines(verbose) {
		if l.Kind == "" {
			fmt.Fprintf(&b, "  %s (-v shows them)\n", l.Text)
			continue
		}
		fmt.Fprintln(&b, l.Kind, l.Text)
	}
	return b.String()
}

// Line is one thing that becomes different.
type Line struct {
	// Kind is "-" for what is removed, "!" where more may be, "~" for what changes
	// and "+" for what is added; "" for a line about lines that are left out.
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Lines is Text line by line, without that of counts.
func (d *Diff) Lines(verbose bool) []Line {
	p := printer{verbose: verbose}
	for _, c := range d.Removed {
		p.cgroup("-", c, false)
	}
	p.end()
	for _, name := range d.NewlyNamed {
		p.line("!", fmt.Sprintf("%s: named for the first time: cgroups there that the document does not have will be removed", quoted(name)))
	}
	p.end()
	for _, name := range d.Unnamed {
		p.line("~", fmt.Sprintf("%s: named no more: what others make there is left alone", quoted(name)))
	}
	p.end()
	for _, c := range d.Changed {
		p.line("~", fmt.Sprintf("%s %s", place(c.Subsystem, c.Path), p.change(c)))
	}
	p.end()
	for _, c := range d.Added {
		p.cgroup("+", c, true)
	}
	p.end()
	return p.out
}

// Counts says in a line how much is different, "" when nothing is.
func (d *Diff) Counts() string {
	var parts []string
	part := func(n int, verb, one string) {
		if n == 1 {
			parts = append(parts, verb+" 1 "+one)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%s %d %ss", verb, n, one))
		}
	}
	part(len(d.Removed), "removes", "cgroup")
	part(len(d.NewlyNamed), "takes over", "subsystem")
	part(len(d.Unnamed), "leaves", "subsystem")
	part(len(d.Changed), "changes", "setting")
	part(len(d.Added), "adds", "cgroup")
	return strings.Join(parts, ", ")
}

// printer cuts what is too long.
type printer struct {
	out     []Line
	verbose bool
	lines   int // of this kind
}

func (p *printer) line(kind, text string) {
	if p.lines++; p.verbose || p.lines <= shortLines {
		p.out = append(p.out, Line{kind, text})
	}
}

// end ends the lines of a kind.
func (p *printer) end() {
	if more := p.lines - shortLines; more > 0 && !p.verbose {
		p.out = append(p.out, Line{Text: fmt.Sprintf("... and %d more such lines", more)})
	}
	p.lines = 0
}

func (p *printer) cgroup(kind string, c Cgroup, settings bool) {
	if c.inner && !p.verbose {
		return // counted in the line of the one above
	}
	text := place(c.Subsystem, c.Path)
	if settings {
		for _, key := range slices.Sorted(maps.Keys(c.Conf)) {
			text += " " + key + " " + p.value(c.Conf[key])
		}
	}
	if c.Below > 0 && !p.verbose {
		text += fmt.Sprintf(" and %d below it", c.Below)
	}
	p.line(kind, text)
}

func (p *printer) change(c Change) string {
	switch {
	case c.Setting == "conf" && c.To != nil:
		return "conf: none -> present"
	case c.Setting == "conf":
		return "conf: present -> none, so no settings and no processes of its own"
	case c.From == nil && *c.To == "":
		return quoted(c.Setting) + ": unknown setting added"
	case c.To == nil && *c.From == "":
		return quoted(c.Setting) + ": unknown setting removed"
	case c.From == nil:
		return c.Setting + " unset -> " + p.value(*c.To)
	case c.To == nil:
		return c.Setting + " " + p.value(*c.From) + " -> the kernel's default"
	}
	return c.Setting + " " + p.value(*c.From) + " -> " + p.value(*c.To)
}

func (p *printer) value(v string) string {
	v = strings.ReplaceAll(v, "\n", "; ") // lists have an entry a line
	if len(v) > shortValue && !p.verbose {
		v = strings.ToValidUTF8(v[:shortValue], "") + "..."
	}
	return quoted(v)
}

// place is "cpu:/a/b", as in a plan.
func place(subsystem, path string) string { return quoted(subsystem + ":/" + path) }

// quoted leaves text as it is unless a terminal would show something else.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
