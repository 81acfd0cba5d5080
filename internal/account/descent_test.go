package account

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

var exactUsage = cgfs.Usage{Kind: cgfs.UsageNumber, Key: "usage", Exact: true, Files: []string{numberFile}, ParseNumber: cgfs.ParseNumber}

// charging is a fake kernel that counts as cpuacct does: a charge goes to the
// cgroup and everything above it.
type charging struct {
	*fakeKernel
	counts map[string]uint64
}

func newCharging(paths ...string) charging {
	k := charging{newFakeKernel(), map[string]uint64{}}
	k.watches = map[*fakeWatch]bool{}
	for _, p := range append([]string{""}, paths...) {
		k.make(p)
	}
	return k
}

func (k charging) make(path string) {
	k.counts[path] = 0
	k.set(path, numberFile, "0\n")
}

func (k charging) charge(path string, n uint64) {
	for {
		k.counts[path] += n
		k.set(path, numberFile, fmt.Sprintf("%d\n", k.counts[path]))
		if path == "" {
			return
		}
		path = above(path)
	}
}

// wide is our root with some cgroups of some leaves each.
func wide(inner, leaves int) (paths []string) {
	for i := range inner {
		paths = append(paths, fmt.Sprintf("c%02d", i))
		for j := range leaves {
			paths = append(paths, fmt.Sprintf("c%02d/leaf%02d", i, j))
		}
	}
	return paths
}

// TestDescent: only what is below something that has changed is read.
func TestDescent(t *testing.T) {
	paths := wide(10, 20)
	k := newCharging(paths...)
	s := testSampler(k, NewRing(10), SamplerOptions{MaxOpen: 1000})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", exactUsage, paths...)}})
	for _, tc := range []struct {
		name   string
		change func()
		reads  int
	}{
		{"everything at first", func() {}, 1 + 10 + 200},
		{"nothing changed", func() {}, 1},
		{"one leaf", func() { k.charge("c03/leaf07", 5) }, 1 + 10 + 20},
		{"nothing changed again", func() {}, 1},
		{"two leaves of one cgroup", func() { k.charge("c03/leaf07", 5); k.charge("c03/leaf08", 5) }, 1 + 10 + 20},
		{"our root itself", func() { k.charge("", 5) }, 1 + 10},
		{"a leaf is removed", func() { k.remove("c05/leaf01") }, 1 + 1 + 20},
		{"what is missing is looked for", func() {}, 1},
		{"it is made again", func() { k.make("c05/leaf01") }, 1 + 1},
		{"and stands still", func() {}, 1},
		{"events were lost", func() {
			for w := range k.watches {
				w.lost = true
			}
		}, 1 + 10 + 200},
	} {
		tc.change()
		before := k.reads
		_ = s.sample()
		if reads := k.reads - before; reads != tc.reads {
			t.Errorf("%s: %d reads, want %d", tc.name, reads, tc.reads)
		}
	}
	if len(k.watches) != 1 {
		t.Errorf("%d watches", len(k.watches))
	}
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", exactUsage)}})
	if len(k.watches) != 0 {
		t.Errorf("%d watches of a flat tree", len(k.watches))
	}
}

