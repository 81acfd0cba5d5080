package cgfs

// pids: Documentation/admin-guide/cgroup-v1/pids.rst; pids.current is the number
// of tasks in the cgroup and all below it. A hierarchy's root has no such file.

var pidsUsage = Usage{Kind: UsageNumber, Key: "current", Files: []string{"pids.current"}, ParseNumber: ParseNumber}
