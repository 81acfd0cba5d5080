package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

type processes struct {
	Processes []struct {
		PID    int    `json:"pid"`
		Name   string `json:"name"`
		Cgroup string `json:"cgroup"`
		CPU    uint64 `json:"cpu_ns"`
	}
	Error string
}

type process struct {
	Name   string
	Places []struct {
		Subsystem, Is, Why string
		Belongs            *string
		OK                 bool
	}
	Error string
}

func (d *daemon) process(pid int) (p process) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.ask(`{"cmd":"get_process","args":{"pid":`+strconv.Itoa(pid)+`}}`)), &p); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// TestProcesses: who is inside a cgroup, and why a process is, or is not, in its own.
func TestProcesses(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}, "c": {"conf": {}}}}}`)
	burner := startProc(t, nil, "sh", "-c", "while :; do :; done")
	family := shell(t, "sleep 600 & wait")
	loose := sleeper(t)
	unsafe := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{
		"a/b": {h.pidFile("b.pid", burner.pid())}, "a": {h.pidFile("a.pid", family.pid())},
		"c": {h.file("c.pid", strconv.Itoa(unsafe.pid()), 0o666)},
	})
	d := h.startReady()

	var got processes
	eventually(t, "CPU time of the burner", func() error {
		got = processes{}
		if err := json.Unmarshal([]byte(d.ask(`{"cmd":"get_processes","args":{"cgroup":"/a"}}`)), &got); err != nil {
			return err
		}
		if len(got.Processes) != 3 || got.Processes[0].PID != burner.pid() || got.Processes[0].CPU == 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if p := got.Processes[0]; p.Name != "sh" || p.Cgroup != "a/b" {
		t.Errorf("the burner: %+v", p)
	}
	var child int
	for _, p := range got.Processes {
		if p.Name == "sleep" && p.Cgroup == "a" {
			child = p.PID
		}
	}
	for _, bad := range []string{`{"cgroup":"nowhere"}`, `{"cgroup":"a","subsystem":"memory"}`, `{"cgroup":7}`} {
		if text := d.ask(`{"cmd":"get_processes","args":` + bad + `}`); !strings.Contains(text, "bad_request") {
			t.Errorf("%s: %s", bad, text)
		}
	}

	why := func(pid int, belongs string, ok bool, words ...string) {
		t.Helper()
		p := d.process(pid)
		if p.Error != "" || len(p.Places) != 1 || p.Places[0].Subsystem != "cpu" || p.Places[0].OK != ok {
			t.Errorf("process %d: %+v", pid, p)
			return
		}
		place := p.Places[0]
		if (belongs == "") != (place.Belongs == nil) || place.Belongs != nil && *place.Belongs != belongs {
			t.Errorf("process %d belongs to %v, want %q", pid, place.Belongs, belongs)
		}
		for _, w := range words {
			if !strings.Contains(place.Why, w) {
				t.Errorf("process %d: %q does not say %q", pid, place.Why, w)
			}
		}
	}
	why(burner.pid(), "a/b", true, "b.pid", "names it")
	why(child, "a", true, "a.pid", "descends", strconv.Itoa(family.pid()))
	why(loose.pid(), "", true, "no pid file names it")
	why(unsafe.pid(), "", true, "c.pid", "refused")
	why(1, "", true, "never moved")
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", d.pid()))
	if err != nil || len(threads) < 2 {
		t.Fatalf("the daemon has the threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		tid, _ := strconv.Atoi(thread.Name())
		if p := d.process(tid); tid != d.pid() && p.Error == "" {
			t.Errorf("of the thread %d: %+v", tid, p)
		}
	}
	if p := d.process(1 << 22); p.Error == "" {
		t.Errorf("of no process: %+v", p)
	}
}
