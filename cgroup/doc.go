// Package cgroup reads, watches and changes the control groups of a Linux host, of
// version 1 and version 2 in one vocabulary.
//
// # Nodes
//
// [Open] finds the mounted hierarchies. A [Node] is the name of a cgroup in one of
// them, or of the same path in several; it need not exist, and nothing is kept
// between calls:
//
//	host, err := cgroup.Open(cgroup.Options{})
//	...
//	defer host.Close()
//	web, err := host.Node("cpu,memory:/web")
//	err = web.Create()
//	err = web.CPU().Shares.Set(512)
//	err = web.Memory().LimitInBytes.Set(500 << 20)
//	err = web.Start(exec.Command("nginx"))
//
// There are three views. [Host.Tree] is the filesystem as it is mounted: a root
// with one branch for each hierarchy. [Host.Root] and [Host.Node] group the
// hierarchies, so that a node has CPU, memory and the rest side by side.
// [Host.Guests] are the virtual machines of libvirt.
//
// # Settings
//
// Each controller has a type with one field for each setting: a [Setting] is read
// and written, a [Figure] only read, an [Action] only written. They are called what
// version 1 calls them, on both versions. A number that the kernel shows as -1, as
// "max" or as a huge number where there is no limit is [NoLimit].
//
//	quota, err := web.CPU().QuotaUS.Get() // cpu.cfs_quota_us, or cpu.max of version 2
//
// By name, [Node.Get] and [Node.Set] take the text that a person would type, and
// [Node.ReadFile] and [Node.WriteFile] a control file as it is.
//
// # Versions
//
// What one version, or this kernel, cannot do fails with [ErrNotSupported] and
// says why in plain words.
package cgroup
