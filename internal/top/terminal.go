package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Client asks the daemon one question; a [Refusal] is its own answer that the
// question is wrong.
type Client func(ctx context.Context, cmd string, args map[string]any) ([]byte, error)

// framesPerSecond bounds how long a key is not seen to work (50 ms), and is how often
// the library wakes up: a third of its default.
const framesPerSecond = 20

// answerTime is how long an answer may take before the daemon counts as away.
const answerTime = 5 * time.Second

// Here is what the view needs of the machine that it is shown on.
type Here struct {
	In  io.Reader
	Out io.Writer
	// Edit is the command that lets the user edit a file.
	Edit func(file string) *exec.Cmd
}

// Run shows the view on a terminal until the user leaves or ctx ends. kept is the
// file of a document that the user has edited and nobody else knows of, "" for
// none.
func Run(ctx context.Context, m *Model, ask Client, here Here) (kept string, err error) {
	t := &terminal{ctx: ctx, model: m, ask: ask, busy: map[string]bool{}, edit: here.Edit}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(here.In), tea.WithOutput(here.Out), tea.WithFPS(framesPerSecond)}
	if os.Getenv("NO_COLOR") != "" { // whatever its value: https://no-color.org; the library wants a yes
		options = append(options, tea.WithEnvironment(append(os.Environ(), "NO_COLOR=1")))
	}
	_, err = tea.NewProgram(t, options...).Run()
	kept = t.copy.leave()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		err = nil
	}
	return kept, err
}

// terminal joins the model to bubbletea: its messages are events, requests are
// its commands.
type terminal struct {
	ctx   context.Context //nolint:containedctx // bubbletea's commands get none
	model *Model
	ask   Client
	// busy holds what is being asked: a slow daemon is not asked the same twice.
	busy map[string]bool
	edit func(file string) *exec.Cmd
	copy draft
}

// Init asks the first questions.
func (t *terminal) Init() tea.Cmd { return tea.Batch(t.commands(t.model.Start()), tick()) }

// Update takes one message.
func (t *terminal) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var next []tea.Cmd
	var event Event
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		event = Size{msg.Width, msg.Height}
	case tea.KeyPressMsg:
		event = Key(keyName(msg))
	case tea.PasteMsg:
		event = Paste(msg.Content)
	case editMsg:
		return t, t.editor(msg)
	case tickMsg:
		event = Tick(msg)
		next = append(next, tick())
	case Answer:
		delete(t.busy, msg.Request.Cmd)
		event = msg
	default:
		return t, nil
	}
	next = append(next, t.commands(t.model.Update(event)))
	if t.model.Quit() {
		return t, tea.Quit
	}
	return t, tea.Batch(next...)
}

// keyName is what a key types, if it types something, else its name.
func keyName(k tea.KeyPressMsg) string {
	if k.Text != "" && k.Text != " " {
		return k.Text
	}
	return k.String()
}

// View is the screen.
func (t *terminal) View() tea.View {
	v := tea.NewView(t.model.View())
	v.AltScreen = true
	return v
}

type tickMsg time.Time

func tick() tea.Cmd {
	return tea.Every(time.Second, func(now time.Time) tea.Msg { return tickMsg(now) })
}

// commands asks, each question on its own.
func (t *terminal) commands(requests []Request) tea.Cmd {
	var all []tea.Cmd
	for _, r := range requests {
		if t.busy[r.Cmd] && r.slot == 0 {
			continue
		}
		t.busy[r.Cmd] = true
		if r.Cmd == askEdit {
			all = append(all, t.prepare(r))
			continue
		}
		all = append(all, func() tea.Msg {
			data, err := t.answer(r)
			return Answer{Request: r, Data: data, Err: err}
		})
	}
	return tea.Batch(all...)
}

// answer asks the daemon, or this machine.
func (t *terminal) answer(r Request) ([]byte, error) {
	switch r.Cmd {
	case askFile:
		return readFile(r.path)
	case askComplete:
		return []byte(completePath(r.path)), nil
	}
	ctx, cancel := context.WithTimeout(t.ctx, answerTime)
	defer cancel()
	return t.ask(ctx, r.Cmd, r.Args)
}

// editMsg is a file that is ready for the editor.
type editMsg struct {
	request Request
	file    string
	copy    *draft // nil: file is not a new draft
}

// prepare makes a file ready for the editor: the one that the request names, else a
// copy of the document in force, which is made once.
func (t *terminal) prepare(r Request) tea.Cmd {
	file := t.copy.file
	if r.path != "" {
		file = atHome(r.path)
	}
	return func() tea.Msg {
		if file != "" {
			return editMsg{r, file, nil}
		}
		d, err := newDraft(t)
		if err != nil {
			return Answer{Request: r, Err: err}
		}
		return editMsg{r, d.file, d}
	}
}

// editor gives the terminal to the user's editor.
func (t *terminal) editor(msg editMsg) tea.Cmd {
	if msg.copy != nil {
		t.copy = *msg.copy
	}
	return tea.ExecProcess(t.edit(msg.file), func(err error) tea.Msg {
		if err != nil {
			err = fmt.Errorf("editor: %w", err)
		}
		return Answer{Request: msg.request, Data: []byte(msg.file), Err: err}
	})
}
