package reconcile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// unified is a host with a v2 hierarchy only.
var unified = func() Host {
	h := Host{
		Hierarchies: map[string]string{}, Unified: "unified", Controllers: []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"},
		Caps: map[string]cgfs.Caps{},
	}
	for _, s := range []string{"cpu", "cpuacct", "blkio", "memory", "pids", "cpuset", "devices", "freezer"} {
		h.Hierarchies[s] = "unified"
		h.Caps[s] = cgfs.Caps{Version: 2, PageSize: 4096, Has: func(file string) bool { return file != "io.bfq.weight" }}
	}
	return h
}()

func TestGoldenPlansUnified(t *testing.T) {
	for _, c := range []struct {
		name, document string
		opt            Options
		want           string
		faults         []string
	}{
		{
			name: "the example of the contract", document: example, opt: Options{Root: "r"},
			want: `mkdir unified:/r
mkdir unified:/r/test_cgroup_a
mkdir unified:/r/test_cgroup_b
mkdir unified:/r/test_cgroup_b/@members
mkdir unified:/r/test_cgroup_b/test_cgroup_b_sub1
write unified:/cgroup.subtree_control +cpu
write unified:/cgroup.subtree_control +io
write unified:/r/cgroup.subtree_control +cpu
write unified:/r/cgroup.subtree_control +io
write unified:/r/test_cgroup_b/cgroup.subtree_control +cpu
write unified:/r/test_cgroup_a/io.weight 10000
write unified:/r/test_cgroup_a/cpu.weight 10000
write unified:/r/test_cgroup_b/cpu.weight 977
write unified:/r/test_cgroup_b/io.weight 2000
write unified:/r/test_cgroup_b/@members/cpu.weight 10000
write unified:/r/test_cgroup_b/test_cgroup_b_sub1/cpu.weight 1953
`,
		},
		{
			name: "usage needs a controller, CPU time does not", document: `{"cpu": {"sub_cgroup": {"a": {}}}, "memory": {"sub_cgroup": {"a": {"sub_cgroup": {"b": {}}}}}}`, opt: Options{Root: "r"},
			want: `mkdir unified:/r
mkdir unified:/r/a
mkdir unified:/r/a/b
write unified:/cgroup.subtree_control +memory
write unified:/r/cgroup.subtree_control +memory
write unified:/r/a/cgroup.subtree_control +memory
`,
		},
		{
			name: "an idle cgroup has no weight of CPU time, and one of the disks", opt: Options{Root: "r"},
			document: `{"cpu": {"sub_cgroup": {"a": {"conf": {"idle": 1}}, "b": {"conf": {"share": 512}}}}, "blkio": {"sub_cgroup": {"a": {"conf": {"weight": 500}}, "b": {"conf": {"weight": 250}}}}}`,
			want: `mkdir unified:/r
mkdir unified:/r/a
mkdir unified:/r/b
write unified:/cgroup.subtree_control +cpu
write unified:/cgroup.subtree_control +io
write unified:/r/cgroup.subtree_control +cpu
write unified:/r/cgroup.subtree_control +io
write unified:/r/a/cpu.idle 1
write unified:/r/a/io.weight 10000
write unified:/r/b/io.weight 5000
write unified:/r/b/cpu.weight 5000
`,
		},
		{
			name: "a process has one place", document: `{"cpu": {"sub_cgroup": {"s": {"sub_cgroup": {"x": {"conf": {}}}}}}, "pids": {"sub_cgroup": {"x": {"conf": {"max": 10}}}}}`,
			want: `mkdir unified:/s
mkdir unified:/s/x
mkdir unified:/x
write unified:/cgroup.subtree_control +cpu
write unified:/cgroup.subtree_control +pids
write unified:/s/cgroup.subtree_control +cpu
write unified:/x/pids.max 10
write unified:/s/x/cpu.weight 10000
`,
			faults: []string{"pids/x: pids and cpu share one hierarchy, where a process has one place: its processes follow cpu/s/x"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, faults := planFor(t, c.document, unified, c.opt)
			if diff := cmp.Diff(c.want, plan); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWeightsKeepRatios(t *testing.T) {
	weights := func(text string, shared map[string]map[string]bool) map[string]string {
		d := Compile(document(t, text), unified, Options{Root: "r", Shared: shared})
		out := map[string]string{}
		for _, dir := range d.Trees[0].Dirs {
			for _, s := range dir.Settings {
				if s.File == "cpu.weight" {
					out[dir.Path] = s.Text
				}
			}
		}
		return out
	}
	for _, c := range []struct {
		name, document string
		shared         map[string]map[string]bool
		want           map[string]string
	}{
		{"1000 to 500", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1000}}, "b": {"conf": {"share": 500}}}}}`, nil, map[string]string{"@members": "10000", "a": "9766", "b": "4883"}},
		{"300 to 100", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}, "b": {"conf": {"share": 100}}}}}`, nil, map[string]string{"@members": "10000", "a": "2930", "b": "977"}},
		{
			"a sibling without conf counts as 1024", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 2048}}, "b": {}}}}`, nil,
			map[string]string{"@members": "5000", "a": "10000", "b": "5000"},
		},
		{
			"a sibling that is not ours has weight 100", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 2048}}, "b": {"conf": {}}}}}`,
			map[string]map[string]bool{"unified": {"": true}}, map[string]string{"@members": "100", "a": "200", "b": "100"},
		},
	} {
		if diff := cmp.Diff(c.want, weights(c.document, c.shared)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestExplain(t *testing.T) {
	d := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300, "rt_runtime_us": 1000}}, "b": {"conf": {"share": 100}}}}}`), unified, Options{})
	var got []string
	for _, e := range d.Explain() {
		got = append(got, e.String())
	}
	want := []string{
		"cpu/a: share 300 -> unified:/a/cpu.weight 10000",
		"cpu/b: share 100 -> unified:/b/cpu.weight 3333 (-0.01 %)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(d.Faults) != 1 || d.Faults[0].Place != "cpu/a: rt_runtime_us" {
		t.Errorf("faults %v", d.Faults)
	}
}

// What protected_cgroup says of subsystems that are not here is noted: it protects nothing.
func TestIdleShieldIsNoted(t *testing.T) {
	shield, err := NewShield([]string{"cpu:/a", "name", "blkio,mem:/b", "io:/c*"}, true)
	if err != nil {
		t.Fatal(err)
	}
	d := Compile(document(t, `{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`), unified, Options{Shield: shield})
	want := []Fault{
		{Place: "protected_cgroup: blkio,mem:/b", Reason: "protects nothing here: this host has no mem"},
	}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A weight that no disk follows is written all the same, and said once.
func TestDeafWeightIsNoted(t *testing.T) {
	deaf := with(unified, func(h *Host) { h.Schedulers = cgfs.Schedulers{Of: map[string]string{"8:0": "none"}} })
	d := Compile(document(t, `{"blkio": {"sub_cgroup": {"a": {"conf": {"weight": 300}}, "b": {"conf": {"weight": 100}}}}}`), deaf, Options{})
	why := "has no effect: the cost controller is enabled for no disk (io.cost.qos in the root of the unified hierarchy, enable=1)"
	if diff := cmp.Diff([]Fault{{Place: "blkio: weight", Reason: why}}, d.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if got, want := d.Explain()[0].String(), "blkio/a: weight 300 -> unified:/a/io.weight 10000 ("+why+")"; got != want {
		t.Errorf("explained as %q, want %q", got, want)
	}
}
