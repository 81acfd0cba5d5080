package cgfs

import (
	"bytes"
	"errors"
)

// OOMKills says how the kernel counts, for a cgroup, the processes that it killed
// because memory was short.
type OOMKills struct {
	Hierarchy *Hierarchy
	// File is read by [ParseOOMKills].
	File string
	// Below: the count includes all cgroups below.
	Below bool
}

// OOMKills is where this host counts out-of-memory kills; nil: nowhere.
//
// v1 counts in memory.oom_control, since 4.13, the victims in the cgroup itself;
// v2 in memory.events those below as well, unless the hierarchy was mounted with
// memory_localevents (cgroup-v2.rst).
func (l *Layout) OOMKills() *OOMKills {
	if h := l.Hierarchy("memory"); h != nil {
		return &OOMKills{Hierarchy: h, File: "memory.oom_control"}
	}
	if h := l.unified(); h != nil && l.OnV2("memory") {
		return &OOMKills{Hierarchy: h, File: "memory.events", Below: !h.mount.LocalEvents}
	}
	return nil
}

const oomKillLine = "oom_kill "

var (
	oomKillPrefix = []byte(oomKillLine)
	errNoOOMKills = errors.New("no line oom_kill")
)

// ParseOOMKills reads the number of killed processes from memory.oom_control of
// v1 and memory.events of v2. It does not allocate.
func ParseOOMKills(data []byte) (uint64, error) {
	for len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		if n, ok := bytes.CutPrefix(line, oomKillPrefix); ok {
			return ParseNumber(n)
		}
	}
	return 0, errNoOOMKills
}
