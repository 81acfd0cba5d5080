package top

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Client asks the daemon one question; a [Refusal] is its own answer that the
// question is wrong.
type Client func(ctx context.Context, cmd string, args map[string]any) ([]byte, error)

// answerTime is how long an answer may take before the daemon counts as away.
const answerTime = 5 * time.Second

// Run shows the view on a terminal until the user leaves or ctx ends.
func Run(ctx context.Context, m *Model, ask Client, in io.Reader, out io.Writer) error {
	_, err := tea.NewProgram(&terminal{ctx, m, ask, map[string]bool{}}, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// terminal joins the model to bubbletea: its messages are events, requests are
// its commands.
type terminal struct {
	ctx   context.Context //nolint:containedctx // bubbletea's commands get none
	model *Model
	ask   Client
	// busy holds what is being asked: a slow daemon is not asked the same twice.
	busy map[string]bool
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
		all = append(all, func() tea.Msg {
			ctx, cancel := context.WithTimeout(t.ctx, answerTime)
			defer cancel()
			data, err := t.ask(ctx, r.Cmd, r.Args)
			return Answer{Request: r, Data: data, Err: err}
		})
	}
	return tea.Batch(all...)
}
