package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// Styles of text, as escape sequences of ECMA-48 that every terminal knows.
const (
	bold    = "\x1b[1m"
	reverse = "\x1b[7m"
	faint   = "\x1b[2m"
	red     = "\x1b[31m"
	green   = "\x1b[32m"
	warn    = "\x1b[33m"
	plain   = "\x1b[m"
)

// frameLines is what is not the body: two lines above, one below.
const frameLines = 3

// height is the number of lines of the body.
func (m *Model) height() int { return max(m.size.Height-frameLines, 1) }

// window is the first of the lines that fit so that one of them is seen, in the
// middle where that is possible.
func window(at, room, n int) int { return min(max(at-room/2, 0), max(n-room, 0)) }

// wrap breaks a text that is longer than the screen is wide, into lines that begin
// below each other, after what stands before it.
func wrap(before, text string, width int) []string {
	indent := ansi.StringWidth(before)
	if indent > width*2/3 {
		return append([]string{before}, wrap(strings.Repeat(" ", min(4, width/4)), text, width)...)
	}
	lines := strings.Split(ansi.Wrap(text, max(width-indent, 1), ""), "\n")
	for i := range lines {
		lines[i] = before + lines[i]
		before = strings.Repeat(" ", indent)
	}
	return lines
}

// View is the text of the whole screen.
func (m *Model) View() string {
	head, body := m.body()
	if m.screen != usageScreen && m.screen != processScreen && m.screen != changeScreen { // those see to it themselves
		m.scroll = min(m.scroll, max(len(body)-m.height(), 0))
		body = body[m.scroll:]
	}
	body = body[:min(len(body), m.height())]
	lines := append([]string{m.titleLine(), bold + fit(head, m.size.Width) + plain}, body...)
	for len(lines) < m.size.Height-1 {
		lines = append(lines, "")
	}
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], m.size.Width, "…")
	}
	lines = append(lines, m.bottomLine())
	return strings.Join(lines[max(len(lines)-m.size.Height, 0):], "\n")
}

// clean makes a text from outside harmless: no escape sequence of a name reaches
// the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) { // neither control characters nor those that turn or hide what follows
			return r
		}
		return '?'
	}, s)
}

// fit cuts or fills a text to a width.
func fit(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}

func (m *Model) titleLine() string {
	text := m.title(time.DateTime + " MST")
	if ansi.StringWidth(text) > m.size.Width {
		return m.title(time.TimeOnly)
	}
	return text
}

// staleAnswers is after how many answers, one a second, that bring nothing new the
// title says so.
const staleAnswers = 4

