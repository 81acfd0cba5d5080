package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExtra: the optional parts of the usage data, where the kernel has them.
func TestExtra(t *testing.T) {
	need(t, "v1", "v2")
	h := newHost(t, "/cga")
	h.settings["account_extra"] = []string{"psi", "throttling", "memory_events"}
	busy := shell(t, "while :; do :; done")
	h.pidFiles(map[string]int{"a": busy.pid()})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"cfs_quota_us": 20000}}, "b": {}}}, "memory": {"sub_cgroup": {"a": {}}}, "blkio": {"sub_cgroup": {"a": {}}}}`)
	h.start()
	want := map[string]string{"cpu": "throttling usage", "memory": "usage", "blkio": ""}
	if os.Getenv(layoutEnv) == "v2" {
		want = map[string]string{"cpu": "cpu_pressure throttling usage", "memory": "memory_events memory_pressure usage", "blkio": "io_pressure"}
	}
	eventually(t, "extra parts", func() error {
		for subsystem, members := range want {
			u, err := h.newest(subsystem)
			if err != nil {
				return err
			}
			a := u.at("a")
			for _, m := range strings.Fields(members) {
				if a.Value[m] == nil {
					return fmt.Errorf("%s: no %s in %s", subsystem, m, a.Value)
				}
			}
			if subsystem != "blkio" && len(a.Value) != len(strings.Fields(members)) {
				t.Fatalf("%s: %s", subsystem, a.Value)
			}
			if subsystem != "cpu" {
				continue
			}
			if throttling := a.numbers("throttling"); throttling["periods"] == 0 || throttling["throttled"] == 0 || throttling["time"] < 1e6 {
				return fmt.Errorf("throttling: %v", throttling)
			}
			if pressure := a.numbers("cpu_pressure"); a.Value["cpu_pressure"] != nil && (pressure["some_total"] == 0 || pressure["some_avg10"] > 100) {
				return fmt.Errorf("pressure: %v", pressure)
			}
		}
		return nil
	})
	h.wantNoFaults()
}

// TestOOMKill: a process that the kernel kills for want of memory is told once, with the cgroup that it was in, inner cgroups included.
func TestOOMKill(t *testing.T) {
	need(t, "v1", "v2")
	h := newHost(t, "/cga")
	h.settings["account_extra"] = []string{"memory_events"}
	start := filepath.Join(h.dir, "start")
	inner, leaf := startWorkload(t, "memory "+start), startWorkload(t, "memory "+start)
	h.pidFiles(map[string]int{"a": inner.pid(), "a/b": leaf.pid()})
	h.document(`{"memory": {"sub_cgroup": {"a": {"conf": {"limit_in_bytes": "8M"}, "sub_cgroup": {"b": {"conf": {"limit_in_bytes": "4M"}}, "c": {"conf": {}}}}}}}`)
	d := h.start()
	home := "a"
	if os.Getenv(layoutEnv) == "v2" {
		home = "a/@members"
	}
	h.wantIn("memory", home, inner.pid())
	h.wantIn("memory", "a/b", leaf.pid())
	if kills := oomKills(t); kills != "" {
		t.Fatalf("before anything happened: %s", kills)
	}
	h.file("start", "")
	eventually(t, "/status", func() error {
		if kills := oomKills(t); kills != "a 1, a/b 1" {
			return fmt.Errorf("oom_kills: %q", kills)
		}
		return nil
	})
	log, err := os.ReadFile(d.log)
	must(t, err)
	told := map[string]int{}
	for line := range strings.Lines(string(log)) {
		var event struct {
			Subsystem, Cgroup string
			Count             int
		}
		if json.Unmarshal([]byte(line), &event) == nil && strings.Contains(line, `"oom kill"`) {
			told[event.Subsystem+" "+event.Cgroup] += event.Count
		}
	}
	if len(told) != 2 || told["memory a"] != 1 || told["memory a/b"] != 1 {
		t.Errorf("in the log: %v", told)
	}
	if os.Getenv(layoutEnv) != "v2" {
		return
	}
	eventually(t, "memory events", func() error {
		u, err := h.newest("memory")
		if a, b := u.at("a").numbers("memory_events"), u.at("a/b").numbers("memory_events"); err != nil || a["oom_kill"] != 2 || b["oom_kill"] != 1 {
			return fmt.Errorf("a %v, b %v, %w", a, b, err)
		}
		return nil
	})
}

// oomKills is that part of /status.
func oomKills(t *testing.T) string {
	t.Helper()
	var status struct {
		Kills []struct {
			Cgroup, Last string
			Count        int
		} `json:"oom_kills"`
	}
	_, body := get("/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatalf("/status: %v: %s", err, body)
	}
	var lines []string
	for _, k := range status.Kills {
		lines = append(lines, fmt.Sprint(k.Cgroup, " ", k.Count))
	}
	return strings.Join(lines, ", ")
}

// numbers is a member of a cgroup's value that is an object of numbers.
func (u usage) numbers(member string) map[string]float64 {
	var m map[string]float64
	_ = json.Unmarshal(u.Value[member], &m)
	return m
}
