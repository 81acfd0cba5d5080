// Package fleet holds what the daemons of a cluster say about themselves, and judges from it where a version of the document is in force.
package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Agent is what one daemon publishes about itself. It holds no secrets.
type Agent struct {
	Host string `json:"host"`
	// ID tells daemons with one host name apart, and outlives a restart.
	ID      string    `json:"id"`
	Daemon  string    `json:"daemon_version"`
	Started time.Time `json:"started"`
	// Seen is the newest version read, InForce the one of the last pass over the
	// host's cgroups, -1 before the first. Sum is the SHA-256 of its text: after
	// a wiped ensemble a version means another document.
	Seen     int32     `json:"seen"`
	InForce  int32     `json:"in_force"`
	Sum      string    `json:"in_force_sha256"`
	Rejected *Rejected `json:"rejected"`
	// HostFaults counts what this host cannot do, and HostFault is the first.
	HostFaults int    `json:"host_faults"`
	HostFault  string `json:"host_fault,omitempty"`
	// Layout is the hierarchies: "v1 cpu,cpuacct; v1 blkio; v2 -".
	Layout string `json:"layout"`
}

// Rejected is a version that a daemon does not put in force.
type Rejected struct {
	Version int32    `json:"version"`
	Reasons []string `json:"reasons"` // the first few
}

// Bounds of what one daemon may publish: a thousand of them share the servers'
// memory.
const (
	maxReasons = 3
	maxText    = 300 // bytes
)

// Encode is what is published.
func (a Agent) Encode() []byte {
	a.HostFault = cut(a.HostFault)
	if a.Rejected != nil {
		r := Rejected{Version: a.Rejected.Version, Reasons: []string{}}
		for _, reason := range a.Rejected.Reasons[:min(len(a.Rejected.Reasons), maxReasons)] {
			r.Reasons = append(r.Reasons, cut(reason))
		}
		a.Rejected = &r
	}
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings, numbers and times
	}
	return data
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

// Decode reads what another daemon has published, which may be newer or hostile.
func Decode(data []byte) (Agent, error) {
	// What is not said must not look like version 0.
	a := Agent{Seen: -1, InForce: -1}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&a); err != nil {
		return Agent{}, err
	}
	return a, nil
}

// States of a Row.
const (
	StateOK         = "ok"         // exactly this document is in force
	StateBehind     = "behind"     // another version is, or none
	StateOther      = "other"      // the same version is, but of another text
	StateRejected   = "rejected"   // the daemon does not take it
	StateGone       = "gone"       // the daemon was there once and is not now
	StateUnreadable = "unreadable" // nobody understands what it says
)

// Row is one host in a Verdict.
type Row struct {
	Host  string `json:"host"`
	State string `json:"state"`
	Why   string `json:"why"` // one line; empty when State is StateOK
	// The rest is as the daemon says; of one that is gone only Since is known,
	// when it was last heard of.
	InForce    int32     `json:"in_force"`
	Seen       int32     `json:"seen"`
	HostFaults int       `json:"host_faults"`
	HostFault  string    `json:"host_fault,omitempty"`
	Layout     string    `json:"layout,omitempty"`
	Daemon     string    `json:"daemon_version,omitempty"`
	Since      time.Time `json:"since"` // when the daemon started
}

// Question is what is asked about a cluster.
type Question struct {
	// Version and Sum identify the document in the source now.
	Version int32
	Sum     string
	// Agents is what is published now, by name.
	Agents map[string][]byte
	// Known is whoever has published ever, with the time of the last beginning.
	Known map[string]time.Time
	// Expect is the least number of hosts that there must be.
	Expect int
	// Strict lets no host fault pass.
	Strict bool
}

// Verdict says whether a version is in force everywhere. It is never optimistic:
// who is silent, or says something else or nothing clear, does not have it.
type Verdict struct {
	Version int32 `json:"version"`
	There   int   `json:"there"` // hosts where it is in force
	Known   int   `json:"known"` // hosts that there are, or were
	// Everywhere says that all hosts known have it, and that there are as many
	// as expected, and any.
	Everywhere bool `json:"everywhere"`
	// Faulty counts the hosts that have it but report host faults.
	Faulty int   `json:"with_host_faults"`
	Hosts  []Row `json:"hosts"` // those without it first, then by name
}

// Judge answers the question.
func Judge(q Question) Verdict {
	v := Verdict{Version: q.Version, Hosts: []Row{}}
	names := map[string]bool{}
	for name := range q.Agents {
		names[name] = true
	}
	for name := range q.Known {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row := q.row(name)
		if row.State == StateOK {
			v.There++
			if row.HostFaults > 0 {
				v.Faulty++
			}
		}
		v.Hosts = append(v.Hosts, row)
	}
	v.Known = len(v.Hosts)
	v.Everywhere = q.Version >= 0 && v.There == v.Known && v.Known >= max(q.Expect, 1) && (!q.Strict || v.Faulty == 0)
	slices.SortStableFunc(v.Hosts, func(a, b Row) int {
		return cmp.Compare(b2i(a.State == StateOK), b2i(b.State == StateOK))
	})
	return v
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (q *Question) row(name string) Row {
	data, there := q.Agents[name]
	if !there {
		return Row{Host: name, State: StateGone, Why: "no daemon speaks for it now", InForce: -1, Seen: -1, Since: q.Known[name]}
	}
	a, err := Decode(data)
	if err != nil {
		return Row{Host: name, State: StateUnreadable, Why: "what it says is not understood: " + err.Error(), InForce: -1, Seen: -1}
	}
	row := Row{
		Host: name, InForce: a.InForce, Seen: a.Seen, HostFaults: a.HostFaults, HostFault: cut(a.HostFault), Layout: cut(a.Layout),
		Daemon: cut(a.Daemon), Since: a.Started,
	}
	row.State, row.Why = q.state(a)
	return row
}

// state compares what a daemon says with the document that there is.
func (q *Question) state(a Agent) (state, why string) {
	switch {
	case a.Rejected != nil && a.Rejected.Version == q.Version:
		why = fmt.Sprintf("version %d is rejected", q.Version)
		if len(a.Rejected.Reasons) > 0 {
			why += ": " + cut(a.Rejected.Reasons[0])
		}
		return StateRejected, why
	case a.InForce < 0:
		return StateBehind, "nothing is in force yet"
	case a.InForce != q.Version && a.Seen == q.Version:
		return StateBehind, fmt.Sprintf("version %d is in force, %d is being applied", a.InForce, a.Seen)
	case a.InForce != q.Version:
		return StateBehind, fmt.Sprintf("version %d is in force", a.InForce)
	case a.Sum != q.Sum:
		return StateOther, fmt.Sprintf("version %d is in force, but of another text: the node was made anew", a.InForce)
	}
	return StateOK, ""
}
