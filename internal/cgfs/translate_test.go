package cgfs

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// everything is a kernel that has every control file of a version, but CFQ.
func everything(version int) Caps {
	return Caps{Version: version, PageSize: 4096, Has: func(probe string) bool { return !strings.Contains(probe, "leaf_weight") }}
}

// without is everything but some files.
func without(version int, files ...string) Caps {
	c := everything(version)
	return Caps{Version: version, PageSize: 4096, Has: func(probe string) bool { return c.Has(probe) && !slices.Contains(files, probe) }}
}

// parseConf reads a conf as the document's decoder does.
func parseConf(subsystem, text string) (map[string]string, error) {
	var members map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return nil, err
	}
	conf := map[string]string{}
	for key, value := range members {
		s, ok := LookupSetting(subsystem, key)
		if !ok {
			return nil, fmt.Errorf("unknown setting %s", key)
		}
		canonical, _, err := s.Parse(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		conf[key] = canonical
	}
	return conf, nil
}

// shown is a write as the golden file has it.
func shown(w Write) string {
	s := fmt.Sprintf("write %s %q", w.File, w.Text)
	if w.Want != w.Text || w.From != "" {
		s += fmt.Sprintf(", reads %q", w.Want)
	}
	if w.From != "" {
		s += " in " + w.From
	}
	for _, part := range []struct{ name, value string }{{"line", w.Form.Line}, {"field", w.Form.Field}, {"absent", w.Form.Absent}} {
		if part.value != "" {
			s += fmt.Sprintf(", %s %s", part.name, part.value)
		}
	}
	if w.Form.Unit != 0 {
		s += ", bytes"
	}
	if w.Form.Word {
		s += ", first word"
	}
	if w.Weight != nil {
		s += fmt.Sprintf(", weight %d of %d", w.Weight.Share, w.Weight.DefaultShare)
	}
	if w.Before {
		s += ", before children"
	}
	if w.Alone {
		s += ", at once"
	}
	if w.FromParent {
		s += ", from the parent"
	}
	if w.Controller != "" {
		s += ", needs +" + w.Controller
	}
	return s + fmt.Sprintf(" [%s] (%s)", w.ID, strings.Join(w.Keys, ", "))
}

func translated(subsystem, text string) string {
	var b strings.Builder
	conf, err := parseConf(subsystem, text)
	if err != nil {
		return "fault: " + err.Error() + "\n"
	}
	for _, key := range sortedKeys(conf) {
		fmt.Fprintf(&b, "%s = %q\n", key, conf[key])
	}
	for version := 1; version <= 2; version++ {
		writes, faults := Translate(subsystem, conf, everything(version))
		for _, w := range writes {
			fmt.Fprintf(&b, "v%d %s\n", version, shown(w))
		}
		for _, f := range faults {
			fmt.Fprintf(&b, "v%d fault: %s: %s\n", version, f.Key, f.Reason)
		}
	}
	return b.String()
}

// TestTranslate compares testdata/translate.txt: each conf there (after ">") is
// followed by its canonical texts and by what it becomes on v1 and on v2.
func TestTranslate(t *testing.T) {
	const file = "testdata/translate.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	covered := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		input, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		subsystem, conf, _ := strings.Cut(strings.TrimSpace(input), " ")
		if got.Len() > 0 {
			got.WriteString("\n")
		}
		got.WriteString(line + translated(subsystem, conf))
		if m, err := parseConf(subsystem, conf); err == nil {
			for key := range m {
				covered[subsystem+" "+key] = true
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(data), got.String()); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", file, diff)
	}
	for _, s := range Settings() {
		covered[s.Subsystem+" "+s.Key] = covered[s.Subsystem+" "+s.Key] || s.Key == rawKey && covered["cpu files"] || s.Subsystem == "" && covered["cpu "+s.Key]
		if s.Subsystem != "hugetlb" && !covered[s.Subsystem+" "+s.Key] {
			t.Errorf("%s has no example of %s.%s", file, s.Subsystem, s.Key)
		}
	}
}

