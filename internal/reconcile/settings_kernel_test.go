package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// confs name every setting that a document may have (hugetlb: of one size), as far
// as some kernel takes it. DISK is replaced by a disk of this host.
var confs = map[string][]string{
	"blkio": {
		`{"weight": 300}`, `{"weight_device": {"DISK": 200}}`, `{"leaf_weight": 300}`, `{"leaf_weight_device": {"DISK": 200}}`,
		`{"throttle_read_bps_device": {"DISK": "1G"}, "throttle_write_bps_device": {"DISK": "2G"}}`,
		`{"throttle_read_iops_device": {"DISK": 100000}, "throttle_write_iops_device": {"DISK": 100000}}`,
		`{"max": {"DISK": {"rbps": "1G", "wbps": "2G", "riops": 1000, "wiops": 2000}}}`,
	},
	"cpu": {
		`{"share": 100}`, `{"shares": 3000}`, `{"weight": 250}`, `{"cpu_limit": 50}`, `{"idle": 1}`, `{"cfs_quota_us": 50000, "cfs_period_us": 20000}`,
		`{"max": "30000 60000", "max_burst": 5000}`, `{"cpu_quota_percent": 150, "cfs_burst_us": 50000}`, `{"rt_period_us": 500000}`, `{"rt_runtime_us": 0}`,
		`{"clone_children": 1}`, `{"max_depth": 5, "max_descendants": 10}`, `{"pressure_accounting": 0}`,
	},
	"cpuset": {
		`{"cpus": "0", "mems": "0"}`, `{"cpu_exclusive": 0, "mem_exclusive": 0, "mem_hardwall": 1}`, `{"memory_migrate": 1}`, `{"memory_spread_page": 1}`,
		`{"memory_spread_slab": 1}`, `{"sched_load_balance": 0}`, `{"sched_relax_domain_level": 0}`, `{"cpus": "0", "cpus_partition": "root"}`, `{"memory_pressure_enabled": 1}`,
	},
	"devices": {`{"deny": ["a"], "allow": ["c 1:3 rwm", "c 1:5 rw"]}`, `{"deny": ["c 1:5 rwm", "b 8:* w"]}`},
	"freezer": {`{"state": "FROZEN"}`, `{"freeze": 1}`},
	"hugetlb": {`{"2MB_limit_in_bytes": "5M"}`, `{"2MB_rsvd_limit_in_bytes": "4M"}`, `{"2MB_max": "4M"}`, `{"2MB_rsvd_max": "4M"}`},
	"memory": {
		`{"limit_in_bytes": "64M", "memsw_limit_in_bytes": "96M"}`, `{"max": "64M", "swap_max": "32M"}`, `{"memory_limit": "64 megabytes"}`, `{"soft_limit_in_bytes": "32M"}`,
		`{"low": "16M"}`, `{"min": "8M"}`, `{"high": "128M"}`, `{"swap_high": "8M"}`, `{"zswap_max": "8M"}`, `{"oom_group": 1}`, `{"oom_control": 1}`, `{"swappiness": 10}`,
		`{"use_hierarchy": 1}`, `{"move_charge_at_immigrate": 3}`, `{"kmem_limit_in_bytes": "1G"}`, `{"kmem_tcp_limit_in_bytes": "1M"}`,
	},
	"net_cls":  {`{"class_id": "10:1"}`, `{"classid": 5}`},
	"net_prio": {`{"ifpriomap": {"lo": 5}}`},
	"pids":     {`{"max": 100}`},
}

// TestKernelEverySetting puts every setting of documents in force, on v1 or v2,
// whichever this host has; a converged pass does nothing, what somebody else takes
// back is put back, and what leaves the document is as in a new cgroup.
func TestKernelEverySetting(t *testing.T) {
	covered := map[string]bool{}
	for _, subsystem := range sortedKeys(confs) {
		for _, conf := range confs[subsystem] {
			if strings.Contains(conf, "DISK") {
				found, err := cgfs.Disks()
				if err != nil || len(found) == 0 {
					t.Logf("%s: no disk", conf)
					continue
				}
				conf = strings.ReplaceAll(conf, "DISK", found[0])
			}
			keys := confKeys(t, conf)
			for _, key := range keys {
				covered[subsystem+" "+key], covered[" "+key] = true, true
			}
			t.Run(subsystem+"/"+strings.Join(keys, "+"), func(t *testing.T) { everySetting(t, subsystem, conf, keys) })
		}
	}
	for _, s := range cgfs.Settings() {
		if s.Key != "files" && (s.Subsystem != "hugetlb" || strings.HasPrefix(s.Key, "2MB_")) && !covered[s.Subsystem+" "+s.Key] {
			t.Errorf("no document with %s.%s", s.Subsystem, s.Key)
		}
	}
}

func confKeys(t *testing.T, conf string) []string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(conf), &m); err != nil {
		t.Fatal(err)
	}
	return sortedKeys(m)
}

