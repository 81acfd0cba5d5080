package top

import (
	"encoding/json"
	"fmt"
	"strings"
)

// editView is a document in a file, and what it would change.
type editView struct {
	file    string // "" is none yet
	text    string // of the file, as it was compared
	missing string // why it cannot be read
	effect  *comparison
	refused string
}

// askForEdit asks for the file of a document.
func (m *Model) askForEdit() []Request {
	m.prompt = prompt{label: "document (empty: edit a copy of the one in force)", text: m.edit.file, offered: m.edit.file != "", files: true, done: func(m *Model, text string) []Request {
		if text == "" {
			return []Request{{Cmd: askEdit}}
		}
		return m.openEdit(text)
	}}
	return nil
}

// openEdit shows what the document in a file would change.
func (m *Model) openEdit(file string) []Request {
	m.edit = editView{file: file}
	m.show(editScreen)
	return []Request{m.readEdit()}
}

func (m *Model) readEdit() Request { return Request{Cmd: askFile, path: m.edit.file} }

// setEdit takes the file's text in, and asks what it would do when it is another.
func (m *Model) setEdit(a Answer) []Request {
	v := &m.edit
	if a.Request.path != v.file {
		return nil
	}
	if a.Err != nil {
		*v = editView{file: v.file, missing: a.Err.Error()}
		return nil
	}
	if text := string(a.Data); text != v.text || v.missing != "" {
		*v = editView{file: v.file, text: text}
	}
	if v.effect != nil || v.refused != "" {
		return nil
	}
	return []Request{m.askEffect()}
}

func (m *Model) askEffect() Request {
	return Request{Cmd: "compare", Args: map[string]any{"document": m.edit.text, "verbose": m.verbose}}
}

// toggleVerbose shows differences whole, or short again.
func (m *Model) toggleVerbose() []Request {
	m.verbose = !m.verbose
	if m.screen == changeScreen {
		return m.choose(m.changes.row)
	}
	if m.edit.text == "" {
		return nil
	}
	m.edit.effect, m.edit.refused = nil, ""
	return []Request{m.askEffect()}
}

// compared takes a comparison in. The terminal asks one at a time, so the answer
// may be to a question that is not the last one: that is asked again.
func (m *Model) compared(a Answer) ([]Request, error) {
	var c comparison
	refused := ""
	if a.Err != nil {
		refused = a.Err.Error()
	} else if err := json.Unmarshal(a.Data, &c); err != nil {
		return nil, err
	}
	whole := a.Request.Args["verbose"] == m.verbose
	if document, ok := a.Request.Args["document"]; ok {
		switch {
		case document == m.edit.text && whole:
			m.edit.effect, m.edit.refused = &c, refused
		case m.screen == editScreen:
			return []Request{m.askEffect()}, nil
		}
		return nil, nil
	}
	v := &m.changes
	switch {
	case v.chosen == nil:
	case whole && a.Request.Args["from"] == v.chosen.Version && a.Request.Args["to"] == v.to:
		v.diff, v.refused = &c, refused
	case m.screen == changeScreen:
		return []Request{m.askChanges()}, nil
	}
	return nil, nil
}

func (m *Model) editBody() (head string, body []string) {
	v := &m.edit
	head = "WHAT WOULD " + clean(v.file) + " DO"
	switch {
	case v.missing != "":
		return head, wrap("", warn+clean(v.missing)+plain, m.size.Width)
	case v.refused != "":
		return head, wrap("", warn+clean(v.refused)+plain, m.size.Width)
	case v.effect == nil:
		return head, []string{"waiting ..."}
	}
	body = v.effect.lines(m.size.Width)
	if v.effect.Valid && len(v.effect.Changes) > 0 && m.status.ZooKeeper != nil {
		body = append(body, "", faint+"to write it: cgrouparchd conf set "+clean(v.file)+plain)
	}
	return head, append(body, faint+"it is compared again whenever the file changes; enter opens it in your editor"+plain)
}

// lines show a comparison.
func (c *comparison) lines(width int) (out []string) {
	add := func(style, before, text string) {
		for _, l := range wrap(before, clean(text), width) {
			out = append(out, style+l+plain)
		}
	}
	if c.Note != "" {
		add(warn, "", c.Note)
	}
	if !c.Valid {
		add(warn, "", "conf set would not take it:")
	}
	for _, f := range c.Faults {
		place := "  "
		if f.Line > 0 {
			place = fmt.Sprintf("  line %d, column %d: ", f.Line, f.Column)
		}
		add("", place, f.Text)
	}
	for _, w := range c.Warnings {
		add(warn, "  ", w)
	}
	if c.MoreWarnings > 0 {
		add(warn, "  ", fmt.Sprintf("and %d more values changed as the kernel would", c.MoreWarnings))
	}
	add(bold, "", c.Summary)
	for _, l := range c.Changes {
		add(styleOf(l.Kind), strings.TrimLeft(l.Kind+" ", " "), l.Text)
	}
	if c.MoreChanges > 0 {
		add("", "", fmt.Sprintf("and %d more such lines", c.MoreChanges))
	}
	for _, f := range c.HostFaults {
		before := "this host cannot, as before: "
		if f.New {
			before = "this host cannot: "
		}
		add(warn, before, f.Place+": "+f.Reason)
	}
	if c.MoreHostFaults > 0 {
		add(warn, "", fmt.Sprintf("and %d more faults of this host", c.MoreHostFaults))
	}
	for _, n := range c.HostNotes {
		add("", "without effect on this host: ", n.Place+": "+n.Reason)
	}
	if c.MoreHostNotes > 0 {
		add("", "", fmt.Sprintf("and %d more without effect on this host", c.MoreHostNotes))
	}
	return out
}

// styleOf is the colour of a change of a kind.
func styleOf(kind string) string {
	switch kind {
	case "-", "!":
		return red
	case "+":
		return green
	default:
		return ""
	}
}
