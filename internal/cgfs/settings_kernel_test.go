package cgfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// examples are confs that a kernel should take, in order; each is taken back
// before the next one is tried. DISK is replaced by a disk of this host.
var examples = map[string][]string{
	"cpu": {
		`{"share": 100}`, `{"shares": 3000}`, `{"weight": 250}`, `{"cfs_quota_us": 50000, "cfs_period_us": 20000}`, `{"max": "30000 60000"}`,
		`{"max": "30000", "max_burst": 5000}`, `{"cfs_quota_us": 50000, "cfs_burst_us": 50000}`, `{"idle": 1}`,
		`{"rt_period_us": 500000}`, `{"rt_runtime_us": 0}`, `{"cpu_limit": 50}`, `{"cpu_quota_percent": 150}`, `{"clone_children": 1}`,
		`{"max_depth": 5, "max_descendants": 10, "pressure_accounting": 0}`, `{"files": {"cpu.cfs_quota_us": "5000"}}`, `{"files": {"cpu.max": "5000"}}`,
	},
	"cpuacct": {`{"clone_children": 1}`},
	"cpuset": {
		`{"cpus": "0", "mems": "0"}`, `{"cpu_exclusive": 0, "mem_exclusive": 0, "mem_hardwall": 1}`, `{"memory_migrate": 1}`,
		`{"memory_spread_page": 1}`, `{"memory_spread_slab": 1}`, `{"sched_load_balance": 0}`, `{"sched_relax_domain_level": 0}`,
		`{"cpus_partition": "root"}`, `{"memory_pressure_enabled": 1}`,
	},
	"memory": {
		`{"limit_in_bytes": "64M"}`, `{"limit_in_bytes": 1000000}`, `{"max": "64M", "memsw_limit_in_bytes": "96M"}`, `{"max": "64M", "swap_max": "32M"}`,
		`{"max": "64M", "swap_max": 0}`, `{"soft_limit_in_bytes": "32M"}`, `{"low": "16M"}`, `{"min": "8M"}`, `{"high": "128M"}`, `{"swap_high": "8M"}`,
		`{"zswap_max": "8M"}`, `{"oom_group": 1}`, `{"oom_control": 1}`, `{"swappiness": 10}`, `{"use_hierarchy": 1}`, `{"move_charge_at_immigrate": 3}`,
		`{"kmem_tcp_limit_in_bytes": "1M"}`, `{"kmem_limit_in_bytes": "1G"}`, `{"memory_limit": "64 megabytes"}`,
	},
	"blkio": {
		`{"weight": 300}`, `{"weight_device": {"DISK": 200}}`, `{"leaf_weight": 300}`, `{"leaf_weight_device": {"DISK": 200}}`,
		`{"throttle_read_bps_device": {"DISK": "1G"}, "throttle_write_bps_device": {"DISK": "2G"}}`,
		`{"throttle_read_iops_device": {"DISK": 100000}, "throttle_write_iops_device": {"DISK": 4294967294}}`,
		`{"max": {"DISK": {"rbps": "1G", "wbps": "2G", "riops": 1000, "wiops": 2000}}}`,
	},
	"pids":     {`{"max": 100}`, `{"max": 0}`, `{"max": 4194304}`},
	"devices":  {`{"deny": ["a"], "allow": ["c 1:3 rwm", "c 1:5 rw"]}`, `{"deny": ["a"]}`, `{"deny": ["a"], "allow": ["b *:* r"]}`, `{"deny": ["c 1:5 rwm", "b 8:* w"]}`},
	"freezer":  {`{"state": "FROZEN"}`, `{"freeze": 1}`},
	"hugetlb":  {`{"2MB_limit_in_bytes": "5M"}`, `{"2MB_rsvd_max": "4M"}`, `{"1GB_max": "3G"}`},
	"net_cls":  {`{"class_id": "10:1"}`, `{"classid": 5}`},
	"net_prio": {`{"ifpriomap": {"lo": 5}}`},
}

// TestKernelSettings writes every row of the table to the real kernel, reads it
// back, and takes it back again: on v1, and on v2 where the host has it.
func TestKernelSettings(t *testing.T) {
	covered := map[string]bool{}
	for _, subsystem := range sortedKeys(examples) {
		t.Run("v1/"+subsystem, func(t *testing.T) {
			if _, err := os.Stat("/sys/fs/cgroup/" + subsystem); err != nil {
				t.Skipf("not mounted here: %v", err)
			}
			h, root := kernel(t, subsystem)
			tryAll(t, h, root, subsystem, Caps{Version: 1, Has: func(probe string) bool { return h.Exists("", probe) }})
		})
		t.Run("v2/"+subsystem, func(t *testing.T) {
			h, root := unified(t, subsystem)
			tryAll(t, h, root, subsystem, Caps{Version: 2, Has: func(probe string) bool { return probe == DevicesFile || h.Exists(root, probe) }})
		})
		for _, example := range examples[subsystem] {
			conf, _ := parseConf(subsystem, strings.ReplaceAll(example, "DISK", "8:0"))
			for key := range conf {
				covered[subsystem+" "+key] = true
			}
		}
	}
	for _, s := range Settings() {
		if s.Subsystem == "" || s.Key == rawKey {
			s = &Setting{Subsystem: "cpu", Key: s.Key} // one for all
		}
		if s.Subsystem != "hugetlb" && !covered[s.Subsystem+" "+s.Key] {
			t.Errorf("no example of %s.%s", s.Subsystem, s.Key)
		}
	}
}

