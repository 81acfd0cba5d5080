package cgfs

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// rowTest is how one row is tried on the real kernel: with is set first, then arg,
// which should read want (as arg where that is empty). One cgroup that is taken
// back reads back.
type rowTest struct {
	key, with, arg, want, back string
}

const kernels = "the kernel's" // back: whatever a new cgroup has

// rowTests has every row that a document may have; of hugetlb those of one size.
var rowTests = map[string][]rowTest{
	"": {
		{key: "clone_children", arg: "true", want: "1", back: "0"},
		{key: "max_depth", arg: "5", back: "max"},
		{key: "max_descendants", arg: "7", back: "max"},
		{key: "pressure_accounting", arg: "0", back: "1"},
	},
	"blkio": {
		{key: "weight", arg: "300", back: kernels},
		{key: "weight_device", arg: "DISK=200", want: "DISK 200", back: ""},
		{key: "leaf_weight", arg: "300", back: "500"},
		{key: "leaf_weight_device", arg: "DISK=200", want: "DISK 200", back: ""},
		{key: "throttle_read_bps_device", arg: "DISK=1G", want: "DISK 1073741824", back: ""},
		{key: "throttle_write_bps_device", arg: "DISK 1G", want: "DISK 1073741824", back: ""},
		{key: "throttle_read_iops_device", arg: `{"DISK": 100000}`, want: "DISK 100000", back: ""},
		{key: "throttle_write_iops_device", arg: "DISK=100000", want: "DISK 100000", back: ""},
		{key: "max", arg: "DISK rbps=1G wiops=2000", want: "DISK rbps=1073741824 wbps=max riops=max wiops=2000", back: ""},
	},
	"cpu": {
		{key: "share", arg: "512", back: "1024"},
		{key: "shares", arg: "2000", back: "1024"},
		{key: "weight", arg: "300", back: "100"},
		{key: "cpu_limit", arg: "50", back: "100"},
		{key: "idle", arg: "1", back: "0"},
		{key: "cfs_quota_us", arg: "50000", back: "max"},
		{key: "cfs_period_us", arg: "50000", back: "100000"},
		{key: "max", arg: "30000 60000", back: "max 100000"},
		{key: "cpu_quota_percent", arg: "150", back: "max"},
		{key: "cfs_burst_us", with: "cfs_quota_us=50000", arg: "20000", back: "0"},
		{key: "max_burst", with: "cfs_quota_us=50000", arg: "20000", back: "0"},
		{key: "rt_period_us", arg: "500000", back: "1000000"},
		{key: "rt_runtime_us", arg: "0", back: "0"},
	},
	"cpuset": {
		{key: "cpus", arg: "0", back: kernels},
		{key: "mems", arg: "0", back: kernels},
		{key: "cpu_exclusive", with: "cpus=0", arg: "0", back: "0"},
		{key: "mem_exclusive", with: "mems=0", arg: "0", back: "0"},
		{key: "mem_hardwall", arg: "1", back: "0"},
		{key: "memory_migrate", arg: "1", back: kernels},
		{key: "memory_pressure_enabled", arg: "1", back: "0"},
		{key: "memory_spread_page", arg: "1", back: "0"},
		{key: "memory_spread_slab", arg: "1", back: "0"},
		{key: "sched_load_balance", arg: "0", back: "1"},
		{key: "sched_relax_domain_level", arg: "2", back: "-1"},
		{key: "cpus_partition", arg: "root", back: "member"},
	},
	"devices": {
		{key: "deny", arg: "c 1:5 rwm, b 8:* w", want: "b 8:* w, c 1:5 rwm", back: "none"},
		{key: "allow", with: "deny=a", arg: "c 1:3 rwm", back: AllDevices},
	},
	"freezer": {
		{key: "state", arg: "frozen", want: "FROZEN", back: "THAWED"},
		{key: "freeze", arg: "true", want: "1", back: "0"},
	},
	"hugetlb": {
		{key: "2MB_limit_in_bytes", arg: "5M", want: "4194304", back: "max"},
		{key: "2MB_max", arg: "4M", want: "4194304", back: "max"},
		{key: "2MB_rsvd_limit_in_bytes", arg: "4M", want: "4194304", back: "max"},
		{key: "2MB_rsvd_max", arg: "4M", want: "4194304", back: "max"},
	},
	"memory": {
		{key: "limit_in_bytes", arg: "64M", want: "67108864", back: "max"},
		{key: "max", arg: "67108864", back: "max"},
		{key: "memory_limit", arg: "64 megabytes", want: "67108864", back: "max"},
		{key: "memsw_limit_in_bytes", with: "limit_in_bytes=64M", arg: "96M", want: "100663296", back: "max"},
		{key: "swap_max", with: "limit_in_bytes=64M", arg: "32M", want: "33554432", back: "max"},
		{key: "soft_limit_in_bytes", arg: "32M", want: "33554432", back: "max"},
		{key: "low", arg: "16M", want: "16777216", back: "0"},
		{key: "min", arg: "8M", want: "8388608", back: "0"},
		{key: "high", arg: "128M", want: "134217728", back: "max"},
		{key: "swap_high", arg: "8M", want: "8388608", back: "max"},
		{key: "zswap_max", arg: "8M", want: "8388608", back: "max"},
		{key: "oom_group", arg: "1", back: "0"},
		{key: "oom_control", arg: "1", back: "0"},
		{key: "swappiness", arg: "10", back: "60"},
		{key: "use_hierarchy", arg: "1", back: "1"},
		{key: "move_charge_at_immigrate", arg: "3", back: "0"},
		{key: "kmem_limit_in_bytes", arg: "1G", want: "*", back: "max"},
		{key: "kmem_tcp_limit_in_bytes", arg: "1M", want: "1048576", back: "max"},
	},
	"net_cls": {
		{key: "class_id", arg: "10:1", want: "1048577", back: "0"},
		{key: "classid", arg: "0x100002", want: "1048578", back: "0"},
	},
	"net_prio": {{key: "ifpriomap", arg: "lo=5", want: "*", back: kernels}},
	"pids":     {{key: "max", arg: "100", back: "max"}},
}

