package top

import "time"

// binding is one key, what it does, and how the help says so.
type binding struct {
	keys []string
	help string
	on   []screen // nil: everywhere
	run  func(m *Model) []Request
}

// bindings are all keys but those of a prompt. The order is that of the help.
var bindings []binding

func init() { // in a function, for the help screen's key is among them
	usage := []screen{usageScreen}
	bindings = []binding{
		{[]string{"c"}, "sort by CPU", usage, sortBy(ByCPU)},
		{[]string{"d"}, "sort by disk", usage, sortBy(ByDisk)},
		{[]string{"m"}, "sort by memory", usage, sortBy(ByMemory)},
		{[]string{"p"}, "sort by processes", usage, sortBy(ByPids)},
		{[]string{"n"}, "sort by name", usage, sortBy(ByName)},
		{[]string{"t"}, "tree, or flat", usage, func(m *Model) []Request { m.tree = !m.tree; return nil }},
		{[]string{"/"}, "filter by name", usage, func(m *Model) []Request {
			m.prompt = prompt{label: "filter", text: m.filter, done: func(m *Model, text string) []Request { m.filter = text; return nil }}
			return nil
		}},
		{[]string{"up", "k"}, "up", nil, moveBy(-1)},
		{[]string{"down", "j"}, "down", nil, moveBy(1)},
		{[]string{"pgup"}, "a page up", nil, func(m *Model) []Request { m.move(-m.height()); return nil }},
		{[]string{"pgdown"}, "a page down", nil, func(m *Model) []Request { m.move(m.height()); return nil }},
		{[]string{"enter"}, "processes in the cgroup", usage, func(m *Model) []Request {
			if lines := m.lines(); len(lines) > 0 {
				m.cursor = lines[selected(lines, m.cursor)].Path // what is marked, where the filter hides the chosen one
			}
			m.processes, m.earlier, m.asked, m.before = processList{}, nil, time.Time{}, time.Time{}
			m.show(processScreen)
			return []Request{m.askProcesses()}
		}},
		{[]string{"w"}, "why is a process in its cgroup, or not", nil, func(m *Model) []Request {
			m.prompt = prompt{label: "process number", done: askWhy}
			return nil
		}},
		{[]string{"g"}, "go to a second, such as 03:12:07", nil, func(m *Model) []Request {
			m.prompt = prompt{label: "go to (03:12:07, -90s, 2026-11-22 03:12:07)", done: goTo}
			return nil
		}},
		{[]string{"left", "h"}, "a second back", usage, stepBy(-1)},
		{[]string{"right", "l"}, "a second on", usage, stepBy(1)},
		{[]string{"[", "shift+left"}, "a minute back", usage, stepBy(-60)},
		{[]string{"]", "shift+right"}, "a minute on", usage, stepBy(60)},
		{[]string{"space", " "}, "stop, or go on live", usage, func(m *Model) []Request {
			m.paused = !m.paused && m.frame != nil
			return nil
		}},
		{[]string{"e"}, "events: versions, drift, faults, kills", nil, to(eventScreen)},
		{[]string{"f"}, "faults of this host", nil, to(faultScreen)},
		{[]string{"a"}, "all hosts: who lags behind, and why", nil, to(hostScreen)},
		{[]string{"x"}, "what the daemon itself costs", nil, to(costScreen)},
		{[]string{"?", "f1"}, "this help", nil, to(helpScreen)},
		{[]string{"esc"}, "back", nil, func(m *Model) []Request {
			if m.screen == usageScreen {
				m.filter, m.paused = "", false
			}
			m.show(usageScreen)
			return nil
		}},
		{[]string{"q", "ctrl+c"}, "leave", nil, func(m *Model) []Request { m.quit = true; return nil }},
	}
}

func sortBy(c Column) func(*Model) []Request {
	return func(m *Model) []Request { m.by = c; return nil }
}

func moveBy(n int) func(*Model) []Request {
	return func(m *Model) []Request { m.move(n); return nil }
}

func to(s screen) func(*Model) []Request {
	return func(m *Model) []Request { m.show(s); return nil }
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

func (b *binding) matches(s screen, key string) bool {
	return contains(b.keys, key) && (b.on == nil || contains(b.on, s))
}

func contains[T comparable](all []T, one T) bool {
	for _, v := range all {
		if v == one {
			return true
		}
	}
	return false
}

// typed takes a key of a prompt.
func (m *Model) typed(key string) []Request {
	p := &m.prompt
	switch key {
	case "enter":
		text, done := p.text, p.done
		m.prompt = prompt{}
		return done(m, text)
	case "esc":
		m.prompt = prompt{}
	case "ctrl+c":
		m.quit = true
	case "backspace":
		if runes := []rune(p.text); len(runes) > 0 {
			p.text = string(runes[:len(runes)-1])
		}
	case "ctrl+u":
		p.text = ""
	case "space":
		p.text += " "
	default:
		if len([]rune(key)) == 1 {
			p.text += key
		}
	}
	return nil
}

// move moves the cursor of the table, or scrolls another screen.
func (m *Model) move(n int) {
	if m.screen != usageScreen {
		m.scroll = max(0, m.scroll+n)
		return
	}
	lines := m.lines()
	if len(lines) == 0 {
		return
	}
	m.cursor = lines[min(max(selected(lines, m.cursor)+n, 0), len(lines)-1)].Path
}
