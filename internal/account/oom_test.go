package account

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

const oomFile = "memory.events"

// oomBench is a sampler that watches a tree of counters, and the true kills.
type oomBench struct {
	t      *testing.T
	kernel *fakeKernel
	below  bool
	counts map[string]int
	log    bytes.Buffer
	*Sampler
}

func newOOMBench(t *testing.T, below bool, dirs ...string) *oomBench {
	b := &oomBench{t: t, kernel: newFakeKernel(), below: below, counts: map[string]int{}}
	b.Sampler = testSampler(b.kernel, NewRing(10), SamplerOptions{Log: logTo(&b.log), Now: func() time.Time { return time.Unix(1700000000, 0) }})
	t.Cleanup(func() {
		b.Sampler.close()
		checkNoFDs(t, b.kernel)
	})
	for _, d := range append([]string{""}, dirs...) {
		b.set(d, 0)
	}
	return b
}

func (b *oomBench) set(dir string, n int) {
	b.counts[dir] = n
	b.kernel.set(dir, oomFile, fmt.Sprintf("low 0\noom %d\noom_kill %d\n", n, n))
}

// kill counts n victims in dir as the kernel does.
func (b *oomBench) kill(dir string, n int) {
	for {
		b.set(dir, b.counts[dir]+n)
		if !b.below || dir == "" {
			return
		}
		dir = dir[:max(strings.LastIndexByte(dir, '/'), 0)]
	}
}

func (b *oomBench) target(paths ...string) {
	s := subsystemOf("memory", cgfs.Usage{}, paths...)
	s.OOMKills = &cgfs.OOMKills{Hierarchy: fakeHierarchy, File: oomFile, Below: b.below}
	b.adopt(&Target{Subsystems: []Subsystem{s}})
}

// want looks and compares what was logged since the last call.
func (b *oomBench) want(lines ...string) {
	b.t.Helper()
	b.lookForKills(false)
	var text strings.Builder
	for _, l := range lines {
		cgroup, count, _ := strings.Cut(l, " ")
		fmt.Fprintf(&text, `warn oom kill {"subsystem": "memory", "cgroup": %q, "count": %s}`+"\n", cgroup, count)
	}
	if diff := cmp.Diff(text.String(), b.log.String()); diff != "" {
		b.t.Errorf("log (-want +got):\n%s", diff)
	}
	b.log.Reset()
}

func (b *oomBench) wantStatus(want string) {
	b.t.Helper()
	var got []string
	for _, k := range b.OOMKills() {
		got = append(got, fmt.Sprintf("%s %d", k.Cgroup, k.Count))
		if !k.Last.Equal(time.Unix(1700000000, 0)) {
			b.t.Errorf("%s: %v", k.Cgroup, k.Last)
		}
	}
	if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
		b.t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestOOMKills: each kill is told once, with the cgroup in which it happened.
func TestOOMKills(t *testing.T) {
	for _, below := range []bool{false, true} {
		t.Run(fmt.Sprintf("below=%v", below), func(t *testing.T) {
			b := newOOMBench(t, below, "a", "a/b", "a/b/c", "a-b")
			b.kill("a/b", 5) // before our time
			b.target("a", "a/b", "a/b/c", "a-b")
			b.want()
			b.wantStatus("")
			b.kill("a/b", 1)
			b.want("a/b 1")
			b.want()
			b.kill("a/b/c", 2)
			b.kill("a", 1)
			b.kill("a-b", 1)
			b.kill("", 3)
			b.want("/ 3", "a 1", "a/b/c 2", "a-b 1")
			b.kill("a/b/c", 1)
			b.want("a/b/c 1")
			b.wantStatus("/ 3, a 1, a-b 1, a/b 1, a/b/c 3")
		})
	}
}

// TestOOMKillsOfOthers: what happens below a configured cgroup, in its reserved
// child or in a cgroup of somebody else's, is its own where the kernel says so.
func TestOOMKillsOfOthers(t *testing.T) {
	b := newOOMBench(t, true, "a", "a/@members", "a/b", "a/b/docker")
	b.target("a", "a/b")
	b.kill("a/@members", 1)
	b.kill("a/b/docker", 2)
	b.want("a 1", "a/b 2")
}

// TestOOMKillsLifetimes: cgroups come, go, are made again, join and leave the
// document.
func TestOOMKillsLifetimes(t *testing.T) {
	for _, below := range []bool{false, true} {
		for _, limit := range []int{100, 1} { // files that may be kept open
			t.Run(fmt.Sprintf("below=%v,limit=%d", below, limit), func(t *testing.T) {
				b := newOOMBench(t, below, "a", "b")
				b.meters.limit = limit
				b.target("a", "b", "late")
				b.kill("a", 2)
				b.want("a 2")
				b.kernel.remove("a")
				b.lookForKills(limit == 1) // without an open file it must be seen to be gone
				b.want()
				b.set("a", 0)
				b.kill("a", 3) // no fewer than before: another cgroup all the same
				b.want("a 3")
				b.set("late", 0)
				b.want()
				b.kill("late", 1)
				b.want("late 1")

				b.set("new", 0)
				b.kill("new", 7) // before it was ours
				b.want(map[bool][]string{true: {"/ 7"}}[below]...)
				b.target("a", "new")
				b.want()
				b.kill("new", 1)
				b.kill("a", 1)
				b.want("a 1", "new 1")
				b.wantStatus(map[bool]string{false: "a 6, new 1", true: "/ 7, a 6, new 1"}[below])
				b.adopt(&Target{})
				b.want()
				b.wantStatus("")
			})
		}
	}
}

// TestOOMKillsBetweenReads: a kill between the reading of a parent and of its
// child is told once.
func TestOOMKillsBetweenReads(t *testing.T) {
	b := newOOMBench(t, true, "a", "a/b")
	b.target("a", "a/b")
	b.kill("a/b", 1)
	b.set("", 0) // read before the kill
	b.set("a", 0)
	b.lookForKills(true)
	b.set("", 1)
	b.set("a", 1)
	b.want("a/b 1")
	b.kill("a", 1)
	b.want("a 1")
	b.wantStatus("a 1, a/b 1")
}

// TestOOMKillsCost: while nothing happens, counters that include those below cost
// one read.
func TestOOMKillsCost(t *testing.T) {
	b := newOOMBench(t, true, "a", "a/b", "c")
	b.target("a", "a/b", "c")

	counter := &countingKernel{fakeKernel: b.kernel}
	b.meters.kernel = counter
	b.want()
	if counter.reads != 1 {
		t.Errorf("%d reads, want 1", counter.reads)
	}
	b.kill("c", 1)
	b.want("c 1")
	if counter.reads != 4 {
		t.Errorf("%d reads, want 1 and 3: a is unchanged", counter.reads)
	}
}

type countingKernel struct {
	*fakeKernel
	reads int
}

func (k *countingKernel) pread(fd int, buf []byte) (int, error) {
	k.reads++
	return k.fakeKernel.pread(fd, buf)
}

// TestOOMKillsUnsupported: kernels before 4.13 have no such count.
func TestOOMKillsUnsupported(t *testing.T) {
	b := newOOMBench(t, false)
	b.kernel.set("", oomFile, "oom_kill_disable 0\nunder_oom 0\n")
	b.target("nosuch")
	b.want()
	b.wantStatus("")
}
