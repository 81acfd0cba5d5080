package cgfs

// pids: Documentation/admin-guide/cgroup-v1/pids.rst; cgroup-v2.rst, "PID
// Interface Files". pids.current is the number of tasks in the cgroup and all
// below it. A hierarchy's root has no such file.

var pidsUsage = Usage{Kind: UsageNumber, Key: "current", Gauge: true, Files: []string{"pids.current"}, ParseNumber: ParseNumber}

// maxPIDs is the kernel's PID_MAX_LIMIT on 64 bits.
const maxPIDs = 4 << 20

var pidsSettings = []Setting{{
	Key: "max", Thing: "max", Doc: "most processes and threads that it may have, the cgroups below included",
	Value: limit(0, maxPIDs), Default: Unlimited,
	V1: []File{{Name: "pids.max", limit: Ceiling}}, V2: []File{{Name: "pids.max", limit: Ceiling}},
}}

var pidsFigures = []Setting{
	figure(KindInteger, "current", "how many processes and threads it has, those below included", files("pids.current"), files("pids.current")),
	figure(KindInteger, "peak", "the most that it had", files("pids.peak"), files("pids.peak")),
	figure(KindTable, "events", "how often a fork was refused", files("pids.events"), files("pids.events")),
}
