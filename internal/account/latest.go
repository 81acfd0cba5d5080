package account

import "github.com/cgrouparch/cgrouparch/internal/cgfs"

// Reading is what the newest slot says of one cgroup.
type Reading struct {
	Subsystem string
	// Path is relative to our root; "" is our root.
	Path string
	// Key and Number are the member of a plain value ("usage", "current"); Key is
	// "" where there is none, or it could not be read.
	Key    string
	Number uint64
	// Devices are the devices that could be read.
	Devices []DeviceReading
}

// DeviceReading is what one block device has transferred, in bytes.
type DeviceReading struct {
	Device      string // "8:0"
	Read, Write uint64
}

// Latest reads the newest slot, cgroup by cgroup, parents before children; it is
// empty before the first slot. Its cost is that of the number of cgroups.
func (r *Ring) Latest() (slot int64, readings []Reading) {
	slot, ok := r.Newest()
	var s snapshot
	if !ok || !r.load(slot, Filter{}, &s) {
		return 0, nil
	}
	for _, root := range s.layout.roots {
		readings = s.readings(readings, root.name, root)
	}
	return slot, readings
}

func (s *snapshot) readings(out []Reading, subsystem string, n *node) []Reading {
	reading := Reading{Subsystem: subsystem, Path: n.path}
	numbers := s.layout.numbers
	for i, device := range n.devices {
		if at := n.first + 2*i; hasBit(s.words, numbers, at) {
			reading.Devices = append(reading.Devices, DeviceReading{device, s.words[at], s.words[at+1]})
		}
	}
	if n.kind == cgfs.UsageNumber && hasBit(s.words, numbers, n.first) {
		reading.Key, reading.Number = n.key, s.words[n.first]
	}
	out = append(out, reading)
	for _, child := range n.sub {
		out = s.readings(out, subsystem, child)
	}
	return out
}
