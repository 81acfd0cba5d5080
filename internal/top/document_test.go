package top

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

const historyText = `{"source": "zookeeper", "problem": "", "in_force": 7, "versions": [
 {"version": 7, "time": "2026-11-22T11:59:59Z", "author": "ann@h1", "reason": "more", "what": "changes 1 setting"},
 {"version": 6, "time": "2026-11-22T11:00:00Z", "author": "bob@h2", "reason": "evil\u001b[2J", "what": null},
 {"version": 5, "time": "2026-11-22T10:00:00Z", "author": "", "reason": "", "what": null}]}`

const effectText = `{"from": 7, "to": null, "valid": true, "faults": [], "warnings": ["cpu/web: share: 1 becomes 2"], "more_warnings": 4,
 "summary": "removes 1 cgroup, adds 1 cgroup", "destroys": true,
 "changes": [{"kind": "-", "text": "cpu:/old"}, {"kind": "+", "text": "cpu:/new share 5"}, {"kind": "", "text": "... and 3 more such lines"}], "more_changes": 0,
 "host_faults": [{"place": "cpu/x", "reason": "not mounted", "new": true}, {"place": "cpu/y", "reason": "neither", "new": false}], "more_host_faults": 2,
 "host_notes": [{"place": "blkio/z", "reason": "no bfq", "new": true}], "more_host_notes": 3}`

// only is the one request of a kind.
func only(t *testing.T, requests []Request, cmd string) Request {
	t.Helper()
	var found []Request
	for _, r := range requests {
		if r.Cmd == cmd {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("asked %v, want one %s", requests, cmd)
	}
	return found[0]
}

func wants(t *testing.T, m *Model, words ...string) {
	t.Helper()
	for _, w := range words {
		if text := screenOf(m); !strings.Contains(text, w) {
			t.Fatalf("no %q in\n%s", w, text)
		}
	}
}

// at shows a second of the past.
func atSecond(t *testing.T, m *Model, clock, slot string) []Request {
	t.Helper()
	press(m, "g")
	typeText(m, clock)
	asked := press(m, "enter")
	return m.Update(Answer{Request: asked[0], Data: []byte(strings.Replace(slotText, "1795348799", slot, 1))})
}

// TestChanges: what has changed since the second that is shown, or since any version.
func TestChanges(t *testing.T) {
	m := shown(t)
	atSecond(t, m, "11:59:58", "1795348798")
	requests := press(m, "3")
	only(t, requests, "get_history")
	asked := only(t, requests, "compare")
	if asked.Args["from"] != int32(6) || asked.Args["to"] != int32(7) {
		t.Fatalf("asked %v: version 6 was in force then, 7 is now", asked)
	}
	if again := m.Update(Answer{Request: Request{Cmd: "get_history"}, Data: []byte(historyText)}); again != nil {
		t.Errorf("the same again: %v", again)
	}
	m.Update(Answer{Request: asked, Data: []byte(effectText)})
	wants(t, m, "7  2026-11-22 11:59:59  in force  changes 1 setting  ann@h1  more", "bob@h2  evil?[2J",
		"WHAT CHANGED from version 6 to 7", "removes 1 cgroup, adds 1 cgroup", "- cpu:/old", "+ cpu:/new share 5", "3 more such lines",
		"this host cannot: cpu/x: not mounted", "as before: cpu/y", "2 more faults", "without effect on this host: blkio/z: no bfq",
		"and 4 more values changed as the kernel would", "and 3 more without effect")

	older := only(t, press(m, "down"), "compare")
	wants(t, m, "WHAT CHANGED from version 5 to 7", "waiting")
	// The terminal asks one at a time: the answer to an earlier question asks the last one again.
	late := m.Update(Answer{Request: asked, Data: []byte(effectText)})
	if diff := cmp.Diff([]Request{older}, late, cmp.AllowUnexported(Request{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Update(Answer{Request: older, Err: Refusal("version 5 is not kept")})
	wants(t, m, "version 5 is not kept")

	// A new version is compared with as soon as it is in force.
	next := m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(strings.Replace(statusText, `"in_force": 7`, `"in_force": 8`, 1))})
	only(t, next, "get_history")
	next = m.Update(Answer{Request: Request{Cmd: "get_history"}, Data: []byte(historyText)})
	if asked := only(t, next, "compare"); asked.Args["to"] != int32(8) || asked.Args["from"] != int32(5) {
		t.Errorf("asked %v", asked)
	}
}

// TestSameSecond: a slot is what was at the start of its second.
func TestSameSecond(t *testing.T) {
	m := shown(t)
	m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(strings.Replace(statusText, "11:59:59Z", "11:59:58.1Z", 1))})
	atSecond(t, m, "11:59:58", "1795348798")
	wants(t, m, "version 6 in force")
}

