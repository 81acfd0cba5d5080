package cgfs

// cpuset: Documentation/admin-guide/cgroup-v1/cpusets.rst. A new v1 cpuset has
// no cpus and no mems, and attaching to it answers ENOSPC until both are set.

// InheritFiles are the control files that a new cgroup of a subsystem must have
// copied from its parent before it can take processes.
func InheritFiles(subsystem string) []string {
	if subsystem == "cpuset" {
		return []string{"cpuset.cpus", "cpuset.mems"}
	}
	return nil
}
