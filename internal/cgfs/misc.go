package cgfs

// misc and rdma: Documentation/admin-guide/cgroup-v1/misc.rst and rdma.rst;
// cgroup-v2.rst, "Misc Interface Files" and "RDMA Interface Files". The same files
// on both versions. Limits are by resource of special hardware, so there is no
// name for them: `"files": {"misc.max": "sev 10"}`.

var miscFigures = []Setting{
	figure(KindTable, "capacity", "how much of each resource the host has; in the root of a hierarchy only", files("misc.capacity"), files("misc.capacity")),
	figure(KindTable, "current", "how much of each resource it has", files("misc.current"), files("misc.current")),
	figure(KindTable, "peak", "the most that it had of each resource", files("misc.peak"), files("misc.peak")),
	figure(KindTable, "events", "how often it came to its limits", files("misc.events"), files("misc.events")),
}

var rdmaFigures = []Setting{
	figure(KindTables, "current", "what it has of each device, by resource", files("rdma.current"), files("rdma.current")),
}
