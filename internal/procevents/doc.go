// Package procevents tells of every process that is born or ends on this host, as
// it happens, by the kernel's proc connector.
//
// The proc connector is a group of netlink messages (Documentation/driver-api/connector.rst
// and include/uapi/linux/cn_proc.h of the kernel). It needs CONFIG_PROC_EVENTS and
// CAP_NET_ADMIN, and is heard in the host's own network, user and pid namespace only.
// A filter on the socket leaves threads, and whatever else the connector tells, in
// the kernel.
package procevents
