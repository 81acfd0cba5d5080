package cgfs

import (
	"bytes"
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
	subsystem string // the hierarchy that has the file
	Usage
}{
	"cpu":     {"cpuacct", cpuUsage},
	"cpuacct": {"cpuacct", cpuUsage},
	"blkio":   {"blkio", blkioUsage},
	"memory":  {"memory", memoryUsage},
	"pids":    {"pids", pidsUsage},
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
