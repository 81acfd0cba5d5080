package account

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/bpfiter"
	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// realCounters opens those of the kernel that runs.
func realCounters(t *testing.T, version int) OpenCounters {
	t.Helper()
	r, err := bpfiter.Open(version, 1)
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	r.Close()
	return func(version, places int) (Counters, error) { return bpfiter.Open(version, places) }
}

// fakeCounters count in a fakeKernel.
type fakeCounters struct {
	k      *fakeKernel
	places []*fakeCgroup // nil: free
	values []uint64
	full   bool  // there are no more places
	missed int   // so many calls of Add find nothing
	broken error // what Read answers
	closed bool
}

// counters is an OpenCounters that keeps what it has opened.
func (k *fakeKernel) counters(all *[]*fakeCounters) OpenCounters {
	return func(_, places int) (Counters, error) {
		c := &fakeCounters{k: k, places: make([]*fakeCgroup, places), values: make([]uint64, places)}
		*all = append(*all, c)
		return c, nil
	}
}

func (c *fakeCounters) Add(fd int) (int, error) {
	f := c.k.fds[fd]
	if f.name != "" {
		return -1, fmt.Errorf("%s is no directory", f.name)
	}
	if f.cgroup.removed || c.missed > 0 {
		c.missed--
		return -1, fs.ErrNotExist
	}
	for i := range c.places {
		if c.places[i] == nil && !c.full {
			c.places[i] = f.cgroup
			return i, c.Read()
		}
	}
	return -1, errors.New("no place left")
}

func (c *fakeCounters) Remove(place int) {
	if c.places[place] == nil {
		panic("removed twice")
	}
	c.places[place] = nil
}

func (c *fakeCounters) Places() int { return len(c.places) }

func (c *fakeCounters) Read() error {
	for i, g := range c.places {
		if g != nil && !g.removed {
			c.values[i], _ = cgfs.ParseNumber([]byte(g.files[numberFile]))
		}
	}
	return c.broken
}

func (c *fakeCounters) Value(place int) (uint64, bool) {
	return c.values[place], !c.places[place].removed
}

func (c *fakeCounters) Close() { c.closed = true }

func (c *fakeCounters) taken() (n int) {
	for _, g := range c.places {
		if g != nil {
			n++
		}
	}
	return n
}

var countedUsage = func() cgfs.Usage {
	u := numberUsage
	u.CPUTime, u.Exact = true, true
	return u
}()

// countedSampler has cgroups a, a/b and c, with 1, 2 and 3 in their files.
func countedSampler(t *testing.T, log *bytes.Buffer) (*fakeKernel, *Sampler, *[]*fakeCounters) {
	k, all := newFakeKernel(), new([]*fakeCounters)
	k.watches = make(map[*fakeWatch]bool)
	for dir, n := range map[string]string{"": "6\n", "a": "1\n", "a/b": "2\n", "c": "3\n"} {
		k.set(dir, numberFile, n)
	}
	s := testSampler(k, NewRing(5), SamplerOptions{Counters: k.counters(all), Log: logTo(log)})
	t.Cleanup(func() {
		s.close()
		checkNoFDs(t, k)
		for i, c := range *all {
			if !c.closed {
				t.Errorf("counters %d are left open", i)
			}
		}
	})
	return k, s, all
}

func countedTarget(paths ...string) *Target {
	return &Target{Subsystems: []Subsystem{subsystemOf("cpu", countedUsage, paths...)}}
}

const countedText = `{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"b":{"value":{"usage":2}}},"value":{"usage":1}},"c":{"value":{"usage":3}}},"value":{"usage":6}}}`

