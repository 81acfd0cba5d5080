package cgfs

import (
	"errors"
	"testing"
)

// fixture is a cgroup as its control files read.
func fixture(version int, files map[string]string) reading {
	return reading{
		version: version,
		text: func(file string) (string, error) {
			text, ok := files[file]
			if !ok {
				return "", ErrNotExist
			}
			return text, nil
		},
		has: func(file string) bool {
			_, ok := files[file]
			return ok
		},
	}
}

// What both versions' files say about a setting, in the words of either.
func TestReadings(t *testing.T) {
	type values map[string]string
	for _, c := range []struct {
		name, subsystem string
		version         int
		files           map[string]string
		want            values
	}{
		{"weights of v2", "cpu", 2, map[string]string{"cpu.weight": "50"}, values{"share": "512", "shares": "512", "weight": "50", "cpu_limit": "50"}},
		{"the least and the most weight", "cpu", 2, map[string]string{"cpu.weight": "1"}, values{"share": "10", "cpu_limit": "1"}},
		{"weights of v1", "cpu", 1, map[string]string{"cpu.shares": "2048"}, values{"share": "2048", "weight": "200", "cpu_limit": "200"}},
		{"a quota of v2", "cpu", 2, map[string]string{"cpu.max": "30000 60000"}, values{"max": "30000 60000", "cfs_quota_us": "30000", "cfs_period_us": "60000", "cpu_quota_percent": "50"}},
		{"no quota on v2", "cpu", 2, map[string]string{"cpu.max": "max 100000"}, values{"max": "max 100000", "cfs_quota_us": "max", "cpu_quota_percent": "max"}},
		{"a quota of v1", "cpu", 1, map[string]string{"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"},
			values{"max": "150000 100000", "cfs_quota_us": "150000", "cfs_period_us": "100000", "cpu_quota_percent": "150"}},
		{"no quota on v1", "cpu", 1, map[string]string{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
			values{"max": "max 100000", "cfs_quota_us": "max", "cpu_quota_percent": "max"}},
		{"CPU time of v2", "cpuacct", 2, map[string]string{"cpu.stat": "usage_usec 30000\nuser_usec 20000\nsystem_usec 10000"},
			values{"usage": "30000000", "usage_user": "20000000", "usage_sys": "10000000", "stat": "system 1\nuser 2", "acct_stat": "system 1\nuser 2"}},
		{"swap of v2", "memory", 2, map[string]string{"memory.max": "64", "memory.swap.max": "32"}, values{"limit_in_bytes": "64", "memory_limit": "64", "swap_max": "32", "memsw_limit_in_bytes": "96"}},
		{"endless swap of v2", "memory", 2, map[string]string{"memory.max": "64", "memory.swap.max": "max"}, values{"memsw_limit_in_bytes": "max"}},
		{"endless memory of v2", "memory", 2, map[string]string{"memory.max": "max", "memory.swap.max": "0"}, values{"memsw_limit_in_bytes": "max"}},
		{"swap of v1", "memory", 1, map[string]string{"memory.limit_in_bytes": "64", "memory.memsw.limit_in_bytes": "96"}, values{"swap_max": "32", "memsw_limit_in_bytes": "96", "max": "64"}},
		{"endless swap of v1", "memory", 1, map[string]string{"memory.limit_in_bytes": "64", "memory.memsw.limit_in_bytes": "9223372036854771712"}, values{"swap_max": "max"}},
		{"what is kept", "memory", 2, map[string]string{"memory.low": "0"}, values{"low": "0", "soft_limit_in_bytes": "max"}},
		{"what is kept on v1", "memory", 1, map[string]string{"memory.soft_limit_in_bytes": "9223372036854771712"}, values{"low": "0", "soft_limit_in_bytes": "max"}},
		{"events", "memory", 2, map[string]string{"memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4"}, values{"failcnt": "2", "oom_kill": "4"}},
		{"oom_control", "memory", 1, map[string]string{"memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 4"}, values{"oom_control": "1", "under_oom": "0", "oom_kill": "4"}},
		{"frozen on v1", "freezer", 1, map[string]string{"freezer.state": "FROZEN", "freezer.self_freezing": "0"}, values{"frozen": "1", "state": "THAWED", "freeze": "0"}},
		{"freezing on v1", "freezer", 1, map[string]string{"freezer.state": "FREEZING", "freezer.self_freezing": "1"}, values{"frozen": "0", "state": "FROZEN", "freeze": "1"}},
		{"frozen on v2", "freezer", 2, map[string]string{"cgroup.events": "populated 1\nfrozen 1", "cgroup.freeze": "1"}, values{"frozen": "1", "state": "FROZEN", "freeze": "1"}},
		{"weights of disks", "blkio", 2, map[string]string{"io.bfq.weight": "default 200\n8:0 300"}, values{"weight": "200", "weight_device": "8:0 300"}},
		{"without BFQ", "blkio", 2, map[string]string{"io.weight": "default 150\n8:0 300"}, values{"weight": "150"}},
		{"BFQ before all", "blkio", 2, map[string]string{"io.bfq.weight": "default 200", "io.weight": "default 150"}, values{"weight": "200"}},
		{"rates of v2", "blkio", 2, map[string]string{"io.max": "8:0 rbps=5 wbps=max riops=max wiops=7\n8:16 rbps=max wbps=max riops=max wiops=9"}, values{
			"throttle_read_bps_device": "8:0 5", "throttle_write_bps_device": "", "throttle_write_iops_device": "8:0 7\n8:16 9",
			"max": "8:0 rbps=5 wbps=max riops=max wiops=7\n8:16 rbps=max wbps=max riops=max wiops=9",
		}},
		{"rates of v1", "blkio", 1, map[string]string{
			"blkio.throttle.read_bps_device": "8:0 5", "blkio.throttle.write_bps_device": "", "blkio.throttle.read_iops_device": "", "blkio.throttle.write_iops_device": "8:0 7\n8:16 9",
		}, values{"max": "8:0 rbps=5 wbps=max riops=max wiops=7\n8:16 rbps=max wbps=max riops=max wiops=9"}},
		{"traffic of v2", "blkio", 2, map[string]string{"io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6"},
			values{"io_service_bytes": "8:0 Read 1\n8:0 Write 2", "io_serviced_recursive": "8:0 Read 3\n8:0 Write 4"}},
		{"traffic that throttling did not count", "blkio", 1, map[string]string{"blkio.throttle.io_service_bytes": "Total 0", "blkio.bfq.io_service_bytes": "8:0 Read 5\nTotal 5"},
			values{"io_service_bytes": "8:0 Read 5\nTotal 5"}},
		{"traffic that both counted", "blkio", 1, map[string]string{"blkio.throttle.io_service_bytes": "8:0 Read 7\nTotal 7", "blkio.bfq.io_service_bytes": "8:0 Read 5\n8:16 Write 3\nTotal 8"},
			values{"io_service_bytes": "8:0 Read 7\n8:16 Write 3\nTotal 8", "throttle_io_service_bytes": "8:0 Read 7\nTotal 7"}},
		{"CFQ's", "blkio", 1, map[string]string{"blkio.time": "8:0 12", "blkio.leaf_weight_device": "8:0 300"}, values{"time": "8:0 12", "leaf_weight_device": "8:0 300"}},
		{"listed devices", "devices", 1, map[string]string{DevicesFile: "c 1:3 rwm", "devices.list": "c 1:3 rwm"}, values{"deny": "a", "allow": "c 1:3 rwm", "list": "c 1:3 rwm"}},
		{"exceptions", "devices", 2, map[string]string{DevicesFile: "all but c 1:3 rwm"}, values{"deny": "c 1:3 rwm", "allow": "a *:* rwm"}},
		{"all devices", "devices", 2, map[string]string{DevicesFile: "a *:* rwm"}, values{"deny": "none", "allow": "a *:* rwm"}},
		{"a partition", "cpuset", 2, map[string]string{"cpuset.cpus.partition": "root invalid (Parent is not a partition root)"}, values{"cpus_partition": "root"}},
		{"huge pages", "hugetlb", 2, map[string]string{"hugetlb.2MB.max": "max", "hugetlb.2MB.current": "2097152", "hugetlb.2MB.events": "max 3"},
			values{"2MB_limit_in_bytes": "max", "2MB_usage_in_bytes": "2097152", "2MB_failcnt": "3"}},
		{"huge pages on v1", "hugetlb", 1, map[string]string{"hugetlb.2MB.limit_in_bytes": "9223372036852678656"}, values{"2MB_max": "max"}},
	} {
		r := fixture(c.version, c.files)
		for _, key := range sortedKeys(c.want) {
			s, ok := LookupRow(c.subsystem, key)
			if !ok {
				t.Fatal(key)
			}
			files := r.files(s)
			if len(files) == 0 {
				t.Errorf("%s: %s has no file", c.name, key)
				continue
			}
			got, err := r.setting(s, files)
			if _, wrong := s.Value.Kind.Typed(got); err != nil || wrong != nil || got != c.want[key] {
				t.Errorf("%s: %s reads %q (%v, %v), want %q", c.name, key, got, err, wrong, c.want[key])
			}
		}
	}
}

// A file that cannot be read is an error and no value.
func TestReadingFaults(t *testing.T) {
	broken := errors.New("broken")
	for _, s := range settings {
		for version, all := range map[int][]File{1: s.V1, 2: s.V2} {
			if len(all) == 0 || s.Access == WriteOnly || s.Access == EventSource {
				continue
			}
			r := reading{version: version, text: func(string) (string, error) { return "", broken }, has: func(string) bool { return true }}
			if got, err := r.setting(&s, all); err == nil {
				t.Errorf("%s.%s on v%d: %q of a file that cannot be read", s.Subsystem, s.Key, version, got)
			}
		}
	}
}
