package cgroup

// Common is what every cgroup has, whatever its controllers.
type Common struct {
	// CgroupEvents: populated, frozen.
	CgroupEvents Figure[map[string]int64] `row:"cgroup_events"`
	// CgroupStat: cgroups below, and how many of them are going away.
	CgroupStat Figure[map[string]int64] `row:"cgroup_stat"`
	// CloneChildren: 1: a new cpuset below begins with its settings.
	CloneChildren Setting[bool] `row:"clone_children"`
	// Controllers: controllers that it can enable for its children.
	Controllers Figure[string] `row:"controllers"`
	// Kill: 1: kills all its processes, and those below.
	Kill Action[int64] `row:"kill"`
	// MaxDepth: how many levels of cgroups may be below.
	MaxDepth Setting[Amount] `row:"max_depth"`
	// MaxDescendants: how many cgroups may be below.
	MaxDescendants Setting[Amount] `row:"max_descendants"`
	// NotifyOnRelease: 1: release_agent is run when it becomes empty.
	NotifyOnRelease Setting[bool] `row:"notify_on_release"`
	// PressureAccounting: 0: no pressure is measured in it.
	PressureAccounting Setting[bool] `row:"pressure_accounting"`
	// Procs: its processes; a written one moves in, with all its threads.
	Procs Setting[[]int64] `row:"procs"`
	// ReleaseAgent: the program of notify_on_release; in the root of a hierarchy only.
	ReleaseAgent Setting[string] `row:"release_agent"`
	// SubtreeControl: controllers that it enables for its children; written as +cpu
	// -memory.
	SubtreeControl Setting[string] `row:"subtree_control"`
	// Tasks: its threads; a written one moves in, alone (v2: within a threaded tree).
	Tasks Setting[[]int64] `row:"tasks"`
	// Type: domain, threaded ...; threaded may be written.
	Type Setting[string] `row:"type"`
}

// CPU is what the cpu controller has of a cgroup.
type CPU struct {
	Common

	// CFSBurstUS: unused quota that may be saved up, in µs; at most the quota.
	CFSBurstUS Setting[int64] `row:"cfs_burst_us"`
	// CFSPeriodUS: the period of cfs_quota_us, in µs.
	CFSPeriodUS Setting[int64] `row:"cfs_period_us"`
	// CFSQuotaUS: CPU time that it may use in each period, in µs; 200000 of 100000 are
	// two CPUs.
	CFSQuotaUS Setting[Amount] `row:"cfs_quota_us"`
	// CPULimit: the weight of Shares in percent of the default, as the Python library
	// cgroups has it: not a limit. See CPUQuotaPercent.
	CPULimit Setting[Percent] `row:"cpu_limit"`
	// CPUQuotaPercent: most CPU time, in percent of one CPU: 150 are one and a half.
	CPUQuotaPercent Setting[Percent] `row:"cpu_quota_percent"`
	// Idle: 1: runs only while nothing else wants the CPU; its weight counts for
	// nothing then.
	Idle Setting[bool] `row:"idle"`
	// Max: quota and period in the form of v2: "50000 100000"; the period may be left
	// out.
	Max Setting[Quota] `row:"max"`
	// Pressure: how long its processes waited for a CPU.
	Pressure Figure[map[string]map[string]float64] `row:"pressure"`
	// RTPeriodUS: the period of rt_runtime_us, in µs.
	RTPeriodUS Setting[int64] `row:"rt_period_us"`
	// RTRuntimeUS: CPU time that its real-time processes may use in each period, in µs;
	// -1: no limit.
	RTRuntimeUS Setting[Amount] `row:"rt_runtime_us"`
	// Shares: weight of the cgroup's CPU time against its siblings; 1024 is the default.
	Shares Setting[int64] `row:"shares"`
	// Stat: periods, how many of them were throttled and for how long; v2: CPU time as
	// well, in µs.
	Stat Figure[map[string]int64] `row:"stat"`
	// StatLocal: how long it was throttled by its own limit.
	StatLocal Figure[map[string]int64] `row:"stat_local"`
	// Weight: the weight of Shares in the units of v2: 100 is the default.
	Weight Setting[int64] `row:"weight"`
}

// CPU gives the settings of the cpu controller.
func (n *Node) CPU() CPU { return controls[CPU](n, "cpu") }

// CPUAcct is what the cpuacct controller counts; v2 counts it in every cgroup.
type CPUAcct struct {
	Common

	// Stat: CPU time in programs (user) and in the kernel (system), in 1/100 s.
	Stat Figure[map[string]int64] `row:"stat"`
	// Usage: CPU time, in ns.
	Usage Setting[int64] `row:"usage"`
	// UsagePerCPU: CPU time by CPU, in ns.
	UsagePerCPU Figure[[]int64] `row:"usage_percpu"`
	// UsagePerCPUSys: CPU time in the kernel by CPU, in ns.
	UsagePerCPUSys Figure[[]int64] `row:"usage_percpu_sys"`
	// UsagePerCPUUser: CPU time in programs by CPU, in ns.
	UsagePerCPUUser Figure[[]int64] `row:"usage_percpu_user"`
	// UsageSys: CPU time in the kernel, in ns.
	UsageSys Figure[int64] `row:"usage_sys"`
	// UsageUser: CPU time in programs, in ns.
	UsageUser Figure[int64] `row:"usage_user"`
}

