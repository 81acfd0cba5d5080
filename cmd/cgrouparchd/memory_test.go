package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadOnlyMappings(t *testing.T) {
	const maps = `00400000-00a3b000 r-xp 00000000 08:01 1835019                            /usr/bin/cgrouparchd
00a3b000-010c6000 r--p 0063b000 08:01 1835019                            /usr/bin/cgrouparchd
010c6000-01117000 rw-p 00cc6000 08:01 1835019                            /usr/bin/cgrouparchd
01117000-01160000 rw-p 00000000 00:00 0
c000000000-c000800000 rw-p 00000000 00:00 0                              [heap]
7f0000000000-7f0000001000 r--s 00000000 08:01 1835019                    /usr/bin/cgrouparchd
7f0000001000-7f0000002000 r-xp 00000000 08:01 77                         /usr/lib/other/usr/bin/cgrouparchd
7f0000002000-7f0000003000 r-xp 00000000 00:00 0                          [vdso]
nonsense
`
	want := []mapping{{0x400000, 0xa3b000}, {0xa3b000, 0x10c6000}}
	if diff := cmp.Diff(want, readOnlyMappings(strings.NewReader(maps), "/usr/bin/cgrouparchd"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}

// TestDropBinaryPages: the process goes on, and is smaller.
func TestDropBinaryPages(t *testing.T) {
	before := residentFile(t)
	if err := dropBinaryPages(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%s before, %s after", before, after)
	}
}

// residentFile is the line of /proc/self/status about resident pages of files.
func residentFile(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "RssFile:") {
			return line
		}
	}
	t.Skip("Linux before 4.5 does not say")
	return ""
}
