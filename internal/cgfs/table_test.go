package cgfs

import (
	"encoding/json"
	"testing"
)

func TestParseSetting(t *testing.T) {
	share, _ := LookupSetting("cpu", "share")
	weight, _ := LookupSetting("blkio", "weight")
	for _, c := range []struct {
		setting *Setting
		value   any
		want    string
		warning string
		err     string
	}{
		{setting: share, value: json.Number("1024"), want: "1024"},
		{setting: share, value: json.Number("1024.0"), want: "1024"},
		{setting: share, value: json.Number("1e3"), want: "1000"},
		{setting: share, value: "200", want: "200"},
		{setting: share, value: "0100", want: "100"},
		{setting: share, value: json.Number("0"), want: "2", warning: "0 raised to 2, as the kernel does"},
		{setting: share, value: json.Number("1"), want: "2", warning: "1 raised to 2, as the kernel does"},
		{setting: share, value: json.Number("262145"), want: "262144", warning: "262145 lowered to 262144, as the kernel does"},
		{setting: share, value: json.Number("9223372036854775807"), want: "262144", warning: "9223372036854775807 lowered to 262144, as the kernel does"},
		{setting: share, value: json.Number("9223372036854775808"), err: "beyond 2^63-1: 9223372036854775808"},
		{setting: share, value: json.Number("1e30"), err: "beyond 2^63-1: 1e30"},
		{setting: share, value: json.Number("1e999999999"), err: "beyond 2^63-1: 1e999999999"},
		{setting: share, value: json.Number("1e99999999999999999999"), err: "beyond 2^63-1: 1e99999999999999999999"},
		{setting: share, value: json.Number("1e-99999999999999999999"), err: "not an integer: 1e-99999999999999999999"},
		{setting: share, value: json.Number("0e99999999999999999999"), want: "2", warning: "0 raised to 2, as the kernel does"},
		{setting: share, value: json.Number("1.00000000000000000000000000001"), err: "not an integer: 1.00000000000000000000000000001"},
		{setting: share, value: json.Number("10240E-1"), want: "1024"},
		{setting: share, value: json.Number("0.1024e+4"), want: "1024"},
		{setting: share, value: json.Number("-9223372036854775808"), err: "beyond 2^63-1: -9223372036854775808"},
		{setting: share, value: json.Number("1.5"), err: "not an integer: 1.5"},
		{setting: share, value: json.Number("-1"), err: "out of range 2 to 262144: -1"},
		{setting: share, value: "abc", err: `not an integer: "abc"`},
		{setting: share, value: "", err: `not an integer: ""`},
		{setting: share, value: " 5", err: `not an integer: " 5"`},
		{setting: share, value: "5.0", err: `not an integer: "5.0"`},
		{setting: share, value: "0x10", err: `not an integer: "0x10"`},
		{setting: share, value: true, err: "not an integer: true"},
		{setting: share, value: nil, err: "not an integer: null"},
		{setting: share, value: []any{}, err: "not an integer: an array"},
		{setting: share, value: map[string]any{}, err: "not an integer: an object"},
		{setting: weight, value: json.Number("500"), want: "500"},
		{setting: weight, value: json.Number("0"), err: "out of range 1 to 1000: 0"},
		{setting: weight, value: json.Number("1001"), err: "out of range 1 to 1000: 1001"},
	} {
		text, warning, err := c.setting.Parse(c.value)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if text != c.want || warning != c.warning || got != c.err {
			t.Errorf("%s.%s = %#v: %q, %q, %q; want %q, %q, %q", c.setting.Subsystem, c.setting.Key, c.value, text, warning, got, c.want, c.warning, c.err)
		}
	}
}

func TestTable(t *testing.T) {
	for _, s := range Settings() {
		name := s.Subsystem + "." + s.Key
		if s.Doc == "" || s.Thing == "" || s.Value.Words == "" || s.Value.parse == nil {
			t.Errorf("%s: incomplete row", name)
		}
		for version, way := range map[int]struct {
			files []File
			no    string
		}{1: {s.V1, s.NoV1}, 2: {s.V2, s.NoV2}} {
			if (len(way.files) == 0) == (way.no == "") {
				t.Errorf("%s: has a file on v%d, or a reason, not both", name, version)
			}
			for _, f := range way.files {
				if !IsControlFile(f.Name) {
					t.Errorf("%s is not known as a control file's name", f.Name)
				}
				if s.Default == TextDefault && s.Key != rawKey && f.Default == "" && f.form.Absent == "" {
					t.Errorf("%s: %s has no default", name, f.Name)
				}
			}
		}
	}
	if d := Defaults("cpu"); len(d) != 1 || d["share"] != "1024" {
		t.Errorf("defaults of cpu: %v", d)
	}
	if d := Defaults("blkio"); len(d) != 0 {
		t.Errorf("defaults of blkio: %v", d)
	}
}

func TestIsControlFile(t *testing.T) {
	for name, want := range map[string]bool{
		"tasks": true, "notify_on_release": true, "release_agent": true, "cpu.x": true, "cgroup.procs": true, "memory.": true,
		"task": false, "cpu": false, "cpux.y": false, "my.cpu": false, "@x": false, ".cpu": false,
	} {
		if got := IsControlFile(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}