func everySetting(t *testing.T, subsystem, conf string, keys []string) {
	r := onEither(t)
	name, mounted := HostOf(r.layout).Hierarchies[subsystem]
	if !mounted {
		t.Skipf("%s is not to be had here", subsystem)
	}
	hierarchies := r.layout.Hierarchies()
	h := hierarchies[slices.IndexFunc(hierarchies, func(h *cgfs.Hierarchy) bool { return h.Name() == name })]
	doc := func(conf string) *zkconf.Document {
		return document(t, fmt.Sprintf(`{%q: {"sub_cgroup": {"a": {"conf": %s}, "new": {"conf": {}}}}}`, subsystem, conf))
	}
	if s := r.pass(t.Context(), work{doc: doc(conf), full: true}); len(s.Faults) > 0 {
		for _, f := range s.Faults {
			if !slices.ContainsFunc(lacking, func(text string) bool { return strings.Contains(f.String(), text) }) {
				t.Errorf("first pass: %s", f)
			}
		}
		t.Logf("not here: %v", s.Faults)
		return
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v %v", s.Pass, s.Faults)
	}
	values := func(cgroup string) map[string]string {
		out := map[string]string{}
		for _, key := range keys {
			row, _ := cgfs.LookupRow(subsystem, key)
			text, err := h.Get(r.opt.Root+"/"+cgroup, row)
			if err != nil && !errors.Is(err, cgfs.ErrNotSupported) {
				t.Error(err)
			}
			out[key] = text
		}
		return out
	}
	inForce := values("a")
	if err := h.Reset(r.opt.Root+"/a", subsystem, keys...); err != nil && !errors.Is(err, cgfs.ErrNotSupported) {
		t.Fatal(err)
	}
	changed := fmt.Sprint(values("a")) != fmt.Sprint(inForce)
	s := r.pass(t.Context(), work{full: true})
	changed = changed || slices.Contains(keys, "kmem_limit_in_bytes") // whose file does not tell
	if len(s.Faults) > 0 || changed != (s.Pass.Written > 0) {
		t.Errorf("put back: changed %t, %+v %v", changed, s.Pass, s.Faults)
	}
	if got := values("a"); fmt.Sprint(got) != fmt.Sprint(inForce) {
		t.Errorf("put back it reads %v, want %v", got, inForce)
	}
	if s := r.pass(t.Context(), work{doc: doc("{}"), full: true}); len(s.Faults) > 0 {
		t.Errorf("taken back: %+v %v", s.Pass, s.Faults)
	}
	if got, want := values("a"), values("new"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("taken back it reads %v, a new cgroup %v", got, want)
	}
}

// lacking is in the faults of what a kernel does not have.
var lacking = []string{
	": v1 ", ": v2 ", ": on v2 ", "this kernel has no control file", "operation not supported", "scheduler",
	"memory.move_charge_at_immigrate 3: invalid argument", // gone since Linux 6.13
	"cpuset.memory_pressure_enabled 1: no such file",      // only in the root
	"memory.zswap.max 8388608: no such file",              // a kernel without zswap: its root, which would tell, has no limits
}

// onEither makes a reconciler on the hierarchies of this machine, whichever they
// are, below a root of its own.
func onEither(t *testing.T) *Reconciler {
	t.Helper()
	r, err := New(Config{
		CgroupDir: "/sys/fs/cgroup", Root: testhost.Root(t), StateDir: t.TempDir(),
		PidFiles: pidfiles.New(pidfiles.Config{}), Log: zap.NewNop(),
		Origin: func() zkconf.Origin { return zkconf.Origin{Kind: zkconf.KindFile, Path: "/test"} },
	})
	if err != nil || os.Geteuid() != 0 {
		testhost.Lacks(t, "needs root and cgroup hierarchies: %v", err)
	}
	t.Cleanup(r.Close)
	return r
}

// A new v1 cpuset has nothing: what it needs is copied from above, without a fault.
func TestKernelCpusetInherits(t *testing.T) {
	r := onEither(t)
	h := r.layout.Hierarchy("cpuset")
	if h == nil {
		t.Skip("no v1 cpuset here")
	}
	s := r.pass(t.Context(), work{doc: document(t, `{"cpuset": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`), full: true})
	if len(s.Faults) > 0 {
		t.Errorf("faults %v", s.Faults)
	}
	all, err := h.Read("", "cpuset.cpus")
	if got := read(t, r, "cpuset", "a/b", "cpuset.cpus"); err != nil || got != all {
		t.Errorf("a/b has %q, the root %q %v", got, all, err)
	}
}

// A throttle of the document's in the file that arms disks, where they are armed and
// where they are not.
func TestKernelThrottleAndArming(t *testing.T) {
	for _, arm := range []bool{false, true} {
		t.Run(fmt.Sprintf("arm=%t", arm), func(t *testing.T) { throttleAndArming(t, arm) })
	}
}

func throttleAndArming(t *testing.T, arm bool) {
	disks, err := cgfs.Disks()
	r := onEither(t)
	h := r.layout.Hierarchy("blkio")
	if h == nil || err != nil || len(disks) == 0 {
		t.Skipf("no v1 blkio, or no disk: %v", err)
	}
	r.opt.ArmDisks = arm
	for _, rate := range []string{"1G", "2G"} {
		conf := fmt.Sprintf(`{"blkio": {"sub_cgroup": {"a": {"conf": {"throttle_read_bps_device": {%q: %q}}}}}}`, disks[0], rate)
		if s := r.pass(t.Context(), work{doc: document(t, conf), full: true}); len(s.Faults) > 0 {
			t.Errorf("%s: %v", rate, s.Faults)
		}
		if s := r.pass(t.Context(), work{}); s.Pass.Total() != 0 {
			t.Errorf("%s: a converged pass did %+v", rate, s.Pass)
		}
	}
}
