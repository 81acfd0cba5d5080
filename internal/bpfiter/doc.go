// Package bpfiter reads the CPU usage of many cgroups at once, by BPF programs in
// the kernel instead of a file for each.
//
// An iterator over cgroups (iter/cgroup, Documentation/bpf/bpf_iterators.rst) meets
// each cgroup once and puts a counted pointer to it into a map; from then on a
// second program reads the counters of all of them where the kernel keeps them. So
// the tree is walked only when it changes, and nobody's cgroup_mutex is held while
// usage is read: the pointers are followed under RCU, some hundreds at a time.
//
// There is no C and no compiler: the programs are put together when they are
// loaded, with the offsets that the running kernel's own type information (BTF)
// gives. A kernel that is not as they need it refuses them in [Open], with the
// reason.
package bpfiter
