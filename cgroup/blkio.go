package cgroup

// BlkIO is what the blkio controller, io of v2, has of a cgroup. Disks are named "MAJ:MIN".
type BlkIO struct {
	Common

	// IOMerged: operations that were merged with others, by disk.
	IOMerged Figure[map[string]map[string]int64] `row:"io_merged"`
	// IOMergedRecursive: operations that were merged with others, by disk, those below
	// included.
	IOMergedRecursive Figure[map[string]map[string]int64] `row:"io_merged_recursive"`
	// IOQueued: operations in queues now, by disk.
	IOQueued Figure[map[string]map[string]int64] `row:"io_queued"`
	// IOQueuedRecursive: operations in queues now, by disk, those below included.
	IOQueuedRecursive Figure[map[string]map[string]int64] `row:"io_queued_recursive"`
	// IOServiceBytes: bytes moved, by disk.
	IOServiceBytes Figure[map[string]map[string]int64] `row:"io_service_bytes"`
	// IOServiceBytesRecursive: bytes moved, by disk, those below included.
	IOServiceBytesRecursive Figure[map[string]map[string]int64] `row:"io_service_bytes_recursive"`
	// IOServiceTime: time that operations took, in ns, by disk.
	IOServiceTime Figure[map[string]map[string]int64] `row:"io_service_time"`
	// IOServiceTimeRecursive: time that operations took, in ns, by disk, those below
	// included.
	IOServiceTimeRecursive Figure[map[string]map[string]int64] `row:"io_service_time_recursive"`
	// IOServiced: operations done, by disk.
	IOServiced Figure[map[string]map[string]int64] `row:"io_serviced"`
	// IOServicedRecursive: operations done, by disk, those below included.
	IOServicedRecursive Figure[map[string]map[string]int64] `row:"io_serviced_recursive"`
	// IOWaitTime: time that operations waited in queues, in ns, by disk.
	IOWaitTime Figure[map[string]map[string]int64] `row:"io_wait_time"`
	// IOWaitTimeRecursive: time that operations waited in queues, in ns, by disk, those
	// below included.
	IOWaitTimeRecursive Figure[map[string]map[string]int64] `row:"io_wait_time_recursive"`
	// LeafWeight: weight of its own processes against its child cgroups; until Linux
	// 4.20.
	LeafWeight Setting[int64] `row:"leaf_weight"`
	// LeafWeightDevice: the same for one disk.
	LeafWeightDevice Setting[map[string]int64] `row:"leaf_weight_device"`
	// Max: all four limits of a disk, as v2 names them: {"8:0": {"rbps": 1048576,
	// "wiops": "max"}}.
	Max Setting[map[string]map[string]Amount] `row:"max"`
	// Pressure: how long its processes waited for disks.
	Pressure Figure[map[string]map[string]float64] `row:"pressure"`
	// ResetStats: 1 begins all counters anew.
	ResetStats Action[int64] `row:"reset_stats"`
	// Sectors: sectors of 512 bytes moved, by disk.
	Sectors Figure[map[string]map[string]int64] `row:"sectors"`
	// SectorsRecursive: sectors of 512 bytes moved, by disk, those below included.
	SectorsRecursive Figure[map[string]map[string]int64] `row:"sectors_recursive"`
	// Stat: bytes and operations by disk.
	Stat Figure[map[string]map[string]int64] `row:"stat"`
	// ThrottleIOServiceBytes: bytes moved, by disk, as the throttling counts them.
	ThrottleIOServiceBytes Figure[map[string]map[string]int64] `row:"throttle_io_service_bytes"`
	// ThrottleIOServiceBytesRecursive: bytes moved, by disk, those below included, as
	// the throttling counts them.
	ThrottleIOServiceBytesRecursive Figure[map[string]map[string]int64] `row:"throttle_io_service_bytes_recursive"`
	// ThrottleIOServiced: operations done, by disk, as the throttling counts them.
	ThrottleIOServiced Figure[map[string]map[string]int64] `row:"throttle_io_serviced"`
	// ThrottleIOServicedRecursive: operations done, by disk, those below included, as
	// the throttling counts them.
	ThrottleIOServicedRecursive Figure[map[string]map[string]int64] `row:"throttle_io_serviced_recursive"`
	// ThrottleReadBPSDevice: bytes that it may read in a second, by disk.
	ThrottleReadBPSDevice Setting[map[string]Amount] `row:"throttle_read_bps_device"`
	// ThrottleReadIOPSDevice: reads that it may do in a second, by disk.
	ThrottleReadIOPSDevice Setting[map[string]Amount] `row:"throttle_read_iops_device"`
	// ThrottleWriteBPSDevice: bytes that it may write in a second, by disk.
	ThrottleWriteBPSDevice Setting[map[string]Amount] `row:"throttle_write_bps_device"`
	// ThrottleWriteIOPSDevice: writes that it may do in a second, by disk.
	ThrottleWriteIOPSDevice Setting[map[string]Amount] `row:"throttle_write_iops_device"`
	// Time: disk time, in ms, by disk.
	Time Figure[map[string]map[string]int64] `row:"time"`
	// TimeRecursive: disk time, in ms, by disk, those below included.
	TimeRecursive Figure[map[string]map[string]int64] `row:"time_recursive"`
	// Weight: weight of the cgroup's disk time against its siblings.
	Weight Setting[int64] `row:"weight"`
	// WeightDevice: the same for one disk.
	WeightDevice Setting[map[string]int64] `row:"weight_device"`
}

// BlkIO gives the settings of the blkio controller.
func (n *Node) BlkIO() BlkIO { return controls[BlkIO](n, "blkio") }
