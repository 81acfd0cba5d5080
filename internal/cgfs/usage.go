package cgfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// UsageKind is the shape of a subsystem's usage value.
type UsageKind int

// The shapes.
const (
	UsageNone    UsageKind = iota // no value: {}
	UsageNumber                   // one number: {"usage": 1}
	UsageDevices                  // bytes by block device: {"8:0": {"Read": 1, "Write": 2}}
)

// Usage says how one subsystem's usage is read. The parsers do not allocate.
type Usage struct {
	Kind UsageKind
	// Key is the member that holds the number of a UsageNumber.
	Key string
	// Gauge: the number rises and falls; else it counts since the cgroup was made.
	Gauge bool
	// Exact: a counter that includes every cgroup below, and has changed whenever one
	// of theirs has, since the kernel charges all ancestors at once.
	Exact bool
	// CPUTime: it is the cgroup's CPU time, which the kernel keeps in the same place
	// whatever file shows it.
	CPUTime bool
	// Files are the control files to look for; the first that exists is read.
	Files []string
	// ParseNumber reads the file of a UsageNumber.
	ParseNumber func(data []byte) (uint64, error)
	// ParseDevices reads the file of a UsageDevices and appends to dst.
	ParseDevices func(data []byte, dst []DeviceBytes) ([]DeviceBytes, error)
	// SumBelow: the file counts its own cgroup alone, so that a cgroup's usage is
	// the sum over it and every directory below it.
	SumBelow bool
}

// DeviceBytes is what was read from and written to one block device, in bytes
// since the cgroup was made.
type DeviceBytes struct {
	Major, Minor uint32
	Read, Write  uint64
}

// usages is the accounting side of the controllers' table: where the usage of a
// subsystem of the document is found.
var usages = map[string]struct {
	subsystem string // the v1 hierarchy that has the file
	v1, v2    Usage
}{
	"cpu":     {"cpuacct", cpuUsage, cpuStatUsage},
	"cpuacct": {"cpuacct", cpuUsage, cpuStatUsage},
	"blkio":   {"blkio", blkioUsage, ioUsage},
	"memory":  {"memory", memoryUsage, memoryCurrentUsage},
	"pids":    {"pids", pidsUsage, pidsUsage},
}

// ParseNumber reads a control file that holds one whole number.
func ParseNumber(data []byte) (uint64, error) {
	data = bytes.TrimSuffix(data, []byte("\n"))
	if len(data) == 0 {
		return 0, fmt.Errorf("not a number: %q", data)
	}
	var n uint64
	for _, c := range data {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, fmt.Errorf("not a number: %q", data[:min(len(data), 32)])
		}
		n = n*10 + d
	}
	return n, nil
}

var usageLine = []byte("usage_usec ")

// ParseCPUStat reads the usage from cpu.stat of v2, which counts microseconds,
// in nanoseconds.
func ParseCPUStat(data []byte) (uint64, error) {
	for len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		if rest, ok := bytes.CutPrefix(line, usageLine); ok {
			n, err := ParseNumber(rest)
			if err == nil && n > math.MaxUint64/1000 {
				err = fmt.Errorf("not a number of microseconds: %q", rest)
			}
			return n * 1000, err
		}
	}
	return 0, errNoUsage
}

var (
	errNoUsage = errors.New("no line usage_usec in cpu.stat")
	errIOStat  = errors.New("not a line of io.stat")
)

// ParseIOStat reads io.stat of v2: lines such as
// "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0".
// Devices are appended to dst in the file's order. Some kernels print the name of
// a device that has nothing to show without a newline before the next one.
func ParseIOStat(data []byte, dst []DeviceBytes) ([]DeviceBytes, error) {
	first := len(dst)
	for len(data) > 0 {
		var rest []byte
		rest, data = cutLine(data)
		line := rest
		var d *DeviceBytes
		for len(rest) > 0 {
			var field []byte
			field, rest = cutField(rest)
			name, value, isPair := bytes.Cut(field, []byte("="))
			var err error
			switch {
			case len(field) == 0:
			case !isPair:
				d, err = ioStatDevice(&dst, first, field)
			case d == nil:
				err = errIOStat
			case string(name) == "rbytes":
				d.Read, err = ParseNumber(value)
			case string(name) == "wbytes":
				d.Write, err = ParseNumber(value)
			}
			if err != nil {
				return dst, fmt.Errorf("%w: %q", errIOStat, line[:min(len(line), 64)])
			}
		}
	}
	return dst, nil
}

func ioStatDevice(dst *[]DeviceBytes, first int, name []byte) (*DeviceBytes, error) {
	major, rest, ok := cutNumber(name, ':')
	minor, err := ParseNumber(rest)
	if !ok || err != nil || major > math.MaxUint32 || minor > math.MaxUint32 {
		return nil, errIOStat
	}
	return deviceEntry(dst, first, uint32(major), uint32(minor)), nil
}

// cutField takes what data begins with up to a blank.
func cutField(data []byte) (field, rest []byte) {
	if i := bytes.IndexByte(data, ' '); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}
