package cgfs

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseValues(t *testing.T) {
	device := func(v any) map[string]any { return map[string]any{"8:0": v} }
	for _, c := range []struct {
		setting string
		value   any
		want    string
		err     string
	}{
		{setting: "memory max", value: json.Number("0"), want: "0"},
		{setting: "memory max", value: "64M", want: "67108864"},
		{setting: "memory max", value: "1g", want: "1073741824"},
		{setting: "memory max", value: "2T", want: "2199023255552"},
		{setting: "memory max", value: "1048576", want: "1048576"},
		{setting: "memory max", value: json.Number("1e6"), want: "1000000"},
		{setting: "memory max", value: json.Number("-1"), want: "max"},
		{setting: "memory max", value: "max", want: "max"},
		{setting: "memory max", value: json.Number("9223372036854771712"), want: "max"},
		{setting: "memory max", value: json.Number("-2"), err: "negative size: -2"},
		{setting: "memory max", value: "64MB", err: `not a size such as 1048576, 64M or 1G: "64MB"`},
		{setting: "memory max", value: "1.5G", err: `not a size such as 1048576, 64M or 1G: "1.5G"`},
		{setting: "memory max", value: "M", err: `not a size such as 1048576, 64M or 1G: "M"`},
		{setting: "memory max", value: "-1M", err: `not a size such as 1048576, 64M or 1G: "-1M"`},
		{setting: "memory max", value: "9E", err: `beyond 2^63-1: "9E"`},
		{setting: "memory max", value: "99999999999999999999K", err: `beyond 2^63-1: "99999999999999999999K"`},
		{setting: "memory max", value: true, err: "not an integer: true"},
		{setting: "memory oom_group", value: true, want: "1"},
		{setting: "memory oom_group", value: "1", want: "1"},
		{setting: "memory oom_group", value: json.Number("2"), err: "out of range 0 to 1: 2"},
		{setting: "memory oom_group", value: nil, err: "not 0 or 1: null"},
		{setting: "pids max", value: json.Number("4194305"), err: "out of range 0 to 4194304: 4194305"},
		{setting: "pids max", value: "max", want: "max"},
		{setting: "cpu cfs_quota_us", value: json.Number("999"), err: "out of range 1000 to 17592186044415: 999"},
		{setting: "cpu cfs_quota_us", value: json.Number("0"), err: "out of range 1000 to 17592186044415: 0"},
		{setting: "cpu cfs_period_us", value: json.Number("1000001"), err: "out of range 1000 to 1000000: 1000001"},
		{setting: "cpu max", value: "max", want: "max 100000"},
		{setting: "cpu max", value: "5000 x", err: `not an integer: "x"`},
		{setting: "cpu max", value: []any{}, err: "not an integer: an array"},
		{setting: "cpuset cpus", value: "7,0-2,1-3", want: "0-3,7"},
		{setting: "cpuset cpus", value: " 1 , 2", want: "1-2"},
		{setting: "cpuset cpus", value: "", want: ""},
		{setting: "cpuset cpus", value: json.Number("3"), want: "3"},
		{setting: "cpuset cpus", value: []any{json.Number("3"), json.Number("1"), "2"}, want: "1-3"},
		{setting: "cpuset cpus", value: "2-1", err: `not a set of numbers such as 0-2,7: "2-1"`},
		{setting: "cpuset cpus", value: "0-65536", err: `not a set of numbers such as 0-2,7: "0-65536"`},
		{setting: "cpuset cpus", value: []any{json.Number("-1")}, err: "out of range 0 to 65535: -1"},
		{setting: "freezer state", value: "Thawed", want: "THAWED"},
		{setting: "freezer state", value: "FREEZING", err: `not one of FROZEN, THAWED: "FREEZING"`},
		{setting: "freezer state", value: nil, err: "not one of FROZEN, THAWED: null"},
		{setting: "blkio throttle_read_bps_device", value: device("1M"), want: "8:0 1048576"},
		{setting: "blkio throttle_read_bps_device", value: device(json.Number("0")), want: "8:0 max"},
		{setting: "blkio throttle_read_iops_device", value: device(json.Number("4294967295")), want: "8:0 max"},
		{setting: "blkio throttle_read_iops_device", value: device(json.Number("4294967296")), err: "8:0: out of range 0 to 4294967295: 4294967296"},
		{setting: "blkio throttle_read_bps_device", value: "8:0 5", err: `not an object: "8:0 5"`},
		{setting: "blkio throttle_read_bps_device", value: map[string]any{"sda": json.Number("5")}, err: `not a device's MAJ:MIN: "sda"`},
		{setting: "blkio throttle_read_bps_device", value: map[string]any{"8:0\n9": json.Number("5")}, err: `not a device's MAJ:MIN: "8:0\n9"`},
		{setting: "blkio throttle_read_bps_device", value: map[string]any{"8:0": "1", "08:0": "2"}, err: "8:0: named twice"},
		{setting: "blkio throttle_read_bps_device", value: map[string]any{}, want: ""},
		{setting: "blkio max", value: device(map[string]any{"rbps": "1M"}), want: "8:0 rbps=1048576"},
		{setting: "blkio max", value: device(map[string]any{"rbp": "1M"}), err: "8:0: has other members than rbps, wbps, riops and wiops, or none"},
		{setting: "blkio max", value: device(map[string]any{}), err: "8:0: has other members than rbps, wbps, riops and wiops, or none"},
		{setting: "net_cls class_id", value: "1ffff:1", err: `not a class id: "1ffff:1"`},
		{setting: "net_cls class_id", value: "0x1ffffffff", err: `not a class id: "0x1ffffffff"`},
		{setting: "net_cls class_id", value: "10:", want: "1048576"},
		{setting: "net_prio ifpriomap", value: map[string]any{"a b": json.Number("5")}, err: `not the name of a network interface: "a b"`},
		{setting: "net_prio ifpriomap", value: map[string]any{"eth0": json.Number("-5")}, err: "eth0: out of range 0 to 4294967295: -5"},
		{setting: "hugetlb 2MB_max", value: "2M", want: "2097152"},
	} {
		subsystem, key, _ := strings.Cut(c.setting, " ")
		s, ok := LookupSetting(subsystem, key)
		if !ok {
			t.Fatal(c.setting)
		}
		text, warning, err := s.Parse(c.value)
		got := ""
		if err != nil {
			got, text = err.Error(), ""
		}
		if text != c.want || got != c.err || warning != "" {
			t.Errorf("%s = %#v: %q, %q, %q; want %q, %q", c.setting, c.value, text, warning, got, c.want, c.err)
		}
	}
}

