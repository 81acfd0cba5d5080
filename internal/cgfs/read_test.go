package cgfs

import (
	"errors"
	"os"
	"testing"
)

// Get, Set and Reset of a value of each kind on the real kernel.
func TestKernelGetSet(t *testing.T) {
	for _, c := range []struct {
		subsystem, key, arg string
		want                string // canonical, after Set
		back                string // after Reset
	}{
		{"cpu", "shares", "512", "512", "1024"},
		{"cpu", "cpu_limit", "50", "50", "100"},
		{"cpu", "max", "50000 100000", "50000 100000", "max 100000"},
		{"cpu", "cpu_quota_percent", "150", "150", "max"},
		{"cpu", "cfs_quota_us", "20000", "20000", "max"},
		{"cpuset", "cpus", "0", "0", "*"},
		{"memory", "memory_limit", "64 megabytes", "67108864", "max"},
		{"memory", "limit_in_bytes", "64M", "67108864", "max"},
		{"blkio", "throttle_read_bps_device", "DISK=1M", "DISK 1048576", ""},
		{"blkio", "max", "DISK rbps=1M wiops=20", "DISK rbps=1048576 wbps=max riops=max wiops=20", ""},
		{"pids", "max", "100", "100", "max"},
		{"devices", "deny", "c 1:5 rwm", "c 1:5 rwm", "none"},
		{"freezer", "state", "FROZEN", "FROZEN", "THAWED"},
	} {
		t.Run(c.subsystem+"/"+c.key, func(t *testing.T) {
			if _, err := os.Stat("/sys/fs/cgroup/" + c.subsystem); err != nil {
				t.Skipf("not mounted here: %v", err)
			}
			h, root := kernel(t, c.subsystem)
			s, ok := LookupRow(c.subsystem, c.key)
			if !ok {
				t.Fatal("no row")
			}
			text, _, err := s.ParseArg(withDisk(t, c.arg))
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Set(root, c.subsystem, map[string]string{c.key: text}); err != nil {
				t.Fatal(err)
			}
			if got, err := h.Get(root, s); err != nil || got != withDisk(t, c.want) {
				t.Errorf("reads %q %v, want %q", got, err, c.want)
			}
			if err := h.Reset(root, c.subsystem, c.key); err != nil {
				t.Fatal(err)
			}
			if got, err := h.Get(root, s); err != nil || got != c.back && c.back != "*" {
				t.Errorf("taken back it reads %q %v, want %q", got, err, c.back)
			}
		})
	}
}

// Every row of every controller can be read where the cgroup has its file, and its
// value has the type of its kind; elsewhere the error says that there is none.
func TestKernelGetEveryRow(t *testing.T) {
	for _, subsystem := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "blkio", "freezer", "pids"} {
		t.Run(subsystem, func(t *testing.T) {
			if _, err := os.Stat("/sys/fs/cgroup/" + subsystem); err != nil {
				t.Skipf("not mounted here: %v", err)
			}
			h, root := kernel(t, subsystem)
			for _, s := range Rows(subsystem) {
				text, err := h.Get(root, s)
				switch {
				case errors.Is(err, ErrNotSupported):
					t.Logf("%s: %v", s.Key, err)
				case err != nil:
					t.Errorf("%s: %v", s.Key, err)
				default:
					value, err := s.Value.Kind.Typed(text)
					t.Logf("%s = %v %T", s.Key, value, value)
					if err != nil {
						t.Errorf("%s: %v", s.Key, err)
					}
				}
			}
		})
	}
}
