package account

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// testCgroup makes a cgroup of the test's own in the v1 hierarchy of a
// controller and removes it, with all below, at the end.
func testCgroup(t testing.TB, controller string) (*cgfs.Hierarchy, string) {
	t.Helper()
	mount := "/sys/fs/cgroup/" + controller
	h, err := cgfs.OpenHierarchy(mount)
	if err != nil {
		testhost.Lacks(t, "no cgroup v1 hierarchy: %v", err)
	}
	t.Cleanup(func() { _ = h.Close() })
	dir := testhost.Root(t)
	if err := h.Mkdir(dir); err != nil {
		testhost.Lacks(t, "cgroups cannot be made: %v", err)
	}
	return h, dir
}

func makeCgroup(t testing.TB, h *cgfs.Hierarchy, dir string) {
	t.Helper()
	if err := h.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
}

// removeCgroup removes a cgroup with what is left in it, as somebody else would.
func removeCgroup(t testing.TB, h *cgfs.Hierarchy, dir string) {
	t.Helper()
	if err := testhost.Remove(filepath.Join(h.Mount(), dir)); err != nil {
		t.Error(err)
	}
}

// runIn runs a shell command inside a cgroup.
func runIn(t *testing.T, h *cgfs.Hierarchy, dir, command string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `echo $$ > "$0" && `+command, path.Join(h.Mount(), dir, "cgroup.procs"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

type slotValue map[string]struct {
	Value map[string]json.RawMessage `json:"value"`
	Sub   map[string]struct {
		Value map[string]json.RawMessage `json:"value"`
	} `json:"sub_cgroup"`
}

func decodeSlot(t *testing.T, text string) slotValue {
	t.Helper()
	var v slotValue
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// TestRealCPU: a loop in a real cgroup shows as its usage and its parent's.
func TestRealCPU(t *testing.T) {
	h, root := testCgroup(t, "cpuacct")
	makeCgroup(t, h, root+"/a")
	makeCgroup(t, h, root+"/b")
	s := NewSampler(SamplerOptions{Ring: NewRing(10)})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{{
		Name: "cpu", Hierarchy: h, Usage: numberUsage,
		Root: Cgroup{Dir: root, HasSub: true, Sub: []Cgroup{{Name: "a", Dir: root + "/a"}, {Name: "b", Dir: root + "/b"}}},
	}}})
	usageOf := func(raw json.RawMessage) (n uint64) {
		if err := json.Unmarshal(raw, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	runIn(t, h, root+"/a", `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done`)
	v := decodeSlot(t, sampleText(s))["cpu"]
	all, a, b := usageOf(v.Value["usage"]), usageOf(v.Sub["a"].Value["usage"]), usageOf(v.Sub["b"].Value["usage"])
	if a == 0 || b != 0 || all < a {
		t.Errorf("usage: all %d, a %d, b %d", all, a, b)
	}

	// Removed and made again between two slots: its own count, never the old one.
	removeCgroup(t, h, root+"/a")
	makeCgroup(t, h, root+"/a")
	v = decodeSlot(t, sampleText(s))["cpu"]
	if n := usageOf(v.Sub["a"].Value["usage"]); n != 0 {
		t.Errorf("a cgroup made again shows %d", n)
	}
	removeCgroup(t, h, root+"/b")
	v = decodeSlot(t, sampleText(s))["cpu"]
	if len(v.Sub["b"].Value) != 0 || len(v.Value) != 1 {
		t.Errorf("after b was removed: %+v", v)
	}
}

// TestRealDirectIO: bytes written with O_DIRECT show for the cgroup and, after it
// is gone, still for its parent.
func TestRealDirectIO(t *testing.T) {
	h, root := testCgroup(t, "blkio")
	makeCgroup(t, h, root+"/a")
	makeCgroup(t, h, root+"/other")
	makeCgroup(t, h, root+"/other/below")
	file := diskFile(t)
	arm(t, h, root, file)

	s := NewSampler(SamplerOptions{Ring: NewRing(10)})
	defer s.close()
	target := func(configured []Cgroup, others ...string) {
		s.adopt(&Target{Subsystems: []Subsystem{{
			Name: "blkio", Hierarchy: h, Usage: summedUsage,
			Root: Cgroup{Dir: root, HasSub: true, Sub: configured}, Others: others,
		}}})
	}
	target([]Cgroup{{Name: "a", Dir: root + "/a"}}, root+"/other", root+"/other/below")
	written := func(value map[string]json.RawMessage) (sum uint64) {
		for _, raw := range value {
			var d struct{ Read, Write uint64 }
			if err := json.Unmarshal(raw, &d); err != nil {
				t.Fatal(err)
			}
			sum += d.Write
		}
		return sum
	}
	show := func() (root, a uint64) {
		v := decodeSlot(t, sampleText(s))["blkio"]
		return written(v.Value), written(v.Sub["a"].Value)
	}
	show()
	const mib = 1 << 20
	dd := fmt.Sprintf("dd if=/dev/zero of='%s' bs=1M count=2 oflag=direct conv=notrunc", file)
	runIn(t, h, root+"/a", dd)
	runIn(t, h, root+"/other/below", dd)
	all, a := show()
	if a == 0 {
		testhost.Lacks(t, "the kernel counts no direct I/O on this disk")
	}
	if a < 2*mib || all < a+2*mib {
		t.Fatalf("root %d, a %d bytes written; want at least 4 MiB and 2 MiB", all, a)
	}
	removeCgroup(t, h, root+"/other")
	removeCgroup(t, h, root+"/a")
	if after, _ := show(); after != all {
		t.Errorf("root %d after its children were removed, want %d", after, all)
	}
	makeCgroup(t, h, root+"/a")
	runIn(t, h, root+"/a", dd)
	target([]Cgroup{{Name: "a", Dir: root + "/a"}})
	again, a := show()
	if again != all+a || a < 2*mib || a >= 4*mib {
		t.Errorf("made again: root %d, a %d; before root %d", again, a, all)
	}
}

// diskFile makes a file of 2 MiB that is opened with O_DIRECT.
func diskFile(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp("/var/tmp", "cgatest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	_, err = io.CopyN(f, zeros{}, 2<<20)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// arm makes the kernel count for the file's disk: recent kernels do so only once
// a throttle rule for it exists.
func arm(t *testing.T, h *cgfs.Hierarchy, dir, file string) {
	t.Helper()
	for _, disk := range disks(t, file) {
		if err := h.Write(dir, cgfs.ArmFile, disk+" 0"); err != nil {
			t.Logf("not armed: %v", err)
		}
	}
}

// disks lists the MAJ:MIN of every disk: which one is below the file's
// filesystem need not be known.
func disks(t *testing.T, _ string) []string {
	t.Helper()
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	var out []string
	for _, e := range entries {
		if text, err := os.ReadFile("/sys/block/" + e.Name() + "/dev"); err == nil && !strings.HasPrefix(e.Name(), "loop") {
			out = append(out, strings.TrimSpace(string(text)))
		}
	}
	return out
}

// TestRealRun: the running sampler keeps its files open, gives one slot a second
// at its start, and closes everything when it ends.
func TestRealRun(t *testing.T) {
	h, root := testCgroup(t, "cpuacct")
	makeCgroup(t, h, root+"/a")
	before := len(testhost.Descriptors())
	r := NewRing(10)
	slots := make(chan struct{}, 10)
	s := NewSampler(SamplerOptions{Ring: r, SlotDone: func() { slots <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return s.Run(ctx) })
	s.SetTarget(&Target{Subsystems: []Subsystem{{
		Name: "cpu", Hierarchy: h, Usage: numberUsage,
		Root: Cgroup{Dir: root, HasSub: true, Sub: []Cgroup{{Name: "a", Dir: root + "/a"}}},
	}}})
	for range 2 {
		<-slots
	}
	if n := s.Status().OpenFiles; n != 2 {
		t.Errorf("%d files kept open, want 2", n)
	}
	if newest, ok := r.Newest(); !ok || newest > time.Now().Unix() {
		t.Errorf("newest slot %d, %v; now %d", newest, ok, time.Now().Unix())
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if after := len(testhost.Descriptors()); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

// TestRealThrottling: a CPU limit shows as the optional member.
func TestRealThrottling(t *testing.T) {
	h, root := testCgroup(t, "cpu")
	if err := h.Write(root, "cpu.cfs_quota_us", "2000"); err != nil {
		testhost.Lacks(t, "no CPU limits: %v", err)
	}
	s := NewSampler(SamplerOptions{Ring: NewRing(10)})
	defer s.close()
	target := Target{Subsystems: []Subsystem{{Name: "cpu", Root: Cgroup{Dir: root}}}}
	for _, e := range cgfs.Extras("cpu", 1, allParts) {
		target.Subsystems[0].Extras = append(target.Subsystems[0].Extras, cgfs.ExtraSource{Hierarchy: h, Extra: e})
	}
	s.adopt(&target)
	// By the clock, not by work: that would take a slow machine many times longer.
	runIn(t, h, root, `end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done`)
	var got struct{ Periods, Throttled, Time uint64 }
	raw := decodeSlot(t, sampleText(s))["cpu"].Value["throttling"]
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if got.Periods == 0 || got.Throttled == 0 || got.Time == 0 {
		t.Errorf("%s", raw)
	}
}
