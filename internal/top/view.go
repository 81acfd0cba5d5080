package top

import (
	"fmt"
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
	warn    = "\x1b[33m"
	plain   = "\x1b[m"
)

// frameLines is what is not the body: two lines above, one below.
const frameLines = 3

// height is the number of lines of the body.
func (m *Model) height() int { return max(m.size.Height-frameLines-1, 1) }

// View is the text of the whole screen.
func (m *Model) View() string {
	var body []string
	head := ""
	switch m.screen {
	case usageScreen:
		head, body = m.usageBody()
	default:
		head, body = m.otherBody()
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
	when := "no usage yet"
	if m.frame != nil {
		when = m.clock(m.frame.Slot)
	}
	mode := "live"
	if m.paused {
		mode = reverse + " PAST " + plain
	}
	if m.offline != "" {
		mode = warn + "OFFLINE: " + clean(m.offline) + plain
	}
	parts := []string{bold + clean(m.address) + plain, when, mode, m.versionText()}
	if n := len(m.status.HostFaults); n > 0 {
		parts = append(parts, warn+fmt.Sprintf("%d host faults (f)", n)+plain)
	}
	return strings.Join(parts, "  ")
}

// versionText is the version in force in the second that is shown.
func (m *Model) versionText() string {
	if m.status.Root == "" {
		return ""
	}
	version := m.status.Version.InForce
	if m.paused && m.frame != nil {
		past, ok := m.status.versionAt(m.frame.Slot)
		if !ok {
			return "version then: not known"
		}
		version = past
	}
	text := fmt.Sprintf("version %d in force", version)
	if r := m.status.Version.Rejected; r != nil {
		text += warn + fmt.Sprintf(", %d rejected (f)", r.Version) + plain
	}
	return text
}

func (m *Model) bottomLine() string {
	switch {
	case m.prompt.label != "":
		return fit(m.prompt.label+": "+clean(m.prompt.text)+"_", m.size.Width)
	case m.notice != "":
		return warn + fit(clean(m.notice), m.size.Width) + plain
	}
	keys := "c/d/m/p/n sort  t tree  / filter  ⏎ processes  g go to  ←→ second  e events  a hosts  f faults  w why  x cost  ? help  q leave"
	if m.screen != usageScreen {
		keys = "esc back  ↑↓ scroll  g go to  e events  a hosts  f faults  w why  x cost  ? help  q leave"
	}
	return faint + fit(keys, m.size.Width) + plain
}

// Widths of the columns of numbers.
const (
	numberWidth  = 9
	numbersWidth = 5 * numberWidth
)

func (m *Model) usageBody() (head string, body []string) {
	name := max(m.size.Width-numbersWidth, 10)
	title := func(c Column, text string) string {
		if m.by == c {
			return text + "▼"
		}
		return text
	}
	label := title(ByName, "CGROUP")
	if m.filter != "" {
		label += " (filter " + clean(m.filter) + ")"
	}
	head = fit(label, name) + right(title(ByCPU, "CPU%"), title(ByDisk, "READ/s"), title(ByDisk, "WRITE/s"), title(ByMemory, "MEMORY"), title(ByPids, "TASKS"))
	lines := m.lines()
	at := selected(lines, m.cursor)
	first := min(max(at-m.height()/2, 0), max(len(lines)-m.height(), 0))
	for i := first; i < min(first+m.height(), len(lines)); i++ {
		text := m.usageLine(lines[i], name)
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

func (m *Model) usageLine(l line, width int) string {
	name := "/" + l.Path
	if m.tree && l.Path != "" {
		name = strings.Repeat("  ", l.depth) + l.Path[strings.LastIndexByte(l.Path, '/')+1:]
	}
	return fit(clean(name), width) + right(percentText(l.CPU), bytesText(l.Read), bytesText(l.Write), bytesText(l.Memory), countText(l.Pids))
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

func (m *Model) otherBody() (head string, body []string) {
	switch m.screen {
	case processScreen:
		return m.processBody()
	case whyScreen:
		return m.whyBody()
	case eventScreen:
		return m.eventBody()
	case hostScreen:
		return m.hostBody()
	case faultScreen:
		return m.faultBody()
	case costScreen:
		return m.costBody()
	default:
		return helpBody()
	}
}

func (m *Model) processBody() (head string, body []string) {
	name := max(m.size.Width-numbersWidth-2*numberWidth, 10)
	head = fit("PROCESSES in /"+clean(m.cursor), name) + right("PID", "CPU%", "CPU TIME", "MEMORY", "THREADS", "STATE", "AGE")
	for _, p := range m.processes.Processes {
		share := "-"
		if r := m.recent(p); r >= 0 {
			share = percentText(r)
		}
		text := p.Name
		if p.Cgroup != m.cursor {
			text += "  (/" + p.Cgroup + ")"
		}
		body = append(body, fit(clean(text), name)+right(
			fmt.Sprint(p.PID), share, age(time.Duration(p.CPU)), bytesText(float64(p.RSS)), fmt.Sprint(p.Threads), clean(p.State), age(m.now.Sub(p.Started))))
	}
	if m.processes.More > 0 {
		body = append(body, fmt.Sprintf("and %d more", m.processes.More))
	}
	if len(body) == 0 {
		body = []string{"none"}
	}
	if m.paused {
		body = append([]string{warn + "processes are those of now, not of the second shown before" + plain}, body...)
	}
	return head, body
}

// age is a duration in at most eight characters.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

func (m *Model) whyBody() (head string, body []string) {
	if m.why.PID == 0 {
		return "WHY", []string{"waiting ..."}
	}
	head = fmt.Sprintf("WHY process %d (%s) is where it is", m.why.PID, clean(m.why.Name))
	for _, p := range m.why.Places {
		belongs := "none of ours"
		if p.Belongs != nil {
			belongs = "/" + clean(*p.Belongs)
		}
		state := "ok"
		if !p.OK {
			state = warn + "NOT IN ITS CGROUP" + plain
		}
		is := "/" + clean(p.Is)
		if outside, ok := strings.CutPrefix(p.Is, ":"); ok {
			is = "outside our root, in " + clean(outside)
		}
		body = append(body, bold+clean(p.Subsystem)+plain+": "+state, "  is in       "+is, "  belongs to  "+belongs, "  because     "+clean(p.Why), "")
	}
	return head, body
}

func (m *Model) eventBody() (head string, body []string) {
	head = "EVENTS, newest first"
	for i := len(m.status.Events) - 1; i >= 0; i-- {
		e := m.status.Events[i]
		mark := "  "
		if m.paused && m.frame != nil && e.Time.Unix() > m.frame.Slot {
			mark = "> " // since the second that is shown
		}
		body = append(body, mark+e.Time.In(m.now.Location()).Format("2006-01-02 15:04:05")+"  "+fit(clean(e.Kind), 12)+clean(e.Text))
	}
	if m.paused {
		head += "; > is what happened since the second shown"
	}
	if len(body) == 0 {
		body = []string{"none since the daemon's start"}
	}
	return head, body
}

func (m *Model) faultBody() (head string, body []string) {
	if r := m.status.Version.Rejected; r != nil {
		body = append(body, fmt.Sprintf("version %d of the document is rejected; %d stays in force:", r.Version, m.status.Version.InForce))
		for _, reason := range r.Reasons {
			body = append(body, "  "+clean(reason))
		}
	}
	for _, f := range m.status.HostFaults {
		body = append(body, clean(f.Place)+": "+clean(f.Reason))
	}
	for _, f := range m.status.PidFiles {
		if f.State != "ok" && f.State != "missing" {
			body = append(body, fmt.Sprintf("pid file %s (cgroup %s) is %s: %s", clean(f.File), clean(f.Cgroup), clean(f.State), clean(f.Reason)))
		}
	}
	if len(body) == 0 {
		body = []string{"none"}
	}
	return "FAULTS of this host", body
}

func helpBody() (head string, body []string) {
	for _, b := range bindings {
		body = append(body, fmt.Sprintf("  %-14s %s", strings.Join(b.keys, ", "), b.help))
	}
	return "KEYS", append(body, "", "CPU% is of one core. A cgroup's usage includes that of all below it.",
		"Numbers are per second, between the second shown and the one before.")
}
