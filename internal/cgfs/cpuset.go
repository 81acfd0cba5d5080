package cgfs

// cpuset: Documentation/admin-guide/cgroup-v1/cpusets.rst; cgroup-v2.rst,
// "Cpuset Interface Files". A new v1 cpuset has no cpus and no mems, and attaching
// to it answers ENOSPC until both are set; on v2 the empty set is the parent's.

// InheritFiles are the control files that a new cgroup of a subsystem must have
// copied from its parent before it can take processes.
func InheritFiles(subsystem string) []string {
	if subsystem == "cpuset" {
		return []string{"cpuset.cpus", "cpuset.mems"}
	}
	return nil
}

const noSpread = "v2 has no choice of where the kernel's caches are placed"

var cpusetSettings = []Setting{
	{
		Key: "cpus", Thing: "cpus", Doc: "CPUs that its processes may use", Value: numbers(), Default: "",
		V1: []File{{Name: "cpuset.cpus", Probe: "cpuset.cpus", limit: Members}},
		V2: []File{{Name: "cpuset.cpus", limit: Members}}, on1: membersOrParents, on2: membersOrNone,
	},
	{
		Key: "mems", Thing: "mems", Doc: "memory nodes that its processes may use", Value: numbers(), Default: "",
		V1: []File{{Name: "cpuset.mems", Probe: "cpuset.mems", limit: Members}},
		V2: []File{{Name: "cpuset.mems", limit: Members}}, on1: membersOrParents, on2: membersOrNone,
	},
	{
		Key: "cpu_exclusive", Thing: "cpu_exclusive", Doc: "1: no sibling may have the same CPUs", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.cpu_exclusive")}, Always: "0",
		NoV2: "v2 has no exclusive CPUs without a scheduling domain of their own: see cpus_partition",
	},
	{
		Key: "cpus_partition", Thing: "partition", Doc: "`root`: its CPUs are a scheduling domain of their own, and no sibling's; `isolated`: without load balancing",
		Value: word("member", "root", "isolated"), Default: "member", Always: "member",
		V2:   []File{{Name: "cpuset.cpus.partition", form: Form{Word: true}}},
		NoV1: "v1 has no partitions: see cpu_exclusive and sched_load_balance",
	},
	{
		Key: "mem_exclusive", Thing: "mem_exclusive", Doc: "1: no sibling may have the same memory nodes", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.mem_exclusive")}, Always: "0", NoV2: "v2 has no exclusive memory nodes",
	},
	{
		Key: "mem_hardwall", Thing: "mem_hardwall", Doc: "1: the kernel's own allocations stay on its memory nodes too", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.mem_hardwall")}, Always: "0", NoV2: "v2 has no hardwall for the kernel's allocations",
	},
	{
		Key: "memory_migrate", Thing: "memory_migrate", Doc: "1: pages move when the memory nodes change", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.memory_migrate")}, Always: "1", NoV2: "v2 always moves pages when the memory nodes change",
	},
	{
		Key: "memory_spread_page", Thing: "memory_spread_page", Doc: "1: page cache is spread over its memory nodes", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.memory_spread_page")}, Always: "0", NoV2: noSpread,
	},
	{
		Key: "memory_spread_slab", Thing: "memory_spread_slab", Doc: "1: the kernel's file caches are spread over its memory nodes; without effect since Linux 6.8", Value: boolean(), Default: "0",
		V1: []File{file("cpuset.memory_spread_slab")}, Always: "0", NoV2: noSpread,
	},
	{
		Key: "sched_load_balance", Thing: "sched_load_balance", Doc: "0: no load balancing over its CPUs", Value: boolean(), Default: "1",
		V1: []File{file("cpuset.sched_load_balance")}, Always: "1", NoV2: "v2 turns load balancing off by cpus_partition \"isolated\" only",
	},
	{
		Key: "sched_relax_domain_level", Thing: "sched_relax_domain_level", Doc: "how far the scheduler looks for an idle CPU; -1: the system's",
		Value: integer(-1, 5), Default: "-1",
		V1: []File{file("cpuset.sched_relax_domain_level")}, Always: "-1", NoV2: "v2 has no level of relaxed domains",
	},
	{
		Key: "memory_pressure_enabled", Thing: "memory_pressure_enabled", Doc: "1: `memory_pressure` is measured, on the whole host; in the root of a hierarchy only",
		Value: boolean(), Default: "0",
		V1: []File{file("cpuset.memory_pressure_enabled")}, Always: "0", NoV2: "v2 measures pressure anyway: see pressure of memory",
	},
}

var cpusetFigures = []Setting{
	figure(KindSet, "effective_cpus", "CPUs that its processes really have", files("cpuset.effective_cpus"), files("cpuset.cpus.effective")),
	figure(KindSet, "effective_mems", "memory nodes that its processes really have", files("cpuset.effective_mems"), files("cpuset.mems.effective")),
	figure(KindInteger, "memory_pressure", "how hard its processes press for memory, while `memory_pressure_enabled`", files("cpuset.memory_pressure"), nil),
}

// membersOrParents writes a v1 set; the empty one, with which a v1 cpuset is
// useless, stands for a copy of the parent's.
func membersOrParents(t *translation, s *Setting, text string) {
	n := len(t.writes)
	plain(t, s, text)
	if text == "" && len(t.writes) > n {
		t.writes[n].FromParent = true
	}
}

// membersOrNone writes a v2 set. A write of no bytes never reaches the kernel, so
// the empty set is a newline.
func membersOrNone(t *translation, s *Setting, text string) {
	n := len(t.writes)
	plain(t, s, text)
	if text == "" && len(t.writes) > n {
		t.writes[n].Text = "\n"
	}
}