func TestCountersReadNoFiles(t *testing.T) {
	k, s, all := countedSampler(t, new(bytes.Buffer))
	s.adopt(countedTarget("a", "a/b", "c"))
	if n := k.openFDs(); n != 0 {
		t.Errorf("%d files are kept open", n)
	}
	for range 3 {
		if diff := cmp.Diff(countedText, sampleText(s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if k.reads != 0 {
		t.Errorf("%d files were read", k.reads)
	}
	s.tick(time.Unix(1700000000, 0))
	if got := s.Status().Counted; got != 4 {
		t.Errorf("counted: %d", got)
	}

	// A cgroup that goes, one that is made again, one that leaves the document, and
	// one that joins it.
	k.remove("c")
	k.remove("a/b")
	k.set("a/b", numberFile, "9\n")
	want := strings.NewReplacer(`"usage":2`, `"usage":9`, `{"usage":3}`, `{}`).Replace(countedText)
	if diff := cmp.Diff(want, sampleText(s)); diff != "" {
		t.Errorf("c removed, a/b made again (-want +got):\n%s", diff)
	}
	k.set("d", numberFile, "4\n")
	(*all)[0].missed = 2
	s.adopt(countedTarget("a", "d"))
	_ = sampleText(s) // by the file of d
	_ = sampleText(s) // d has a place from now on
	if n := k.openFDs(); n != 0 {
		t.Errorf("%d files are kept open of cgroups that have a place", n)
	}
	if diff := cmp.Diff(`{"cpu":{"sub_cgroup":{"a":{"value":{"usage":1}},"d":{"value":{"usage":4}}},"value":{"usage":6}}}`, sampleText(s)); diff != "" {
		t.Errorf("another document (-want +got):\n%s", diff)
	}
	if n := (*all)[0].taken(); n != 3 || len(*all) != 1 {
		t.Errorf("%d places are taken, opened %d times", n, len(*all))
	}
}

// TestCountersGrow: a document with more cgroups than places has new ones.
func TestCountersGrow(t *testing.T) {
	k, s, all := countedSampler(t, new(bytes.Buffer))
	s.adopt(countedTarget("a", "a/b", "c"))
	var paths []string
	for i := range leastPlaces {
		paths = append(paths, fmt.Sprintf("x%04d", i))
		k.set(paths[i], numberFile, "1\n")
	}
	s.adopt(countedTarget(paths...))
	_ = sampleText(s)
	if len(*all) != 2 || !(*all)[0].closed || s.subs[0].counted != leastPlaces+1 || k.reads != 0 {
		t.Errorf("opened %d times, %d counted, %d files read", len(*all), s.subs[0].counted, k.reads)
	}
}

// TestCountersRefused: files are read from the same second on, and that is said once.
func TestCountersRefused(t *testing.T) {
	refusal := errors.New("not on this kernel")
	for _, c := range []struct {
		name   string
		refuse func(s *Sampler, all *[]*fakeCounters)
	}{
		{"at once", func(s *Sampler, _ *[]*fakeCounters) {
			s.meters.openCounters = func(int, int) (Counters, error) { return nil, refusal }
			s.adopt(countedTarget("a", "a/b", "c"))
		}},
		{"while reading", func(s *Sampler, all *[]*fakeCounters) {
			s.adopt(countedTarget("a", "a/b", "c"))
			_ = sampleText(s)
			(*all)[0].broken = refusal
		}},
		{"for a new cgroup", func(s *Sampler, all *[]*fakeCounters) {
			s.adopt(countedTarget("a", "c"))
			_ = sampleText(s)
			(*all)[0].full = true
			s.adopt(countedTarget("a", "a/b", "c"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			k, s, all := countedSampler(t, &log)
			c.refuse(s, all)
			for i := range int64(2) {
				s.tick(time.Unix(1700000000+i, 0))
				if diff := cmp.Diff(countedText, slotText(s.ring, 1700000000+i)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if s.subs[0].descent == nil || k.openFDs() != 4 {
				t.Errorf("descent %v, %d files open", s.subs[0].descent, k.openFDs())
			}
			said := func() int {
				return strings.Count(log.String(), "warn bpf_iterator refused, so that files are read")
			}
			at := said()
			s.adopt(countedTarget("a", "c"))
			if at != 1 || said() != 1 {
				t.Errorf("said %d times, later %d times: %s", at, said(), log.String())
			}
			if got := s.Status().Counted; got != 0 {
				t.Errorf("counted: %d", got)
			}
		})
	}
}

// TestCountersNotOnRootOfV2: its file says what the host has used, and adds nothing
// up for those below.
func TestCountersNotOnRootOfV2(t *testing.T) {
	h, _ := testCgroup(t, "unified")
	var log bytes.Buffer
	s := NewSampler(SamplerOptions{Ring: NewRing(5), Log: logTo(&log), Counters: func(int, int) (Counters, error) {
		t.Error("opened")
		return nil, errors.New("opened")
	}})
	defer s.close()
	sub := subsystemOf("cpu", countedUsage)
	sub.Hierarchy = h
	s.adopt(&Target{Subsystems: []Subsystem{sub}})
	if !strings.Contains(log.String(), "bpf_iterator refused") || s.subs[0].counters != nil {
		t.Errorf("counters %v, log %s", s.subs[0].counters, log.String())
	}
}

// TestCountersAllocations: a second with the kernel's counters allocates nothing.
func TestCountersAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for version, mount := range map[int]string{1: "cpuacct", 2: "unified"} {
		t.Run(mount, func(t *testing.T) {
			h, root := testCgroup(t, mount)
			if h.Version() != version {
				t.Fatalf("version %d", h.Version())
			}
			usage := countedUsage
			if version == 2 {
				usage.Files, usage.ParseNumber = []string{"cpu.stat"}, cgfs.ParseCPUStat
			}
			sub := subsystemOf("cpu", usage, "a", "b")
			sub.Hierarchy = h
			sub.Root.walk(func(c *Cgroup) { c.Dir = strings.TrimSuffix(root+"/"+c.Dir, "/") })
			makeCgroup(t, h, root+"/a")
			makeCgroup(t, h, root+"/b")
			s := NewSampler(SamplerOptions{Ring: NewRing(5), Counters: realCounters(t, version)})
			defer s.close()
			s.adopt(&Target{Subsystems: []Subsystem{sub}})
			now := time.Unix(1700000000, 0)
			second := func() {
				now = now.Add(time.Second)
				s.tick(now)
			}
			for range 50 {
				second()
			}
			if n := testing.AllocsPerRun(50, second); n != 0 {
				t.Errorf("%v allocations a second", n)
			}
			if got := s.Status(); got.Counted != 4-version || got.OpenFiles != version-1 || got.Unread != 0 {
				t.Errorf("status %+v", got)
			}
		})
	}
}

// TestRealCounters: whether the running kernel lends its counters or refuses them,
// usage is what the file says, and a refusal is said once.
func TestRealCounters(t *testing.T) {
	h, root := testCgroup(t, "cpuacct")
	makeCgroup(t, h, root+"/a")
	var log bytes.Buffer
	s := NewSampler(SamplerOptions{Ring: NewRing(5), Log: logTo(&log), Counters: func(version, places int) (Counters, error) {
		return bpfiter.Open(version, places)
	}})
	defer s.close()
	sub := subsystemOf("cpu", countedUsage, "a")
	sub.Hierarchy = h
	sub.Root.walk(func(c *Cgroup) { c.Dir = strings.TrimSuffix(root+"/"+c.Dir, "/") })
	s.adopt(&Target{Subsystems: []Subsystem{sub}})
	refused := strings.Count(log.String(), "bpf_iterator refused")
	if counted := s.subs[0].counters != nil; counted != (refused == 0) || refused > 1 {
		t.Errorf("counted %v: %s", counted, log.String())
	}
	t.Log("refused:", log.String())
	for range 3 {
		runIn(t, h, root+"/a", `i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done`)
		var text, got string
		for range 100 { // until the process that has ended is charged
			var err error
			if text, err = h.Read(root+"/a", numberFile); err != nil {
				t.Fatal(err)
			}
			if got = sampleText(s); strings.Contains(got, `"a":{"value":{"usage":`+text+`}}`) {
				break
			}
			got += " is not " + text
		}
		if text == "0" || strings.Contains(got, "is not") {
			t.Error(got)
		}
	}
}
