package top

import (
	"fmt"
	"time"
)

// openEvents shows events, all or those of a kind.
func openEvents(kind string) func(m *Model) []Request {
	return func(m *Model) []Request {
		m.kind = kind
		m.show(eventScreen)
		return []Request{{Cmd: "get_status"}}
	}
}

func (m *Model) eventBody() (head string, body []string) {
	head, none := "EVENTS, newest first", "none since the daemon's start"
	if m.kind == "drift" {
		head = fmt.Sprintf("CHANGED BY HAND, newest first (%d in all, each was put back)", m.status.Drift)
		none = "nothing since the daemon's start"
	}
	for i := len(m.status.Events) - 1; i >= 0; i-- {
		e := m.status.Events[i]
		if m.kind != "" && e.Kind != m.kind {
			continue
		}
		mark := "  "
		if m.paused && m.frame != nil && e.Time.After(time.Unix(m.frame.Slot, 0)) {
			mark = "> " // since the second that is shown
		}
		body = append(body, wrap(mark+m.moment(e.Time)+"  "+fit(clean(e.Kind), 16), clean(e.Text), m.size.Width)...)
	}
	if m.paused {
		head += "; > is what happened since the second shown"
	}
	if len(body) == 0 {
		body = []string{none}
	}
	return head, body
}

// moment is a time in the zone of the view.
func (m *Model) moment(t time.Time) string {
	if t.IsZero() {
		return fit("unknown", len(time.DateTime))
	}
	return t.In(m.now.Location()).Format(time.DateTime)
}

func (m *Model) faultBody() (head string, body []string) {
	if r := m.status.Version.Rejected; r != nil {
		body = append(body, warn+fmt.Sprintf("version %d of the document is rejected; %d stays in force:", r.Version, m.status.Version.InForce)+plain)
		for _, reason := range r.Reasons {
			body = append(body, wrap("  ", clean(reason), m.size.Width)...)
		}
	}
	for _, f := range m.status.HostFaults {
		body = append(body, wrap(clean(f.Place)+": ", clean(f.Reason), m.size.Width)...)
	}
	for _, f := range m.status.PidFiles {
		if f.State != "ok" && f.State != "missing" {
			body = append(body, wrap(fmt.Sprintf("pid file %s (cgroup /%s) is %s: ", clean(f.File), clean(f.Cgroup), clean(f.State)), clean(f.Reason), m.size.Width)...)
		}
	}
	for _, n := range m.status.HostNotes {
		body = append(body, wrap("without effect here: "+clean(n.Place)+": ", clean(n.Reason), m.size.Width)...)
	}
	if len(body) == 0 {
		body = []string{"none"}
	}
	return "FAULTS of this host", body
}
