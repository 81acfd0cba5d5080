package cgfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A weight of disk time is kept by the kernel whether or not anything follows it:
// the BFQ scheduler its own files (Documentation/block/bfq-iosched.rst), the cost
// controller io.weight (cgroup-v2.rst, "IO Interface Files"), both disk by disk.

// Schedulers says what gives out the time of this host's disks.
type Schedulers struct {
	// Of is the I/O scheduler by disk ("8:0": "mq-deadline"); nil: not known.
	Of map[string]string
	// Cost are the disks for which the cost controller is enabled.
	Cost []string
}

// Schedulers reads what gives out the time of the disks. What cannot be read is
// not known, and no weight is said to be without effect.
func (l *Layout) Schedulers() Schedulers {
	s := Schedulers{Of: schedulers("/sys/block")}
	if h := l.unified(); h != nil {
		// Absent without the controller, or where the mount is not the kernel's root.
		if text, err := h.Read("", "io.cost.qos"); err == nil {
			s.Cost = parseCostQoS(text)
		}
	}
	return s
}

func schedulers(dir string) map[string]string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for _, e := range entries {
		size, err1 := os.ReadFile(filepath.Join(dir, e.Name(), "size"))
		dev, err2 := os.ReadFile(filepath.Join(dir, e.Name(), "dev"))
		text, err3 := os.ReadFile(filepath.Join(dir, e.Name(), "queue", "scheduler"))
		if err1 != nil || err2 != nil || err3 != nil || strings.TrimSpace(string(size)) == "0" {
			continue // it went away, has no medium, or hands its requests on (device mapper)
		}
		out[strings.TrimSpace(string(dev))] = parseScheduler(string(text))
	}
	return out
}

// parseScheduler finds the one in use: "none [mq-deadline] kyber bfq", or "none"
// alone.
func parseScheduler(text string) string {
	for word := range strings.FieldsSeq(text) {
		if strings.HasPrefix(word, "[") {
			return strings.Trim(word, "[]")
		}
	}
	return strings.TrimSpace(text)
}

// parseCostQoS finds the disks of lines such as "8:0 enable=1 ctrl=auto ...".
func parseCostQoS(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && slices.Contains(words[1:], "enable=1") {
			out = append(out, words[0])
		}
	}
	return out
}

// Deaf says in plain words why a weight of disk time has no effect on this host;
// "" when it has one, or w is no such weight.
func (s Schedulers) Deaf(w Write) string {
	if s.Of == nil {
		return ""
	}
	device := ""
	if first, _, ok := strings.Cut(w.Form.Line, ":"); ok && first != "" {
		device = w.Form.Line
	}
	switch w.File {
	case "io.weight":
		if w.Weight != nil && len(s.Cost) == 0 {
			return "has no effect: the cost controller is enabled for no disk (io.cost.qos in the root of the unified hierarchy, enable=1)"
		}
	case "io.bfq.weight", "blkio.bfq.weight", "blkio.bfq.weight_device":
		return s.without("bfq", device)
	case "blkio.weight", "blkio.weight_device":
		return s.without("cfq", device)
	}
	return ""
}

// without says that no disk, or the one that is named, has a scheduler.
func (s Schedulers) without(scheduler, device string) string {
	var others []string
	for _, disk := range sortedKeys(s.Of) {
		if device == "" || device == disk {
			if s.Of[disk] == scheduler {
				return ""
			}
			others = append(others, disk+" has "+s.Of[disk])
		}
	}
	if len(others) == 0 {
		others = []string{"none has any"}
	}
	return fmt.Sprintf("has no effect: only the I/O scheduler %s follows it (%s; /sys/block/DISK/queue/scheduler)", scheduler, strings.Join(others, ", "))
}
