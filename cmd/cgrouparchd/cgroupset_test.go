package main

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// TestMayWait: only what another setting may stand in the way of is tried again. An action that was done in part
// (memory.reclaim: EAGAIN) would be done twice.
func TestMayWait(t *testing.T) {
	for _, tt := range []struct {
		one   string
		later []string
		err   error
		want  bool
	}{
		{"memory.high=1M", []string{"memory.max=2M"}, syscall.EINVAL, true},
		{"memory.high", nil, syscall.EBUSY, true},
		{"cpuset.cpus=0", nil, syscall.EACCES, true},
		{"cpuset.cpus=0", nil, syscall.ENOSPC, true},
		{"cfs_quota_us=5", nil, syscall.ERANGE, true},
		{"memory.reclaim=1G", []string{"memory.high=512M"}, syscall.EAGAIN, false},
		{"memory.reclaim=1G", nil, syscall.EINTR, false},
		{"memory.max=1", nil, syscall.ENODEV, false},
		{"cpu.shares=5", nil, cgroup.ErrInvalid, false},
		{"memory.high=1M", []string{"memory.high=2M"}, syscall.EINVAL, false},
		{"memory.high=1M", []string{"memory.high"}, syscall.EINVAL, false},
		{"memory.high=1M", []string{"memory.highest=1"}, syscall.EINVAL, true},
		{"devices.allow=a", nil, syscall.EINVAL, false},
		{"devices.deny=a", nil, syscall.EBUSY, false},
	} {
		if got := mayWait(tt.one, tt.later, fmt.Errorf("write x: %w", tt.err)); got != tt.want {
			t.Errorf("%s before %v, %v: %v, want %v", tt.one, tt.later, tt.err, got, tt.want)
		}
	}
}
