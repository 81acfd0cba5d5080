package top

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// openWhy asks for the number of a process.
func (m *Model) openWhy() []Request {
	m.pid, m.why = 0, processWhy{}
	m.show(whyScreen)
	m.prompt = prompt{label: "process number", done: func(m *Model, text string) []Request {
		pid, err := strconv.Atoi(text)
		if err != nil || pid <= 0 {
			m.notice = fmt.Sprintf("%q is no process number", text)
			return nil
		}
		return m.showWhy(pid)
	}}
	return []Request{{Cmd: "get_status"}}
}

func (m *Model) showWhy(pid int) []Request {
	m.pid, m.why = pid, processWhy{}
	m.show(whyScreen)
	return []Request{m.askWhy()}
}

func (m *Model) askWhy() Request {
	return Request{Cmd: "get_process", Args: map[string]any{"pid": m.pid}}
}

func (m *Model) setWhy(data []byte) error {
	var w processWhy
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.PID == m.pid { // else it is of the one asked for before
		m.why = w
	}
	return nil
}

func (m *Model) whyBody() (head string, body []string) {
	switch {
	case m.pid == 0:
		return "PID FILES, and where a process belongs", m.pidFileBody()
	case m.why.PID == 0:
		return fmt.Sprintf("WHY process %d is where it is", m.pid), []string{"waiting ..."}
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
		body = append(body, bold+clean(p.Subsystem)+plain+": "+state, "  is in       "+is, "  belongs to  "+belongs)
		body = append(body, wrap("  because     ", clean(p.Why), m.size.Width)...)
		body = append(body, "")
	}
	return head, body
}

// pidFileBody lists all pid files, those with something wrong first.
func (m *Model) pidFileBody() (body []string) {
	var fine []string
	for _, f := range m.status.PidFiles {
		text := fit(clean(f.State), 12) + clean(f.File) + "  of /" + clean(f.Cgroup)
		if f.PID != 0 {
			text += fmt.Sprintf(", process %d", f.PID)
		}
		switch f.State {
		case "ok":
			fine = append(fine, text)
		case "missing":
			fine = append([]string{text}, fine...)
		default:
			body = append(body, warn+text+plain)
			body = append(body, wrap(strings.Repeat(" ", 12), clean(f.Reason), m.size.Width)...)
		}
	}
	if body = append(body, fine...); len(body) == 0 {
		body = []string{"there are no pid files"}
	}
	return body
}
