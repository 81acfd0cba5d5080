package cgfs

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	alone = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime shared:9 master:1 - cgroup cgroup rw,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
`
	comounted = `26 25 0:24 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
27 26 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
28 26 0:26 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid - cgroup cgroup rw,net_cls,net_prio
29 26 0:27 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
`
	container = `50 49 0:29 /docker/abc /sys/fs/cgroup/cpu ro,relatime - cgroup cgroup rw,cpu
51 49 0:29 /docker/abc /mnt/c\040g/cpu rw,relatime - cgroup cgroup rw,cpu
52 49 0:29 / /mnt/whole rw - cgroup cgroup rw,cpu
53 49 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
54 49 0:31 / /sys/fs/cgroup/pids rw - tmpfs tmpfs rw
`
)

func TestParseMountinfo(t *testing.T) {
	for _, c := range []struct {
		name, data, dir string
		want            []Mount
	}{
		{"every controller alone", alone, "/sys/fs/cgroup", []Mount{
			{Name: "cpu", Dir: "/sys/fs/cgroup/cpu", Root: "/", Version: 1, Subsystems: []string{"cpu"}},
			{Name: "cpuacct", Dir: "/sys/fs/cgroup/cpuacct", Root: "/", Version: 1, Subsystems: []string{"cpuacct"}},
			{Name: "systemd", Dir: "/sys/fs/cgroup/systemd", Root: "/", Version: 1, Subsystems: []string{"systemd"}},
			{Name: "unified", Dir: "/sys/fs/cgroup/unified", Root: "/", Version: 2},
		}},
		{"co-mounted", comounted, "/sys/fs/cgroup/", []Mount{
			{Name: "cpu,cpuacct", Dir: "/sys/fs/cgroup/cpu,cpuacct", Root: "/", Version: 1, Subsystems: []string{"cpu", "cpuacct"}},
			{Name: "net_cls,net_prio", Dir: "/sys/fs/cgroup/net_cls,net_prio", Root: "/", Version: 1, Subsystems: []string{"net_cls", "net_prio"}},
			{Name: "blkio", Dir: "/sys/fs/cgroup/blkio", Root: "/", Version: 1, Subsystems: []string{"blkio"}},
		}},
		{"one mount only", alone, "/sys/fs/cgroup/cpu", []Mount{
			{Name: "cpu", Dir: "/sys/fs/cgroup/cpu", Root: "/", Version: 1, Subsystems: []string{"cpu"}},
		}},
		{"a bind-mounted part, a blank, a hidden mount", container, "/mnt/c g", []Mount{
			{Name: "cpu", Dir: "/mnt/c g/cpu", Root: "/docker/abc", Version: 1, Subsystems: []string{"cpu"}},
		}},
		{"the writable whole is best", container, "/", []Mount{
			{Name: "cpu", Dir: "/mnt/whole", Root: "/", Version: 1, Subsystems: []string{"cpu"}},
		}},
		{"memory events without those below", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_localevents\n", "/sys/fs/cgroup", []Mount{
			{Name: "unified", Dir: "/sys/fs/cgroup", Root: "/", Version: 2, LocalEvents: true},
		}},
		{"nothing there", alone, "/sys/fs/cgro", nil},
	} {
		got, err := ParseMountinfo([]byte(c.data), c.dir)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if _, err := ParseMountinfo([]byte("32 31 0:29 / /x rw\n"), "/"); err == nil {
		t.Error("a line without a separator was accepted")
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add([]byte(alone), "/sys/fs/cgroup")
	f.Add([]byte(comounted), "/")
	f.Add([]byte(container), "/mnt")
	f.Fuzz(func(t *testing.T, data []byte, dir string) {
		mounts, _ := ParseMountinfo(data, dir)
		for _, m := range mounts {
			if m.Name == "" || m.Version != 1 && m.Version != 2 {
				t.Errorf("%+v", m)
			}
		}
	})
}

const serviceBytes = `8:16 Read 4096
8:16 Write 0
8:16 Sync 4096
8:16 Async 0
8:16 Discard 0
8:16 Total 4096
254:0 Read 106496
254:0 Write 2097152
254:0 Total 2203648
Total 2207744
`

func TestParseServiceBytes(t *testing.T) {
	got, err := ParseServiceBytes([]byte(serviceBytes), []DeviceBytes{{Major: 8, Minor: 16, Read: 1}})
	if err != nil {
		t.Fatal(err)
	}
	want := []DeviceBytes{{Major: 8, Minor: 16, Read: 1}, {Major: 8, Minor: 16, Read: 4096}, {Major: 254, Read: 106496, Write: 2097152}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := ParseServiceBytes([]byte("Total 0\n"), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing armed: %v %v", got, err)
	}
	for _, bad := range []string{"8:16 Read\n", "8 Read 1\n", "8:16 Read x\n", "x", "99999999999:1 Read 1"} {
		if _, err := ParseServiceBytes([]byte(bad), nil); !errors.Is(err, errServiceBytes) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	data, buf := []byte(serviceBytes), make([]DeviceBytes, 0, 8)
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseServiceBytes(data, buf) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseServiceBytes(f *testing.F) {
	f.Add([]byte(serviceBytes))
	f.Add([]byte("Total 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseServiceBytes(data, nil)
		if err != nil {
			return
		}
		for i, d := range got {
			if slices.ContainsFunc(got[:i], func(e DeviceBytes) bool { return e.Major == d.Major && e.Minor == d.Minor }) {
				t.Errorf("%d:%d twice", d.Major, d.Minor)
			}
		}
	})
}

func FuzzParseNumber(f *testing.F) {
	f.Add([]byte("1446489231295\n"))
	f.Add([]byte("18446744073709551616"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseNumber(data)
		want, wantErr := strconv.ParseUint(string(trimNewline(data)), 10, 64)
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("%q: %d %v, strconv says %d %v", data, got, err, want, wantErr)
		}
	})
}

func trimNewline(data []byte) []byte {
	if len(data) > 0 && data[len(data)-1] == '\n' {
		return data[:len(data)-1]
	}
	return data
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]uint64{"0\n": 0, "7": 7, "18446744073709551615\n": math.MaxUint64} {
		if got, err := ParseNumber([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "\n", "-1", "1 ", "max", "1\n\n"} {
		if _, err := ParseNumber([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseProcCgroup(t *testing.T) {
	got, err := ParseProcCgroup([]byte("9:name=systemd:/user.slice\n4:cpu,cpuacct:/a:b\n0::/\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []ProcCgroup{{"systemd", "/user.slice"}, {"cpu,cpuacct", "/a:b"}, {"unified", "/"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	whole := &Hierarchy{mount: Mount{Name: "cpu,cpuacct", Root: "/"}}
	part := &Hierarchy{mount: Mount{Name: "cpu,cpuacct", Root: "/a:b"}}
	other := &Hierarchy{mount: Mount{Name: "cpu,cpuacct", Root: "/a"}}
	if dir, ok := whole.Dir(got); dir != "a:b" || !ok {
		t.Errorf("whole: %q %t", dir, ok)
	}
	if dir, ok := part.Dir(got); dir != "" || !ok {
		t.Errorf("part: %q %t", dir, ok)
	}
	if dir, ok := other.Dir(got); ok {
		t.Errorf("a process outside what is mounted was found at %q", dir)
	}
}

func FuzzParseProcCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/user.slice\n0::/\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ParseProcCgroup(data) })
}

func TestParseInotify(t *testing.T) {
	event := func(wd int32, mask uint32, name string) []byte {
		size := (len(name)/16 + 1) * 16
		if name == "" {
			size = 0
		}
		b := make([]byte, unix.SizeofInotifyEvent+size)
		binary.NativeEndian.PutUint32(b, uint32(wd))
		binary.NativeEndian.PutUint32(b[4:], mask)
		binary.NativeEndian.PutUint32(b[12:], uint32(size))
		copy(b[unix.SizeofInotifyEvent:], name)
		return b
	}
	data := slices.Concat(event(1, unix.IN_MODIFY, "cpu.shares"), event(-1, unix.IN_Q_OVERFLOW, ""), event(2, unix.IN_CREATE|unix.IN_ISDIR, "x"))
	want := []rawEvent{{1, unix.IN_MODIFY, "cpu.shares"}, {-1, unix.IN_Q_OVERFLOW, ""}, {2, unix.IN_CREATE | unix.IN_ISDIR, "x"}}
	if diff := cmp.Diff(want, parseInotify(data), cmp.AllowUnexported(rawEvent{})); diff != "" {
		t.Error(diff)
	}
	if got := parseInotify(data[:len(data)-1]); len(got) != 2 {
		t.Errorf("a torn event: %v", got)
	}
}

func FuzzParseInotify(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Fuzz(func(_ *testing.T, data []byte) { parseInotify(data) })
}

func TestRelative(t *testing.T) {
	for _, bad := range []string{"..", "a/..", "a/../b", "/a", "a//b", "a/", ".", "./a", "a\x00b"} {
		if got, err := relative(bad); !errors.Is(err, ErrOutside) {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
	for _, good := range []string{"", "a", "a/b", "..a", "a..", "..."} {
		if _, err := relative(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestErrorsHaveSentinels(t *testing.T) {
	err := error(&Error{Op: "rmdir", Path: "cpu:/a", Err: unix.EBUSY})
	if !errors.Is(err, ErrBusy) || !errors.Is(err, unix.EBUSY) || errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if got, want := err.Error(), "rmdir cpu:/a: device or resource busy"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
