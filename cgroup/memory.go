package cgroup

// Memory is what the memory controller has of a cgroup; sizes are in bytes.
type Memory struct {
	Common

	// Events: how often it came to its limits.
	Events Figure[map[string]int64] `row:"events"`
	// EventsLocal: the same without the cgroups below.
	EventsLocal Figure[map[string]int64] `row:"events_local"`
	// Failcnt: how often it came to its limit.
	Failcnt Setting[int64] `row:"failcnt"`
	// ForceEmpty: 0 frees all of its memory that can be freed.
	ForceEmpty Action[int64] `row:"force_empty"`
	// High: memory above which it is slowed down and reclaimed from.
	High Setting[Amount] `row:"high"`
	// KmemFailcnt: how often it came to its limit of the kernel's memory.
	KmemFailcnt Setting[int64] `row:"kmem_failcnt"`
	// KmemLimitInBytes: most memory of the kernel's; newer kernels take it and do not
	// keep to it.
	KmemLimitInBytes Setting[Amount] `row:"kmem_limit_in_bytes"`
	// KmemMaxUsageInBytes: the most of the kernel's memory that it had.
	KmemMaxUsageInBytes Setting[int64] `row:"kmem_max_usage_in_bytes"`
	// KmemTCPFailcnt: how often they came to their limit.
	KmemTCPFailcnt Setting[int64] `row:"kmem_tcp_failcnt"`
	// KmemTCPLimitInBytes: most memory of its TCP buffers.
	KmemTCPLimitInBytes Setting[Amount] `row:"kmem_tcp_limit_in_bytes"`
	// KmemTCPMaxUsageInBytes: the most memory that its TCP buffers had.
	KmemTCPMaxUsageInBytes Setting[int64] `row:"kmem_tcp_max_usage_in_bytes"`
	// KmemTCPUsageInBytes: memory of its TCP buffers.
	KmemTCPUsageInBytes Figure[int64] `row:"kmem_tcp_usage_in_bytes"`
	// KmemUsageInBytes: memory of the kernel's that is charged to it.
	KmemUsageInBytes Figure[int64] `row:"kmem_usage_in_bytes"`
	// LimitInBytes: most memory that it may have, page cache included.
	LimitInBytes Setting[Amount] `row:"limit_in_bytes"`
	// Low: memory that it should keep when memory is short.
	Low Setting[Amount] `row:"low"`
	// MaxUsageInBytes: the most that it had.
	MaxUsageInBytes Setting[int64] `row:"max_usage_in_bytes"`
	// MemoryLimit: the same, with a unit as a word.
	MemoryLimit Setting[Amount] `row:"memory_limit"`
	// MemswFailcnt: how often it came to its limit of memory and swap.
	MemswFailcnt Setting[int64] `row:"memsw_failcnt"`
	// MemswLimitInBytes: most memory and swap together; needs a limit_in_bytes (or max)
	// that is not more.
	MemswLimitInBytes Setting[Amount] `row:"memsw_limit_in_bytes"`
	// MemswMaxUsageInBytes: the most memory and swap that it had.
	MemswMaxUsageInBytes Setting[int64] `row:"memsw_max_usage_in_bytes"`
	// MemswUsageInBytes: memory and swap that it has.
	MemswUsageInBytes Figure[int64] `row:"memsw_usage_in_bytes"`
	// Min: memory that is never taken from it.
	Min Setting[Amount] `row:"min"`
	// MoveChargeAtImmigrate: 1: anonymous memory moves with a process, 2: mapped files,
	// 3: both; not since Linux 6.13.
	MoveChargeAtImmigrate Setting[int64] `row:"move_charge_at_immigrate"`
	// NUMAStat: the same by memory node.
	NUMAStat Figure[map[string]map[string]int64] `row:"numa_stat"`
	// OOMControl: 1: out of memory, its processes wait instead of one being killed.
	OOMControl Setting[bool] `row:"oom_control"`
	// OOMGroup: 1: out of memory, all its processes are killed together.
	OOMGroup Setting[bool] `row:"oom_group"`
	// OOMKill: how many of its processes were killed because memory was short.
	OOMKill Figure[int64] `row:"oom_kill"`
	// Pressure: how long its processes waited for memory.
	Pressure Figure[map[string]map[string]float64] `row:"pressure"`
	// Reclaim: frees so many bytes, if it can.
	Reclaim Action[Amount] `row:"reclaim"`
	// SoftLimitInBytes: memory that it should keep when memory is short.
	SoftLimitInBytes Setting[Amount] `row:"soft_limit_in_bytes"`
	// Stat: what its memory is used for.
	Stat Figure[map[string]int64] `row:"stat"`
	// SwapEvents: how often it came to its limits of swap.
	SwapEvents Figure[map[string]int64] `row:"swap_events"`
	// SwapHigh: swap above which it is slowed down.
	SwapHigh Setting[Amount] `row:"swap_high"`
	// SwapMax: most swap alone; v1 needs a limit_in_bytes (or max) as well.
	SwapMax Setting[Amount] `row:"swap_max"`
	// SwapPeak: the most swap that it had.
	SwapPeak Figure[int64] `row:"swap_peak"`
	// SwapUsage: swap that it has.
	SwapUsage Figure[int64] `row:"swap_usage"`
	// Swappiness: how readily it is swapped out.
	Swappiness Setting[int64] `row:"swappiness"`
	// UnderOOM: 1: it is out of memory, and its processes wait.
	UnderOOM Figure[bool] `row:"under_oom"`
	// UsageInBytes: memory that it has, page cache included.
	UsageInBytes Figure[int64] `row:"usage_in_bytes"`
	// UseHierarchy: 1: limits hold for the cgroups below as well; newer kernels know
	// nothing else.
	UseHierarchy Setting[bool] `row:"use_hierarchy"`
	// ZSwapMax: most compressed swap in memory.
	ZSwapMax Setting[Amount] `row:"zswap_max"`
	// ZSwapUsage: compressed swap in memory that it has.
	ZSwapUsage Figure[int64] `row:"zswap_usage"`
}

// Memory gives the settings of the memory controller.
func (n *Node) Memory() Memory { return controls[Memory](n, "memory") }
