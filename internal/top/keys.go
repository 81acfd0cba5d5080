package top

import (
	"slices"
	"strings"
)

// binding is one key, what it does, and how the help says so.
type binding struct {
	keys []string
	help string
	on   []screen // nil: everywhere
	run  func(m *Model) []Request
}

// sorts is the help of the keys c i r w m p n.
const sorts = "sort, see below"

// bindings are all keys but those of a prompt. The order is that of the help.
// Where the live page has the same, it has the same key.
var bindings []binding

func init() { // in a function, for the help screen's key is among them
	usage := []screen{usageScreen}
	bindings = []binding{
		{[]string{"1"}, "usage of every cgroup", nil, to(usageScreen)},
		{[]string{"2"}, "events of this host", nil, openEvents("")},
		{[]string{"3"}, "versions, what changed", nil, (*Model).openChanges},
		{[]string{"4"}, "hosts: who lags, and why", nil, to(hostScreen)},
		{[]string{"5"}, "why is a process there", nil, (*Model).openWhy},
		{[]string{"6"}, "what the daemon costs", nil, to(costScreen)},
		{[]string{"d"}, "changed by hand", nil, openEvents("drift")},
		{[]string{"e"}, "what would an edit do", nil, (*Model).askForEdit},
		{[]string{"f"}, "faults of this host", nil, to(faultScreen)},
		{[]string{"g"}, "a second, as 03:12:07", nil, func(m *Model) []Request {
			m.prompt = prompt{label: "go to (03:12:07, -90s, 2026-11-22 03:12:07)", done: goTo}
			return nil
		}},
		{[]string{"l"}, "live again", nil, func(m *Model) []Request {
			m.paused = false
			m.show(usageScreen)
			return []Request{m.newest()}
		}},
		{[]string{"left"}, "a second back, on", usage, stepBy(-1)},
		{[]string{"right"}, "a second back, on", usage, stepBy(1)},
		{[]string{"[", "shift+left"}, "a minute back, on", usage, stepBy(-60)},
		{[]string{"]", "shift+right"}, "a minute back, on", usage, stepBy(60)},
		{[]string{"z", "space", " "}, "stop, or go on", usage, func(m *Model) []Request {
			m.paused = !m.paused && m.frame != nil
			return nil
		}},
		{[]string{"c"}, sorts, usage, sortBy(ByCPU)},
		{[]string{"i"}, sorts, usage, sortBy(ByDisk)},
		{[]string{"r"}, sorts, usage, sortBy(ByRead)},
		{[]string{"w"}, sorts, usage, sortBy(ByWrite)},
		{[]string{"m"}, sorts, usage, sortBy(ByMemory)},
		{[]string{"p"}, sorts, usage, sortBy(ByPids)},
		{[]string{"n"}, sorts, usage, sortBy(ByName)},
		{[]string{"t"}, "tree, or flat", usage, func(m *Model) []Request { m.tree = !m.tree; return nil }},
		{[]string{"/"}, "filter by name", nil, func(m *Model) []Request {
			m.show(usageScreen)
			m.prompt = prompt{label: "filter", text: m.filter, offered: m.filter != "", done: (*Model).setFilter}
			return nil
		}},
		{[]string{"enter"}, "processes in the cgroup", usage, (*Model).openInside},
		{[]string{"enter"}, "why the process is there", []screen{processScreen}, func(m *Model) []Request {
			if list := m.inside.list.Processes; len(list) > 0 {
				return m.showWhy(list[m.inside.row()].PID)
			}
			return nil
		}},
		{[]string{"enter"}, "open it in your editor", []screen{editScreen}, func(m *Model) []Request {
			return []Request{{Cmd: askEdit, path: m.edit.file}}
		}},
		{[]string{"v"}, "differences whole, short", []screen{changeScreen, editScreen}, (*Model).toggleVerbose},
		{[]string{"up", "k"}, "a line up, down", nil, moveBy(-1)},
		{[]string{"down", "j"}, "a line up, down", nil, moveBy(1)},
		{[]string{"pgup"}, "a page up, down", nil, func(m *Model) []Request { return m.page(-1) }},
		{[]string{"pgdown"}, "a page up, down", nil, func(m *Model) []Request { return m.page(1) }},
		{[]string{"home"}, "first, last", nil, moveBy(-1e9)},
		{[]string{"end"}, "first, last", nil, moveBy(1e9)},
		{[]string{"?", "f1"}, "this help", nil, to(helpScreen)},
		{[]string{"esc", "alt+esc"}, "back", nil, (*Model).back},
		{[]string{"q", "ctrl+c"}, "leave", nil, func(m *Model) []Request { m.quit = true; return nil }},
	}
}

