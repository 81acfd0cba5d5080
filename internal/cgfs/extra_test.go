package cgfs

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func extraOf(t testing.TB, subsystem, part string, version int) *Extra {
	t.Helper()
	for _, row := range extras {
		if row.subsystem == subsystem && row.part == part {
			if version == 1 {
				return row.v1
			}
			return row.v2
		}
	}
	t.Fatalf("no row %s %s", subsystem, part)
	return nil
}

func TestParseExtra(t *testing.T) {
	psi, v1, v2, events := extraOf(t, "cpu", PartPSI, 2), extraOf(t, "cpu", PartThrottling, 1), extraOf(t, "cpu", PartThrottling, 2), extraOf(t, "memory", PartMemoryEvents, 2)
	for _, c := range []struct {
		name  string
		extra *Extra
		data  string
		want  map[string]uint64
	}{
		{"pressure", psi, "some avg10=1.23 avg60=0.50 avg300=0.00 total=38211\nfull avg10=0.07 avg60=0.00 avg300=0.00 total=9\n",
			map[string]uint64{"some_avg10": 123, "some_total": 38211, "full_avg10": 7, "full_total": 9}},
		{"pressure before 5.13: no full", psi, "some avg10=100.00 avg60=0.50 avg300=0.00 total=0\n", map[string]uint64{"some_avg10": 10000, "some_total": 0}},
		{"throttling of v1", v1, "nr_periods 12\nnr_throttled 3\nthrottled_time 4000000001\n", map[string]uint64{"periods": 12, "throttled": 3, "time": 4000000001}},
		{"throttling of v1 with bursts", v1, "nr_periods 12\nnr_throttled 3\nthrottled_time 4\nnr_bursts 5\nburst_time 6\n", map[string]uint64{"periods": 12, "throttled": 3, "time": 4}},
		{"throttling of v2", v2, "usage_usec 1\nuser_usec 2\nsystem_usec 3\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4000001\n",
			map[string]uint64{"periods": 12, "throttled": 3, "time": 4000001000}},
		{"no controller, no throttling", v2, cpuStat[:strings.Index(cpuStat, "nr_periods")], map[string]uint64{}},
		{"memory events", events, "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n",
			map[string]uint64{"low": 1, "high": 2, "max": 3, "oom": 4, "oom_kill": 5, "oom_group_kill": 6}},
		{"memory events before 5.17", events, "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n", map[string]uint64{"low": 1, "high": 2, "max": 3, "oom": 4, "oom_kill": 5}},
		{"nothing", events, "", map[string]uint64{}},
	} {
		values := make([]uint64, len(c.extra.Fields))
		present, err := c.extra.Parse([]byte(c.data), values)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := map[string]uint64{}
		for i, f := range c.extra.Fields {
			if present&(1<<i) != 0 {
				got[f.Name] = values[i]
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, bad := range []struct {
		extra *Extra
		data  string
	}{
		{psi, "some avg10=1.2 total=1\n"}, {psi, "some avg10=1 total=1\n"}, {psi, "some avg10=.25\n"}, {psi, "some avg10=1.2x\n"},
		{psi, "full total=\n"}, {psi, "full total=-1\n"}, {psi, "some avg10=999999999999999999.99\n"},
		{v1, "nr_periods x\n"}, {v1, "throttled_time \n"}, {v2, "throttled_usec 18446744073709551\n" + "throttled_usec 18446744073709552\n"},
		{events, "oom_kill 1 2\n"},
	} {
		if present, err := bad.extra.Parse([]byte(bad.data), make([]uint64, len(bad.extra.Fields))); err == nil || present != 0 {
			t.Errorf("%q was accepted: %b, %v", bad.data, present, err)
		}
	}
}

// Whoever renders the members relies on this order, and on a bit for each field.
func TestExtrasTable(t *testing.T) {
	for _, version := range []int{1, 2} {
		last := ""
		for _, row := range extras {
			e := row.v1
			if version == 2 {
				e = row.v2
			}
			if e == nil {
				continue
			}
			if at := row.subsystem + " " + e.Key; at <= last {
				t.Errorf("%s after %s", at, last)
			} else {
				last = at
			}
			if len(e.Fields) > 64 || !slices.IsSortedFunc(e.Fields, func(a, b ExtraField) int { return strings.Compare(a.Name, b.Name) }) {
				t.Errorf("%s: %v", e.Key, e.Fields)
			}
		}
	}
}

// Each member is looked for where the subsystem is mounted, and nowhere else.
func TestLayoutExtras(t *testing.T) {
	v1 := func(name string) *Hierarchy {
		return &Hierarchy{mount: Mount{Name: name, Version: 1, Subsystems: strings.Split(name, ",")}}
	}
	unified := &Hierarchy{mount: Mount{Name: "unified", Version: 2, Subsystems: []string{"memory", "io"}}}
	l := &Layout{hierarchies: []*Hierarchy{v1("cpu"), v1("cpuacct"), v1("pids"), unified}}
	all := []string{PartPSI, PartThrottling, PartMemoryEvents}
	var got []string
	for _, subsystem := range []string{"blkio", "cpu", "cpuacct", "memory", "pids", "nosuch"} {
		for _, e := range l.Extras(subsystem, all) {
			got = append(got, subsystem+" "+e.Key+" "+e.Hierarchy.Name()+" "+e.File)
		}
	}
	want := []string{
		"blkio io_pressure unified io.pressure", "cpu throttling cpu cpu.stat",
		"memory memory_events unified memory.events", "memory memory_pressure unified memory.pressure",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e := l.Extras("memory", nil); e != nil {
		t.Errorf("nothing was asked for: %v", e)
	}
	if o := l.OOMKills(); o == nil || o.Hierarchy != unified || !o.Below || o.File != "memory.events" {
		t.Errorf("oom kills on v2: %+v", o)
	}
	unified.mount.LocalEvents = true
	if o := l.OOMKills(); o == nil || o.Below {
		t.Errorf("oom kills with memory_localevents: %+v", o)
	}
	l.hierarchies[2] = v1("memory")
	if o := l.OOMKills(); o == nil || o.Hierarchy.Name() != "memory" || o.Below {
		t.Errorf("oom kills on v1: %+v", o)
	}
	if o := (&Layout{}).OOMKills(); o != nil {
		t.Errorf("oom kills without memory: %+v", o)
	}
}

func TestParseOOMKills(t *testing.T) {
	for data, want := range map[string]uint64{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n":                     3,
		"low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n":       1,
		"oom_group_kill 5\noom_kill 18446744073709551615":                   math.MaxUint64,
		"low 0\noom_kill 0\nsock_throttled 0\nsomething_in_the_future 12\n": 0,
	} {
		if n, err := ParseOOMKills([]byte(data)); n != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", data, n, err, want)
		}
	}
	for _, bad := range []string{"", "oom_kill_disable 0\nunder_oom 0\n", "oom_kill\n", "oom_kill x\n"} {
		if _, err := ParseOOMKills([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestExtraParsersDoNotAllocate(t *testing.T) {
	psi, events := []byte("some avg10=1.23 avg60=0.50 avg300=0.00 total=38211\n"), []byte("low 0\nmax 7\noom_kill 1\n")
	values := make([]uint64, 8)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = extras[0].v2.Parse(psi, values)
		_, _ = memoryEvents.Parse(events, values)
		_, _ = ParseOOMKills(events)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseExtra(f *testing.F) {
	f.Add([]byte("some avg10=1.23 avg60=0.50 avg300=0.00 total=38211\nfull avg10=0.07 total=9\n"))
	f.Add([]byte("nr_periods 12\nnr_throttled 3\nthrottled_usec 4000001\n"))
	f.Add([]byte("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, row := range extras {
			for _, e := range []*Extra{row.v1, row.v2} {
				if e == nil {
					continue
				}
				values := make([]uint64, len(e.Fields))
				present, err := e.Parse(data, values)
				if err != nil && present != 0 || present>>len(values) != 0 {
					t.Errorf("%s: %q: %b, %v", e.Key, data, present, err)
				}
				for i, v := range values {
					if err == nil && present&(1<<i) == 0 && v != 0 {
						t.Errorf("%s: %q: %s is absent and %d", e.Key, data, e.Fields[i].Name, v)
					}
				}
			}
		}
	})
}

func FuzzParseOOMKills(f *testing.F) {
	f.Add([]byte("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := ParseOOMKills(data); err == nil && !strings.Contains(string(data), "oom_kill ") {
			t.Errorf("%q: %d", data, n)
		}
	})
}