func TestFormRead(t *testing.T) {
	const ioMax = "8:0 rbps=1048576 wbps=max riops=max wiops=120\n8:16 rbps=max wbps=5 riops=max wiops=max\n"
	for _, c := range []struct {
		form       Form
		text, want string
	}{
		{Form{}, "1024\n", "1024"},
		{Form{}, "max 100000\n", "max 100000"},
		{Form{Line: "default"}, "default 100\n8:0 300\n", "100"},
		{Form{Line: "8:0", Absent: "default"}, "default 100\n8:0 300\n", "300"},
		{Form{Line: "8:1", Absent: "default"}, "default 100\n8:16 300\n", "default"},
		{Form{Line: "8:0", Absent: "max"}, "", "max"},
		{Form{Line: "oom_kill_disable"}, "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "1"},
		{Form{Line: "8:0", Field: "rbps", Absent: "max"}, ioMax, "1048576"},
		{Form{Line: "8:16", Field: "wbps", Absent: "max"}, ioMax, "5"},
		{Form{Line: "8:32", Field: "wbps", Absent: "max"}, ioMax, "max"},
		{Form{Line: "8:0", Field: "bps", Absent: "max"}, ioMax, "max"},
		{Form{Unit: 1 << 16}, "9223372036854771712\n", "max"},
		{Form{Unit: 1 << 16}, "9223372036854710272\n", "max"}, // pages of 64 KiB
		{Form{Unit: 2 << 20}, "9223372036852678656\n", "max"},
		{Form{Unit: 1 << 30}, "9223372035781033984\n", "max"},
		{Form{Unit: 1 << 16}, "9223372036854644736\n", "9223372036854644736"},
		{Form{Unit: 1 << 16}, "max\n", "max"},
		{Form{Word: true}, "root invalid (Cpu list in cpuset.cpus not exclusive)\n", "root"},
	} {
		if got := c.form.Read(c.text); got != c.want {
			t.Errorf("%+v of %q: %q, want %q", c.form, c.text, got, c.want)
		}
	}
}

// echo is a control file as the kernel keeps it: what was written by line or
// field replaces that line or field, the rest stays.
type echo map[string]map[string]string

func (e echo) write(w Write) {
	line, value := "", w.Text
	if w.Form.Line != "" && w.Form.Line != "default" {
		line, value, _ = strings.Cut(w.Text, " ")
	}
	if e[line] == nil {
		e[line] = map[string]string{}
	}
	field := ""
	if w.Form.Field != "" {
		field, value, _ = strings.Cut(value, "=")
	}
	e[line][field] = value
}

func (e echo) text() string {
	var b strings.Builder
	for _, line := range sortedKeys(e) {
		if line != "" {
			b.WriteString(line)
		}
		for _, field := range sortedKeys(e[line]) {
			if b.Len() > 0 && line != "" {
				b.WriteString(" ")
			}
			if field != "" {
				b.WriteString(field + "=")
			}
			b.WriteString(e[line][field])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Whatever rates a document names for whatever disks, each write reads back what
// it wanted once all of them are written, on v2 as on v1.
func TestTranslateRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := rapid.SampledFrom([]string{"8:0", "8:1", "8:16", "254:0"})
		rate := rapid.OneOf(rapid.Int64Range(1, 1<<31), rapid.Just(int64(0)))
		conf := map[string]string{}
		for _, key := range []string{"throttle_read_bps_device", "throttle_write_bps_device", "throttle_read_iops_device", "throttle_write_iops_device"} {
			m := map[string]any{}
			for d, n := range rapid.MapOf(disk, rate).Draw(t, key) {
				m[d] = json.Number(strconv.FormatInt(n, 10))
			}
			s, _ := LookupSetting("blkio", key)
			text, _, err := s.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			conf[key] = text
		}
		for version := 1; version <= 2; version++ {
			writes, faults := Translate("blkio", conf, everything(version))
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			files := map[string]echo{}
			for _, w := range writes {
				if files[w.File] == nil {
					files[w.File] = echo{}
				}
				if version == 1 && strings.HasSuffix(w.Text, " 0") { // takes the rule away
					line, _, _ := strings.Cut(w.Text, " ")
					delete(files[w.File], line)
					continue
				}
				files[w.File].write(w)
			}
			for _, w := range writes {
				if got := w.Form.Read(files[w.File].text()); got != w.Want {
					t.Fatalf("v%d: %s of %q reads %q, want %q", version, w.ID, files[w.File].text(), got, w.Want)
				}
			}
		}
	})
}

// What a size or a set is normalised to means the same again.
func TestCanonicalIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.StringMatching(`[0-9]{1,18}[KMGTkmgt]?|max|-1`).Draw(t, "size")
		if text, err := parseSize(size); err == nil {
			if again, err := parseSize(text); err != nil || again != text {
				t.Fatalf("%s, %s, %s %v", size, text, again, err)
			}
		}
		ranges := rapid.SliceOfN(rapid.StringMatching(`[0-9]{1,2}(-[0-9]{2})?`), 1, 6).Draw(t, "set")
		set, err := ParseSet(strings.Join(ranges, ","))
		if err != nil {
			return
		}
		again, err := ParseSet(set.String())
		if err != nil || again.String() != set.String() || !again.Within(set) || !set.Within(again) {
			t.Fatalf("%v: %s, %s %v", ranges, set, again, err)
		}
	})
}

func FuzzParseSet(f *testing.F) {
	f.Add("0-2,7")
	f.Add("")
	f.Add("0-65535, 3")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := ParseSet(text)
		if err != nil {
			return
		}
		again, err := ParseSet(set.String())
		if err != nil || again.String() != set.String() {
			t.Errorf("%q: %s, then %s %v", text, set, again, err)
		}
	})
}

func FuzzFormRead(f *testing.F) {
	f.Add("8:0", "rbps", "8:0 rbps=1 wbps=max\n")
	f.Add("default", "", "default 100\n8:0 300\n")
	f.Add("", "", "9223372036854771712\n")
	f.Fuzz(func(t *testing.T, line, field, text string) {
		got := Form{Line: line, Field: field, Absent: "max", Unit: 1}.Read(text)
		if got != "max" && !strings.Contains(text, got) {
			t.Errorf("%q %q of %q: %q", line, field, text, got)
		}
	})
}