// sortBy sorts by a column, the largest first; by the same again, the smallest.
func sortBy(c Column) func(*Model) []Request {
	return func(m *Model) []Request {
		m.upward = m.by == c && !m.upward
		m.by = c
		return nil
	}
}

func moveBy(n int) func(*Model) []Request {
	return func(m *Model) []Request { return m.move(n) }
}

// to shows a screen that the status fills.
func to(s screen) func(*Model) []Request {
	return func(m *Model) []Request {
		m.show(s)
		return []Request{{Cmd: "get_status"}}
	}
}

// setFilter shows what matches, with the cursor on the first that does.
func (m *Model) setFilter(text string) []Request {
	m.filter = text
	lines := m.lines()
	if i := slices.IndexFunc(lines, func(l line) bool { return l.Path != "" && matches(l.Path, text) }); text != "" && i >= 0 {
		m.cursor = lines[i].Path
	}
	return nil
}

// back goes to where the screen was opened from; from usage to all that is live.
func (m *Model) back() []Request {
	switch {
	case m.screen == usageScreen:
		m.filter, m.paused = "", false
	case m.screen == whyScreen && m.pid != 0 && m.inside.known:
		m.show(processScreen)
		return []Request{m.askProcesses()}
	}
	m.inside = insideView{}
	m.show(usageScreen)
	return nil
}

// stepBy goes to another second of the history; past the newest it is live again.
func stepBy(seconds int64) func(*Model) []Request {
	return func(m *Model) []Request {
		if m.frame == nil {
			return nil
		}
		slot := m.frame.Slot + seconds
		if slot >= m.now.Unix() {
			m.paused = false
			return []Request{m.newest()}
		}
		return []Request{m.at(slot)}
	}
}

// key runs what a key is bound to, or types it.
func (m *Model) key(key string) []Request {
	if m.prompt.label != "" {
		return m.typed(key)
	}
	for _, b := range bindings {
		if b.matches(m.screen, key) {
			return b.run(m)
		}
	}
	m.notice = "press ? for the keys"
	return nil
}

// shown are the keys as the help names them.
func (b *binding) shown() []string {
	return slices.DeleteFunc(slices.Clone(b.keys), func(k string) bool { return k == " " || strings.HasPrefix(k, "shift+") || strings.HasPrefix(k, "alt+") })
}

func (b *binding) matches(s screen, key string) bool {
	return slices.Contains(b.keys, key) && (b.on == nil || slices.Contains(b.on, s))
}

// move moves the cursor of a table, or scrolls another screen.
func (m *Model) move(n int) []Request {
	switch m.screen {
	case usageScreen:
		if lines := m.lines(); len(lines) > 0 {
			m.cursor = lines[min(max(selected(lines, m.cursor)+n, 0), len(lines)-1)].Path
		}
	case processScreen:
		m.inside.move(n)
	case changeScreen:
		return m.choose(m.changes.row + n)
	default:
		m.scroll = max(0, m.scroll+n)
	}
	return nil
}

// page moves by the height of the screen; where the arrows choose a version it
// scrolls what is below.
func (m *Model) page(n int) []Request {
	if m.screen == changeScreen {
		m.scroll = max(0, m.scroll+n*max(m.height()/2, 1))
		return nil
	}
	return m.move(n * m.height())
}
