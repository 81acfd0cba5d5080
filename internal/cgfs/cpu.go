package cgfs

// cpu: Documentation/scheduler/sched-design-CFS.rst and sched-bwc.rst.
// cpuacct: Documentation/admin-guide/cgroup-v1/cpuacct.rst; cpuacct.usage is
// cumulative nanoseconds of the cgroup and all below it. It is a file of the
// cpuacct controller, so it is not in the cpu hierarchy when the two are mounted
// apart.

var cpuUsage = Usage{Kind: UsageNumber, Key: "usage", Files: []string{"cpuacct.usage"}, ParseNumber: ParseNumber}

var cpuSettings = []Setting{
	{
		Subsystem: "cpu", Key: "share", Doc: "weight of the cgroup's CPU time against its siblings",
		Integer: &Integer{Min: 2, Max: 262144, Clamp: true},
		Given:   "1024",
		V1:      []File{{Name: "cpu.shares", Default: "1024", Probe: "cpu.shares"}},
	},
}
