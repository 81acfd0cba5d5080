package cgfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// blkio: Documentation/admin-guide/cgroup-v1/blkio-controller.rst and
// Documentation/block/bfq-iosched.rst.
//
// The plain throttle files count their own cgroup alone. The _recursive ones
// drop what a removed child had done and walk every descendant at each read, so
// the sum over the tree is made by the reader.

var blkioUsage = Usage{
	Kind: UsageDevices, SumBelow: true,
	Files:        []string{"blkio.throttle.io_service_bytes", "blkio.bfq.io_service_bytes"},
	ParseDevices: ParseServiceBytes,
}

var blkioSettings = []Setting{
	{
		Subsystem: "blkio", Key: "weight", Doc: "weight of the cgroup's disk time against its siblings",
		Integer: &Integer{Min: 1, Max: 1000},
		V1: []File{
			{Name: "blkio.weight", Default: "500", Probe: "blkio.leaf_weight"}, // CFQ, until Linux 4.20
			{Name: "blkio.bfq.weight", Default: "100", Probe: "blkio.bfq.io_service_bytes"},
		},
	},
}

// Names of the blkio files that arm a disk's counters: on recent kernels the
// throttle files stay at "Total 0" until a throttle rule exists for the disk.
const (
	// ArmFile takes the no-op rule "MAJ:MIN 0".
	ArmFile = "blkio.throttle.read_bps_device"
	// ArmedFile lists the disk in the cgroup that took the rule.
	ArmedFile = "blkio.throttle.io_service_bytes"
)

var errServiceBytes = errors.New("not a line of io_service_bytes")

// ParseServiceBytes reads blkio.*.io_service_bytes: lines such as
// "254:0 Read 106496", and at last "Total 2203648". Devices are appended to dst
// in the file's order.
func ParseServiceBytes(data []byte, dst []DeviceBytes) ([]DeviceBytes, error) {
	first := len(dst)
	for len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		if len(line) == 0 || bytes.HasPrefix(line, []byte("Total ")) {
			continue
		}
		major, rest, ok1 := cutNumber(line, ':')
		minor, rest, ok2 := cutNumber(rest, ' ')
		i := bytes.IndexByte(rest, ' ')
		if !ok1 || !ok2 || i < 0 || major > math.MaxUint32 || minor > math.MaxUint32 {
			return dst, fmt.Errorf("%w: %q", errServiceBytes, line[:min(len(line), 64)])
		}
		n, err := ParseNumber(rest[i+1:])
		if err != nil {
			return dst, fmt.Errorf("%w: %q", errServiceBytes, line[:min(len(line), 64)])
		}
		d := device(&dst, first, uint32(major), uint32(minor))
		switch string(rest[:i]) {
		case "Read":
			d.Read = n
		case "Write":
			d.Write = n
		}
	}
	return dst, nil
}

// device finds the entry of a device at or after first, or appends one. The
// kernel lists a device's lines together, so the last entry is nearly always it.
func device(dst *[]DeviceBytes, first int, major, minor uint32) *DeviceBytes {
	s := *dst
	for i := len(s) - 1; i >= first; i-- {
		if s[i].Major == major && s[i].Minor == minor {
			return &s[i]
		}
	}
	*dst = append(s, DeviceBytes{Major: major, Minor: minor})
	return &(*dst)[len(*dst)-1]
}

func cutLine(data []byte) (line, rest []byte) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}

// cutNumber takes the number that data begins with and the separator behind it.
func cutNumber(data []byte, sep byte) (n uint64, rest []byte, ok bool) {
	i := bytes.IndexByte(data, sep)
	if i < 0 {
		return 0, data, false
	}
	n, err := ParseNumber(data[:i])
	return n, data[i+1:], err == nil
}
