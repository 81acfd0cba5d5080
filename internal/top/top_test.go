package top

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

// noon is when the tests play.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const slotText = `{"1795348799": {
	"cpu": {"value": {"usage": 1500000000}, "sub_cgroup": {
		"web": {"value": {"usage": 1000000000}, "sub_cgroup": {"api": {"value": {"usage": 400000000}}}},
		"batch": {"value": {"usage": 500000000}}, "new": {"value": {}}}},
	"cpuacct": {"value": {"usage": 9000000000}, "sub_cgroup": {"other": {"value": {"usage": 1}}}},
	"blkio": {"value": {"8:0": {"Read": 1048576, "Write": 0}, "8:16": {"Read": 1048576, "Write": 2048}}, "sub_cgroup": {
		"batch": {"value": {"8:0": {"Read": 1048576, "Write": 0}}}}},
	"memory": {"value": {"usage": 2147483648}, "sub_cgroup": {"web": {"value": {"usage": 1073741824}}}},
	"pids": {"value": {"current": 12}}
}}`

const statusText = `{"daemon_version": "1.0", "cgroup_root": "/prod", "version": {"seen": 8, "in_force": 7, "rejected": {"version": 8, "reasons": ["cpu/web: share: no"]}},
 "host_faults": [{"place": "cpu/x", "reason": "not mounted"}],
 "pid_files": [{"file": "/run/a.pid", "cgroup": "web", "state": "stale", "reason": "too old"}],
 "events": [{"time": "2026-11-22T11:00:00Z", "kind": "version", "text": "version 6 in force", "version": 6},
            {"time": "2026-11-22T11:59:58Z", "kind": "drift", "text": "write cpu:/web/cpu.shares 5"},
            {"time": "2026-11-22T11:59:59Z", "kind": "version", "text": "version 7 in force", "version": 7}],
 "agents": {"version": 8, "there": 1, "known": 2, "hosts": [{"host": "h2", "state": "behind", "why": "version 7 is in force", "in_force": 7}, {"host": "h1", "state": "ok", "in_force": 8}]},
 "cost": {"cpu_seconds": 2, "sampler_seconds": 1}, "now": "2026-11-22T12:00:00Z", "missed_slots": 3, "drift_corrections": 1}`

// shown is a model that has had its first answers.
func shown(t *testing.T) *Model {
	t.Helper()
	m := New(Options{Address: "h1:43409", Now: noon})
	m.Update(Size{100, 20})
	requests := m.Start()
	m.Update(Answer{Request: requests[0], Data: []byte(slotText)})
	m.Update(Answer{Request: requests[1], Data: []byte(statusText)})
	if m.notice != "" || m.offline != "" {
		t.Fatalf("notice %q, offline %q", m.notice, m.offline)
	}
	return m
}

// screenOf is the text without styles and blanks at the ends.
func screenOf(m *Model) string {
	var lines []string
	for line := range strings.Lines(ansi.Strip(m.View())) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n")
}

func press(m *Model, keys ...string) (requests []Request) {
	for _, k := range keys {
		requests = append(requests, m.Update(Key(k))...)
	}
	return requests
}

func typeText(m *Model, text string) {
	for _, r := range text {
		m.Update(Key(r))
	}
}

// names are the first words of the body's lines.
func names(m *Model) string {
	var out []string
	for _, line := range strings.Split(screenOf(m), "\n")[2:] {
		if strings.HasPrefix(line, "? keys") || strings.TrimSpace(line) == "" {
			break
		}
		out = append(out, strings.Fields(line)[0])
	}
	return strings.Join(out, " ")
}

func TestUsage(t *testing.T) {
	m := shown(t)
	want := `h1:43409  2026-11-22 11:59:59 UTC  live  version 7 in force, 8 rejected (f)  1 host fault (f)