// TestKernelRows writes every row that a document may have, reads it back,
// compares, and takes it back, on v1 and on v2; what the kernel lacks it says.
func TestKernelRows(t *testing.T) {
	covered := map[string]bool{}
	for _, subsystem := range sortedKeys(rowTests) {
		for _, c := range rowTests[subsystem] {
			covered[subsystem+" "+c.key] = true
		}
		hierarchy := either(subsystem, "cpu")
		t.Run("v1/"+either(subsystem, "common"), func(t *testing.T) {
			h, root := kernelIfMounted(t, hierarchy)
			tryRows(t, h, root, hierarchy, rowTests[subsystem])
		})
		t.Run("v2/"+either(subsystem, "common"), func(t *testing.T) {
			if subsystem == "" {
				hierarchy = "freezer" // needs no controller
			}
			h, root := unified(t, hierarchy)
			tryRows(t, h, root, hierarchy, rowTests[subsystem])
		})
	}
	for _, s := range Settings() {
		if s.Key != rawKey && (s.Subsystem != "hugetlb" || strings.HasPrefix(s.Key, "2MB_")) && !covered[s.Subsystem+" "+s.Key] {
			t.Errorf("no test of %s.%s", s.Subsystem, s.Key)
		}
	}
}

func tryRows(t *testing.T, h *Hierarchy, root, subsystem string, tests []rowTest) {
	for _, c := range tests {
		t.Run(c.key, func(t *testing.T) {
			s, ok := LookupRow(subsystem, c.key)
			if !ok {
				t.Fatal("no such row")
			}
			conf := map[string]string{c.key: canonicalArg(t, s, withDisk(t, c.arg))}
			if key, arg, given := strings.Cut(c.with, "="); given {
				other, _ := LookupRow(subsystem, key)
				conf[key] = canonicalArg(t, other, arg)
			}
			if c.key == "memory_pressure_enabled" && os.Getenv("CGROUPARCHD_GUEST") != "" {
				root = "" // its only place, and no machine but ours
			}
			before, err := h.Get(root, s)
			if errors.Is(err, ErrNotSupported) {
				t.Logf("this kernel lacks it: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Set(root, subsystem, conf); err != nil {
				if errors.Is(err, ErrNotSupported) || c.key == "move_charge_at_immigrate" { // gone since Linux 6.13, by EINVAL
					t.Logf("this kernel lacks it: %v", err)
					return
				}
				t.Fatal(err)
			}
			want := withDisk(t, either(c.want, c.arg))
			if got, err := h.Get(root, s); err != nil || want != "*" && !alike(got, want) {
				t.Errorf("reads %q %v, want %q", got, err, want)
			}
			if err := h.Reset(root, subsystem, sortedKeys(conf)...); err != nil {
				if errors.Is(err, ErrNotSupported) && s.Why(h.Version()) != "" {
					t.Logf("always so: %v", err)
					return
				}
				t.Fatal(err)
			}
			want = c.back
			if want == kernels && subsystem != "cpuset" { // a new v1 cpuset has none, and taken back it has its parent's
				want = before
			}
			if got, err := h.Get(root, s); err != nil || want != kernels && got != want {
				t.Errorf("taken back it reads %q %v, want %q", got, err, want)
			}
		})
	}
}

func canonicalArg(t *testing.T, s *Setting, arg string) string {
	t.Helper()
	text, _, err := s.ParseArg(arg)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// alike: weights are whole numbers on v2, so a share comes back rounded.
func alike(got, want string) bool {
	a, err1 := strconv.ParseFloat(got, 64)
	b, err2 := strconv.ParseFloat(want, 64)
	return got == want || err1 == nil && err2 == nil && b > 0 && b < 10000 && math.Abs(a-b)/b < 0.011
}

// What shares a file with something else, or is translated together with it,
// leaves that as it is.
func TestKernelSetApart(t *testing.T) {
	for _, c := range []struct{ subsystem, first, then, want string }{
		{"cpu", "cfs_period_us=50000", "cfs_quota_us=20000", "cfs_period_us=50000"},
		{"cpu", "cfs_quota_us=20000", "cfs_period_us=50000", "cfs_quota_us=20000"},
		{"memory", "max=64M", "swap_max=32M", "memsw_limit_in_bytes=100663296"},
		{"memory", "limit_in_bytes=64M", "memsw_limit_in_bytes=96M", "swap_max=33554432"},
		{"devices", "deny=c 1:5 rwm", "deny=c 1:7 rwm", "deny=c 1:5 rwm, c 1:7 rwm"},
		{"devices", "deny=a", "allow=c 1:5 rwm", "list=c 1:5 rwm"},
	} {
		for version, open := range map[string]func(*testing.T, string) (*Hierarchy, string){"v1": kernelIfMounted, "v2": unified} {
			t.Run(version+"/"+c.subsystem+"/"+c.then, func(t *testing.T) {
				h, root := open(t, c.subsystem)
				for _, one := range []string{c.first, c.then} {
					key, arg, _ := strings.Cut(one, "=")
					s, _ := LookupRow(c.subsystem, key)
					if err := h.Set(root, c.subsystem, map[string]string{key: canonicalArg(t, s, arg)}); err != nil {
						t.Fatal(err)
					}
				}
				key, want, _ := strings.Cut(c.want, "=")
				s, _ := LookupRow(c.subsystem, key)
				if got, err := h.Get(root, s); err != nil || got != want {
					t.Errorf("%s reads %q %v, want %q", key, got, err, want)
				}
			})
		}
	}
}

// kernelIfMounted is kernel, but not every kernel has every v1 controller.
func kernelIfMounted(t *testing.T, subsystem string) (h *Hierarchy, root string) {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/" + subsystem); err != nil {
		t.Skipf("not mounted here: %v", err)
	}
	return kernel(t, subsystem)
}

// What is adjustable or an action, on the real kernel.
func TestKernelActions(t *testing.T) {
	h, root := kernelIfMounted(t, "memory")
	set := func(key, arg string) {
		t.Helper()
		s, ok := LookupRow("memory", key)
		if !ok {
			t.Fatal(key)
		}
		if err := h.Set(root, "memory", map[string]string{key: canonicalArg(t, s, arg)}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	get := func(key string) string {
		t.Helper()
		s, _ := LookupRow("memory", key)
		text, err := h.Get(root, s)
		if err != nil {
			t.Error(err)
		}
		return text
	}
	var pids []string
	for range 2 {
		pids = append(pids, strconv.Itoa(testhost.Sleeper(t)))
	}
	set("procs", strings.Join(pids, ","))
	if got := strings.Fields(get("procs")); !slices.Equal(got, pids) {
		t.Errorf("processes %v, want %v", got, pids)
	}
	if got := strings.Fields(get("tasks")); !slices.Equal(got, pids) {
		t.Errorf("threads %v, want %v", got, pids)
	}
	for _, c := range []struct{ key, arg string }{
		{"failcnt", "0"}, {"max_usage_in_bytes", "0"}, {"memsw_failcnt", "0"}, {"memsw_max_usage_in_bytes", "0"}, {"kmem_failcnt", "0"},
		{"kmem_max_usage_in_bytes", "0"}, {"kmem_tcp_failcnt", "0"}, {"kmem_tcp_max_usage_in_bytes", "0"}, {"force_empty", "0"}, {"notify_on_release", "1"},
	} {
		set(c.key, c.arg)
	}
	if get("notify_on_release") != "1" {
		t.Error("notify_on_release was not written")
	}
	for key, arg := range map[string]string{"usage_in_bytes": "5", "stat": "5", "pressure_level": "low"} {
		if err := h.Set(root, "memory", map[string]string{key: arg}); !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s was written: %v", key, err)
		}
	}
	if err := h.Set(root, "memory", map[string]string{"nosuch": "5"}); err == nil {
		t.Error("an unknown setting was taken")
	}
	if err := h.Set(root+"/nosuch", "memory", map[string]string{"max": "5"}); err == nil {
		t.Error("a cgroup that is not there was written to")
	}
}

// Every row of every controller can be read where the cgroup has its file, and its
// value has the type of its kind; elsewhere the error says that there is none.
func TestKernelGetEveryRow(t *testing.T) {
	for _, subsystem := range []string{
		"cpu", "cpuacct", "cpuset", "memory", "devices", "blkio", "freezer", "pids", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc", "systemd",
	} {
		t.Run("v1/"+subsystem, func(t *testing.T) {
			h, root := kernelIfMounted(t, subsystem)
			readRows(t, h, root, subsystem)
		})
		t.Run("v2/"+subsystem, func(t *testing.T) {
			h, root := unified(t, subsystem)
			readRows(t, h, root, subsystem)
		})
	}
}

func readRows(t *testing.T, h *Hierarchy, root, subsystem string) {
	offered := h.Offers(subsystem, root)
	for _, s := range Rows(subsystem) {
		text, err := h.Get(root, s)
		if slices.Contains(offered, s) == errors.Is(err, ErrNotSupported) && s.Access != WriteOnly && s.Access != EventSource && s.Why(h.Version()) == "" {
			t.Errorf("%s: offered %t, but %v", s.Key, slices.Contains(offered, s), err)
		}
		if errors.Is(err, ErrNotSupported) {
			t.Logf("%s: %v", s.Key, err)
			continue
		}
		value, err2 := s.Value.Kind.Typed(text)
		if err := errors.Join(err, err2); err != nil {
			t.Errorf("%s: %v", s.Key, err)
			continue
		}
		t.Logf("%s = %v %T", s.Key, value, value)
		// What a state reads can be written, and is the same.
		if s.Access == State {
			if again, _, err := s.Parse(value); err != nil || again != text && s.Value.Kind != KindRates {
				t.Errorf("%s: %q is %v, which is %q %v", s.Key, text, value, again, err)
			}
		}
	}
}

// The same on v2, where a whole cgroup can be killed.
func TestKernelActionsV2(t *testing.T) {
	h, root := unified(t, "freezer")
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, c := range []struct{ key, arg, reads, want string }{
		{"procs", strconv.Itoa(cmd.Process.Pid), "procs", strconv.Itoa(cmd.Process.Pid)},
		{"max_depth", "3", "max_depth", "3"},
		{"kill", "1", "", ""},
	} {
		s, ok := LookupRow("freezer", c.key)
		if !ok {
			t.Fatal(c.key)
		}
		if err := h.Set(root, "freezer", map[string]string{c.key: canonicalArg(t, s, c.arg)}); err != nil {
			t.Fatal(err)
		}
		if s, ok := LookupRow("freezer", c.reads); ok {
			if got, err := h.Get(root, s); err != nil || got != c.want {
				t.Errorf("%s reads %q %v, want %q", c.reads, got, err, c.want)
			}
		}
	}
	if state, err := cmd.Process.Wait(); err != nil || state.Success() {
		t.Errorf("the process lived on: %v %v", state, err)
	}
}