func tryAll(t *testing.T, h *Hierarchy, root, subsystem string, caps Caps) {
	for _, example := range examples[subsystem] {
		conf, err := parseConf(subsystem, withDisk(t, example))
		if err != nil {
			t.Fatal(err)
		}
		tryConf(t, h, root, subsystem, conf, caps)
	}
}

// unified makes a throw-away cgroup with the controller of a subsystem in the v2
// hierarchy. It enables the controller there only on a host that has nothing but
// v2; elsewhere that could take it away from somebody's v1 hierarchy.
func unified(t *testing.T, subsystem string) (h *Hierarchy, root string) {
	t.Helper()
	only := true
	h, err := OpenHierarchy("/sys/fs/cgroup")
	if err != nil {
		only = false
		h, err = OpenHierarchy("/sys/fs/cgroup/unified")
	}
	if err != nil {
		t.Skipf("this host has no unified hierarchy: %v", err)
	}
	t.Cleanup(func() { _ = h.Close() })
	controller := Controller(subsystem)
	if h.Version() != 2 || controller == "" && subsystem != "freezer" && subsystem != "devices" {
		t.Skipf("v2 has no %s", subsystem)
	}
	if controller != "" {
		if !slices.Contains(h.Subsystems(), controller) {
			t.Skipf("the unified hierarchy does not offer %s here", controller)
		}
		enabled, err := h.Read("", "cgroup.subtree_control")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(strings.Fields(enabled), controller) {
			if !only {
				t.Skipf("%s is not enabled, and v1 hierarchies are in use", controller)
			}
			if err := h.Write("", "cgroup.subtree_control", "+"+controller); err != nil {
				t.Skipf("%s cannot be enabled: %v", controller, err)
			}
		}
	}
	root = testhost.Root(t)
	if err := h.Mkdir(root); err != nil {
		t.Skipf("needs root and a writable unified hierarchy: %v", err)
	}
	return h, root
}

func withDisk(t *testing.T, example string) string {
	if !strings.Contains(example, "DISK") {
		return example
	}
	found, err := Disks()
	if err != nil || len(found) == 0 {
		t.Skipf("this host has no disk: %v", err)
	}
	return strings.ReplaceAll(example, "DISK", found[0])
}

func tryConf(t *testing.T, h *Hierarchy, root, subsystem string, conf map[string]string, caps Caps) {
	t.Helper()
	writes, faults := Translate(subsystem, conf, caps)
	for _, f := range faults {
		t.Logf("%v: %s: %s", conf, f.Key, f.Reason)
	}
	put(t, h, root, writes)
	var resets []Write
	for _, w := range writes {
		back, ok := ResetConf(subsystem, w.ID)
		if !ok {
			t.Errorf("%v: no reset of %s", conf, w.ID)
		}
		more, faults := Translate(subsystem, back, caps)
		if len(faults) > 0 {
			t.Errorf("reset %v: %v", back, faults)
		}
		resets = append(resets, more...)
	}
	put(t, h, root, resets)
}

// put writes what differs and expects to read it back: what gives less first,
// then what gives more, as the daemon does.
func put(t *testing.T, h *Hierarchy, root string, writes []Write) {
	t.Helper()
	for _, tightening := range []bool{true, false} {
		slices.SortStableFunc(writes, func(a, b Write) int {
			if tightening {
				a, b = b, a
			}
			return a.Level - b.Level
		})
		for _, w := range writes {
			file := either(w.From, w.File)
			now, err := h.Read(root, file)
			if errors.Is(err, ErrNotExist) && (w.Keys[0] == rawKey || w.Keys[0] == "memory_pressure_enabled") {
				t.Logf("not here: %v", err) // of the other version, or of the root
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", w.ID, err)
				continue
			}
			if Tightens(w, w.Form.Read(now), w.Want) != tightening || w.Form.Read(now) == w.Want {
				continue
			}
			text := w.Text
			if w.FromParent {
				if text, err = h.Read("", w.File); err != nil {
					t.Fatal(err)
				}
				w.Want = text
			}
			if err := h.Write(root, w.File, text); err != nil {
				if errors.Is(err, ErrNotSupported) || w.File == "memory.move_charge_at_immigrate" { // gone since Linux 6.13
					t.Logf("this host cannot: %v", err)
				} else {
					t.Errorf("%v", err)
				}
				continue
			}
			after, err := h.Read(root, file)
			if err != nil || w.Form.Read(after) != w.Want {
				t.Errorf("wrote %s %q: reads %q, of which %q counts, want %q (%v)", w.File, text, after, w.Form.Read(after), w.Want, err)
			}
		}
	}
}

