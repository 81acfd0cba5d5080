package top

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Request is a question to the daemon; its answer comes back as an [Answer].
type Request struct {
	Cmd  string
	Args map[string]any
	// slot is the second that was asked for; 0: the newest.
	slot int64
}

// Answer is what the daemon said, or why it did not.
type Answer struct {
	Request Request
	Data    []byte
	Err     error
}

// Key is a pressed key, such as "c", "enter" or "left".
type Key string

// Size is the screen's.
type Size struct{ Width, Height int }

// Tick comes once a second.
type Tick time.Time

// Event is what happens to a [Model]: an Answer, a Key, a Size or a Tick.
type Event any

// screen is what is shown.
type screen int

const (
	usageScreen screen = iota
	processScreen
	whyScreen
	eventScreen
	hostScreen
	faultScreen
	costScreen
	helpScreen
)

// prompt is a line that is being typed.
type prompt struct {
	label string // "" is none
	text  string
	done  func(m *Model, text string) []Request
}

// Model is the state of the view.
type Model struct {
	address string
	now     time.Time
	size    Size

	screen screen
	prompt prompt
	by     Column
	tree   bool
	filter string
	cursor string // the selected cgroup
	scroll int    // of the other screens
	notice string // what went wrong with the last key

	frame  *Frame
	paused bool // frame is a second of the past, and stays

	processes processList
	earlier   map[int]uint64 // CPU time of processes at the poll before
	asked     time.Time      // when processes were asked for, and the time before
	before    time.Time
	why       processWhy
	status    status
	// lastStatus is the one before: what the daemon costs is the difference.
	lastStatus status

	offline string // why the daemon does not answer; "" when it does
	quit    bool
}

// New makes the view of the daemon at an address. Its zone shows times.
func New(address string, now time.Time) *Model {
	return &Model{address: address, now: now, size: Size{80, 24}}
}

// Quit reports that the user wants to leave.
func (m *Model) Quit() bool { return m.quit }

// Start is what to ask first.
func (m *Model) Start() []Request { return []Request{m.newest(), {Cmd: "get_status"}} }

func (m *Model) newest() Request {
	return Request{Cmd: "show_account", Args: map[string]any{"nr_slot": 1, "rate": true}}
}

func (m *Model) at(slot int64) Request {
	return Request{Cmd: "show_account", Args: map[string]any{"start_slot": slot, "end_slot": slot, "rate": true}, slot: slot}
}

// Update takes one event in and says what to ask.
func (m *Model) Update(e Event) []Request {
	switch e := e.(type) {
	case Size:
		m.size = e
	case Tick:
		m.now = time.Time(e).In(m.now.Location())
		return m.tick()
	case Key:
		m.notice = ""
		return m.key(string(e))
	case Answer:
		m.answer(e)
	}
	return nil
}

// tick asks again for what is on the screen.
func (m *Model) tick() []Request {
	var ask []Request
	if !m.paused {
		ask = append(ask, m.newest())
	}
	if m.screen == processScreen {
		ask = append(ask, m.askProcesses())
	}
	return append(ask, Request{Cmd: "get_status"})
}

func (m *Model) askProcesses() Request {
	return Request{Cmd: "get_processes", Args: map[string]any{"cgroup": m.cursor}}
}

func (m *Model) answer(a Answer) {
	if a.Err != nil {
		m.failed(a)
		return
	}
	m.offline = ""
	var err error
	switch a.Request.Cmd {
	case "show_account":
		err = m.frames(a)
	case "get_status":
		var s status
		if err = json.Unmarshal(a.Data, &s); err == nil {
			m.lastStatus, m.status = m.status, s
		}
	case "get_processes":
		var p processList
		if err = json.Unmarshal(a.Data, &p); err == nil {
			m.setProcesses(p)
		}
	case "get_process":
		m.why = processWhy{}
		err = json.Unmarshal(a.Data, &m.why)
	}
	if err != nil {
		m.notice = fmt.Sprintf("answer of %s: %v", a.Request.Cmd, err)
	}
}

// failed tells a refused request from a daemon that does not answer.
func (m *Model) failed(a Answer) {
	switch a.Err.(type) { //nolint:errorlint // the caller hands over the refusal itself
	case Refusal:
		m.notice = a.Err.Error()
	default:
		m.offline = a.Err.Error()
	}
}

// Refusal is the daemon's own answer that a request is wrong.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// frames takes usage in, unless the user has gone elsewhere meanwhile.
func (m *Model) frames(a Answer) error {
	frames, err := ParseFrames(a.Data)
	if err != nil {
		return err
	}
	switch asked := a.Request.slot; {
	case len(frames) == 0 && asked != 0:
		m.notice = "nothing is held of " + m.clock(asked)
	case len(frames) == 0:
	case asked == 0 && m.paused:
	default:
		m.frame = &frames[len(frames)-1]
		m.paused = asked != 0
	}
	return nil
}

func (m *Model) setProcesses(p processList) {
	earlier := make(map[int]uint64, len(m.processes.Processes))
	for _, q := range m.processes.Processes {
		earlier[q.PID] = q.CPU
	}
	m.earlier, m.processes = earlier, p
	m.before, m.asked = m.asked, m.now
	slices.SortStableFunc(m.processes.Processes, func(a, b processRow) int { return cmp.Compare(m.recent(b), m.recent(a)) })
}

// recent is the share of a core, since the poll before, that a process has used;
// negative when it is not known yet.
func (m *Model) recent(p processRow) float64 {
	before, known := m.earlier[p.PID]
	elapsed := m.asked.Sub(m.before)
	if !known || elapsed <= 0 || p.CPU < before {
		return -1
	}
	return float64(p.CPU-before) / float64(elapsed)
}

// clock shows a second in the zone of the view.
func (m *Model) clock(slot int64) string {
	return time.Unix(slot, 0).In(m.now.Location()).Format("2006-01-02 15:04:05 MST")
}

// lines are the rows of the table.
func (m *Model) lines() []line { return arrange(m.frame, m.by, m.tree, m.filter) }

// selected is the place of the cursor among the lines.
func selected(lines []line, cursor string) int {
	return max(0, slices.IndexFunc(lines, func(l line) bool { return l.Path == cursor }))
}

func (m *Model) show(s screen) {
	m.screen, m.scroll = s, 0
}

func goTo(m *Model, text string) []Request {
	slot, err := ParseMoment(text, m.now)
	if err != nil {
		m.notice = err.Error()
		return nil
	}
	m.show(usageScreen)
	return []Request{m.at(slot)}
}

func askWhy(m *Model, text string) []Request {
	pid, err := strconv.Atoi(text)
	if err != nil {
		m.notice = fmt.Sprintf("%q is no process number", text)
		return nil
	}
	m.why = processWhy{}
	m.show(whyScreen)
	return []Request{{Cmd: "get_process", Args: map[string]any{"pid": pid}}}
}
