package account

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

var allParts = []string{cgfs.PartMemoryEvents, cgfs.PartPSI, cgfs.PartThrottling}

// withExtras gives a subsystem all optional members of v2.
func withExtras(s Subsystem) Subsystem {
	for _, e := range cgfs.Extras(s.Name, 2, allParts) {
		s.Extras = append(s.Extras, cgfs.ExtraSource{Hierarchy: fakeHierarchy, Extra: e})
	}
	return s
}

func pressure(some, total uint64) string {
	return fmt.Sprintf("some avg10=%d.%02d avg60=0.00 avg300=0.00 total=%d\n", some/100, some%100, total)
}

// TestExtraMembers: what the kernel has stands in the value, sorted; the rest is
// absent, and no fault.
func TestExtraMembers(t *testing.T) {
	k := newFakeKernel()
	for _, dir := range []string{"", "a", "b"} {
		k.set(dir, numberFile, "7\n")
		k.set(dir, bytesFile, ioBytes(1, 2))
	}
	k.set("", "cpu.pressure", pressure(5, 12)+"full avg10=0.00 avg60=0.00 avg300=0.00 total=3\n")
	k.set("a", "cpu.pressure", pressure(10000, 34))
	k.set("a", "cpu.stat", "usage_usec 1\nnr_periods 2\nnr_throttled 3\nthrottled_usec 4\n")
	k.set("b", "cpu.stat", "usage_usec 1\n")
	k.set("b", "io.pressure", pressure(123, 45))
	k.set("a", "memory.events", "low 0\nhigh 0\nmax 8\noom 2\noom_kill 1\n")
	k.set("a", "memory.pressure", "nonsense avg10\nsome avg10=x\n")
	s := testSampler(k, NewRing(10), SamplerOptions{})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{
		withExtras(subsystemOf("blkio", summedUsage, "b")),
		withExtras(subsystemOf("cpu", numberUsage, "a", "b")),
		withExtras(subsystemOf("memory", cgfs.Usage{}, "a")), // nothing else to read
	}})
	words, unread, err := s.sample()
	if unread != 0 || err != nil {
		t.Errorf("%d unread, %v", unread, err)
	}
	got := string(s.layout.full.append(nil, words, s.extras.read(&s.meters, 0)))
	want := `{"blkio":{"sub_cgroup":{"b":{"value":{"8:0":{"Read":1,"Write":2},"io_pressure":{"some_avg10":1.23,"some_total":45}}}},` +
		`"value":{"8:0":{"Read":2,"Write":4}}},` +
		`"cpu":{"sub_cgroup":{"a":{"value":{"cpu_pressure":{"some_avg10":100.00,"some_total":34},"throttling":{"periods":2,"throttled":3,"time":4000},"usage":7}},` +
		`"b":{"value":{"usage":7}}},` +
		`"value":{"cpu_pressure":{"full_avg10":0.00,"full_total":3,"some_avg10":0.05,"some_total":12},"usage":7}},` +
		`"memory":{"sub_cgroup":{"a":{"value":{"memory_events":{"high":0,"low":0,"max":8,"oom":2,"oom_kill":1}}}},"value":{}}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("slot (-want +got):\n%s", diff)
	}

	// A value that cannot be read leaves its neighbours.
	k.set("b", bytesFile, "8:0 Read x\n")
	k.set("a", numberFile, "x\n")
	got = sampleText(s)
	for _, part := range []string{`"b":{"value":{"io_pressure":{"some_avg10":1.23,"some_total":45}}}`, `"throttling":{"periods":2,"throttled":3,"time":4000}}}`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	if !json.Valid([]byte(got)) {
		t.Errorf("not JSON: %s", got)
	}
}

// TestExtraRefresh: the files are read in the first slot of ten seconds; the
// slots between repeat what was read, and old ones keep theirs.
func TestExtraRefresh(t *testing.T) {
	k := newFakeKernel()
	k.set("", numberFile, "7\n")
	r := NewRing(60)
	s := testSampler(k, r, SamplerOptions{})
	defer s.close()
	target := func(paths ...string) {
		s.adopt(&Target{Subsystems: []Subsystem{withExtras(subsystemOf("cpu", numberUsage, paths...))}})
	}
	target()
	for slot := int64(1700000007); slot < 1700000032; slot++ {
		k.set("", "cpu.pressure", pressure(1, uint64(slot-1700000000)))
		if slot == 1700000025 {
			k.set("a", numberFile, "1\n")
			target("a") // another layout: read at once
		}
		s.tick(time.Unix(slot, 0))
	}
	var got []string
	for slot := int64(1700000007); slot < 1700000032; slot++ {
		var v slotValue
		if err := json.Unmarshal([]byte(slotText(r, slot)), &v); err != nil {
			t.Fatal(err)
		}
		var p map[string]json.Number
		if err := json.Unmarshal(v["cpu"].Value["cpu_pressure"], &p); err != nil {
			t.Fatal(err)
		}
		got = append(got, p["some_total"].String())
	}
	want := strings.Fields("7 7 7 10 10 10 10 10 10 10 10 10 10 20 20 20 20 20 25 25 25 25 25 30 30")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("total in each slot (-want +got):\n%s", diff)
	}
	if n := k.openFDs(); n != 2 {
		t.Errorf("%d files kept open, want only the usage's 2", n)
	}
}

// TestExtraSteadyState: between two readings a second allocates nothing either.
func TestExtraSteadyState(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k := newFakeKernel()
	k.set("", numberFile, "7\n")
	k.set("", "cpu.pressure", pressure(1, 2))
	k.set("", oomFile, "oom_kill 3\n")
	r := NewRing(3)
	s := testSampler(k, r, SamplerOptions{})
	defer s.close()
	sub := withExtras(subsystemOf("cpu", numberUsage))
	sub.OOMKills = &cgfs.OOMKills{Hierarchy: fakeHierarchy, File: oomFile}
	s.adopt(&Target{Subsystems: []Subsystem{sub}})
	var text []byte
	slot := int64(0)
	second := func() {
		slot++
		words, _, _ := s.sample()
		extra := s.extras.read(&s.meters, slot%extraTime)
		text = s.layout.full.append(text[:0], words, extra)
		copy(words[s.layout.words():], extra)
		s.spare, _ = r.appendSlot(slot, time.Now(), s.layout, words)
		s.lookForKills(false)
	}
	for range 10 {
		second()
	}
	if n := testing.AllocsPerRun(100, second); n != 0 {
		t.Errorf("%v allocations a second, want 0", n)
	}
	if want := `{"cpu":{"sub_cgroup":{},"value":{"cpu_pressure":{"some_avg10":0.01,"some_total":2},"usage":7}}}`; string(text) != want {
		t.Errorf("%s", text)
	}
}

// TestExtraIsSortedJSON: whichever fields a file has, the value is JSON with
// sorted keys and the file's numbers, as long as foretold at most.
func TestExtraIsSortedJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"blkio", "cpu", "memory"}).Draw(t, "subsystem")
		sub := withExtras(subsystemOf(name, numberUsage))
		if name == "blkio" {
			sub.Usage = summedUsage
		}
		var extras extraReader
		places := extras.place(sub.Extras, "")
		words, extra := []uint64{rapid.Uint64().Draw(t, "number"), 2, rapid.Uint64Range(0, 1).Draw(t, "present")}, make([]uint64, extras.words)
		n := &node{name: name, kind: sub.Usage.Kind, key: "usage", extras: places}
		numbers := 2
		if name == "blkio" {
			n.devices = []string{"8:0"}
		}
		want := map[string]any{}
		switch {
		case words[2] == 0:
		case name == "blkio":
			want["8:0"] = map[string]any{"Read": words[0], "Write": words[1]}
		default:
			want["usage"] = words[0]
		}
		for _, p := range places {
			member := map[string]any{}
			for i, f := range p.extra.Fields {
				v := rapid.Uint64().Draw(t, f.Name)
				extra[p.at+1+i] = v
				if rapid.Bool().Draw(t, "present") {
					extra[p.at] |= 1 << i
					member[f.Name] = json.RawMessage(fmt.Sprint(v))
					if f.Decimals == 2 {
						member[f.Name] = json.RawMessage(fmt.Sprintf("%d.%02d", v/100, v%100))
					}
				}
			}
			if len(member) > 0 {
				want[p.extra.Key] = member
			}
		}
		l := newLayout([]*node{n}, numbers, extras.words)
		got := string(l.full.append(nil, words, extra))
		if diff := cmp.Diff(encode(t, map[string]any{name: map[string]any{"value": want}}), got); diff != "" {
			t.Fatalf("slot (-want +got):\n%s", diff)
		}
		if len(got) > l.full.max {
			t.Fatalf("%d bytes, at most %d were foretold", len(got), l.full.max)
		}
	})
}

func TestAppendDecimal(t *testing.T) {
	var got []string
	for _, n := range []uint64{0, 5, 99, 100, 12345, 18446744073709551615} {
		got = append(got, string(appendDecimal(nil, n, 0))+" "+string(appendDecimal(nil, n, 2)))
	}
	want := []string{"0 0.00", "5 0.05", "99 0.99", "100 1.00", "12345 123.45", "18446744073709551615 184467440737095516.15"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
