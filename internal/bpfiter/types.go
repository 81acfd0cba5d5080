package bpfiter

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/cilium/ebpf/btf"
)

// layout is what the programs have to know of the running kernel: ids of types and
// functions, offsets of fields in bytes.
type layout struct {
	cpus int // possible CPUs

	functions map[string]btf.TypeID

	onlineFlags uint32 // cgroup.self.flags
	subsys      uint32 // cgroup.subsys[cpuacct_cgrp_id]
	cpuacct     btf.TypeID
	cpuusage    uint32 // cpuacct.cpuusage
	runtime     uint32 // cgroup.bstat.cputime.sum_exec_runtime

	// word is a struct that begins with a u64: an address is read by taking it for
	// one of those.
	word btf.TypeID

	percpu uint32 // bpf_array.pptrs
}

// functions of the kernel that the programs call. The youngest of them,
// bpf_iter_num_new, came with Linux 6.4; Linux 6.1 has none.
var functions = []string{
	"bpf_cgroup_acquire", "bpf_cgroup_release",
	"bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_rdonly_cast",
	"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy",
}

// newLayout looks the kernel's types up. What one version of cgroups needs is not
// asked of a kernel that is asked for the other.
func newLayout(kernel *btf.Spec, version, cpus int) (*layout, error) {
	if strconv.IntSize != 64 {
		return nil, errors.New("only on 64-bit machines, where a counter is read at once")
	}
	l := &layout{cpus: cpus, functions: make(map[string]btf.TypeID, len(functions))}
	if err := l.find(kernel, version); err != nil {
		return nil, err
	}
	return l, l.reachable()
}

func (l *layout) find(kernel *btf.Spec, version int) error {
	for _, name := range functions {
		var f *btf.Func
		err := kernel.TypeByName(name, &f)
		if err == nil {
			l.functions[name], err = kernel.TypeID(f)
		}
		if err != nil {
			return fmt.Errorf("find the kernel's function %s: %w", name, err)
		}
	}
	cgroup, err := structure(kernel, "cgroup")
	if err != nil {
		return err
	}
	if l.onlineFlags, err = offset(cgroup, "self", "flags"); err != nil {
		return err
	}
	if l.word, err = wordType(kernel); err != nil {
		return err
	}
	if version == 2 {
		l.runtime, err = counter(cgroup, "bstat", "cputime", "sum_exec_runtime")
		return err
	}
	array, err := structure(kernel, "bpf_array")
	if err != nil {
		return err
	}
	if l.percpu, err = offset(array, "pptrs"); err != nil {
		return err
	}
	return l.findCPUAcct(kernel, cgroup)
}

// findCPUAcct finds the way from a cgroup to its counters for each CPU
// (kernel/sched/cpuacct.c).
func (l *layout) findCPUAcct(kernel *btf.Spec, cgroup *btf.Struct) error {
	var ids *btf.Enum
	if err := kernel.TypeByName("cgroup_subsys_id", &ids); err != nil {
		return fmt.Errorf("find the kernel's type cgroup_subsys_id: %w", err)
	}
	id, err := enumValue(ids, "cpuacct_cgrp_id")
	if err != nil {
		return err
	}
	pointers, err := offset(cgroup, "subsys")
	if err != nil {
		return err
	}
	l.subsys = pointers + 8*uint32(id)
	cpuacct, err := structure(kernel, "cpuacct")
	if err != nil {
		return err
	}
	if at, err := offset(cpuacct, "css"); err != nil || at != 0 {
		return errors.Join(fmt.Errorf("cpuacct.css is at %d", at), err)
	}
	if l.cpuacct, err = kernel.TypeID(cpuacct); err != nil {
		return err
	}
	m, at, err := member(cpuacct, "cpuusage")
	if err != nil {
		return err
	}
	l.cpuusage = at
	// Before Linux 5.18 it was a struct of two.
	pointer, ok := btf.UnderlyingType(m.Type).(*btf.Pointer)
	if !ok || !isCounter(pointer.Target) {
		return fmt.Errorf("cpuacct.cpuusage is a %v", m.Type)
	}
	return nil
}

// wordType is struct task_cputime, whose first member is a u64.
func wordType(kernel *btf.Spec) (btf.TypeID, error) {
	const name = "task_cputime"
	s, err := structure(kernel, name)
	if err != nil {
		return 0, err
	}
	if len(s.Members) == 0 || s.Members[0].Offset != 0 || !isCounter(s.Members[0].Type) {
		return 0, fmt.Errorf("struct %s does not begin with a number", name)
	}
	return kernel.TypeID(s)
}

func structure(kernel *btf.Spec, name string) (*btf.Struct, error) {
	var s *btf.Struct
	if err := kernel.TypeByName(name, &s); err != nil {
		return nil, fmt.Errorf("find the kernel's type %s: %w", name, err)
	}
	return s, nil
}

// offset is where a field of a field of s begins, in bytes.
func offset(s *btf.Struct, path ...string) (uint32, error) {
	_, at, err := follow(s, path)
	return at, err
}

// reachable: an instruction holds an offset in 16 bits, one of them the sign.
func (l *layout) reachable() error {
	for _, at := range []uint32{l.onlineFlags, l.subsys, l.cpuusage, l.runtime} {
		if at > math.MaxInt16 {
			return fmt.Errorf("a field of the kernel is %d bytes into its struct", at)
		}
	}
	return nil
}

// counter is the same of one that must be a whole number of 8 bytes.
func counter(s *btf.Struct, path ...string) (uint32, error) {
	m, at, err := follow(s, path)
	if err == nil && !isCounter(m.Type) {
		err = fmt.Errorf("%s.%v is a %v", s.Name, path, m.Type)
	}
	return at, err
}

func follow(s *btf.Struct, path []string) (m btf.Member, at uint32, err error) {
	var t btf.Type = s
	for _, name := range path {
		s, ok := btf.UnderlyingType(t).(*btf.Struct)
		if !ok {
			return m, 0, fmt.Errorf("%v is no struct", t)
		}
		var more uint32
		if m, more, err = member(s, name); err != nil {
			return m, 0, err
		}
		at += more
		t = m.Type
	}
	return m, at, nil
}

// member finds a field by its name, also in structs and unions without one.
func member(s *btf.Struct, name string) (btf.Member, uint32, error) {
	if m, at, ok := search(s.Members, name, 0); ok {
		return m, at, nil
	}
	return btf.Member{}, 0, fmt.Errorf("struct %s has no field %s", s.Name, name)
}

func search(members []btf.Member, name string, at uint32) (btf.Member, uint32, bool) {
	for _, m := range members {
		here := at + m.Offset.Bytes()
		if m.Name == name {
			return m, here, m.BitfieldSize == 0
		}
		if m.Name != "" {
			continue
		}
		var below []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			below = t.Members
		case *btf.Union:
			below = t.Members
		}
		if found, there, ok := search(below, name, here); ok {
			return found, there, true
		}
	}
	return btf.Member{}, 0, false
}

func isCounter(t btf.Type) bool {
	i, ok := btf.UnderlyingType(t).(*btf.Int)
	return ok && i.Size == 8
}

func enumValue(e *btf.Enum, name string) (uint64, error) {
	for _, v := range e.Values {
		if v.Name == name {
			return v.Value, nil
		}
	}
	return 0, fmt.Errorf("the kernel has no %s", name)
}
