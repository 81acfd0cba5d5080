package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// blkio is a sampler of a summed subsystem on a fake kernel, and what it shows
// as "path=read" words.
type blkio struct {
	*Sampler
	k      *fakeKernel
	t      rapid.TB
	shown  []string
	others []string
}

func newBlkio(t rapid.TB, configured ...string) *blkio {
	b := &blkio{k: newFakeKernel(), t: t}
	b.k.set("", bytesFile, ioBytes(0, 0))
	b.Sampler = testSampler(b.k, NewRing(10), SamplerOptions{})
	b.target(configured)
	return b
}

// target configures these paths; every other directory is in Others.
func (b *blkio) target(configured []string, others ...string) {
	b.shown = append([]string{""}, configured...)
	b.others = others
	sub := subsystemOf("blkio", summedUsage, configured...)
	sub.Others = others
	b.adopt(&Target{Subsystems: []Subsystem{sub}})
}

// show samples and returns the bytes read of each configured cgroup.
func (b *blkio) show() string {
	words, _, _ := b.sample()
	var out []string
	sub := b.subs[0]
	for _, path := range b.shown {
		d := &sub.dirs[sub.index[path]]
		value := "none"
		if c := slices.Index(sub.table.ids, deviceID{8, 0}); d.ok && c >= 0 && c < len(d.places) && d.places[c] >= 0 && hasBit(words, b.layout.numbers, d.places[c]) {
			value = fmt.Sprint(words[d.places[c]])
		}
		out = append(out, "/"+path+"="+value)
	}
	b.spare = words
	return strings.Join(out, " ")
}

func (b *blkio) expect(when, want string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.show()); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func (b *blkio) io(dir string, read uint64) { b.k.set(dir, bytesFile, ioBytes(read, 0)) }

// TestSumBelow follows one tree through everything that may happen to it.
func TestSumBelow(t *testing.T) {
	b := newBlkio(t)
	b.io("a", 10)
	b.io("a/b", 5)
	b.io("x", 1)
	b.io("x/y", 2)
	b.target([]string{"a", "a/b"}, "x", "x/y")
	b.expect("configured and others are summed", "/=18 /a=15 /a/b=5")

	b.io("a/b", 7)
	b.expect("the sum follows", "/=20 /a=17 /a/b=7")

	b.k.remove("a/b")
	b.expect("a removed child leaves its last value with its parent", "/=20 /a=17 /a/b=none")
	b.expect("once", "/=20 /a=17 /a/b=none")

	b.io("a/b", 3)
	b.expect("made again, it starts at zero and the sum goes on", "/=23 /a=20 /a/b=3")

	b.k.remove("a/b")
	b.io("a/b", 1)
	b.expect("replaced between two slots", "/=24 /a=21 /a/b=1")

	b.k.remove("x/y")
	b.k.remove("x")
	b.expect("a removed subtree leaves all it had", "/=24 /a=21 /a/b=1")

	b.target([]string{"a"}, "a/b")
	b.expect("a new target keeps what was carried", "/=24 /a=21")

	b.k.remove("a/b")
	b.target([]string{"a"})
	b.expect("removed before the new target came", "/=24 /a=21")

	b.k.remove("a")
	b.target(nil)
	b.expect("what was carried moves up", "/=24")

	b.io("a", 6)
	b.target([]string{"a"})
	b.expect("a new cgroup of the name has its own count", "/=30 /a=6")

	b.target(nil)
	b.expect("a live directory that the list lacks still counts", "/=30")
	b.io("a", 8)
	b.expect("and is read", "/=32")
	b.k.remove("a")
	b.expect("until it is gone", "/=32")

	b.close()
	checkNoFDs(t, b.k)
}

func TestSumBelowUnread(t *testing.T) {
	b := newBlkio(t)
	b.io("a", 10)
	b.target([]string{"a"})
	b.expect("before", "/=10 /a=10")
	b.k.breakReads("a", errors.New("input/output error"))
	b.expect("a failed read is absent itself and does not lower the sum", "/=10 /a=none")
	b.k.breakReads("a", nil)
	b.io("a", 11)
	b.expect("after", "/=11 /a=11")

	b.k.remove("a")
	b.k.set("c", bytesFile, ioBytes(11, 0))
	b.target([]string{"c"})
	b.expect("another cgroup", "/=22 /c=11")
	// A rename: the same cgroup under another name.
	b.k.mu.Lock()
	b.k.dirs["d"] = b.k.dirs["c"]
	delete(b.k.dirs, "c")
	b.k.mu.Unlock()
	b.target([]string{"d"})
	b.expect("a renamed cgroup counts once", "/=22 /d=11")
	b.close()
	checkNoFDs(t, b.k)
}

