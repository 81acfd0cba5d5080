package top

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Frame is the usage of every cgroup in one second.
type Frame struct {
	Slot int64
	Rows []Row // by path, parents before children
}

// Row is one cgroup. What its subsystems do not tell is NaN.
type Row struct {
	Path string // below our root; "" is our root
	CPU  float64
	// Read and Write are bytes per second of all disks together, Memory is in bytes.
	Read, Write, Memory float64
	Pids                float64
}

// node is a cgroup in the daemon's answer.
type node struct {
	Value map[string]json.RawMessage `json:"value"`
	Sub   map[string]*node           `json:"sub_cgroup"`
}

// ParseFrames reads the answer to show_account with "rate": true, ascending.
func ParseFrames(data []byte) ([]Frame, error) {
	var slots map[string]map[string]*node
	if err := json.Unmarshal(data, &slots); err != nil {
		return nil, fmt.Errorf("answer of show_account: %w", err)
	}
	var frames []Frame
	for text, subsystems := range slots {
		slot, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("answer of show_account: slot %q is no number", text)
		}
		rows := map[string]*Row{}
		// In this order: cpu wins over cpuacct, which comes later by name.
		for _, name := range slices.Sorted(maps.Keys(subsystems)) {
			collect(rows, name, "", subsystems[name])
		}
		f := Frame{Slot: slot}
		for _, path := range slices.SortedFunc(maps.Keys(rows), comparePaths) {
			f.Rows = append(f.Rows, *rows[path])
		}
		frames = append(frames, f)
	}
	slices.SortFunc(frames, func(a, b Frame) int { return int(a.Slot - b.Slot) })
	return frames, nil
}

// comparePaths puts a parent before its children, and siblings in order of name.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func collect(rows map[string]*Row, subsystem, path string, n *node) {
	if n == nil {
		return
	}
	r := rows[path]
	if r == nil {
		nan := math.NaN()
		r = &Row{Path: path, CPU: nan, Read: nan, Write: nan, Memory: nan, Pids: nan}
		rows[path] = r
	}
	r.add(subsystem, n.Value)
	for name, child := range n.Sub {
		collect(rows, subsystem, strings.TrimPrefix(path+"/"+name, "/"), child)
	}
}

func (r *Row) add(subsystem string, value map[string]json.RawMessage) {
	switch subsystem {
	case "cpu", "cpuacct":
		if ns := number(value["usage"]); math.IsNaN(r.CPU) {
			r.CPU = ns / 1e9
		}
	case "memory":
		r.Memory = number(value["usage"])
	case "pids":
		r.Pids = number(value["current"])
	case "blkio", "io":
		for _, device := range value {
			var bytes struct{ Read, Write *float64 }
			if json.Unmarshal(device, &bytes) == nil && bytes.Read != nil && bytes.Write != nil {
				r.Read, r.Write = sum(r.Read, *bytes.Read), sum(r.Write, *bytes.Write)
			}
		}
	}
}

func number(data json.RawMessage) float64 {
	var n float64
	if len(data) == 0 || json.Unmarshal(data, &n) != nil {
		return math.NaN()
	}
	return n
}

// sum adds to what may be unknown.
func sum(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return a + b
}