// TestChangesNow: with no second of the past, it is the last change.
func TestChangesNow(t *testing.T) {
	m := shown(t)
	requests := press(m, "3")
	if asked := only(t, requests, "compare"); asked.Args["from"] != int32(6) {
		t.Errorf("asked %v, want from the version before the one in force", asked)
	}
	if asked := only(t, press(m, "v"), "compare"); asked.Args["verbose"] != true {
		t.Errorf("asked %v, want all of it", asked)
	}
}

// TestOlderDaemon: one without get_history has its events.
func TestOlderDaemon(t *testing.T) {
	m := shown(t)
	press(m, "3")
	m.Update(Answer{Request: Request{Cmd: "get_history"}, Err: Refusal("invalid cmd: get_history")})
	wants(t, m, "some may be missing: invalid cmd: get_history", "7  2026-11-22 11:59:59  in force", "6  2026-11-22 11:00:00")
}

// TestBeforeTheStart: what was in force before the daemon's start is the history's to tell.
func TestBeforeTheStart(t *testing.T) {
	m := shown(t)
	requests := atSecond(t, m, "10:30:00", "1795343400")
	wants(t, m, "version then: not known")
	only(t, requests, "get_history")
	m.Update(Answer{Request: requests[0], Data: []byte(historyText)})
	wants(t, m, "version 5 was the newest then")
	if asked := only(t, press(m, "3"), "compare"); asked.Args["from"] != int32(5) {
		t.Errorf("asked %v", asked)
	}
}

// TestEdit: the file is compared when it is named, and whenever its text changes.
func TestEdit(t *testing.T) {
	m := New(Options{Address: "h1:43409", Now: noon, File: "preset.json"})
	m.Update(Size{80, 24})
	m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(`{"version": {"in_force": 7}, "zookeeper": {"state": "connected"}}`)})
	press(m, "e")
	wants(t, m, "preset.json")
	m.Update(Paste("\n  pasted.json\nnot this"))
	wants(t, m, ": pasted.json_") // in place of what was offered
	press(m, "ctrl+u")
	typeText(m, "ne")
	asked := only(t, press(m, "tab"), askComplete)
	m.Update(Answer{Request: asked, Data: []byte("new.json")})
	m.Update(Answer{Request: asked, Data: []byte("late.json")})
	asked = only(t, press(m, "enter"), askFile)
	if asked.path != "new.json" {
		t.Fatalf("reads %q", asked.path)
	}
	m.Update(Answer{Request: asked, Err: errors.New("open new.json: no such file")})
	wants(t, m, "WHAT WOULD new.json DO", "no such file")
	read := func(text string) []Request { return m.Update(Answer{Request: m.readEdit(), Data: []byte(text)}) }
	effect := only(t, read("{}"), "compare")
	if effect.Args["document"] != "{}" {
		t.Fatalf("asked %v", effect)
	}
	m.Update(Answer{Request: effect, Data: []byte(effectText)})
	wants(t, m, "removes 1 cgroup, adds 1 cgroup", "share: 1 becomes 2", "- cpu:/old", "to write it: cgrouparchd conf set new.json")
	if again := read("{}"); again != nil {
		t.Errorf("the same text: %v", again)
	}
	other := only(t, read(`{"cpu": `), "compare")
	m.Update(Answer{Request: other, Data: []byte(`{"valid": false, "faults": [{"line": 1, "column": 9, "text": "unexpected end"}], "summary": "1 fault", "changes": [], "host_faults": null}`)})
	wants(t, m, "conf set would not take it", "line 1, column 9: unexpected end")
	if strings.Contains(screenOf(m), "to write it") {
		t.Error("a document with a fault is to be written")
	}
	if late := only(t, m.Update(Answer{Request: effect, Data: []byte(effectText)}), "compare"); late.Args["document"] != `{"cpu": ` {
		t.Errorf("asked %v", late)
	}
	if asked := only(t, press(m, "enter"), askEdit); asked.path != "new.json" {
		t.Errorf("edits %q", asked.path)
	}
	press(m, "e", "ctrl+u")
	if asked := only(t, press(m, "enter"), askEdit); asked.path != "" {
		t.Errorf("edits %q, want a copy of what is in force", asked.path)
	}
	m.Update(Answer{Request: Request{Cmd: askEdit}, Err: errors.New("editor: exit status 1")})
	wants(t, m, "editor: exit status 1")
	if asked := only(t, m.Update(Answer{Request: Request{Cmd: askEdit}, Data: []byte("/tmp/copy")}), askFile); asked.path != "/tmp/copy" {
		t.Errorf("reads %q", asked.path)
	}
}