func TestSumBelowDevices(t *testing.T) {
	b := newBlkio(t)
	b.k.set("a", bytesFile, "8:0 Read 10\n8:0 Write 1\n8:16 Read 5\n8:16 Write 0\nTotal 16\n")
	b.target([]string{"a"})
	text := func(when, want string) {
		t.Helper()
		if diff := cmp.Diff(want, sampleText(b.Sampler)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	text("devices", `{"blkio":{"sub_cgroup":{"a":{"value":{"8:0":{"Read":10,"Write":1},"8:16":{"Read":5,"Write":0}}}},`+
		`"value":{"8:0":{"Read":10,"Write":1},"8:16":{"Read":5,"Write":0}}}}`)
	b.k.set("a", bytesFile, "8:0 Read 12\n8:0 Write 1\nTotal 13\n")
	text("a device that went stays with the parent", `{"blkio":{"sub_cgroup":{"a":{"value":{"8:0":{"Read":12,"Write":1}}}},`+
		`"value":{"8:0":{"Read":12,"Write":1},"8:16":{"Read":5,"Write":0}}}}`)
	b.k.set("a", bytesFile, "8:0 Read 12\n8:0 Write 1\n8:16 Read 2\n8:16 Write 0\n254:0 Read 1\n254:0 Write 2\nTotal 18\n")
	text("it came back, and another one", `{"blkio":{"sub_cgroup":{"a":{"value":{"254:0":{"Read":1,"Write":2},"8:0":{"Read":12,"Write":1},"8:16":{"Read":2,"Write":0}}}},`+
		`"value":{"254:0":{"Read":1,"Write":2},"8:0":{"Read":12,"Write":1},"8:16":{"Read":7,"Write":0}}}}`)
	b.k.set("a", bytesFile, "8:0 Read 1\n8:0 Write 0\n")
	text("counters that were reset", `{"blkio":{"sub_cgroup":{"a":{"value":{"8:0":{"Read":1,"Write":0}}}},`+
		`"value":{"254:0":{"Read":1,"Write":2},"8:0":{"Read":13,"Write":1},"8:16":{"Read":7,"Write":0}}}}`)
	b.close()
}

// TestSumBelowModel: whatever is made, removed, made again, configured or not,
// the root shows every byte that was ever sampled, exactly once.
func TestSumBelowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBlkio(t)
		defer b.close()
		counters := map[string]uint64{"": 0} // of the live cgroups
		var all uint64                       // bytes ever sampled
		pending := map[string]uint64{}       // bytes since the last sample, by live cgroup
		retarget := func() {
			var configured, others []string
			for _, dir := range b.k.names() {
				parent := ""
				if i := strings.LastIndexByte(dir, '/'); i >= 0 {
					parent = dir[:i]
				}
				switch {
				case dir == "":
				case (parent == "" || slices.Contains(configured, parent)) && rapid.Bool().Draw(t, "configured"):
					configured = append(configured, dir)
				default:
					others = append(others, dir)
				}
			}
			b.target(configured, others...)
		}
		name := rapid.SampledFrom([]string{"a", "b", "a/a", "a/b", "b/a", "a/a/a"})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2: // make
				dir := name.Draw(t, "make")
				parent := ""
				if i := strings.LastIndexByte(dir, '/'); i >= 0 {
					parent = dir[:i]
				}
				_, there := counters[dir]
				if _, ok := counters[parent]; !ok || there {
					continue
				}
				counters[dir] = 0
				b.io(dir, 0)
				retarget() // before anything is counted, as the reconciler's drift watch would
			case 3, 4, 5: // read
				dir := name.Draw(t, "io")
				if _, ok := counters[dir]; !ok {
					dir = ""
				}
				n := rapid.Uint64Range(0, 9).Draw(t, "bytes")
				counters[dir] += n
				pending[dir] += n
				b.io(dir, counters[dir])
			case 6, 7: // remove a leaf; what it did since the last sample is lost
				dir := name.Draw(t, "remove")
				_, ok := counters[dir]
				for other := range counters {
					ok = ok && !strings.HasPrefix(other, dir+"/")
				}
				if !ok {
					continue
				}
				delete(counters, dir)
				delete(pending, dir)
				b.k.remove(dir)
			case 8:
				retarget()
			default:
				for _, n := range pending {
					all += n
				}
				clear(pending)
				want := fmt.Sprintf("/=%d", all)
				if got := strings.Fields(b.show())[0]; got != want {
					t.Fatalf("the root shows %s, want %s; live %v", got, want, counters)
				}
			}
		}
	})
}
