package reconcile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// the example of the contract.
const example = `{
  "cpu": {
    "sub_cgroup": {
      "test_cgroup_a": { "conf": { "share": 1024 } },
      "test_cgroup_b": {
        "conf": { "share": 100 },
        "sub_cgroup": { "test_cgroup_b_sub1": { "conf": { "share": 200 } } }
      }
    }
  },
  "blkio": { "sub_cgroup": { "test_cgroup_a": { "conf": { "weight": 500 } } } }
}`

// apart is a host with every controller mounted alone; together one with
// cpu,cpuacct co-mounted.
var (
	apart    = v1Host(map[string]string{"cpu": "cpu", "cpuacct": "cpuacct", "blkio": "blkio", "cpuset": "cpuset", "memory": "memory"})
	together = v1Host(map[string]string{"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "blkio": "blkio", "memory": "memory"})
)

// v1Host has every file but those of schedulers other than BFQ.
func v1Host(hierarchies map[string]string) Host {
	h := Host{Hierarchies: hierarchies, Caps: map[string]cgfs.Caps{}}
	for s := range hierarchies {
		h.Caps[s] = cgfs.Caps{Version: 1, PageSize: 4096, Has: func(probe string) bool { return probe != "blkio.leaf_weight" }}
	}
	return h
}

func with(h Host, change func(*Host)) Host {
	change(&h)
	return h
}

func document(t testing.TB, text string) *zkconf.Document {
	t.Helper()
	doc, err := zkconf.Decode([]byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// planFor is the plan of a document on hierarchies that have nothing yet.
func planFor(t *testing.T, text string, host Host, opt Options) (string, []string) {
	t.Helper()
	d := Compile(document(t, text), host, opt)
	var plans []Plan
	var faults []string
	for _, f := range d.Faults {
		faults = append(faults, f.String())
	}
	for _, tree := range d.Trees {
		o := newObserver(newModel(tree.Hierarchy), nil)
		if err := o.all(tree); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, Diff(tree, o.state, opt.Shield, outside, time.Unix(1_700_000_100, 0)).Plan)
	}
	return Merge(plans...).String(), faults
}

func TestGoldenPlans(t *testing.T) {
	shield, err := NewShield([]string{"keep", "cpu:/b/x"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, document string
		host           Host
		opt            Options
		want           string
		faults         []string
	}{
		{
			name: "every controller mounted alone: cpuacct mirrors cpu", document: example, host: apart, opt: Options{Root: "r"},
			want: `mkdir blkio:/r
mkdir blkio:/r/test_cgroup_a
write blkio:/r/test_cgroup_a/blkio.bfq.weight 500
mkdir cpu:/r
mkdir cpu:/r/test_cgroup_a
write cpu:/r/test_cgroup_a/cpu.shares 1024
mkdir cpu:/r/test_cgroup_b
write cpu:/r/test_cgroup_b/cpu.shares 100
mkdir cpu:/r/test_cgroup_b/test_cgroup_b_sub1
write cpu:/r/test_cgroup_b/test_cgroup_b_sub1/cpu.shares 200
mkdir cpuacct:/r
mkdir cpuacct:/r/test_cgroup_a
mkdir cpuacct:/r/test_cgroup_b
mkdir cpuacct:/r/test_cgroup_b/test_cgroup_b_sub1
`,
		},
		{
			name: "cpu,cpuacct co-mounted: no mirror", document: example, host: together,
			want: `mkdir blkio:/test_cgroup_a
write blkio:/test_cgroup_a/blkio.bfq.weight 500
mkdir cpu,cpuacct:/test_cgroup_a
write cpu,cpuacct:/test_cgroup_a/cpu.shares 1024
mkdir cpu,cpuacct:/test_cgroup_b
write cpu,cpuacct:/test_cgroup_b/cpu.shares 100
mkdir cpu,cpuacct:/test_cgroup_b/test_cgroup_b_sub1
write cpu,cpuacct:/test_cgroup_b/test_cgroup_b_sub1/cpu.shares 200
`,
		},
		{
			name: "co-mounted and both named: merged by path, one place for a process",
			document: `{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "s": {"sub_cgroup": {"b": {"conf": {"share": 7}}}}}},
				"cpuacct": {"sub_cgroup": {"b": {"conf": {}}, "c": {}}}}`,
			host: together,
			want: `mkdir cpu,cpuacct:/a
write cpu,cpuacct:/a/cpu.shares 1024
mkdir cpu,cpuacct:/b
mkdir cpu,cpuacct:/c
mkdir cpu,cpuacct:/s
mkdir cpu,cpuacct:/s/b
write cpu,cpuacct:/s/b/cpu.shares 7
`,
			faults: []string{"cpuacct/b: cpuacct and cpu share one hierarchy, where a process has one place: its processes follow cpu/s/b"},
		},
		{
			name: "cpuacct named: its own tree, no mirror", document: `{"cpu": {"sub_cgroup": {"a": {}}}, "cpuacct": {"sub_cgroup": {"b": {}}}}`, host: apart,
			want: "mkdir cpu:/a\nmkdir cpuacct:/b\n",
		},
		{
			name: "a new cpuset inherits before it can take processes", document: `{"cpuset": {"sub_cgroup": {"a": {"sub_cgroup": {"b": {"conf": {}}}}}}}`,
			host: apart, opt: Options{Root: "r"},
			want: `mkdir cpuset:/r
mkdir cpuset:/r/a
mkdir cpuset:/r/a/b
write cpuset:/r/cpuset.cpus 0-1
write cpuset:/r/cpuset.mems 0
write cpuset:/r/a/cpuset.cpus 0-1
write cpuset:/r/a/cpuset.mems 0
write cpuset:/r/a/b/cpuset.cpus 0-1
write cpuset:/r/a/b/cpuset.mems 0
`,
		},
		{
			name: "what the host lacks is a fault and stops nothing", document: `{"nosuch": {}, "memory": {"sub_cgroup": {"m": {"conf": {"nosuch": 1}}}}, "cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`,
			host: with(v1Host(map[string]string{"cpu": "cpu", "memory": "memory"}), func(h *Host) {
				h.Caps["cpu"] = cgfs.Caps{Version: 1, Has: func(string) bool { return false }}
			}),
			want: "mkdir cpu:/a\nmkdir memory:/m\n",
			faults: []string{
				"cpu/a: share: this kernel has no control file for it (looked for cpu.shares)",
				"memory/m: nosuch: unknown setting; ignored",
				"nosuch: no such subsystem is mounted on this host",
			},
		},
		{
			name: "protected and configured: left alone", document: `{"cpu": {"sub_cgroup": {"keep": {"conf": {}, "sub_cgroup": {"in": {}}}, "b": {"sub_cgroup": {"x": {}, "y": {}}}, "docker": {}}}, "blkio": {"sub_cgroup": {"b": {"sub_cgroup": {"x": {}}}}}}`,
			host: together, opt: Options{Shield: shield},
			want: `mkdir blkio:/b
mkdir blkio:/b/x
mkdir cpu,cpuacct:/b
mkdir cpu,cpuacct:/b/y
mkdir cpu,cpuacct:/docker
`,
			faults: []string{
				"cpu/b/x: named by protected_cgroup: left alone, with all below it",
				"cpu/keep: named by protected_cgroup: left alone, with all below it",
			},
		},
		{
			name: "disks are armed in a cgroup of ours", document: `{"blkio": {"sub_cgroup": {"a": {}}}}`,
			host: with(apart, func(h *Host) { h.Disks = []string{"8:0"} }),
			want: "mkdir blkio:/a\nwrite blkio:/a/blkio.throttle.read_bps_device 8:0 0\n",
		},
		{
			name: "what the unified hierarchy cannot do is said plainly", document: `{"net_cls": {}, "rdma": {}}`,
			host: Host{Hierarchies: map[string]string{}, Unified: "unified"},
			faults: []string{
				"net_cls: " + cgfs.WhyNotUnified("net_cls"),
				"rdma: " + cgfs.WhyNotUnified("rdma"),
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, faults := planFor(t, c.document, c.host, c.opt)
			if diff := cmp.Diff(c.want, plan); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	got := Precedence([]string{"pids", "blkio", "cpuacct", "memory", "cpu"})
	if diff := cmp.Diff([]string{"cpu", "memory", "blkio", "cpuacct", "pids"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefuge(t *testing.T) {
	d := Compile(document(t, `{"cpu": {"conf": {"share": 1024}, "sub_cgroup": {"s": {"sub_cgroup": {"c": {"conf": {}, "sub_cgroup": {"t": {}}}}}}}}`), together, Options{})
	for p, want := range map[string]string{"x": "", "s/x": "", "s/c/x": "s/c", "s/c/t/x/y": "s/c"} {
		if got := d.Trees[0].Refuge(p); got != want {
			t.Errorf("refuge of %q is %q, want %q", p, got, want)
		}
	}
}