// CPUAcct gives the settings of the cpuacct controller.
func (n *Node) CPUAcct() CPUAcct { return controls[CPUAcct](n, "cpuacct") }

// CPUSet is what the cpuset controller has of a cgroup.
type CPUSet struct {
	Common

	// CPUExclusive: 1: no sibling may have the same CPUs.
	CPUExclusive Setting[bool] `row:"cpu_exclusive"`
	// CPUs: CPUs that its processes may use.
	CPUs Setting[CPUs] `row:"cpus"`
	// CPUsPartition: root: its CPUs are a scheduling domain of their own, and no
	// sibling's; isolated: without load balancing.
	CPUsPartition Setting[string] `row:"cpus_partition"`
	// EffectiveCPUs: CPUs that its processes really have.
	EffectiveCPUs Figure[CPUs] `row:"effective_cpus"`
	// EffectiveMems: memory nodes that its processes really have.
	EffectiveMems Figure[CPUs] `row:"effective_mems"`
	// MemExclusive: 1: no sibling may have the same memory nodes.
	MemExclusive Setting[bool] `row:"mem_exclusive"`
	// MemHardwall: 1: the kernel's own allocations stay on its memory nodes too.
	MemHardwall Setting[bool] `row:"mem_hardwall"`
	// MemoryMigrate: 1: pages move when the memory nodes change.
	MemoryMigrate Setting[bool] `row:"memory_migrate"`
	// MemoryPressure: how hard its processes press for memory, while
	// memory_pressure_enabled.
	MemoryPressure Figure[int64] `row:"memory_pressure"`
	// MemoryPressureEnabled: 1: memory_pressure is measured, on the whole host; in the
	// root of a hierarchy only.
	MemoryPressureEnabled Setting[bool] `row:"memory_pressure_enabled"`
	// MemorySpreadPage: 1: page cache is spread over its memory nodes.
	MemorySpreadPage Setting[bool] `row:"memory_spread_page"`
	// MemorySpreadSlab: 1: the kernel's file caches are spread over its memory nodes;
	// without effect since Linux 6.8.
	MemorySpreadSlab Setting[bool] `row:"memory_spread_slab"`
	// Mems: memory nodes that its processes may use.
	Mems Setting[CPUs] `row:"mems"`
	// SchedLoadBalance: 0: no load balancing over its CPUs.
	SchedLoadBalance Setting[bool] `row:"sched_load_balance"`
	// SchedRelaxDomainLevel: how far the scheduler looks for an idle CPU; -1: the
	// system's.
	SchedRelaxDomainLevel Setting[int64] `row:"sched_relax_domain_level"`
}

// CPUSet gives the settings of the cpuset controller.
func (n *Node) CPUSet() CPUSet { return controls[CPUSet](n, "cpuset") }

// Freezer is what the freezer controller has of a cgroup; see [Node.Freeze] as well.
type Freezer struct {
	Common

	// Freeze: 1: its processes stand still.
	Freeze Setting[bool] `row:"freeze"`
	// Frozen: 1: all its processes stand still, for its own sake or for a cgroup above.
	Frozen Figure[bool] `row:"frozen"`
	// ParentFreezing: 1: a cgroup above was frozen.
	ParentFreezing Figure[bool] `row:"parent_freezing"`
	// SelfFreezing: 1: it was frozen itself.
	SelfFreezing Figure[bool] `row:"self_freezing"`
	// State: whether its processes were told to stand still; frozen says whether they
	// do.
	State Setting[string] `row:"state"`
}

// Freezer gives the settings of the freezer controller.
func (n *Node) Freezer() Freezer { return controls[Freezer](n, "freezer") }

// PIDs is what the pids controller has of a cgroup.
type PIDs struct {
	Common

	// Current: how many processes and threads it has, those below included.
	Current Figure[int64] `row:"current"`
	// Events: how often a fork was refused.
	Events Figure[map[string]int64] `row:"events"`
	// Max: most processes and threads that it may have, the cgroups below included.
	Max Setting[Amount] `row:"max"`
	// Peak: the most that it had.
	Peak Figure[int64] `row:"peak"`
}

// PIDs gives the settings of the pids controller.
func (n *Node) PIDs() PIDs { return controls[PIDs](n, "pids") }

// NetCls is what the net_cls controller has of a cgroup; v1 only.
type NetCls struct {
	Common

	// ClassID: class of its packets for traffic control: a number, or as tc writes it,
	// "10:1".
	ClassID Setting[int64] `row:"class_id"`
}

// NetCls gives the settings of the net_cls controller.
func (n *Node) NetCls() NetCls { return controls[NetCls](n, "net_cls") }

// NetPrio is what the net_prio controller has of a cgroup; v1 only.
type NetPrio struct {
	Common

	// IfPrioMap: priority of its packets by network interface.
	IfPrioMap Setting[map[string]int64] `row:"ifpriomap"`
	// PrioIdx: the kernel's own number of the cgroup.
	PrioIdx Figure[int64] `row:"prioidx"`
}

// NetPrio gives the settings of the net_prio controller.
func (n *Node) NetPrio() NetPrio { return controls[NetPrio](n, "net_prio") }

// Devices is what the devices controller has of a cgroup; on v2 an eBPF program of ours.
type Devices struct {
	Common

	// List: the devices that it may use, as the kernel lists them.
	List Figure[[]Rule] `row:"list"`
}

// Devices gives the settings of the devices controller.
func (n *Node) Devices() Devices { return controls[Devices](n, "devices") }
