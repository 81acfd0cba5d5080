package bpfiter

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// model is a kernel's types, as far as they are looked at, with odd offsets.
type model struct {
	without  string // a type, function or field that it does not have
	cpuusage btf.Type
	subsys   btf.Bits // where cgroup.subsys is
}

func (m model) types() []btf.Type {
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	u64 := &btf.Int{Name: "unsigned long long", Size: 8}
	pointer := &btf.Pointer{Target: u64}
	fields := func(all ...btf.Member) (some []btf.Member) {
		for _, f := range all {
			if f.Name == "" || f.Name != m.without {
				some = append(some, f)
			}
		}
		return some
	}
	at := func(bytes uint32, name string, t btf.Type) btf.Member {
		return btf.Member{Name: name, Type: t, Offset: btf.Bits(8 * bytes)}
	}
	if m.cpuusage == nil {
		m.cpuusage = pointer
	}
	if m.subsys == 0 {
		m.subsys = 8 * 64
	}
	css := &btf.Struct{Name: "cgroup_subsys_state", Size: 32, Members: fields(at(24, "flags", u32))}
	time := &btf.Struct{Name: "task_cputime", Size: 24, Members: fields(at(0, "stime", u64), at(8, "utime", u64), at(16, "sum_exec_runtime", u64))}
	stat := &btf.Struct{Name: "cgroup_base_stat", Size: 32, Members: fields(at(8, "cputime", time))}
	usages := at(8, "cpuusage", m.cpuusage)
	all := []btf.Type{
		time,
		&btf.Struct{Name: "cgroup", Size: 1 << 16, Members: fields(
			at(0, "self", css), btf.Member{Name: "subsys", Type: pointer, Offset: m.subsys}, at(512, "bstat", stat))},
		&btf.Struct{Name: "cpuacct", Size: 48, Members: fields(at(0, "css", css), usages)},
		&btf.Struct{Name: "bpf_array", Size: 256, Members: fields(at(248, "", &btf.Union{Size: 8, Members: []btf.Member{
			{Name: "value", Type: u64}, {Type: &btf.Struct{Size: 8, Members: fields(at(0, "pptrs", u64))}}}}))},
		&btf.Enum{Name: "cgroup_subsys_id", Size: 4, Values: []btf.EnumValue{{Name: "cpu_cgrp_id", Value: 1}, {Name: "cpuacct_cgrp_id", Value: 2}}},
	}
	for _, name := range functions {
		if name != m.without {
			all = append(all, &btf.Func{Name: name, Type: &btf.FuncProto{Return: (*btf.Void)(nil)}, Linkage: btf.StaticFunc})
		}
	}
	return all
}

func (m model) spec(t *testing.T) *btf.Spec {
	t.Helper()
	b, err := btf.NewBuilder(m.types(), nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestLayout(t *testing.T) {
	type offsets struct{ OnlineFlags, Subsys, CPUUsage, Runtime, PerCPU uint32 }
	for version, want := range map[int]offsets{
		1: {OnlineFlags: 24, Subsys: 64 + 2*8, CPUUsage: 8, PerCPU: 248},
		2: {OnlineFlags: 24, Runtime: 512 + 8 + 16},
	} {
		l, err := newLayout(model{}.spec(t), version, 2)
		if err != nil {
			t.Errorf("v%d: %v", version, err)
			continue
		}
		got := offsets{l.onlineFlags, l.subsys, l.cpuusage, l.runtime, l.percpu}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("v%d (-want +got):\n%s", version, diff)
		}
	}
}

// TestRefusals: a kernel that is not as the programs need it is refused before
// anything is loaded, with what it lacks; by the version that needs it only.
func TestRefusals(t *testing.T) {
	u64 := &btf.Int{Name: "unsigned long long", Size: 8}
	for _, c := range []struct {
		name   string
		model  model
		v1, v2 string // part of the error; "": none
	}{
		{"no open-coded loops, as before 6.4", model{without: "bpf_iter_num_new"}, "bpf_iter_num_new", "bpf_iter_num_new"},
		{"no flags", model{without: "flags"}, "no field flags", "no field flags"},
		{"no cpuacct", model{without: "cpuusage"}, "no field cpuusage", ""},
		{"no per-CPU pointers", model{without: "pptrs"}, "no field pptrs", ""},
		{"no base statistics", model{without: "bstat"}, "", "no field bstat"},
		{"no sum", model{without: "sum_exec_runtime"}, "", "no field sum_exec_runtime"},
		{"counters in a struct, as before 5.18", model{cpuusage: &btf.Pointer{Target: &btf.Struct{Name: "cpuacct_usage", Size: 16}}}, "cpuacct.cpuusage is a", ""},
		{"narrow counters", model{cpuusage: &btf.Pointer{Target: &btf.Int{Name: "int", Size: 4}}}, "cpuacct.cpuusage is a", ""},
		{"no pointer", model{cpuusage: u64}, "cpuacct.cpuusage is a", ""},
		{"out of an instruction's reach", model{subsys: 8 * 40000}, "bytes into its struct", ""},
	} {
		for version, want := range map[int]string{1: c.v1, 2: c.v2} {
			_, err := newLayout(c.model.spec(t), version, 2)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s, v%d: %v", c.name, version, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, v%d: error %v, want %q", c.name, version, err, want)
			}
		}
	}
}
