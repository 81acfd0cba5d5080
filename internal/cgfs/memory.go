package cgfs

// memory: Documentation/admin-guide/cgroup-v1/memory.rst; usage_in_bytes is the
// memory of the cgroup and all below it, in bytes.

var memoryUsage = Usage{Kind: UsageNumber, Key: "usage", Files: []string{"memory.usage_in_bytes"}, ParseNumber: ParseNumber}