// TestCost: a daemon that was restarted has used less than before, and parts that this program does not know
// do no harm.
func TestCost(t *testing.T) {
	m := shown(t)
	press(m, "6")
	answer := func(cpu, now string) {
		m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(`{"cost": {"cpu_seconds": ` + cpu + `, "new": {"x": 1}}, "now": "2026-11-22T12:00:` + now + `Z"}`)})
	}
	for _, tt := range []struct{ cpu, now, want string }{
		{"3", "04", "25.00     3.00"}, {"3", "04", "25.00     3.00"}, {"1", "05", "        -     1.00"}, {"1.5", "06", "50.00     1.50"},
	} {
		answer(tt.cpu, tt.now)
		wants(t, m, tt.want)
	}
}

// TestOtherAnswers: an answer about what was looked at before is not shown as what is looked at now.
func TestOtherAnswers(t *testing.T) {
	m := shown(t)
	asked := press(m, "down", "enter")[0]
	press(m, "esc", "down")
	press(m, "enter")
	m.Update(Answer{Request: asked, Data: []byte(`{"cgroup": "web", "processes": [{"pid": 7, "name": "nginx", "cgroup": "web"}]}`)})
	if text := screenOf(m); strings.Contains(text, "nginx") || !strings.Contains(text, "PROCESSES in /batch") {
		t.Errorf("it shows:\n%s", text)
	}
	m.Update(Answer{Request: m.askProcesses(), Data: []byte(`{"cgroup": "batch", "processes": [{"pid": 8, "name": "a"}, {"pid": 9, "name": "b"}]}`)})
	if asked := only(t, press(m, "down", "enter"), "get_process"); asked.Args["pid"] != 9 {
		t.Errorf("asked %v", asked)
	}
	m.Update(Answer{Request: Request{Cmd: "get_process"}, Data: []byte(`{"pid": 8, "name": "a"}`)})
	wants(t, m, "WHY process 9", "waiting")
	only(t, m.Update(Tick(noon)), "get_process") // the terminal may have left the question out
	press(m, "esc")
	wants(t, m, "PROCESSES in /batch")
}

// TestMembers: without pids in the document, processes are counted.
func TestMembers(t *testing.T) {
	m := New(Options{Now: noon})
	m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(`{"members": {"cpu": {"a": [1], "a/b": [2, 3], "": [9]}, "memory": {"a": [1]}}}`)})
	m.Update(Answer{Request: m.newest(), Data: []byte(`{"1": {"cpu": {"value": {}, "sub_cgroup": {"a": {"value": {}, "sub_cgroup": {"b": {"value": {}}}}}}}}`)})
	var got []float64
	for _, r := range m.frame.Rows {
		got = append(got, r.Pids)
	}
	if diff := cmp.Diff([]float64{4, 3, 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wants(t, m, "PROCS")
}

// TestStale: a daemon that answers with nothing new is not taken for one that is live.
func TestStale(t *testing.T) {
	m := shown(t)
	m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(`{"cgroup_root": "/", "version": {"in_force": -1}}`)})
	for range staleAnswers - 1 {
		m.Update(Answer{Request: m.newest(), Data: []byte(`{}`)})
	}
	wants(t, m, "live  no document in force")
	m.Update(Answer{Request: m.newest(), Data: []byte(slotText)})
	wants(t, m, "no newer usage")
	m.Update(Answer{Request: m.newest(), Data: []byte(strings.Replace(slotText, "1795348799", "1795348805", 1))})
	wants(t, m, "live")
}

// TestAsksLittle: the status, which reads the members of every cgroup, is asked for seldom where it is not
// looked at.
func TestAsksLittle(t *testing.T) {
	count := func(m *Model) (n int) {
		for i := range 10 {
			for _, r := range m.Update(Tick(noon.Add(time.Duration(i) * time.Second))) {
				if r.Cmd == "get_status" {
					n++
				}
			}
		}
		return n
	}
	m := shown(t)
	if n := count(m); n != 2 {
		t.Errorf("%d times in 10 s", n)
	}
	press(m, "4")
	if n := count(m); n != 10 {
		t.Errorf("%d times in 10 s of looking at hosts", n)
	}
}

