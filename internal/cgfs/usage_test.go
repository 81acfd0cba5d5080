package cgfs

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const cpuStat = "usage_usec 1446489231\nuser_usec 1000\nsystem_usec 2000\nnr_periods 0\n"

func TestParseCPUStat(t *testing.T) {
	if n, err := ParseCPUStat([]byte(cpuStat)); n != 1446489231000 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if n, err := ParseCPUStat([]byte("nr_periods 0\nusage_usec 5")); n != 5000 || err != nil {
		t.Errorf("not the first line: %d %v", n, err)
	}
	if _, err := ParseCPUStat([]byte("user_usec 1000\n")); !errors.Is(err, errNoUsage) {
		t.Errorf("without usage: %v", err)
	}
	for _, bad := range []string{"usage_usec x\n", "usage_usec \n", "usage_usec 18446744073709551615\n"} {
		if _, err := ParseCPUStat([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseIOStat(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []DeviceBytes
	}{
		{"two disks", "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
			[]DeviceBytes{{8, 16, 1459200, 314773504}, {254, 0, 1, 2}}},
		{"cost figures, another order", "8:0 wbytes=2 rbytes=1 cost.vrate=100.00 cost.usage=7\n", []DeviceBytes{{8, 0, 1, 2}}},
		{"a name alone", "8:0 \n8:16 rbytes=5 wbytes=6\n", []DeviceBytes{{8, 0, 0, 0}, {8, 16, 5, 6}}},
		{"a name without its newline", "8:0 8:16 rbytes=5 wbytes=6\n", []DeviceBytes{{8, 0, 0, 0}, {8, 16, 5, 6}}},
		{"no newline at the end", "8:0 rbytes=5 wbytes=6", []DeviceBytes{{8, 0, 5, 6}}},
		{"nothing", "", nil},
	} {
		got, err := ParseIOStat([]byte(c.data), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, bad := range []string{"rbytes=5\n", "sda rbytes=5\n", "8:0 rbytes=x\n", "8:0 rbytes=\n", "8:4294967296 rbytes=1\n"} {
		if _, err := ParseIOStat([]byte(bad), nil); !errors.Is(err, errIOStat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestUsageParsersDoNotAllocate(t *testing.T) {
	stat, ioStat := []byte(cpuStat), []byte("8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n")
	devices := make([]DeviceBytes, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = ParseCPUStat(stat)
		devices, _ = ParseIOStat(ioStat, devices[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Every usage of a subsystem has a parser of its kind on both versions, and the
// same shape.
func TestUsages(t *testing.T) {
	for subsystem, u := range usages {
		for _, v := range []Usage{u.v1, u.v2} {
			if len(v.Files) == 0 || (v.ParseNumber == nil) != (v.Kind != UsageNumber) || (v.ParseDevices == nil) != (v.Kind != UsageDevices) {
				t.Errorf("%s: %+v", subsystem, v)
			}
		}
		if u.v1.Kind != u.v2.Kind || u.v1.Key != u.v2.Key {
			t.Errorf("%s: v1 and v2 differ in shape", subsystem)
		}
	}
}

func FuzzParseCPUStat(f *testing.F) {
	f.Add([]byte(cpuStat))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := ParseCPUStat(data); err == nil && n%1000 != 0 {
			t.Errorf("%q: %d", data, n)
		}
	})
}

func FuzzParseIOStat(f *testing.F) {
	f.Add([]byte("8:16 rbytes=1459200 wbytes=314773504 rios=192\n8:0 \n"))
	f.Add([]byte("8:0 8:16 rbytes=5 wbytes=6"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := []DeviceBytes{{1, 2, 3, 4}}
		got, _ := ParseIOStat(data, kept)
		if len(got) == 0 || got[0] != kept[0] {
			t.Errorf("the entries before were changed: %v", got)
		}
		seen := slices.Clone(got[1:])
		slices.SortFunc(seen, func(a, b DeviceBytes) int {
			return int(int64(a.Major)<<32|int64(a.Minor)) - int(int64(b.Major)<<32|int64(b.Minor))
		})
		for i := 1; i < len(seen); i++ {
			if seen[i].Major == seen[i-1].Major && seen[i].Minor == seen[i-1].Minor {
				t.Errorf("%d:%d twice", seen[i].Major, seen[i].Minor)
			}
		}
	})
}
