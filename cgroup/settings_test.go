package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTyped: what is written reads the same, on whichever version there is.
func TestTyped(t *testing.T) {
	has(t, "cpu", "cpuset", "memory", "pids")
	host := openGrouped(t)
	n := create(t, host, "cpu,cpuset,memory,pids:/a")
	same(t, n.CPU().Shares, 512)
	same(t, n.CPU().CPULimit, 50)
	same(t, n.CPU().CPUQuotaPercent, 150)
	same(t, n.CPU().CFSQuotaUS, 50000)
	same(t, n.CPU().Max, Quota{Time: 20000, Period: 50000})
	if err := n.CPU().Max.Set(Quota{Time: 30000}); err != nil {
		t.Error(err)
	}
	if got := must[Quota](t)(n.CPU().Max.Get()); got != (Quota{Time: 30000, Period: 100000}) {
		t.Errorf("a quota without a period is %s", got)
	}
	same(t, n.CPU().CFSQuotaUS, NoLimit)
	same(t, n.Memory().LimitInBytes, 500<<20)
	same(t, n.Memory().MemoryLimit, 300<<20)
	same(t, n.PIDs().Max, 100)
	same(t, n.PIDs().Max, NoLimit)
	one, err := NewCPUs(must[CPUs](t)(n.CPUSet().EffectiveCPUs.Get()).Members()[0])
	if err != nil {
		t.Fatal(err)
	}
	same(t, n.CPUSet().CPUs, one)
	if err := n.Memory().MemoryLimit.Reset(); err != nil {
		t.Error(err)
	}
	if got := must[Amount](t)(n.Memory().LimitInBytes.Get()); got != NoLimit {
		t.Errorf("the limit of memory after Reset is %s", got)
	}
	if err := n.CPU().CPULimit.Reset(); err != nil {
		t.Error(err)
	}
	if got := must[int64](t)(n.CPU().Shares.Get()); got != 1024 {
		t.Errorf("shares after Reset are %d", got)
	}
}

func same[T any](t *testing.T, s Setting[T], value T) {
	t.Helper()
	if err := s.Set(value); err != nil {
		t.Error(err)
		return
	}
	if got, err := s.Get(); err != nil || !cmp.Equal(got, value) {
		t.Errorf("%s: %v after %v was written: %v", s.Name(), got, value, err)
	}
}

// TestFigures: every figure of an idle cgroup can be read, or says that it is not
// supported.
func TestFigures(t *testing.T) {
	host := openGrouped(t)
	n := create(t, host, "/a")
	all := must[[]SettingInfo](t)(n.Settings())
	if len(all) == 0 {
		t.Error("there are no settings")
	}
	for _, s := range all {
		if !s.Readable {
			continue
		}
		if v, err := n.Get(s.Controller + "." + s.Name); err != nil && !isKind(err, ErrNotSupported) {
			t.Errorf("%s.%s: %v %v", s.Controller, s.Name, v, err)
		}
		if s.Doc == "" || s.Values == "" || s.File == "" {
			t.Errorf("%+v is not described", s)
		}
	}
}

func TestByName(t *testing.T) {
	has(t, "cpu", "memory", "pids")
	host := openGrouped(t)
	n := create(t, host, "cpu,memory,pids:/a")
	for _, tt := range []struct {
		name, text string
		want       any
	}{
		{"cpu.shares", "512", int64(512)},
		{"share", "256", int64(256)},
		{"cpu_limit", "50", Percent(50)},
		{"memory.limit_in_bytes", "64M", Amount(64 << 20)},
		{"memory_limit", "300 megabytes", Amount(300 << 20)},
		{"pids.max", "max", Amount(NoLimit)},
		{"cfs_quota_us", "-1", Amount(NoLimit)},
	} {
		if _, err := n.Set(tt.name, tt.text); err != nil {
			t.Error(err)
			continue
		}
		if got, err := n.Get(tt.name); err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %v (%T), not %v: %v", tt.name, got, got, tt.want, err)
		}
	}
	if warning, err := n.Set("cpu.shares", "1"); err != nil || warning == "" {
		t.Errorf("a share below the least: %q %v", warning, err)
	}
	for name, kind := range map[string]error{"max": ErrInvalid, "nosuch": ErrNotExist, "cpu.nosuch": ErrNotExist, "../cpu.shares": ErrInvalid} {
		if _, err := n.Get(name); !isKind(err, kind) {
			t.Errorf("get %s: %v", name, err)
		}
	}
	for name, kind := range map[string]error{"cpu.stat": ErrReadOnly, "blkio.weight": ErrNotSupported} {
		if _, err := n.Set(name, "1"); !isKind(err, kind) {
			t.Errorf("set %s: %v", name, err)
		}
	}
	if _, err := n.Set("cpu.shares", "many"); !isKind(err, ErrInvalid) {
		t.Errorf("set to a word: %v", err)
	}
	if err := n.Reset("cpu.shares"); err != nil {
		t.Error(err)
	}
	if got := must[any](t)(n.Get("shares")); got != int64(1024) {
		t.Errorf("shares after Reset: %v", got)
	}
}