func TestNarrow(t *testing.T) {
	m := shown(t)
	m.Update(Size{40, 10})
	press(m, "m")
	wants(t, m, "CGROUP", "MEMORY▼")
	m.Update(Size{56, 10})
	m.cursor = ""
	m.frame.Rows = append(m.frame.Rows, Row{Path: "services/frontend/web"})
	wants(t, m, "…rvices/frontend/web")
}

func TestCompletePath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"conf-a.json", "conf-b.json", ".hidden", "sub/x"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", dir)
	t.Chdir(dir)
	for typed, want := range map[string]string{
		"c": "conf-", "conf-a": "conf-a.json", "s": "sub/", "sub/": "sub/x", dir + "/conf-b": dir + "/conf-b.json", "x": "x", ".h": ".hidden",
		"~/s": "~/sub/", "nowhere/x": "nowhere/x", "": "",
	} {
		if got := completePath(typed); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := readFile(dir); err == nil {
		t.Error("a directory is read")
	}
	if _, err := readFile("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(large); err == nil {
		t.Error("a file without end is read")
	}
}

func TestDraft(t *testing.T) {
	term := &terminal{ctx: t.Context(), ask: conf(`{"version": 3, "value": {"cpu":  {}}}`)}
	d, err := newDraft(term)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(d.file); err != nil || string(text) != `{"cpu":  {}}` {
		t.Fatalf("%q, %v; want it byte for byte", text, err)
	}
	if kept := d.leave(); kept != "" {
		t.Errorf("kept %s, in which nothing was written", kept)
	}
	if _, err := os.Stat(filepath.Dir(d.file)); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	if d, err = newDraft(term); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(d.file)) })
	if err := os.WriteFile(d.file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if kept := d.leave(); kept != d.file {
		t.Errorf("kept %q, want what was written", kept)
	}
	term.ask = conf(`{"version": -1, "value": null}`)
	if _, err := newDraft(term); err == nil {
		t.Error("a copy of nothing")
	}
}

// conf is a daemon that answers the same to everything.
func conf(text string) Client {
	return func(context.Context, string, map[string]any) ([]byte, error) { return []byte(text), nil }
}

// FuzzAnswers: whatever a daemon answers, the screen holds, and nothing of it talks to the terminal.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		historyText, effectText, statusText, slotText, `{"cgroup": "", "processes": [{"pid": 8, "name": "\u001b[2J\u202e\u0007"}], "more": 3}`,
		`{"pid": 8, "places": [{"subsystem": "\u009b2J", "why": "\r\n"}]}`, `{"valid": true, "changes": [{"kind": "~", "text": "\u001b[2J"}]}`, `{"versions": [{"version": 7, "what": "\u001b]0;x\u0007"}]}`, `null`, `[]`,
	} {
		f.Add([]byte(text), uint8(80))
	}
	styles := strings.NewReplacer(bold, "", reverse, "", faint, "", red, "", green, "", warn, "", plain, "")
	f.Fuzz(func(t *testing.T, data []byte, width uint8) {
		for _, keys := range [][]string{{"1"}, {"1", "t"}, {"enter"}, {"5", "8", "enter"}, {"2"}, {"d"}, {"3"}, {"e", "x", "enter"}, {"4"}, {"f"}, {"6"}} {
			m := New(Options{Address: "h", Now: noon})
			m.Update(Size{int(width), 24})
			asked := append(append(m.Start(), press(m, keys...)...), Request{Cmd: "get_history"}, m.readEdit())
			for range 2 { // answers bring questions
				var next []Request
				for _, r := range asked {
					next = append(next, m.Update(Answer{Request: r, Data: data})...)
				}
				asked = append(asked, next...)
			}
			for line := range strings.SplitSeq(m.View(), "\n") {
				if w := ansi.StringWidth(line); w > int(width) {
					t.Fatalf("%v: line of %d in %d: %q", keys, w, width, line)
				}
				for _, r := range styles.Replace(line) {
					if !strconv.IsPrint(r) {
						t.Fatalf("%v: %q in %q", keys, r, line)
					}
				}
			}
		}
	})
}
