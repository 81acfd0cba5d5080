package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// agent publishes how this daemon is, and keeps a table of what all of them say.
type agent struct {
	z         *zkconf.ZooKeeper
	publisher *zkconf.Publisher
	started   time.Time
	now       func() fleet.Agent // how the daemon is, without host and ID

	telling sync.Mutex // so that an older state cannot overtake a newer one

	mu     sync.Mutex
	table  agentsStatus
	wanted chan struct{} // a mailbox of one: somebody asks for the table
}

// newAgent is nil where the document is a file: there is no cluster then.
func newAgent(d *daemon) *agent {
	z, ok := d.source.(*zkconf.ZooKeeper)
	if !ok {
		return nil
	}
	host, _ := os.Hostname() // without one the node still has a name
	id := writerID(d.config.StateDir, host)
	return &agent{
		z: z, now: d.describe, started: time.Now().UTC(), wanted: make(chan struct{}, 1),
		publisher: &zkconf.Publisher{Source: z, Host: host, ID: id[strings.LastIndexByte(id, ' ')+1:], Log: d.log.Named("agent")},
		table:     agentsStatus{Verdict: fleet.Verdict{Version: -1, Hosts: []fleet.Row{}}},
	}
}

// tell publishes what is new, if anything is.
func (a *agent) tell() {
	if a == nil {
		return
	}
	a.telling.Lock()
	defer a.telling.Unlock()
	now := a.now()
	now.Host, now.ID, now.Started = a.publisher.Host, a.publisher.ID, a.started.Truncate(time.Second)
	a.publisher.Publish(now.Encode())
}

// describe says how the daemon is. In force is what the last pass has enforced, and
// not what the next one is going to.
func (d *daemon) describe() fleet.Agent {
	v := d.control.versions()
	a := fleet.Agent{Daemon: version, Seen: v.Seen, InForce: -1, Layout: layoutText(d.hierarchies())}
	if v.Rejected != nil {
		a.Rejected = &fleet.Rejected{Version: v.Rejected.Version, Reasons: v.Rejected.Reasons}
	}
	faults := d.hostFaults()
	if a.HostFaults = len(faults); a.HostFaults > 0 {
		a.HostFault = faults[0].String()
	}
	snap := d.snapshot.Load()
	if snap == nil || snap.Document == nil {
		return a
	}
	a.InForce, a.Sum = snap.Document.Version, d.sums.of(snap.Document)
	// A version with the text of the one before it needs no pass.
	if doc := d.control.document(); doc != nil && bytes.Equal(doc.Raw, snap.Document.Raw) {
		a.InForce = doc.Version
	}
	return a
}

// sums remembers the sum of the last document, which every pass asks for.
type sums struct {
	mu  sync.Mutex
	doc *zkconf.Document
	sum string
}

func (s *sums) of(doc *zkconf.Document) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doc != doc {
		s.doc, s.sum = doc, zkconf.Sum(doc.Raw)
	}
	return s.sum
}

// layoutText is the layout in a line: "v1 cpu,cpuacct; v2 -".
func layoutText(list []hierarchyStatus) string {
	var parts []string
	for _, h := range list {
		subsystems := strings.Join(h.Subsystems, ",")
		if subsystems == "" {
			subsystems = "-"
		}
		parts = append(parts, fmt.Sprintf("v%d %s", h.CgroupV, subsystems))
	}
	return strings.Join(parts, "; ")
}

// agentsStatus is the cluster's part of /status.
type agentsStatus struct {
	AsOf  *time.Time `json:"as_of"` // null before it was asked for
	Error string     `json:"error"` // why it could not be read since
	fleet.Verdict
	// Publishing is the name under which this daemon is published, and
	// PublishError why it is not.
	Publishing   string `json:"publishing"`
	PublishError string `json:"publish_error"`
}

// Limits of reading the table: never unless somebody asks, never in a row, and never
// for long.
const (
	tablePause   = 5 * time.Second
	tableTimeout = 10 * time.Second
)

// status is the table as it was read last. To ask for it lets it be read anew.
func (a *agent) status() *agentsStatus {
	if a == nil {
		return nil
	}
	select {
	case a.wanted <- struct{}{}:
	default:
	}
	a.mu.Lock()
	s := a.table
	a.mu.Unlock()
	p := a.publisher.Status()
	s.Publishing, s.PublishError = p.Name, p.Error
	return &s
}

// readTable is the task that reads it.
func (a *agent) readTable(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wanted:
		}
		a.readOnce(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tablePause):
		}
	}
}

func (a *agent) readOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	p, err := a.z.Published(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.table.Error = err.Error()
		return
	}
	now := time.Now().UTC()
	a.table = agentsStatus{AsOf: &now, Verdict: fleet.Judge(question(p))}
}

// question is what is asked about what was published.
func question(p zkconf.Published) fleet.Question {
	q := fleet.Question{Version: p.Document.Version, Agents: p.Agents, Known: p.Known}
	if p.Document.Exists {
		q.Sum = zkconf.Sum(p.Document.Raw)
	}
	return q
}