func TestFilesAsTheyAre(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := create(t, host, "cpu:/a")
	files := must[[]string](t)(n.Files())
	if !slices.Contains(files, "cgroup.procs") || !slices.IsSorted(files) {
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		p := must[string](t)(n.FilePath(f))
		if info, err := os.Stat(p); err != nil || !info.Mode().IsRegular() || filepath.Base(p) != f {
			t.Errorf("%s: %v", p, err)
		}
	}
	file, err := n.CPU().Shares.File()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(file)
	before := must[string](t)(n.ReadFile(name))
	if err := n.WriteFile(name, "77"); err != nil {
		t.Error(err)
	}
	if got := must[string](t)(n.ReadFile(name)); got != "77" || got == before {
		t.Errorf("%s reads %q", name, got)
	}
	for _, bad := range []string{"", "..", "a/b", "../" + name} {
		if _, err := n.ReadFile(bad); !isKind(err, ErrInvalid) {
			t.Errorf("read %q: %v", bad, err)
		}
	}
	if _, err := n.ReadFile("cpu.nosuch"); !isKind(err, ErrNotExist) {
		t.Errorf("read a file that is not there: %v", err)
	}
}

func TestDevices(t *testing.T) {
	has(t, "devices")
	host := open(t, "devices")
	n := create(t, host, "devices:/a")
	all, null, zero := must[Rule](t)(ParseRule("a")), must[Rule](t)(ParseRule("c 1:3 rwm")), must[Rule](t)(ParseRule("c 1:5 r"))
	if err := n.Devices().Deny(all); err != nil {
		t.Fatal(err)
	}
	if err := n.Devices().Allow(null, zero); err != nil {
		t.Fatal(err)
	}
	if got := must[[]Rule](t)(n.Devices().List.Get()); !cmp.Equal(got, []Rule{null, zero}) {
		t.Errorf("list %v", got)
	}
	if err := n.Devices().Deny(zero); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Set("devices.allow", "b 8:0 rw,c 5:* r"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range must[[]Rule](t)(n.Devices().List.Get()) {
		got = append(got, r.String())
	}
	slices.Sort(got)
	if want := []string{"b 8:0 rw", "c 1:3 rwm", "c 5:* r"}; !cmp.Equal(got, want) {
		t.Errorf("list %q", got)
	}
}

// TestDevicesTogether: rules that are changed at once are all there in the end.
func TestDevicesTogether(t *testing.T) {
	has(t, "devices")
	host := open(t, "devices")
	n := create(t, host, "devices:/a")
	if err := n.Devices().Deny(must[Rule](t)(ParseRule("a"))); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := n.Devices().Allow(Rule{Type: 'c', Major: 100, Minor: int64(i), Access: "r"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := must[[]Rule](t)(n.Devices().List.Get()); len(got) != 20 {
		t.Errorf("%d rules: %v", len(got), got)
	}
}

// TestDevicesAfterAChild: a cgroup below that was just removed does not count, though
// the kernel counts it for a moment more.
func TestDevicesAfterAChild(t *testing.T) {
	has(t, "devices")
	host := open(t, "devices")
	n := create(t, host, "devices:/a")
	for range 20 {
		child := create(t, host, "devices:/a/child")
		if err := child.Delete(t.Context(), DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := n.Devices().Deny(Rule{Type: 'a'}); err != nil {
			t.Fatal(err)
		}
		if err := n.Devices().Allow(Rule{Type: 'a'}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteNothing: an empty text reaches the kernel, which a write of no bytes does
// not.
func TestWriteNothing(t *testing.T) {
	has(t, "cpuset")
	host := open(t, "cpuset")
	n := create(t, host, "cpuset:/a")
	if n.Version() == 2 { // empty as long as it has its parent's
		if err := n.CPUSet().CPUs.Set(must[CPUs](t)(n.CPUSet().EffectiveCPUs.Get())); err != nil {
			t.Fatal(err)
		}
	}
	if was := must[string](t)(n.ReadFile("cpuset.cpus")); was == "" {
		t.Fatal("a cpuset that can take processes has CPUs")
	}
	if err := n.WriteFile("cpuset.cpus", ""); err != nil {
		t.Fatal(err)
	}
	if got := must[string](t)(n.ReadFile("cpuset.cpus")); got != "" {
		t.Errorf("cpuset.cpus is %q after nothing was written", got)
	}
}

// TestCounters: they begin anew on v1, and are only read on v2.
func TestCounters(t *testing.T) {
	has(t, "memory", "cpuacct")
	host := open(t, "memory", "cpuacct")
	n := create(t, host, "memory,cpuacct:/a")
	const size = 16 << 20
	cmd := exec.Command("sh", "-c", fmt.Sprintf("head -c %d /dev/zero | tail -c %d >/dev/null", size, size))
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		counter Setting[int64]
		least   int64
	}{
		{n.Memory().MaxUsageInBytes, size},
		{n.CPUAcct().Usage, 1},
	} {
		if got, err := tt.counter.Get(); err != nil || got < tt.least {
			t.Errorf("%s: %d %v", tt.counter.Name(), got, err)
		}
		err := tt.counter.Reset()
		if n.Version() == 2 {
			if !isKind(err, ErrReadOnly) || !isKind(tt.counter.Set(0), ErrReadOnly) {
				t.Errorf("%s on v2: %v", tt.counter.Name(), err)
			}
			continue
		}
		if got := must[int64](t)(tt.counter.Get()); err != nil || got >= tt.least {
			t.Errorf("%s after Reset: %d %v", tt.counter.Name(), got, err)
		}
	}
	if err := n.CPUAcct().Procs.Reset(); !isKind(err, ErrNotSupported) {
		t.Errorf("processes taken back: %v", err)
	}
	for _, s := range must[[]SettingInfo](t)(n.Settings()) {
		name := s.Controller + "." + s.Name
		if s.Common || !s.Readable || !s.Writable {
			continue
		}
		was := must[any](t)(n.Get(name))
		if err := n.Reset(name); err != nil {
			t.Errorf("reset of %s, which is %v: %v", name, was, err)
		}
	}
}

// TestFileOfNoController: a v2 cgroup has files in the name of controllers that are
// elsewhere.
func TestFileOfNoController(t *testing.T) {
	has(t, "unified", "cpu")
	host := openRoot(t, Options{}, "unified:/")
	if host.Version("cpu") != 1 {
		t.Skip("the cpu controller is on v2")
	}
	n := create(t, host, "unified:/a")
	if got, err := n.Get("cpu.stat"); err != nil || !strings.HasPrefix(fmt.Sprint(got), "usage_usec ") {
		t.Errorf("cpu.stat: %v %v", got, err)
	}
	if _, err := n.Get("cpu.shares"); !isKind(err, ErrNotSupported) {
		t.Errorf("cpu.shares: %v", err)
	}
}

// TestWhy: where the kernel says "invalid argument" to everything, what is in the way is
// said.
func TestWhy(t *testing.T) {
	has(t, "cpu", "cpuset", "memory")
	host := openGrouped(t)
	n := create(t, host, "cpu,cpuset,memory:/a")
	if n.Version() != 1 {
		t.Skip("v2 takes them, and the strictest counts")
	}
	sub := create(t, host, "cpu,cpuset:/a/b")
	none, err := NewCPUs(1023)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		words string
		set   func() error
	}{
		{"", func() error { return n.CPU().CFSQuotaUS.Set(10000) }},
		{"the one above it", func() error { return sub.CPU().CFSQuotaUS.Set(20000) }},
		{"cfs_quota_us is 10000", func() error { return n.CPU().CFSBurstUS.Set(20000) }},
		{"", func() error { return n.CPU().CFSBurstUS.Set(5000) }},
		{"cfs_burst_us, which is at most the quota, is 5000", func() error { return n.CPU().CFSQuotaUS.Set(2000) }},
		{"", func() error { return sub.CPU().Idle.Set(true) }},
		{"it is idle", func() error { return sub.CPU().Shares.Set(5) }},
		{"does not have all of them", func() error { return n.CPUSet().CPUs.Set(none) }},
		{"the cgroup above it is not exclusive", func() error { return sub.CPUSet().CPUExclusive.Set(true) }},
		{"it has no limit_in_bytes", func() error { return n.Memory().MemswLimitInBytes.Set(50 << 20) }},
		{"", func() error { return n.Memory().LimitInBytes.Set(100 << 20) }},
		{"limit_in_bytes, of memory alone, is 104857600", func() error { return n.Memory().MemswLimitInBytes.Set(50 << 20) }},
		{"", func() error { return n.Memory().MemswLimitInBytes.Set(200 << 20) }},
		{"is 209715200; raise that first", func() error { return n.Memory().LimitInBytes.Set(300 << 20) }},
		{"is 209715200; raise that first", func() error { return n.Memory().LimitInBytes.Reset() }},
	} {
		err := tt.set()
		if isKind(err, ErrNotExist) || isKind(err, ErrNotSupported) {
			t.Skipf("this kernel is older: %v", err)
		}
		if (err == nil) != (tt.words == "") || !strings.Contains(fmt.Sprint(err), tt.words) {
			t.Errorf("want %q in: %v", tt.words, err)
		}
	}
	const small = " bytes are less than a page, so that the kernel makes it 0"
	for arg, want := range map[string]string{
		"500": "500" + small + "; 500M would be megabytes", " 500 ": "500" + small + "; 500M would be megabytes",
		"2K": "2048" + small, "500 bytes": "500" + small, `{"`: "", "4096": "",
	} {
		if warning, err := n.Set("memory.memory_limit", arg); (err != nil) != (arg == `{"`) || warning != want {
			t.Errorf("%q: warning %q, want %q; %v", arg, warning, want, err)
		}
	}
}

// TestNotSupported: what one version cannot do is a typed error in plain words.
func TestNotSupported(t *testing.T) {
	has(t, "memory")
	host := openGrouped(t)
	n := create(t, host, "memory:/a")
	var err error
	if n.Version() == 1 {
		err = n.Memory().High.Set(1 << 20)
	} else {
		err = n.Memory().Swappiness.Set(10)
	}
	if !isKind(err, ErrNotSupported) || !strings.Contains(err.Error(), "v") {
		t.Errorf("%v", err)
	}
	if _, err := n.CPU().Shares.Get(); !isKind(err, ErrNotSupported) && n.Version() == 1 {
		t.Errorf("the cpu controller of a node of memory: %v", err)
	}
	var unset Setting[int64]
	if _, err := unset.Get(); !isKind(err, ErrInvalid) {
		t.Errorf("a setting of no cgroup: %v", err)
	}
	missing := must[*Node](t)(host.Node("memory:/missing"))
	if _, err := missing.Memory().LimitInBytes.Get(); !isKind(err, ErrNotExist) {
		t.Errorf("get of a cgroup that is not there: %v", err)
	}
	if err := missing.Memory().LimitInBytes.Set(1 << 30); !isKind(err, ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("set of a cgroup that is not there: %v", err)
	}
}

// TestTogether: everything may be called by several goroutines.
func TestTogether(t *testing.T) {
	host := openGrouped(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				n, err := host.Node("/shared/x")
				if err != nil {
					t.Error(err)
					return
				}
				if err := n.Create(); err != nil && !isKind(err, ErrNotExist) {
					t.Error(err)
				}
				_, _ = n.CPU().Shares.Get()
				_, _ = host.Root().AllProcs()
				if err := n.Delete(t.Context(), DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
