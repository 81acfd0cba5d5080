package bpfiter

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// gone is the value of a place whose cgroup was removed, and of an empty one.
const gone = ^uint64(0)

// online is CSS_ONLINE (include/linux/cgroup-defs.h): rmdir takes it away before
// the cgroup's files answer ENODEV (cgroup_destroy_locked).
const online = 1 << 1

// writer puts a program together. Registers R6 to R9 survive calls, R1 to R5 do
// not.
type writer struct {
	layout *layout
	code   asm.Instructions
	label  string // of the next instruction
}

func (w *writer) add(ins ...asm.Instruction) {
	for _, i := range ins {
		if w.label != "" {
			i = i.WithSymbol(w.label)
			w.label = ""
		}
		w.code = append(w.code, i)
	}
}

// at names the next instruction.
func (w *writer) at(label string) { w.label = label }

// call calls a function of the kernel by its type.
func (w *writer) call(name string) {
	w.add(asm.Instruction{
		OpCode:   asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call),
		Src:      asm.PseudoKfuncCall,
		Constant: int64(w.layout.functions[name]),
	})
}

// lookup leaves in R0 where the map keeps the element whose index is on the stack
// at the offset index, or jumps to missing.
func (w *writer) lookup(mapFD int, index int16, missing string) {
	w.add(
		asm.LoadMapPtr(asm.R1, mapFD),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(index)),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, missing),
	)
}

// adopt is the iterator's program: the cgroup that it meets gets the place that
// the first element of control names. The kernel calls it with no cgroup at the
// end. It returns 0: go on.
func adopt(l *layout, control, cgroups int) asm.Instructions {
	const index = -4
	w := &writer{layout: l}
	w.add(
		asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord), // struct bpf_iter__cgroup: meta, cgroup
		asm.JEq.Imm(asm.R6, 0, "end"),
		asm.StoreImm(asm.RFP, index, 0, asm.Word),
	)
	w.lookup(control, index, "end")
	w.add(
		asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
		asm.StoreMem(asm.RFP, index, asm.R7, asm.Word),
	)
	w.lookup(cgroups, index, "end")
	w.add(asm.Mov.Reg(asm.R8, asm.R0), asm.Mov.Reg(asm.R1, asm.R6))
	w.call("bpf_cgroup_acquire")
	w.add(
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.FnKptrXchg.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R1, asm.R0),
	)
	w.call("bpf_cgroup_release") // of the one that had the place before
	w.at("end")
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return w.code
}

// read is the program that fills values for the places from its argument's first
// number up to, but without, its second.
func read(l *layout, version, cgroups, values int, bases []uint64) asm.Instructions {
	const iterator, index = -8, -12
	w := &writer{layout: l}
	w.add(asm.Mov.Reg(asm.R6, asm.R1))
	w.call("bpf_rcu_read_lock")
	w.add(
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, iterator),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),
	)
	w.call("bpf_iter_num_new")
	w.at("next")
	w.add(asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, iterator))
	w.call("bpf_iter_num_next")
	w.add(
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R6, asm.R0, 0, asm.Word),
		asm.StoreMem(asm.RFP, index, asm.R6, asm.Word),
	)
	w.lookup(cgroups, index, "next")
	w.add(asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord)) // a cgroup, under RCU, or none
	w.lookup(values, index, "next")
	w.add(
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.Mov.Imm(asm.R9, -1),
		asm.JEq.Imm(asm.R7, 0, "store"),
		asm.LoadMem(asm.R1, asm.R7, int16(l.onlineFlags), asm.Word),
		asm.And.Imm(asm.R1, online),
		asm.JEq.Imm(asm.R1, 0, "store"),
	)
	if version == 2 {
		w.add(asm.LoadMem(asm.R9, asm.R7, int16(l.runtime), asm.DWord))
	} else {
		w.sum(bases)
	}
	w.at("store")
	w.add(asm.StoreMem(asm.R8, 0, asm.R9, asm.DWord), asm.Ja.Label("next"))
	w.at("end")
	w.add(asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, iterator))
	w.call("bpf_iter_num_destroy")
	w.call("bpf_rcu_read_unlock")
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return w.code
}

// sum leaves in R9 what cpuacct.usage of the cgroup in R7 shows: the sum over all
// possible CPUs (cpuusage_read). Where each CPU's counters begin never changes, so
// there is no loop.
func (w *writer) sum(bases []uint64) {
	w.add(
		asm.LoadMem(asm.R1, asm.R7, int16(w.layout.subsys), asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "store"), // it is being removed
	)
	w.cast(w.layout.cpuacct)
	w.add(
		asm.LoadMem(asm.R7, asm.R0, int16(w.layout.cpuusage), asm.DWord),
		asm.Mov.Imm(asm.R9, 0),
	)
	for _, base := range bases {
		w.add(asm.LoadImm(asm.R1, int64(base), asm.DWord), asm.Add.Reg(asm.R1, asm.R7))
		w.cast(w.layout.word)
		w.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Reg(asm.R9, asm.R1))
	}
}

// cast makes R0 out of R1: the same address, to be read as a struct of that type.
// The verifier turns the call into a move, and a bad address reads as 0.
func (w *writer) cast(to btf.TypeID) {
	w.add(asm.Mov.Imm(asm.R2, int32(to)))
	w.call("bpf_rdonly_cast")
}

// locate is the program that finds where each CPU's counters are, as differences
// to be added to a pointer for all CPUs (per_cpu_ptr). The kernel says it to nobody
// by name, but a map for all CPUs has such a pointer, and its elements' addresses.
func locate(l *layout, percpu, values int) asm.Instructions {
	const index, pointer = -4, -16
	w := &writer{layout: l}
	w.add(
		asm.StoreImm(asm.RFP, index, 0, asm.Word),
	)
	// A map's address becomes a number by being stored where numbers are.
	w.lookup(values, index, "end")
	w.add(
		asm.LoadMapPtr(asm.R1, percpu),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R3, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R3, int32(l.percpu)),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, pointer),
		asm.Mov.Imm(asm.R2, 8),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R6, asm.RFP, pointer, asm.DWord),
	)
	for cpu := range l.cpus {
		w.add(
			asm.StoreImm(asm.RFP, index, int64(cpu), asm.Word),
		)
		w.lookup(values, index, "end")
		w.add(
			asm.Mov.Reg(asm.R7, asm.R0),
			asm.StoreImm(asm.RFP, index, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, percpu),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, index),
			asm.Mov.Imm(asm.R3, int32(cpu)),
			asm.FnMapLookupPercpuElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.StoreMem(asm.R7, 0, asm.R0, asm.DWord),
			asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord),
			asm.Sub.Reg(asm.R1, asm.R6),
			asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		)
	}
	w.at("end")
	w.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return w.code
}