// TestKernelSettingsGuard proves that the kernel refuses what Translate refuses
// or orders: the rules are not of our making.
func TestKernelSettingsGuard(t *testing.T) {
	h, root := kernel(t, "cpu")
	if err := h.Write(root, "cpu.cfs_quota_us", "999"); err == nil {
		t.Error("the kernel took a quota below its bound")
	}
	if err := h.Write(root, "cpu.cfs_period_us", "1000001"); err == nil {
		t.Error("the kernel took a period above its bound")
	}
	if !h.Exists(root, "cpu.cfs_burst_us") {
		return
	}
	if err := h.Write(root, "cpu.cfs_quota_us", "5000"); err != nil {
		t.Fatal(err)
	}
	if err := h.Write(root, "cpu.cfs_burst_us", "5001"); err == nil {
		t.Error("the kernel took a burst above the quota")
	}
	if err := h.Write(root, "cpu.idle", "1"); err != nil {
		t.Skipf("no idle cgroups: %v", err)
	}
	if err := h.Write(root, "cpu.shares", "512"); err == nil {
		t.Error("the kernel gave an idle cgroup a share")
	}
}

// What counts in memory.limit_in_bytes without a limit depends on the page size.
func TestKernelUnlimited(t *testing.T) {
	h, root := kernel(t, "memory")
	text, err := h.Read(root, "memory.limit_in_bytes")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Form{Unit: 1 << 16}).Read(text); got != Unlimited {
		t.Errorf("%s of a new cgroup reads %s", text, got)
	}
	if _, err := os.Stat(filepath.Join(h.Mount(), root)); err != nil {
		t.Error(err)
	}
}

// What is said to stand alone is taken by a new cgroup at every value, whatever those
// around it have, and reads as it was written.
func TestKernelAlone(t *testing.T) {
	tried := 0
	for _, s := range Settings() {
		for i, f := range s.V1 {
			if !f.alone {
				continue
			}
			if f.limit != NoLimit || f.level != 0 || f.kept {
				t.Errorf("%s is bounded by others, or shows something else", f.Name)
			}
			t.Run(fmt.Sprintf("%s.%s/%d", s.Subsystem, s.Key, i), func(t *testing.T) {
				h, root := kernel(t, s.Subsystem)
				if !h.Exists("", f.Probe) {
					t.Skipf("this kernel has no %s", f.Name)
				}
				tried++
				standsAlone(t, h, root, s)
			})
		}
		for _, f := range s.V2 {
			if f.alone {
				t.Errorf("v2's %s comes with a controller that is enabled later", f.Name)
			}
		}
	}
	if tried == 0 && os.Getenv("CGROUPARCHD_TEST_ALL") == "1" {
		t.Error("nothing was tried")
	}
}

func standsAlone(t *testing.T, h *Hierarchy, root string, s *Setting) {
	caps := Caps{Version: 1, Has: func(probe string) bool { return h.Exists("", probe) }}
	var texts []string
	for n := int64(-3); n < 300000; n += n/7 + 1 {
		if text, _, err := s.Parse(n); err == nil {
			texts = append(texts, text)
		}
	}
	for i, text := range texts {
		around := texts[(i*31+17)%len(texts)]
		for _, c := range []struct{ dir, text string }{{root, around}, {root + "/beside", around}, {root + "/new", text}, {root + "/new/below", around}} {
			if c.dir != root {
				if err := h.Mkdir(c.dir); err != nil {
					t.Fatal(err)
				}
			}
			writes, faults := Translate(s.Subsystem, map[string]string{s.Key: c.text}, caps)
			if len(writes) != 1 || len(faults) > 0 || !writes[0].Alone {
				t.Fatalf("%s: %+v %+v", c.text, writes, faults)
			}
			w := writes[0]
			if now, err := h.Put(c.dir, w.File, w.Text, w.File); err != nil || w.Form.Read(now) != w.Want {
				t.Errorf("%s beside %s: %s reads %q %v", text, around, c.dir, now, err)
			}
		}
		for _, dir := range []string{"/new/below", "/new", "/beside"} {
			if err := h.Rmdir(root + dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(texts) < 20 {
		t.Errorf("only %d values", len(texts))
	}
}