CGROUP                                                     CPU%▼   READ/s  WRITE/s   MEMORY    TASKS
/                                                          150.0     2.0M     2.0K     2.0G       12
/web                                                       100.0        -        -     1.0G        -
/batch                                                      50.0     1.0M        0        -        -
/web/api                                                    40.0        -        -        -        -
/other                                                       0.0        -        -        -        -
/new                                                           -        -        -        -        -`
	got := strings.Join(strings.Split(screenOf(m), "\n")[:8], "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ keys, want string }{
		{"c", "/ /other /web/api /batch /web /new"}, // the other way round, the unknown still last
		{"i", "/ /batch /new /other /web /web/api"},
		{"r", "/ /batch /new /other /web /web/api"},
		{"m", "/ /web /batch /new /other /web/api"},
		{"n", "/ /batch /new /other /web /web/api"},
		{"n", "/ /web/api /web /other /new /batch"},
		{"c", "/ /web /batch /web/api /other /new"},
		{"t", "/ web api batch other new"},
		{"t", "/ /web /batch /web/api /other /new"},
	} {
		press(m, tt.keys)
		if got := names(m); got != tt.want {
			t.Errorf("after %q: %s, want %s", tt.keys, got, tt.want)
		}
	}
	press(m, "/")
	typeText(m, "APIx")
	press(m, "backspace", "enter")
	if got := names(m); got != "/ /web/api" {
		t.Errorf("filtered: %s", got)
	}
	press(m, "t")
	if got := names(m); got != "/ web api" {
		t.Errorf("filtered tree: %s", got)
	}
}

// TestTenQuestions: what an on-call engineer asks takes three keys at most, not counting the text
// of a name, a number or a time.
func TestTenQuestions(t *testing.T) {
	t.Run("the past", func(t *testing.T) {
		m := shown(t)
		press(m, "g")
		typeText(m, "11:59:58")
		requests := press(m, "enter")
		want := []Request{{Cmd: "show_account", Args: map[string]any{"start_slot": int64(1795348798), "end_slot": int64(1795348798), "rate": true}, slot: 1795348798}}
		if diff := cmp.Diff(want, requests, cmp.AllowUnexported(Request{})); diff != "" {
			t.Fatalf("asked (-want +got):\n%s", diff)
		}
		m.Update(Answer{Request: requests[0], Data: []byte(strings.Replace(slotText, "1795348799", "1795348798", 1))})
		title := strings.SplitN(screenOf(m), "\n", 2)[0]
		if !strings.Contains(title, "11:59:58 UTC   PAST   version 6 in force") {
			t.Errorf("the title says %q", title)
		}
		for _, r := range m.Update(Tick(noon.Add(time.Second))) {
			if r.Cmd == "show_account" {
				t.Error("the past does not stay: asked for the newest slot")
			}
		}
		m.Update(Answer{Request: m.newest(), Data: []byte(slotText)}) // was under way
		if m.frame.Slot != 1795348798 {
			t.Error("an answer that was under way takes the past away")
		}
		press(m, "2")
		text := screenOf(m)
		if !strings.Contains(text, "> 2026-11-22 11:59:59  version         version 7 in force") || strings.Contains(text, "> 2026-11-22 11:59:58") {
			t.Errorf("what changed since:\n%s", text)
		}
		press(m, "esc", "esc")
		if m.paused {
			t.Error("escape does not go back to now")
		}
	})
	t.Run("nothing held", func(t *testing.T) {
		m := shown(t)
		requests := press(m, "left")
		m.Update(Answer{Request: requests[0], Data: []byte(`{}`)})
		if m.paused || !strings.Contains(screenOf(m), "nothing is held of 2026-11-22 11:59:58 UTC") {
			t.Errorf("paused %v:\n%s", m.paused, screenOf(m))
		}
	})
	t.Run("processes", func(t *testing.T) {
		m := shown(t)
		requests := press(m, "down", "enter")
		if len(requests) != 1 || requests[0].Cmd != "get_processes" || requests[0].Args["cgroup"] != "web" {
			t.Fatalf("asked %v", requests)
		}
		answer := func(cpu string) {
			m.Update(Answer{Request: requests[0], Data: []byte(`{"cgroup": "web", "processes": [
			{"pid": 7, "name": "idle", "state": "S", "threads": 1, "cpu_ns": 9000000000, "rss_bytes": 4096, "started": "2026-11-22T11:00:00Z", "cgroup": "web"},
			{"pid": 8, "name": "evil\u001b[2J", "state": "R", "threads": 2, "cpu_ns": ` + cpu + `, "rss_bytes": 8192, "started": "2026-11-22T11:59:00Z", "cgroup": "web/api"}], "more": 0}`)})
		}
		answer("1000000000")
		m.Update(Tick(noon.Add(2 * time.Second)))
		answer("2000000000")
		lines := strings.Split(screenOf(m), "\n")
		if strings.Join(strings.Fields(lines[2]), " ") != "evil?[2J (/web/api) 8 50.0 2.00s 8.0K 2 R 1m02s" || !strings.HasPrefix(lines[3], "idle ") {
			t.Errorf("the busiest comes first, its name cannot reach the terminal:\n%s", screenOf(m))
		}
	})
	t.Run("processes of what is filtered", func(t *testing.T) {
		m := shown(t)
		press(m, "down", "/") // on /web, which the filter takes away
		typeText(m, "batch")
		press(m, "enter")
		if requests := press(m, "enter"); len(requests) != 1 || requests[0].Args["cgroup"] != "batch" || !strings.Contains(screenOf(m), "PROCESSES in /batch ") {
			t.Errorf("asked %v:\n%s", requests, screenOf(m))
		}
		press(m, "esc", "/")
		typeText(m, "nothing") // in place of what was there
		press(m, "enter")
		if requests := press(m, "enter"); len(requests) != 1 || requests[0].Args["cgroup"] != "" {
			t.Errorf("asked %v, marked is our root:\n%s", requests, screenOf(m))
		}
	})
	t.Run("why", func(t *testing.T) {
		m := shown(t)
		press(m, "5")
		typeText(m, "42")
		requests := press(m, "enter")
		if len(requests) != 1 || requests[0].Cmd != "get_process" || requests[0].Args["pid"] != 42 {
			t.Fatalf("asked %v", requests)
		}
		m.Update(Answer{Request: requests[0], Data: []byte(`{"pid": 42, "name": "x", "places": [{"subsystem": "cpu", "is": ":/elsewhere", "belongs": "web", "ok": false, "why": "because"}]}`)})
		if text := screenOf(m); !strings.Contains(text, "NOT IN ITS CGROUP") || !strings.Contains(text, "outside our root, in /elsewhere") || !strings.Contains(text, "because") {
			t.Errorf("it says:\n%s", text)
		}
		press(m, "5")
		typeText(m, "5")
		m.Update(Answer{Request: press(m, "enter")[0], Err: Refusal("there is no process 5")})
		if text := screenOf(m); !strings.Contains(text, "there is no process 5") || strings.Contains(text, "OFFLINE") {
			t.Errorf("of a refusal it says:\n%s", text)
		}
	})
	for _, tt := range []struct{ question, key, want string }{
		{"what was wrong", "5", "stale       /run/a.pid  of /web"},
		{"which hosts lag behind, and why", "4", "version 8 is in force on 1 of 2"},
		{"which hosts lag behind, and why", "4", "behind     version 7    version 7 is in force"},
		{"what did somebody change by hand", "d", "drift           write cpu:/web/cpu.shares 5"},
		{"what is wrong here", "f", "cpu/web: share: no"},
		{"what is wrong here", "f", "cpu/x: not mounted"},
		{"what is wrong here", "f", "pid file /run/a.pid (cgroup /web) is stale: too old"},
		{"what does the daemon cost", "6", "  sampler                         50.00     1.50"},
		{"what keys are there", "?", "a second, as 03:12:07"},
	} {
		m := shown(t)
		later := strings.NewReplacer(`"sampler_seconds": 1`, `"sampler_seconds": 1.5`, "12:00:00Z", "12:00:01Z").Replace(statusText)
		m.Update(Answer{Request: Request{Cmd: "get_status"}, Data: []byte(later)})
		press(m, tt.key)
		if text := screenOf(m); !strings.Contains(text, tt.want) {
			t.Errorf("%s: key %s shows no %q:\n%s", tt.question, tt.key, tt.want, text)
		}
	}
}

func TestOffline(t *testing.T) {
	m := shown(t)
	m.Update(Answer{Request: m.newest(), Err: errors.New("connection refused")})
	if text := screenOf(m); !strings.Contains(text, "OFFLINE: connection refused") || !strings.Contains(text, "/web ") {
		t.Errorf("offline, with the last usage still there:\n%s", text)
	}
	m.Update(Answer{Request: m.newest(), Data: []byte(slotText)})
	if strings.Contains(screenOf(m), "OFFLINE") {
		t.Error("it does not come back")
	}
	m.Update(Answer{Request: m.newest(), Data: []byte(`[`)})
	if !strings.Contains(screenOf(m), "answer of show_account") {
		t.Error("nonsense is not reported")
	}
	press(m, "q")
	if !m.Quit() {
		t.Error("q does not leave")
	}
}

// TestFits: whatever the size, the screen is not larger.
func TestFits(t *testing.T) {
	for _, size := range []Size{{1, 1}, {20, 3}, {80, 24}, {300, 80}} {
		m := shown(t)
		m.Update(size)
		for _, b := range bindings {
			if b.keys[0] == "q" {
				continue
			}
			press(m, b.keys[0], "esc", b.keys[0])
			lines := strings.Split(m.View(), "\n")
			if len(lines) > size.Height {
				t.Fatalf("%v, key %s: %d lines", size, b.keys[0], len(lines))
			}
			for _, l := range lines {
				if ansi.StringWidth(l) > size.Width {
					t.Fatalf("%v, key %s: line of %d: %q", size, b.keys[0], ansi.StringWidth(l), l)
				}
			}
		}
	}
}

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("X", 3600)
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"00:30:05":             time.Date(2026, 11, 22, 0, 30, 5, 0, zone),
		"03:12:07":             time.Date(2026, 11, 21, 3, 12, 7, 0, zone), // of yesterday: today's is still to come
		"23:59":                time.Date(2026, 11, 21, 23, 59, 0, 0, zone),
		" 2026-11-20 03:12:07": time.Date(2026, 11, 20, 3, 12, 7, 0, zone),
		"2026-11-20T03:12:07Z": time.Date(2026, 11, 20, 3, 12, 7, 0, time.UTC),
		"-90s":                 now.Add(-90 * time.Second),
		"1795348799":           time.Unix(1795348799, 0),
	} {
		if got, err := ParseMoment(text, now); err != nil || got != want.Unix() {
			t.Errorf("%q: %v, %v; want %v", text, time.Unix(got, 0).In(zone), err, want)
		}
	}
	for _, text := range []string{"", "x", "25:00", "12", "90s"} {
		if got, err := ParseMoment(text, now); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestUnits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1.0K", 1536: "1.5K", 23 << 20: "23M", 1 << 40: "1.0T"} {
		if got := bytesText(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := bytesText(math.NaN()) + percentText(math.NaN()) + countText(math.NaN()); got != "---" {
		t.Errorf("unknown: %s", got)
	}
}

func FuzzParseFrames(f *testing.F) {
	f.Add([]byte(slotText))
	f.Add([]byte(`{"1": {"cpu": null}, "2": {"cpu": {"sub_cgroup": {"": null}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := ParseFrames(data)
		if err != nil {
			return
		}
		for i := range frames {
			for _, tree := range []bool{false, true} {
				arrange(&frames[i], ByDisk, tree, tree, "a")
			}
		}
	})
}