func TestTranslateByKernel(t *testing.T) {
	for _, c := range []struct {
		name, subsystem string
		conf            map[string]string
		caps            Caps
		want            []string
		faults          []KeyFault
	}{
		{name: "CFQ has the first file", subsystem: "blkio", conf: map[string]string{"weight": "500"},
			caps: Caps{Version: 1, Has: func(string) bool { return true }}, want: []string{"blkio.weight 500"}},
		{name: "each file has its default", subsystem: "blkio", conf: map[string]string{"weight": TextDefault},
			caps: Caps{Version: 1, Has: func(string) bool { return true }}, want: []string{"blkio.weight 500"}},
		{name: "BFQ's default", subsystem: "blkio", conf: map[string]string{"weight": TextDefault}, caps: everything(1), want: []string{"blkio.bfq.weight 100"}},
		{name: "neither", subsystem: "blkio", conf: map[string]string{"weight": "500"}, caps: without(1, "blkio.bfq.io_service_bytes"),
			faults: []KeyFault{{"weight", "this kernel has no control file for it (looked for blkio.weight, blkio.bfq.weight)"}}},
		{name: "no BFQ on v2", subsystem: "blkio", conf: map[string]string{"weight": "500", "weight_device": "8:0 5"}, caps: without(2, "io.bfq.weight"),
			want:   []string{"io.weight 500"},
			faults: []KeyFault{{"weight_device", "weights of single disks need the BFQ scheduler (io.bfq.weight): those of io.weight are scaled among siblings"}}},
		{name: "an old kernel has no burst", subsystem: "cpu", conf: map[string]string{"cfs_burst_us": "5", "cfs_quota_us": "5000"}, caps: without(2, "cpu.max.burst"),
			want:   []string{"cpu.max 5000 100000"},
			faults: []KeyFault{{"cfs_burst_us", "this kernel has no control file for it (looked for cpu.max.burst)"}}},
		{name: "pages of 64 KiB", subsystem: "memory", conf: map[string]string{"max": "100000"},
			caps: Caps{Version: 2, PageSize: 65536, Has: func(string) bool { return true }}, want: []string{"memory.max 65536"}},
		{name: "unknown", subsystem: "memory", conf: map[string]string{"nosuch": "1"}, caps: everything(2),
			faults: []KeyFault{{"nosuch", "unknown setting; ignored"}}},
	} {
		writes, faults := Translate(c.subsystem, c.conf, c.caps)
		var got []string
		for _, w := range writes {
			got = append(got, w.File+" "+w.Text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.faults, faults); diff != "" {
			t.Errorf("%s, faults (-want +got):\n%s", c.name, diff)
		}
	}
}

// Every write of every setting can be taken back by its ID, to something that
// the same file can read.
func TestResetConf(t *testing.T) {
	data, err := os.ReadFile("testdata/translate.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		input, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		subsystem, text, _ := strings.Cut(strings.TrimSpace(input), " ")
		conf, err := parseConf(subsystem, text)
		if err != nil {
			continue // an example of a fault
		}
		for version := 1; version <= 2; version++ {
			writes, _ := Translate(subsystem, conf, everything(version))
			for _, w := range writes {
				back, ok := ResetConf(subsystem, w.ID)
				if !ok {
					t.Errorf("v%d %s: no reset of %q", version, subsystem, w.ID)
					continue
				}
				resets, faults := Translate(subsystem, back, everything(version))
				same := func(r Write) bool { return r.Part() == w.Part() && r.Form == w.Form }
				if len(faults) > 0 || !slices.ContainsFunc(resets, same) {
					t.Errorf("v%d %s: %q resets by %v to %v, faults %v", version, subsystem, w.ID, back, resets, faults)
				}
				if before, id, ok := CutID(subsystem, "cpu/a b c "+w.ID); !ok || before != "cpu/a b c" || id != w.ID {
					t.Errorf("cut %q: %q %q %t", w.ID, before, id, ok)
				}
			}
		}
	}
	for _, c := range []struct {
		subsystem, id string
		want          map[string]string
	}{
		{"memory", "limit_in_bytes", map[string]string{"limit_in_bytes": "max"}},
		{"blkio", "throttle_read_bps_device 8:0", map[string]string{"throttle_read_bps_device": "8:0 max"}},
		{"cpu", "share", map[string]string{"share": "1024"}},
		{"devices", "deny", map[string]string{"deny": TextDefault}},
		{"cpu", "nosuch", nil},
		{"cpuset", "cpus 1:1", nil},
	} {
		if got, ok := ResetConf(c.subsystem, c.id); !maps.Equal(got, c.want) || ok != (c.want != nil) {
			t.Errorf("%s %s: %v %t", c.subsystem, c.id, got, ok)
		}
	}
	if _, _, ok := CutID("cpu", "cpu/a nosuch"); ok {
		t.Error("an unknown setting was cut off")
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		subsystem string
		keys      []string
		want      []string
	}{
		{"cpu", []string{"share", "cfs_quota_us", "cfs_period_us"}, nil},
		{"cpu", []string{"weight", "share"}, []string{"share and weight are two names for one thing"}},
		{"cpu", []string{"max", "cfs_period_us"}, []string{"cfs_period_us and max are two names for one thing"}},
		{"memory", []string{"max", "limit_in_bytes", "swap_max", "memsw_limit_in_bytes"}, []string{
			"limit_in_bytes and max are two names for one thing", "memsw_limit_in_bytes and swap_max are two names for one thing"}},
		{"blkio", []string{"throttle_read_bps_device", "throttle_write_bps_device"}, nil},
		{"blkio", []string{"throttle_read_bps_device", "max"}, []string{"max and throttle_read_bps_device are two names for one thing"}},
		{"hugetlb", []string{"2MB_max", "1GB_max", "2MB_rsvd_max"}, nil},
		{"cpu", []string{"share", "cpu_limit"}, []string{"cpu_limit and share are two names for one thing"}},
		{"cpu", []string{"cfs_quota_us", "cpu_quota_percent"}, []string{"cfs_quota_us and cpu_quota_percent are two names for one thing"}},
		{"memory", []string{"max", "memory_limit"}, []string{"max and memory_limit are two names for one thing"}},
		{"cpu", []string{"nosuch", "nosuch2"}, nil},
	} {
		conf := map[string]string{}
		for _, key := range c.keys {
			conf[key] = "1"
		}
		if diff := cmp.Diff(c.want, Conflicts(c.subsystem, conf)); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", c.subsystem, c.keys, diff)
		}
	}
}

