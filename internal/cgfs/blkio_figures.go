package cgfs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// blkioFigures: until Linux 4.20 the CFQ scheduler counted in blkio.time and so on,
// later BFQ in blkio.bfq.time and so on (most of them only with
// CONFIG_BFQ_CGROUP_DEBUG), and the throttling in blkio.throttle.io_serviced and
// io_service_bytes.
var blkioFigures = blkioFigureRows()

func blkioFigureRows() []Setting {
	v2 := map[string][2]string{"io_service_bytes": {"rbytes", "wbytes"}, "io_serviced": {"rios", "wios"}}
	rows := []Setting{
		figure(KindTables, "stat", "bytes and operations by disk", nil, files("io.stat")),
		figure(KindPressure, "pressure", "how long its processes waited for disks", nil, files("io.pressure")),
		action("reset_stats", "1 begins all counters anew", integer(0, math.MaxInt32), files("blkio.reset_stats"), nil),
	}
	for _, c := range []struct {
		key, doc string
		throttle bool
	}{
		{"time", "disk time, in ms", false},
		{"sectors", "sectors of 512 bytes moved", false},
		{"io_service_bytes", "bytes moved", true},
		{"io_serviced", "operations done", true},
		{"io_service_time", "time that operations took, in ns", false},
		{"io_wait_time", "time that operations waited in queues, in ns", false},
		{"io_merged", "operations that were merged with others", false},
		{"io_queued", "operations in queues now", false},
	} {
		for _, below := range []string{"", "_recursive"} {
			name, doc := c.key+below, c.doc+", by disk"
			if below != "" {
				doc += ", those below included"
			}
			all := files("blkio."+name, "blkio.bfq."+name)
			if c.throttle {
				all = slices.Insert(all, 1, files("blkio.throttle."+name)...)
			}
			var unified []File
			if fields, ok := v2[c.key]; ok {
				unified = []File{{Name: "io.stat", Note: "`" + fields[0] + "` and `" + fields[1] + "`, those below always included"}}
			}
			row := figure(KindTables, name, doc, all, unified)
			row.read1 = mostCounted
			row.read2 = func(r reading, _ *Setting) (string, error) { return readWriteOfStat(r, v2[c.key]) }
			rows = append(rows, row)
			if c.throttle {
				rows = append(rows, figure(KindTables, "throttle_"+name, doc+", as the throttling counts them", files("blkio.throttle."+name), nil))
			}
		}
	}
	return rows
}

// mostCounted reads all the files that are there and gives the larger of what they
// count: each counts some I/O only, and none more than there was.
func mostCounted(r reading, s *Setting) (string, error) {
	var lines []string
	most := map[string]int64{}
	for _, f := range r.files(s) {
		text, err := r.text(f.Name)
		if err != nil {
			return "", err
		}
		for l := range strings.Lines(text) {
			l = strings.TrimSpace(l)
			i := strings.LastIndexByte(l, ' ')
			n, err := parseInt(l[i+1:])
			if i < 0 || err != nil {
				return "", fmt.Errorf("not a line of %s: %q", f.Name, clip(l))
			}
			if before, seen := most[l[:i]]; !seen || n > before {
				most[l[:i]] = n
			}
		}
	}
	for _, name := range sortedKeys(most) {
		lines = append(lines, name+" "+strconv.FormatInt(most[name], 10))
	}
	return strings.Join(lines, "\n"), nil
}

// readWriteOfStat reads two fields of io.stat as v1 names them.
func readWriteOfStat(r reading, fields [2]string) (string, error) {
	text, err := r.text("io.stat")
	if err != nil {
		return "", err
	}
	table, err := KindTables.Typed(text)
	if err != nil {
		return "", err
	}
	byDisk, _ := table.(map[string]map[string]int64)
	var lines []string
	for _, disk := range sortedKeys(byDisk) {
		lines = append(lines, fmt.Sprintf("%s Read %d", disk, byDisk[disk][fields[0]]), fmt.Sprintf("%s Write %d", disk, byDisk[disk][fields[1]]))
	}
	return strings.Join(lines, "\n"), nil
}
