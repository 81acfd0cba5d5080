package top

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// changeView are the versions of the document, and what is different between one
// of them and the one in force.
type changeView struct {
	history []documentVersion // newest first
	why     string            // why there is no history
	row     int               // of the chosen version
	chosen  *documentVersion  // nil until the first look
	to      int32             // what it is compared with
	diff    *comparison       // nil while it is not known
	refused string            // why there is none
}

// openChanges shows what has changed: since the second that is shown, if that is
// of the past, else with the last version.
func (m *Model) openChanges() []Request {
	m.changes.chosen, m.changes.diff, m.changes.refused = nil, nil, ""
	m.show(changeScreen)
	return append([]Request{{Cmd: "get_history"}, {Cmd: "get_status"}}, m.choose(m.startRow())...)
}

// versions are all that are known, newest first: the history in ZooKeeper and
// what this daemon itself has had in force.
func (m *Model) versions() []documentVersion {
	if m.changes.history != nil {
		return m.changes.history
	}
	var out []documentVersion
	for _, e := range m.status.Events {
		if e.Kind == "version" && e.Version != nil {
			out = append(out, documentVersion{Version: *e.Version, Time: e.Time})
		}
	}
	slices.Reverse(out)
	return out
}

// versionAt is the version that was in force in a second. sure is false when
// this daemon did not run then, and the time of writing is all that is known.
func (m *Model) versionAt(slot int64) (version int32, sure, ok bool) {
	then := time.Unix(slot, 0) // a slot is what was at the start of its second
	for i := len(m.status.Events) - 1; i >= 0; i-- {
		if e := m.status.Events[i]; e.Version != nil && e.Kind == "version" && !e.Time.After(then) {
			return *e.Version, true, true
		}
	}
	for _, v := range m.changes.history {
		if !v.Time.After(then) {
			return v.Version, false, true
		}
	}
	return 0, false, false
}

// startRow is the version that was in force in the second shown, else the one
// before the one in force.
func (m *Model) startRow() int {
	all := m.versions()
	if m.paused && m.frame != nil {
		if then, _, ok := m.versionAt(m.frame.Slot); ok {
			return max(0, slices.IndexFunc(all, func(v documentVersion) bool { return v.Version == then }))
		}
		return max(0, len(all)-1)
	}
	now := slices.IndexFunc(all, func(v documentVersion) bool { return v.Version == m.status.Version.InForce })
	return min(now+1, max(0, len(all)-1))
}

// choose compares another version with the one in force.
func (m *Model) choose(row int) []Request {
	all := m.versions()
	if len(all) == 0 {
		return nil
	}
	v := &m.changes
	v.row = min(max(row, 0), len(all)-1)
	one := all[v.row]
	v.chosen, v.to, v.diff, v.refused, m.scroll = &one, m.status.Version.InForce, nil, "", 0
	return []Request{m.askChanges()}
}

func (m *Model) askChanges() Request {
	return Request{Cmd: "compare", Args: map[string]any{"from": m.changes.chosen.Version, "to": m.changes.to, "verbose": m.verbose}}
}

// setHistory takes the list in; the version chosen by the user stays chosen.
func (m *Model) setHistory(data []byte) ([]Request, error) {
	var h history
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, err
	}
	m.changes.history, m.changes.why = h.Versions, h.Problem
	return m.chooseAgain(), nil
}

// noHistory goes on with what is known otherwise.
func (m *Model) noHistory(why string) []Request {
	m.changes.history, m.changes.why = nil, why
	return m.chooseAgain()
}

func (m *Model) chooseAgain() []Request {
	if m.screen != changeScreen {
		return nil
	}
	v := &m.changes
	if v.chosen == nil {
		return m.choose(m.startRow())
	}
	same := slices.IndexFunc(m.versions(), func(o documentVersion) bool { return o.Version == v.chosen.Version && o.Time.Equal(v.chosen.Time) })
	if same < 0 { // the history knows another time of it
		same = slices.IndexFunc(m.versions(), func(o documentVersion) bool { return o.Version == v.chosen.Version })
	}
	if same < 0 {
		return m.choose(m.startRow())
	}
	if v.row = same; v.to != m.status.Version.InForce {
		return m.choose(same)
	}
	return nil
}

// changeBody lists the versions above, a few lines around the chosen one, and
// below it what has changed since.
func (m *Model) changeBody() (head string, body []string) {
	v, all := &m.changes, m.versions()
	head = "VERSIONS of the document (up, down: choose)"
	if v.why != "" {
		body = append(body, wrap("", warn+"some may be missing: "+clean(v.why)+plain, m.size.Width)...)
	}
	if len(all) == 0 {
		return head, append(body, "none is known")
	}
	room := min(len(all), max(m.height()/3, 2))
	first := window(v.row, room, len(all))
	for i := first; i < min(first+room, len(all)); i++ {
		text := m.versionLine(&all[i])
		if i == v.row {
			text = reverse + fit(text, m.size.Width) + plain
		}
		body = append(body, text)
	}
	if v.chosen == nil {
		return head, body
	}
	body = append(body, "", bold+fmt.Sprintf("WHAT CHANGED from version %d to %d, in force", v.chosen.Version, v.to)+plain)
	below := []string{"waiting ..."}
	switch {
	case v.refused != "":
		below = wrap("", warn+clean(v.refused)+plain, m.size.Width)
	case v.diff != nil:
		below = v.diff.lines(m.size.Width)
	}
	m.scroll = min(m.scroll, max(len(below)-(m.height()-len(body)), 0))
	return head, append(body, below[min(m.scroll, len(below)):]...)
}

func (m *Model) versionLine(v *documentVersion) string {
	text := fmt.Sprintf("%6d  %s", v.Version, m.moment(v.Time))
	if v.Version == m.status.Version.InForce {
		text += "  in force"
	}
	what := ""
	if v.What != nil {
		what = *v.What
	}
	for _, s := range []string{what, v.Author, v.Reason} {
		if s != "" {
			text += "  " + clean(s)
		}
	}
	return text
}