// title says whose numbers these are, and of when.
func (m *Model) title(layout string) string {
	when := "no usage yet"
	if m.frame != nil {
		when = time.Unix(m.frame.Slot, 0).In(m.now.Location()).Format(layout)
	}
	parts := []string{bold + clean(m.address) + plain, when}
	switch {
	case m.paused:
		parts = append(parts, reverse+" PAST "+plain)
	case m.offline == "" && m.same >= staleAnswers: // no document is in force, or it does not sample
		parts = append(parts, warn+"no newer usage"+plain)
	case m.offline == "":
		parts = append(parts, "live")
	}
	if m.offline != "" {
		return strings.Join(append(parts, warn+"OFFLINE: "+clean(m.offline)+plain), "  ")
	}
	if text := m.versionText(); text != "" {
		parts = append(parts, text)
	}
	if n := len(m.status.HostFaults); n > 0 {
		parts = append(parts, warn+plural(n, "host fault")+" (f)"+plain)
	}
	return strings.Join(parts, "  ")
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// versionText is the version in force in the second that is shown.
func (m *Model) versionText() string {
	if m.status.Root == "" {
		return ""
	}
	version := m.status.Version.InForce
	if m.paused && m.frame != nil {
		past, sure, ok := m.versionAt(m.frame.Slot)
		switch {
		case !ok:
			return "version then: not known"
		case !sure:
			return fmt.Sprintf("version %d was the newest then", past)
		}
		version = past
	}
	text := fmt.Sprintf("version %d in force", version)
	if version < 0 {
		text = "no document in force"
	}
	if r := m.status.Version.Rejected; r != nil {
		text += warn + fmt.Sprintf(", %d rejected (f)", r.Version) + plain
	}
	return text
}

func (m *Model) bottomLine() string {
	switch {
	case m.prompt.label != "":
		return m.prompt.shown(m.size.Width)
	case m.notice != "":
		return warn + fit(clean(m.notice), m.size.Width) + plain
	}
	return faint + fit(hints(m.screen, m.size.Width), m.size.Width) + plain
}

// hints are the keys that a screen is used with, as many as have room.
func hints(s screen, width int) string {
	all := []string{"? keys", "q leave"}
	switch s {
	case usageScreen:
		all = append(all, "c i m sort", "⏎ processes", "g go to", "3 changes", "e edit", "4 hosts", "/ filter", "5 why", "d by hand", "6 cost", "t tree", "2 events", "f faults", "←→ second")
	case processScreen:
		all = append(all, "⏎ why there", "esc back", "↑↓ choose")
	case changeScreen:
		all = append(all, "↑↓ choose", "pgup pgdn scroll", "v whole", "esc back", "e edit")
	case editScreen:
		all = append(all, "e other file", "⏎ open in editor", "↑↓ scroll", "v whole", "esc back", "3 changes")
	default:
		all = append(all, "esc back", "↑↓ scroll", "1 usage", "2 events", "3 changes", "4 hosts", "5 why", "6 cost", "e edit", "d by hand", "f faults")
	}
	text := all[0]
	for _, hint := range all[1:] {
		if ansi.StringWidth(text+"  "+hint) > width {
			break
		}
		text += "  " + hint
	}
	return text
}

// numberWidth is that of a column of numbers.
const numberWidth = 9

// column is one of the numbers of a cgroup.
type column struct {
	by    []Column // what sorts by it
	title string
	text  func(r *Row) string
}

var columns = []column{
	{[]Column{ByCPU}, "CPU%", func(r *Row) string { return percentText(r.CPU) }},
	{[]Column{ByDisk, ByRead}, "READ/s", func(r *Row) string { return bytesText(r.Read) }},
	{[]Column{ByDisk, ByWrite}, "WRITE/s", func(r *Row) string { return bytesText(r.Write) }},
	{[]Column{ByMemory}, "MEMORY", func(r *Row) string { return bytesText(r.Memory) }},
	{[]Column{ByPids}, "TASKS", func(r *Row) string { return countText(r.Pids) }},
}

// columnsFor leaves columns out where the names would have no room, but none by
// which the table is sorted.
func columnsFor(width int, by Column) []column {
	const names = 16
	all := slices.Clone(columns)
	for i := len(all) - 1; i >= 0 && width-len(all)*numberWidth < names; i-- {
		if !slices.Contains(all[i].by, by) && len(all) > 1 {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

func (m *Model) usageBody() (head string, body []string) {
	shown := columnsFor(m.size.Width, m.by)
	name := max(m.size.Width-len(shown)*numberWidth, 10)
	sign := "▼"
	if m.upward {
		sign = "▲"
	}
	label := "CGROUP"
	if m.by == ByName {
		label += sign
	}
	if m.filter != "" {
		label += " (filter " + clean(m.filter) + ")"
	}
	var titles []string
	for _, c := range shown {
		if m.counted && c.title == "TASKS" {
			c.title = "PROCS"
		}
		if slices.Contains(c.by, m.by) {
			c.title += sign
		}
		titles = append(titles, c.title)
	}
	head = fit(label, name) + right(titles...)
	lines := m.lines()
	at := selected(lines, m.cursor)
	first := window(at, m.height(), len(lines))
	for i := first; i < min(first+m.height(), len(lines)); i++ {
		text := m.usageLine(lines[i], name, shown)
		if i == at {
			text = reverse + text + plain
		}
		body = append(body, text)
	}
	if m.frame == nil && m.offline == "" {
		body = append(body, "waiting for the first answer ...")
	}
	return head, body
}

func (m *Model) usageLine(l line, width int, shown []column) string {
	name := clean("/" + l.Path)
	if m.tree && l.Path != "" {
		name = strings.Repeat("  ", l.depth) + clean(l.Path[strings.LastIndexByte(l.Path, '/')+1:])
	} else if over := ansi.StringWidth(name) - width; over > 0 {
		name = ansi.TruncateLeft(name, over+1, "…") // what tells long paths apart is at their end
	}
	var numbers []string
	for _, c := range shown {
		numbers = append(numbers, c.text(l.Row))
	}
	return fit(name, width) + right(numbers...)
}

// right sets texts in columns of numbers.
func right(texts ...string) string {
	var b strings.Builder
	for _, t := range texts {
		b.WriteString(strings.Repeat(" ", max(numberWidth-ansi.StringWidth(t), 1)))
		b.WriteString(t)
	}
	return b.String()
}

func (m *Model) body() (head string, body []string) {
	switch m.screen {
	case usageScreen:
		return m.usageBody()
	case processScreen:
		return m.processBody()
	case whyScreen:
		return m.whyBody()
	case eventScreen:
		return m.eventBody()
	case changeScreen:
		return m.changeBody()
	case editScreen:
		return m.editBody()
	case hostScreen:
		return m.hostBody()
	case faultScreen:
		return m.faultBody()
	case costScreen:
		return m.costBody()
	default:
		return m.helpBody()
	}
}

// helpBody lists the keys, in two columns where there is room; keys that help
// the same way share a line.
func (m *Model) helpBody() (head string, body []string) {
	const keyWidth, column = 14, 40
	var lines []string
	for i := 0; i < len(bindings); {
		var keys []string
		text := bindings[i].help
		for ; i < len(bindings) && bindings[i].help == text; i++ {
			keys = append(keys, bindings[i].shown()...)
		}
		lines = append(lines, "  "+fit(strings.Join(keys, " "), keyWidth)+text)
	}
	if m.size.Width >= 2*column {
		half := (len(lines) + 1) / 2
		for i := range half {
			text := fit(lines[i], column)
			if i+half < len(lines) {
				text += lines[i+half]
			}
			body = append(body, text)
		}
		lines = body
	}
	return "KEYS", append(lines, "", "Sort: c CPU, i disk, r read, w write, m memory, p processes, n name;", "the same again: the other way round.", "CPU% is of one core. A cgroup's usage includes that of all below it.",
		"TASKS are those of pids; where the document does not name it, PROCS are processes now.",
		"Numbers are per second, between the second shown and the one before.")
}
