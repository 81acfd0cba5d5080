package cgfs

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTyped(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		text string
		want any
		json string
	}{
		{KindText, "some text", "some text", `"some text"`},
		{KindInteger, "-1", int64(-1), "-1"},
		{KindAmount, "1024", Amount(1024), "1024"},
		{KindAmount, "max", Amount(Infinite), `"max"`},
		{KindAmount, "-1", Amount(Infinite), `"max"`},
		{KindPercent, "12.5", Percent(12.5), "12.5"},
		{KindPercent, "max", Percent(Infinite), `"max"`},
		{KindFlag, "1", true, "true"},
		{KindFlag, "0", false, "false"},
		{KindSet, "0-2,7", Set{{0, 2}, {7, 7}}, `"0-2,7"`},
		{KindSet, "", Set(nil), `""`},
		{KindQuota, "50000 100000", Quota{50000, 100000}, `"50000 100000"`},
		{KindQuota, "max", Quota{Infinite, 100000}, `"max 100000"`},
		{KindList, "1 2 3 ", []int64{1, 2, 3}, "[1,2,3]"},
		{KindList, "12\n13", []int64{12, 13}, "[12,13]"},
		{KindTable, "nr_periods 5\nthrottled_time 7\n", map[string]int64{"nr_periods": 5, "throttled_time": 7}, `{"nr_periods":5,"throttled_time":7}`},
		{KindTables, "8:0 Read 5\n8:0 Write 7\nTotal 12", map[string]map[string]int64{"8:0": {"Read": 5, "Write": 7}, "Total": {"": 12}},
			`{"8:0":{"Read":5,"Write":7},"Total":{"":12}}`},
		{KindTables, "8:0 rbytes=1 wbytes=2", map[string]map[string]int64{"8:0": {"rbytes": 1, "wbytes": 2}}, `{"8:0":{"rbytes":1,"wbytes":2}}`},
		{KindTables, "total=3 N0=1 N1=2", map[string]map[string]int64{"total": {"": 3, "N0": 1, "N1": 2}}, `{"total":{"":3,"N0":1,"N1":2}}`},
		{KindTables, "anon N0=1 N1=2", map[string]map[string]int64{"anon": {"N0": 1, "N1": 2}}, `{"anon":{"N0":1,"N1":2}}`},
		{KindTables, "8:0 17", map[string]map[string]int64{"8:0": {"": 17}}, `{"8:0":{"":17}}`},
		{KindAmounts, "8:0 1048576\n8:16 max", map[string]Amount{"8:0": 1048576, "8:16": Infinite}, `{"8:0":1048576,"8:16":"max"}`},
		{KindRates, "8:0 rbps=5 wiops=max", map[string]map[string]Amount{"8:0": {"rbps": 5, "wiops": Infinite}}, `{"8:0":{"rbps":5,"wiops":"max"}}`},
		{KindRules, "b 8:* r, c 1:3 rwm", []Rule{{'b', 8, -1, "r"}, {'c', 1, 3, "rwm"}}, `["b 8:* r","c 1:3 rwm"]`},
		{KindRules, "a", []Rule{everyRule}, `["a *:* rwm"]`},
		{KindRules, "none", []Rule{}, `[]`},
		{KindPressure, "some avg10=0.50 avg60=1.00 avg300=0.00 total=123", map[string]map[string]float64{"some": {"avg10": 0.5, "avg60": 1, "avg300": 0, "total": 123}},
			`{"some":{"avg10":0.5,"avg300":0,"avg60":1,"total":123}}`},
	} {
		got, err := c.kind.Typed(c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%d %q: %v (-want +got):\n%s", c.kind, c.text, err, diff)
		}
		encoded, err := json.Marshal(got)
		if err != nil || string(encoded) != c.json {
			t.Errorf("%d %q: %s %v, want %s", c.kind, c.text, encoded, err, c.json)
		}
	}
	for _, c := range []struct {
		kind Kind
		text string
	}{
		{KindInteger, "x"}, {KindAmount, "-2"}, {KindAmount, ""}, {KindPercent, "NaN"}, {KindFlag, "2"}, {KindSet, "2-1"}, {KindQuota, "x 5"}, {KindList, "1 x"},
		{KindTable, "a"}, {KindTables, "8:0 Read x"}, {KindTables, "8:0 a=1 b"}, {KindTables, "8:0 Read Write 5"}, {KindAmounts, "8:0"}, {KindRates, "8:0 rbps"},
		{KindRules, "c 1:3"}, {KindPressure, "some avg10"},
	} {
		if got, err := c.kind.Typed(c.text); err == nil {
			t.Errorf("%d %q: %v", c.kind, c.text, got)
		}
	}
}

