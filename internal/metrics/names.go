package metrics

import "github.com/prometheus/client_golang/prometheus"

// descriptions are all metrics of ours, in the order of the manual.
var descriptions []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

// Usage of cgroups, from the newest slot.
var (
	cpuUsage     = describe("cgroup_cpu_usage_seconds_total", "CPU time used by the cgroup and all below it.", "subsystem", "cgroup")
	memoryUsage  = describe("cgroup_memory_usage_bytes", "Memory used by the cgroup and all below it, page cache included.", "cgroup")
	ioRead       = describe("cgroup_io_read_bytes_total", "Bytes read from a block device by the cgroup and all below it.", "subsystem", "cgroup", "device")
	ioWritten    = describe("cgroup_io_written_bytes_total", "Bytes written to a block device by the cgroup and all below it.", "subsystem", "cgroup", "device")
	pidsCurrent  = describe("cgroup_pids_current", "Processes and threads in the cgroup and all below it.", "cgroup")
	oomKills     = describe("cgroup_oom_kills_total", "Processes that the kernel killed in the cgroup because memory was short, since the daemon's start.", "cgroup")
	cgroups      = describe("cgrouparchd_cgroups", "Configured cgroups.", "subsystem")
	cgroupsShown = describe("cgrouparchd_cgroups_shown", "Cgroups that have metrics: at most metrics_cgroups, those nearest to the root.", "subsystem")
)

// The daemon.
var (
	buildInfo        = describe("cgrouparchd_build_info", "1, with the version in labels.", "version", "commit")
	ready            = describe("cgrouparchd_ready", "1 after the first full pass.")
	sourceConnected  = describe("cgrouparchd_source_connected", "1 while the document's source (ZooKeeper, or the file) can be read.")
	versionSeen      = describe("cgrouparchd_document_version_seen", "Version of the document last read. An identity, not an order.")
	versionInForce   = describe("cgrouparchd_document_version_in_force", "Version of the document that every pass enforces.")
	rejected         = describe("cgrouparchd_document_rejected", "1 while the version seen has faults and an earlier one is in force.")
	hostFaults       = describe("cgrouparchd_host_faults", "What the document asks for and this host cannot do.")
	passes           = describe("cgrouparchd_passes_total", "Passes of the reconciler.")
	lastPass         = describe("cgrouparchd_last_pass_timestamp_seconds", "When the last pass began.")
	lastPassDuration = describe("cgrouparchd_last_pass_duration_seconds", "How long the last pass took.")
	driftCorrections = describe("cgrouparchd_drift_corrections_total", "Changes by others that were put back.")
	pidFiles         = describe("cgrouparchd_pid_files", "Pid files by state.", "state")
	newestSlot       = describe("cgrouparchd_newest_slot_timestamp_seconds", "The second that was sampled last.")
	missedSlots      = describe("cgrouparchd_missed_slots_total", "Seconds without a sample.")
	redisConnected   = describe("cgrouparchd_redis_connected", "1 while Redis takes slots; absent without Redis.")
	redisBacklog     = describe("cgrouparchd_redis_backlog_slots", "Slots that wait for Redis.")
	redisLost        = describe("cgrouparchd_redis_lost_slots_total", "Slots that expired before Redis could take them.")
	taskCPU          = describe("cgrouparchd_task_cpu_seconds_total", "CPU time of the daemon's parts.", "task")
)
