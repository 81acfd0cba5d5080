package top

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// prompt is a line that is being typed.
type prompt struct {
	label string // "" is none
	text  string
	// offered: text is a proposal, which typing replaces and editing keeps.
	offered bool
	files   bool // a path, which Tab completes
	done    func(m *Model, text string) []Request
}

// begin is before something is typed.
func (p *prompt) begin() {
	if p.offered {
		p.text, p.offered = "", false
	}
}

// shown is the line on the screen.
func (p *prompt) shown(width int) string {
	text := clean(p.text)
	label := p.label + ": "
	if over := ansi.StringWidth(label+text) + 1 - width; over > 0 && over < ansi.StringWidth(text) {
		text = ansi.TruncateLeft(text, over+1, "…") // what is typed next is at its end
	}
	if p.offered {
		text = reverse + text + plain
	}
	return fit(label+text+"_", width)
}

// paste takes a pasted text, of which only the first line can be meant.
func (p *prompt) paste(text string) {
	if p.label == "" {
		return
	}
	p.begin()
	line, _, _ := strings.Cut(strings.TrimLeftFunc(text, unicode.IsSpace), "\n")
	p.text += strings.TrimRightFunc(line, unicode.IsSpace)
}

// typed takes a key of a prompt.
func (m *Model) typed(key string) []Request {
	p := &m.prompt
	switch key {
	case "backspace", "tab", "left", "right", "home", "end":
		p.offered = false
	}
	switch key {
	case "enter":
		text, done := strings.TrimSpace(p.text), p.done
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
	case "ctrl+w":
		text := strings.TrimRight(p.text, " /")
		p.text = text[:strings.LastIndexAny(text, " /")+1]
	case "tab":
		if p.files {
			return []Request{{Cmd: askComplete, path: p.text}}
		}
	case "space":
		p.begin()
		p.text += " "
	default:
		if len([]rune(key)) == 1 {
			p.begin()
			p.text += key
		}
	}
	return nil
}

// fromHere takes an answer of this machine.
func (m *Model) fromHere(a Answer) []Request {
	switch {
	case a.Request.Cmd == askComplete && m.prompt.files && m.prompt.text == a.Request.path && a.Err == nil:
		m.prompt.text = string(a.Data)
	case a.Request.Cmd == askComplete: // more was typed meanwhile
	case a.Request.Cmd == askFile:
		return m.setEdit(a)
	case a.Err != nil:
		m.notice = a.Err.Error()
	default: // the editor has ended
		return m.openEdit(string(a.Data))
	}
	return nil
}