// TestDescentEqualsReadingAll: whatever happens, a sampler that leaves out what
// cannot have changed shows what one that reads everything shows.
func TestDescentEqualsReadingAll(t *testing.T) {
	paths := []string{"a", "a/b", "a/b/c", "a/b/d", "a/e", "a-b", "a-b/c", "f"}
	rapid.Check(t, func(t *rapid.T) {
		k := newCharging(paths...)
		samplers := map[string]*Sampler{
			"descending":                  testSampler(k, NewRing(5), SamplerOptions{MaxOpen: 1000}),
			"descending, few kept open":   testSampler(k, NewRing(5), SamplerOptions{MaxOpen: 3}),
			"everything":                  testSampler(k, NewRing(5), SamplerOptions{MaxOpen: 1000}),
			"everything, few kept open":   testSampler(k, NewRing(5), SamplerOptions{MaxOpen: 2}),
			"descending, events get lost": testSampler(k, NewRing(5), SamplerOptions{MaxOpen: 1000}),
		}
		names := slices.Sorted(maps.Keys(samplers))
		configured := paths
		for range rapid.IntRange(1, 25).Draw(t, "seconds") {
			if len(configured) == len(paths) || rapid.IntRange(0, 9).Draw(t, "new target") == 0 {
				for _, name := range names {
					usage := exactUsage
					usage.Exact = !strings.HasPrefix(name, "everything")
					samplers[name].adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", usage, configured...)}})
				}
				configured = configured[:rapid.IntRange(1, len(paths)).Draw(t, "configured")]
			}
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				p := rapid.SampledFrom(append([]string{""}, paths...)).Draw(t, "cgroup")
				_, exists := k.counts[p]
				below := slices.ContainsFunc(slices.Collect(maps.Keys(k.counts)), func(q string) bool { return strings.HasPrefix(q, p+"/") })
				switch op := rapid.SampledFrom([]string{"charge", "remove", "make"}).Draw(t, "change"); {
				case op == "charge" && exists:
					k.charge(p, 1)
				case op == "remove" && exists && !below && p != "":
					delete(k.counts, p)
					k.remove(p)
				case op == "make" && !exists:
					if _, parent := k.counts[above(p)]; parent {
						k.make(p)
					}
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "lose events") == 0 {
				if d := samplers["descending, events get lost"].subs[0].descent; d != nil {
					w := d.watch.(*fakeWatch)
					w.events, w.lost = nil, true
				}
			}
			want := sampleText(samplers["everything"])
			for _, name := range names {
				if diff := cmp.Diff(want, sampleText(samplers[name])); diff != "" {
					t.Fatalf("%s (-everything +it):\n%s", name, diff)
				}
			}
		}
		for _, name := range names {
			samplers[name].close()
		}
		if n := k.openFDs(); n != 0 {
			t.Fatalf("%d descriptors left open", n)
		}
	})
}

// TestDescentRootReplaced: our root is in no directory that is watched, and when it
// is not kept open nothing tells that it is another one.
func TestDescentRootReplaced(t *testing.T) {
	for _, limit := range []int{0, 10} {
		k := newCharging("a")
		s := testSampler(k, NewRing(5), SamplerOptions{})
		s.meters.limit = limit
		s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", exactUsage, "a")}})
		k.charge("a", 5)
		_ = s.sample()
		k.remove("a")
		_ = s.sample()
		k.remove("")
		k.make("")
		k.make("a")
		k.charge("a", 5)
		_ = s.sample()
		k.remove("a")
		k.make("a")
		if diff := cmp.Diff(`{"cpu":{"sub_cgroup":{"a":{"value":{"usage":0}}},"value":{"usage":5}}}`, sampleText(s)); diff != "" {
			t.Errorf("%d files kept open: slot (-want +got):\n%s", limit, diff)
		}
		s.close()
	}
}

// TestDescentUnwatched: where removals are not told, everything is read.
func TestDescentUnwatched(t *testing.T) {
	k := newCharging("a", "a/b")
	k.noMoreWatches = true
	s := testSampler(k, NewRing(5), SamplerOptions{})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", exactUsage, "a", "a/b")}})
	for range 3 {
		before := k.reads
		_ = s.sample()
		if reads := k.reads - before; reads != 3 {
			t.Errorf("%d reads, want 3", reads)
		}
	}
}

// TestBusiestStayOpen: beyond the limit the files that change are kept open.
func TestBusiestStayOpen(t *testing.T) {
	const n, limit = 200, 40
	k := newCharging(wide(n, 0)...)
	s := testSampler(k, NewRing(10), SamplerOptions{MaxOpen: limit})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage, wide(n, 0)...)}})
	busy := rand.New(rand.NewPCG(1, 2)).Perm(n)[:limit/2]
	opens := 0
	for range 200 {
		for _, i := range busy {
			k.charge(fmt.Sprintf("c%02d", i), 1)
		}
		opens = k.opens
		_ = s.sample()
		opens = k.opens - opens
	}
	kept := map[string]bool{}
	for _, d := range s.subs[0].dirs {
		if d.fd >= 0 {
			kept[d.dir] = true
		}
	}
	for _, i := range busy {
		if dir := fmt.Sprintf("c%02d", i); !kept[dir] {
			t.Errorf("%s is busy and not kept open", dir)
		}
	}
	if len(kept) != limit || s.meters.open != limit || opens != n+1-limit {
		t.Errorf("%d kept open, %d counted, %d opens a second; limit %d of %d", len(kept), s.meters.open, opens, limit, n+1)
	}
}
