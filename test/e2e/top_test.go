package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// screen is a program in a terminal of its own (tmux), driven by keys.
type screen struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, command ...string) *screen {
	t.Helper()
	needTool(t, "tmux")
	s := &screen{t, t.TempDir() + "/tmux"}
	t.Cleanup(func() { _, _ = s.tmux("kill-server") })
	// The shell keeps the terminal after the program's end, with its exit status.
	args := append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", "sh", "-c", `trap : INT; "$@"; echo "left with $?"; cat`, "sh"}, command...)
	if out, err := s.tmux(args...); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	return s
}

func (s *screen) tmux(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	return string(out), err
}

func (s *screen) keys(keys ...string) {
	s.t.Helper()
	if out, err := s.tmux(append([]string{"send-keys"}, keys...)...); err != nil {
		s.t.Fatalf("tmux: %v: %s", err, out)
	}
}

func (s *screen) text() string {
	out, err := s.tmux("capture-pane", "-p")
	if err != nil {
		s.t.Fatalf("tmux: %v: %s", err, out)
	}
	return out
}

// want waits until all the words stand on the screen.
func (s *screen) want(words ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%q on the screen", words), func() error {
		text := s.text()
		for _, w := range words {
			if !strings.Contains(text, w) {
				return errors.New(text)
			}
		}
		return nil
	})
}

// line is the line of the screen that begins with a word.
func (s *screen) line(word string) []string {
	for line := range strings.Lines(s.text()) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == word {
			return f
		}
	}
	return nil
}

// TestTop drives the terminal view as a person would.
func TestTop(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"busy": {"conf": {}, "sub_cgroup": {"deep": {"conf": {}}}}, "idle": {"conf": {}}}}}`)
	burner := startProc(t, nil, "sh", "-c", "while :; do :; done")
	h.set("cgroup_pid_files", map[string][]string{"deep": {h.pidFile("deep.pid", burner.pid())}})
	d := h.startReady()
	s := newScreen(t, binary, "top", "--utc", "--address", d.addr)
	s.want("CGROUP", "/busy/deep", "/idle", "live", "version 0 in force")
	eventually(t, "the burner's CPU", func() error {
		busy, idle := s.line("/busy/deep"), s.line("/idle")
		if len(busy) < 2 || len(idle) < 2 || len(busy[1]) < 3 || busy[1] == "0.0" || idle[1] != "0.0" {
			return errors.New(s.text())
		}
		return nil
	})
	s.keys("t")
	s.want("    deep")
	s.keys("t", "Down", "Down", "Enter")
	s.want("PROCESSES in /", "sh", fmt.Sprint(burner.pid()))
	s.keys("Escape")
	s.want("CGROUP")
	s.keys("5", fmt.Sprint(burner.pid()), "Enter")
	s.want("cpu: ok", "/busy/deep", "deep.pid names it")
	past := strings.Fields(s.text())[2] // after address and date
	eventually(t, "another second", func() error {
		if text := s.text(); strings.Fields(text)[2] == past {
			return errors.New(text)
		}
		return nil
	})
	s.keys("g", past, "Enter")
	s.want(past + " UTC   PAST ")
	s.keys("6")
	s.want("COST of this daemon")
	s.keys("?")
	s.want("a second, as 03:12:07")
	s.keys("Escape", "Escape") // as one, for the terminal
	s.want("CGROUP", "PAST")
	s.keys("Escape")
	s.want("UTC  live")
	if r := h.cli("top", "--once", "--sort", "name", "--address", d.addr).wantExit(t, 0); !strings.Contains(r.stdout, "CPU%") || !strings.Contains(r.stdout, "/busy/deep\n") {
		t.Errorf("--once: %v", r)
	}
	h.cli("top", "--address", d.addr).wantExit(t, 2) // this is no terminal

	// Whoever watches goes on watching when the daemon is back.
	_, port, err := net.SplitHostPort(d.addr)
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	d.stop()
	s.want("OFFLINE")
	h.set("communicate_port", number)
	d = h.startReady()
	s.want("UTC  live", "/busy/deep", "version 0 in force")
	// A document that is too large to be sent, whatever it holds.
	large := h.path("large.json")
	must(t, os.WriteFile(large, []byte(`{"cpu": {"sub_cgroup": {"busy": {"conf": {"share": 7}}}}}`+strings.Repeat(" ", 70000)), 0o600))
	s.keys("e", large, "Enter")
	s.want("too large to be sent", "- cpu:/busy/deep", "~ cpu:/busy share 1024 -> 7")
	d.stop()
	s.want("OFFLINE")
	s.keys("q")
	s.want("left with 0")
}
