package top

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Request is a question, to the daemon or to this machine; its answer comes back
// as an [Answer].
type Request struct {
	Cmd  string
	Args map[string]any
	// slot is the second that was asked for; 0: the newest.
	slot int64
	// path is the file that a question to this machine is about.
	path string
}

// What is asked of this machine and not of the daemon. Answers are texts.
const (
	askFile     = "(read file)"     // its text
	askComplete = "(complete path)" // the path, as far as there is one way to go on
	askEdit     = "(edit file)"     // the file that was edited; path "" is a copy of the document in force
)

// Answer is what the daemon said, or why it did not.
type Answer struct {
	Request Request
	Data    []byte
	Err     error
}

// Key is a pressed key, such as "c", "enter" or "left".
type Key string

// Paste is text that was pasted.
type Paste string

// Size is the screen's.
type Size struct{ Width, Height int }

// Tick comes once a second.
type Tick time.Time

// Event is what happens to a [Model]: an Answer, a Key, a Paste, a Size or a Tick.
type Event any

// screen is what is shown.
type screen int

const (
	usageScreen screen = iota
	processScreen
	whyScreen
	eventScreen
	changeScreen
	editScreen
	hostScreen
	faultScreen
	costScreen
	helpScreen
)

// Model is the state of the view.
type Model struct {
	address string
	now     time.Time
	size    Size
	ticks   int

	screen  screen
	prompt  prompt
	by      Column
	upward  bool // the smallest first
	tree    bool
	filter  string
	cursor  string // the selected cgroup
	scroll  int    // of the other screens
	kind    string // of the events that are shown; "" is all
	verbose bool   // differences are shown whole
	notice  string // what went wrong with the last key

	frame   *Frame
	paused  bool // frame is a second of the past, and stays
	same    int  // answers since the last new second
	counted bool // its numbers of processes are from the status

	inside  insideView
	why     processWhy
	pid     int // whose why is asked; 0 is none
	changes changeView
	edit    editView
	status  status
	// lastStatus is the one before: what the daemon costs is the difference.
	lastStatus status

	offline string // why the daemon does not answer; "" when it does
	quit    bool
}

// Options are how a view begins.
type Options struct {
	Address string    // of the daemon, to be shown
	Now     time.Time // its zone is that of all times
	By      Column    // what the table is sorted by
	File    string    // the document that is offered where the effect of an edit is asked; "" is none
}

// New makes a view.
func New(o Options) *Model {
	return &Model{address: o.Address, now: o.Now, by: o.By, size: Size{80, 24}, edit: editView{file: o.File}}
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
		m.ticks++
		return m.tick()
	case Key:
		m.notice = ""
		return m.key(string(e))
	case Paste:
		m.prompt.paste(string(e))
	case Answer:
		return m.answer(e)
	}
	return nil
}

// statusTicks is how often the status is asked for where it is not what is
// looked at: the daemon reads the members of every cgroup for it.
const statusTicks = 5

// tick asks again for what is on the screen.
func (m *Model) tick() []Request {
	var ask []Request
	if !m.paused {
		ask = append(ask, m.newest())
	}
	often := m.ticks%statusTicks == 0
	switch m.screen {
	case processScreen:
		ask = append(ask, m.askProcesses())
	case whyScreen:
		often = true // of the pid files
		if m.pid != 0 {
			ask = append(ask, m.askWhy())
		}
	case changeScreen:
		if often {
			ask = append(ask, Request{Cmd: "get_history"})
		}
		if v := &m.changes; v.chosen != nil && v.diff == nil && v.refused == "" {
			ask = append(ask, m.askChanges())
		}
	case editScreen:
		if m.edit.file != "" {
			ask = append(ask, m.readEdit())
		}
	case eventScreen, hostScreen, faultScreen, costScreen:
		often = true
	}
	if often || m.offline != "" {
		ask = append(ask, Request{Cmd: "get_status"})
	}
	return ask
}

func (m *Model) answer(a Answer) []Request {
	switch a.Request.Cmd {
	case askFile, askComplete, askEdit:
		return m.fromHere(a)
	}
	if a.Err != nil {
		return m.failed(a)
	}
	m.offline = ""
	var err error
	var next []Request
	switch a.Request.Cmd {
	case "show_account":
		next, err = m.setFrame(a)
	case "get_status":
		next, err = m.setStatus(a.Data)
	case "get_processes":
		err = m.setProcesses(a.Data)
	case "get_process":
		err = m.setWhy(a.Data)
	case "get_history":
		next, err = m.setHistory(a.Data)
	case "compare":
		next, err = m.compared(a)
	}
	if err != nil {
		m.notice = fmt.Sprintf("answer of %s: %v", a.Request.Cmd, err)
	}
	return next
}

// failed tells a refused request from a daemon that does not answer.
func (m *Model) failed(a Answer) []Request {
	refusal, refused := a.Err.(Refusal) //nolint:errorlint // the caller hands over the refusal itself
	switch {
	case !refused:
		m.offline = a.Err.Error()
	case a.Request.Cmd == "get_history":
		return m.noHistory(string(refusal))
	case a.Request.Cmd == "compare":
		next, _ := m.compared(a)
		return next
	default:
		m.notice = string(refusal)
	}
	return nil
}

// Refusal is the daemon's own answer that a request is wrong.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// setFrame takes usage in, unless the user has gone elsewhere meanwhile. The
// version of a second before the daemon's start has to be looked up.
func (m *Model) setFrame(a Answer) ([]Request, error) {
	frames, err := ParseFrames(a.Data)
	if err != nil {
		return nil, err
	}
	asked := a.Request.slot
	if m.same++; asked != 0 || len(frames) > 0 && (m.frame == nil || m.frame.Slot != frames[len(frames)-1].Slot) {
		m.same = 0
	}
	switch {
	case len(frames) == 0 && asked != 0:
		m.notice = "nothing is held of " + m.clock(asked)
	case len(frames) == 0, asked == 0 && m.paused:
	default:
		m.frame = &frames[len(frames)-1]
		m.paused = asked != 0
		m.counted = !m.paused && m.frame.count(m.status.Members)
		if _, _, ok := m.versionAt(m.frame.Slot); m.paused && !ok && m.changes.why == "" {
			return []Request{{Cmd: "get_history"}}, nil
		}
	}
	return nil, nil
}

// setStatus takes the status in. A document that has changed asks for what shows
// changes.
func (m *Model) setStatus(data []byte) ([]Request, error) {
	var s status
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if !s.Now.Equal(m.status.Now) { // else it is the same answer again
		m.lastStatus = m.status
	}
	changed := s.Version.InForce != m.status.Version.InForce
	m.status = s
	switch {
	case changed && m.screen == changeScreen:
		return []Request{{Cmd: "get_history"}}, nil
	case changed && m.screen == editScreen:
		m.edit.effect, m.edit.refused = nil, "" // with the next tick, it is compared with the new one
	}
	return nil, nil
}

// clock shows a second in the zone of the view.
func (m *Model) clock(slot int64) string {
	return time.Unix(slot, 0).In(m.now.Location()).Format("2006-01-02 15:04:05 MST")
}

// lines are the rows of the table.
func (m *Model) lines() []line { return arrange(m.frame, m.by, m.upward, m.tree, m.filter) }

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
