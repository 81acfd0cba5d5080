package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// mostKeys is how many keys a question may take from the start screen, not counting what is typed as its answer.
const mostKeys = 3

// way is one way to the answer of a question: keys, and words for what is typed between them.
type way struct {
	text string
	keys []string // "*the time" is what the manual calls "the time"
}

// questions reads the table of questions of the manual: the ways in the terminal, by question.
func questions(t *testing.T) map[string][]way {
	t.Helper()
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	must(t, err)
	_, table, found := strings.Cut(string(manual), "| in `cgrouparchd top` |\n|---|---|---|\n")
	if !found {
		t.Fatal("docs/operations.md has no table of questions")
	}
	token := regexp.MustCompile("`([^`]+)`|\\*([^*]+)\\*")
	out := map[string][]way{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 {
			break
		}
		question := strings.TrimPrefix(cells[0], "| ")
		for text := range strings.SplitSeq(strings.TrimSuffix(cells[2], " |"), ";") {
			w := way{text: strings.TrimSpace(text)}
			for _, m := range token.FindAllStringSubmatch(text, -1) {
				if m[2] != "" {
					m[1] = "*" + m[2]
				}
				w.keys = append(w.keys, m[1])
			}
			out[question] = append(out[question], w)
		}
	}
	return out
}

// TestTenQuestions: what an on-call engineer asks is answered in the terminal with the keys that the manual names, no
// more than three of them.
func TestTenQuestions(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	const before = `{"cpu": {"sub_cgroup": {"busy": {"conf": {"share": 1024}}, "idle": {"conf": {}}}}}`
	const after = `{"cpu": {"sub_cgroup": {"busy": {"conf": {"share": 512}}, "idle": {"conf": {}}}}}`
	client.Create(node, before, identity)
	h.useZooKeeper(zk.Addr())
	burner := startProc(t, nil, "sh", "-c", "while :; do :; done")
	h.set("cgroup_pid_files", map[string][]string{"busy": {h.pidFile("busy.pid", burner.pid())}})
	d := h.startReady()
	says, _ := otherHost(t, zk.Addr(), "laggard")
	says(fleet.Agent{Seen: 0, InForce: 0})

	watch := newScreen(t, binary, "top", "--utc", "--address", d.addr)
	past := ""
	eventually(t, "a second with the burner in it", func() error {
		text := watch.text()
		title, busy := strings.Fields(text), regexp.MustCompile(`(?m)^/busy +[1-9]`).MatchString(text)
		if !busy || len(title) < 5 || title[4] != "live" {
			return errors.New(text)
		}
		past = title[2]
		return nil
	})
	client.Put(node, after)
	watch.want("version 1 in force")
	must(t, h.put("cpu", "idle", "cpu.shares", "999"))
	edit := h.path("edit.json")
	must(t, os.WriteFile(edit, []byte(`{"cpu": {"sub_cgroup": {"busy": {"conf": {"share": 2048}}}}, "nosuch": {}}`), 0o600))
	editor := h.path("editor.sh")
	must(t, os.WriteFile(editor, []byte("#!/bin/sh\nsed -i s/512/700/ \"$1\"\n"), 0o700))

	typed := map[string]string{"*the time": past, "*its name": "busy", "*its file": edit, "*its number": fmt.Sprint(os.Getpid())}
	answers := map[string][][]string{
		"Who eats the CPU, the disk, the memory now?": {{"CPU%▼", "/busy", "live"}, {"READ/s▼ WRITE/s▼"}, {"MEMORY▼"}},
		"Who did at 03:12:07?":                        {{past + " UTC   PAST ", "/busy"}},
		"Which process inside that cgroup?":           {{"PROCESSES in /busy", fmt.Sprint(burner.pid())}, {"PROCESSES in /busy", fmt.Sprint(burner.pid())}},
		"Which version was in force then?":            {{past + " UTC   PAST   version 0 in force"}},
		"What changed between then and now?":          {{"WHAT CHANGED from version 0 to 1", "~ cpu:/busy share 1024 -> 512"}},
		"What would this edit do?": {
			{"removes 1 cgroup", "- cpu:/idle", "~ cpu:/busy share 512 -> 2048", "this host cannot: nosuch", "conf set " + edit},
			{"changes 1 setting", "~ cpu:/busy share 512 -> 700"},
		},
		"Which hosts lag behind, and why?":       {{"version 1 is in force on 1 of 2", "laggard", "behind", "version 0 is in force"}},
		"Why is this process not in its cgroup?": {{fmt.Sprintf("WHY process %d", os.Getpid()), "no pid file names it"}},
		"What did somebody change by hand?":      {{"CHANGED BY HAND", "put back: write cpu:", "/idle/cpu.shares"}},
		"What does the daemon itself cost?":      {{"COST of this daemon", "all, of one core", "sampler"}},
	}
	table := questions(t)
	if len(table) != len(answers) {
		t.Errorf("%d questions in the manual, %d here", len(table), len(answers))
	}
	for question, want := range answers {
		ways := table[question]
		if len(ways) != len(want) {
			t.Errorf("%s: %d ways in the manual, %d here", question, len(ways), len(want))
			continue
		}
		for i, w := range ways {
			t.Run(question+" "+w.text, func(t *testing.T) {
				t.Parallel()
				s := newScreen(t, "env", "EDITOR="+editor, "TMPDIR="+t.TempDir(), binary, "top", "--utc", "--address", d.addr)
				s.want("/busy", "version 1 in force")
				keys := 0
				for _, k := range w.keys {
					text, answer := typed[k]
					switch {
					case answer:
						s.keys("-l", text)
					case strings.HasPrefix(k, "*"):
						t.Fatalf("nobody knows what to type for %q", k)
					default:
						keys++
						s.keys(k)
					}
				}
				if keys > mostKeys {
					t.Errorf("%d keys", keys)
				}
				s.want(want[i]...)
			})
		}
	}
}