// Conflicts that depend on the values.
func TestConflictsOfValues(t *testing.T) {
	for _, c := range []struct {
		subsystem string
		conf      map[string]string
		want      []string
	}{
		{"devices", map[string]string{"deny": "a", "allow": "c 1:3 rwm"}, nil},
		{"devices", map[string]string{"deny": "c 1:3 rwm"}, nil},
		{"devices", map[string]string{"allow": "c 1:3 rwm"}, []string{`allow needs deny: ["a"] in the same conf: everything else is allowed already`}},
		{"devices", map[string]string{"deny": "c 1:5 r", "allow": "c 1:3 rwm"}, []string{`allow needs deny: ["a"] in the same conf: everything else is allowed already`}},
		{"cpu", map[string]string{"share": "5", "files": "cpu.uclamp.max 50"}, nil},
		{"cpu", map[string]string{"share": "5", "files": "cpu.shares 5"}, []string{"share and cpu.shares of files are two names for one thing"}},
		{"cpu", map[string]string{"share": "5", "files": "cpu.uclamp.max 50\ncpu.weight 5"}, []string{"share and cpu.weight of files are two names for one thing"}},
		{"blkio", map[string]string{"weight": "5", "files": "io.bfq.weight 5"}, []string{"weight and io.bfq.weight of files are two names for one thing"}},
	} {
		if diff := cmp.Diff(c.want, Conflicts(c.subsystem, c.conf)); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", c.subsystem, c.conf, diff)
		}
	}
}

func TestTightens(t *testing.T) {
	for _, c := range []struct {
		limit     Limit
		now, want string
		tightens  bool
	}{
		{Ceiling, "max", "100", true},
		{Ceiling, "100", "max", false},
		{Ceiling, "-1", "5", true},
		{Ceiling, "5", "5", false},
		{Ceiling, "9", "10", false},
		{Ceiling, "", "10", false},
		{Interval, "100", "200", true},
		{Interval, "200", "100", false},
		{Members, "0-3", "1-2", true},
		{Members, "1-2", "0-3", false},
		{Members, "0", "1", false},
		{Members, "", "1", true},
		{Members, "1", "", false},
		{Bandwidth, "max 100000", "50000 100000", true},
		{Bandwidth, "50000 100000", "50000 50000", false},
		{Bandwidth, "50000 50000", "50000 100000", true},
		{Bandwidth, "50000 100000", "max 100000", false},
		{Bandwidth, "50000", "max", false},
		{NoLimit, "2", "1", false},
	} {
		if got := Tightens(Write{Limit: c.limit}, c.now, c.want); got != c.tightens {
			t.Errorf("%d: from %q to %q: %t", c.limit, c.now, c.want, got)
		}
	}
}

func TestWeightLinear(t *testing.T) {
	for share, want := range map[string]string{"2": "1", "100": "10", "1000": "98", "1024": "100", "2048": "200", "262144": "10000"} {
		writes, _ := Translate("cpu", map[string]string{"share": share}, everything(2))
		if len(writes) != 1 || writes[0].Text != want {
			t.Errorf("share %s: %v, want %s", share, writes, want)
		}
	}
	// What a weight of v1 and of v2 mean the same for is the same.
	for weight, want := range map[string]string{"1": "10", "100": "1024", "10000": "102400"} {
		writes, _ := Translate("cpu", map[string]string{"weight": weight}, everything(1))
		if len(writes) != 1 || writes[0].Text != want {
			t.Errorf("weight %s: %v, want %s", weight, writes, want)
		}
	}
}