func TestAmountFromJSON(t *testing.T) {
	for text, want := range map[string]Amount{`5`: 5, `"64M"`: 64 << 20, `"max"`: Infinite, `-1`: Infinite, `9223372036854771712`: Infinite} {
		var got Amount
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{`-2`, `"x"`, `true`, `1.5`} {
		var got Amount
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestParseArg(t *testing.T) {
	for _, c := range []struct{ setting, arg, want, err string }{
		{"memory max", "64M", "67108864", ""},
		{"memory max", `"64M"`, "", `not a size such as 1048576, 64M or 1G: "\"64M\""`},
		{"memory memory_limit", "1 gigabyte", "1073741824", ""},
		{"memory memory_limit", "null", "max", ""},
		{"memory memory_limit", "-1 bytes", "", `out of range: "-1 bytes"`},
		{"memory memory_limit", "8589934592 gigabytes", "", `out of range: "8589934592 gigabytes"`},
		{"memory oom_group", "true", "1", ""},
		{"memory oom_group", "yes", "", `not an integer: "yes"`},
		{"cpu cpu_limit", "50", "50", ""},
		{"cpu cpu_limit", "33.333", "33.33", ""},
		{"cpu cpu_limit", "101", "", `out of range 0 to 100 percent: "101"`},
		{"cpu cpu_limit", "0x10p0", "", `not a number: "0x10p0"`},
		{"cpu cpu_quota_percent", "-1", "max", ""},
		{"cpu cpu_quota_percent", "0.5", "", `below 1 percent: "0.5"`},
		{"cpu max", "max 50000", "max 50000", ""},
		{"cpuset cpus", "0-1,3", "0-1,3", ""},
		{"cpuset cpus", "[0, 1, 3]", "0-1,3", ""},
		{"blkio throttle_read_bps_device", "8:0=1M,8:16 max", "8:0 1048576\n8:16 max", ""},
		{"blkio throttle_read_bps_device", `{"8:0": "1M"}`, "8:0 1048576", ""},
		{"blkio throttle_read_bps_device", "8:0", "", `not a name and its value: "8:0"`},
		{"blkio throttle_read_bps_device", "8:0=1,8:0=2", "", "8:0: named twice"},
		{"blkio throttle_read_bps_device", "{", "", `not JSON: "{"`},
		{"blkio max", "8:0 rbps=1M wiops=5, 8:16 wbps=max", "8:0 rbps=1048576 wiops=5\n8:16 wbps=max", ""},
		{"devices deny", "c 1:3 rwm,b 8:* r", "b 8:* r, c 1:3 rwm", ""},
		{"devices deny", "a", "a", ""},
		{"devices deny", `["c 1:3 w"]`, "c 1:3 w", ""},
		{"net_cls class_id", "10:1", "1048577", ""},
		{"pids procs", "12, 13", "12\n13", ""},
		{"pids procs", "0", "", "out of range 1 to 4194304: 0"},
		{"pids current", "5", "", "current cannot be written"},
		{"cpu files", "cpu.uclamp.max=50", "", `not an object: "cpu.uclamp.max=50"`},
		{"cpu files", `{"cpu.uclamp.max": "50"}`, "cpu.uclamp.max 50", ""},
		{"cpu files", `{"cpu.uclamp.max": "default"}`, "", `cpu.uclamp.max: "default" has a meaning of its own here`},
		{"cpu files", `{"cpu.uclamp.max": "5\n6"}`, "", `cpu.uclamp.max: not one line of text: "5\n6"`},
		{"cpu files", `{"cpu.uclamp.max": true}`, "", `cpu.uclamp.max: not a text: true`},
		{"cpu files", `{"cpu.": "5"}`, "", `not a control file of cpu: "cpu."`},
		{"cpu files", `{"tasks": "5"}`, "", `not a control file of cpu: "tasks"`},
		{"cpu files", `{"cgroup.procs": "5"}`, "", `not a control file of cpu: "cgroup.procs"`},
		{"cpu files", `{"cpu.x y": "5"}`, "", `not the name of a control file: "cpu.x y"`},
		{"memory files", `{"memory.force_empty": "0"}`, "", `no state that a document could hold: "memory.force_empty"`},
		{"memory files", `{"memory.max_usage_in_bytes": "0"}`, "", `no state that a document could hold: "memory.max_usage_in_bytes"`},
		{"memory files", `{"memory.oom_control": "1"}`, "memory.oom_control 1", ""},
		{"blkio files", `{"blkio.reset_stats": "1"}`, "", `no state that a document could hold: "blkio.reset_stats"`},
		{"cpuacct files", `{"cpuacct.usage": "0"}`, "", `no state that a document could hold: "cpuacct.usage"`},
		{"devices files", `{"devices.deny": "a"}`, "", `no state that a document could hold: "devices.deny"`},
		{"devices files", `{"devices.rules": "a"}`, "", `no state that a document could hold: "devices.rules"`},
	} {
		subsystem, key, _ := strings.Cut(c.setting, " ")
		s, ok := LookupRow(subsystem, key)
		if !ok {
			t.Fatal(c.setting)
		}
		text, _, err := s.ParseArg(c.arg)
		got := ""
		if err != nil {
			got, text = err.Error(), ""
		}
		if text != c.want || got != c.err {
			t.Errorf("%s %s: %q, %q; want %q, %q", c.setting, c.arg, text, got, c.want, c.err)
		}
	}
}

func TestLookupRow(t *testing.T) {
	for _, c := range []struct{ subsystem, name, want string }{
		{"cpu", "share", "share"}, {"cpu", "cpu.shares", "cpu_limit"}, {"memory", "memory.current", "usage_in_bytes"}, {"freezer", "procs", "procs"},
		{"systemd", "tasks", "tasks"}, {"cpu", "cgroup.procs", "procs"}, {"net_cls", "classid", "classid"}, {"pids", "memory.max", ""}, {"cpu", "", ""},
	} {
		s, ok := LookupRow(c.subsystem, c.name)
		if ok != (c.want != "") || ok && s.Key != c.want {
			t.Errorf("%s %s: %v %t", c.subsystem, c.name, s, ok)
		}
	}
	for _, key := range []string{"procs", "tasks", "notify_on_release", "release_agent", "force_empty", "failcnt", "stat", "reclaim"} {
		if s, ok := LookupSetting("memory", key); ok {
			t.Errorf("a document may have %v", s)
		}
	}
	if s, ok := LookupSetting("cpuset", "clone_children"); !ok || s.Key != "clone_children" {
		t.Error("clone_children is no setting of cpuset")
	}
}

// What a value is read to, it means when it is read again, as text and as a Go
// value.
func FuzzParseArg(f *testing.F) {
	all := rows(func(s *Setting) bool { return s.Value.parse != nil })
	for i, s := range all {
		for _, arg := range []string{"5", "64M", "max", "0-2,7", "8:0=1M", "8:0 rbps=1M", "c 1:3 rwm", `{"8:0": 5}`, `["a"]`, "true", "5 megabytes", "50000 100000", `{"cpu.x": "5"}`} {
			if _, _, err := s.ParseArg(arg); err == nil {
				f.Add(uint16(i), arg)
			}
		}
	}
	f.Fuzz(func(t *testing.T, row uint16, arg string) {
		s := all[int(row)%len(all)]
		text, _, err := s.ParseArg(arg)
		if err != nil {
			return
		}
		typed, err := s.Value.Kind.Typed(text)
		if err != nil {
			t.Fatalf("%s %q: %q has no type: %v", s.Key, arg, text, err)
		}
		again, _, err := s.Parse(typed)
		if s.Value.Kind == KindText && s.Key != "freeze" {
			return
		}
		if err != nil || again != text {
			t.Errorf("%s %q: %q is %v, which is %q %v", s.Key, arg, text, typed, again, err)
		}
	})
}

// The kernel's texts: a value encodes to JSON, whatever they say.
func FuzzTyped(f *testing.F) {
	for kind, text := range []string{
		"text", "5", "max", "12.5", "1", "0-2", "max 100000", "1 2", "a 5", "8:0 Read 5\nTotal 5", "8:0 max", "8:0 rbps=5", "c 1:3 rwm", "some avg10=0.00 total=5",
	} {
		f.Add(uint8(kind), text)
	}
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		value, err := Kind(int(kind) % (int(KindPressure) + 1)).Typed(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(value); err != nil {
			t.Errorf("%d %q: %v %v", kind, text, reflect.TypeOf(value), err)
		}
	})
}
