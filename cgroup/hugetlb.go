package cgroup

// HugePages is what the hugetlb controller has of a cgroup for one size of huge
// pages.
type HugePages struct {
	// LimitInBytes: most memory in such pages.
	LimitInBytes Setting[Amount] `row:"limit_in_bytes"`
	// UsageInBytes: memory in such pages that it has.
	UsageInBytes Figure[int64] `row:"usage_in_bytes"`
	// MaxUsageInBytes: the most that it had; 0 begins anew (v1).
	MaxUsageInBytes Setting[int64] `row:"max_usage_in_bytes"`
	// Failcnt: how often it came to its limit; 0 begins anew (v1).
	Failcnt Setting[int64] `row:"failcnt"`
	// RsvdLimitInBytes: as LimitInBytes, reservations included.
	RsvdLimitInBytes Setting[Amount] `row:"rsvd_limit_in_bytes"`
	// RsvdUsageInBytes: as UsageInBytes, reservations included.
	RsvdUsageInBytes Figure[int64] `row:"rsvd_usage_in_bytes"`
	// RsvdMaxUsageInBytes: as MaxUsageInBytes, reservations included.
	RsvdMaxUsageInBytes Setting[int64] `row:"rsvd_max_usage_in_bytes"`
	// RsvdFailcnt: as Failcnt, reservations included.
	RsvdFailcnt Setting[int64] `row:"rsvd_failcnt"`
}

// HugeTLB gives the settings of the hugetlb controller for one size of huge pages, as
// the kernel spells it: "2MB", "1GB".
func (n *Node) HugeTLB(size string) HugePages {
	var out HugePages
	bind(&out, n, "hugetlb", size+"_")
	return out
}
