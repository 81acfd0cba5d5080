package main

import (
	"os"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/account"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// status is the object of /status and get_status.
type status struct {
	Version    string   `json:"daemon_version"`
	Host       string   `json:"host"`
	CgroupRoot string   `json:"cgroup_root"`
	Document   versions `json:"version"`
	// ZooKeeper or ConfFile is where the document comes from.
	ZooKeeper   *zkconf.SourceStatus `json:"zookeeper,omitempty"`
	ConfFile    *zkconf.SourceStatus `json:"conf_file,omitempty"`
	Hierarchies []hierarchyStatus    `json:"hierarchies"`
	HostFaults  []reconcile.Fault    `json:"host_faults"`
	// HostNotes are settings that are in force and have no effect on this host.
	HostNotes []reconcile.Fault `json:"host_notes"`
	LastPass  *reconcile.Pass   `json:"last_pass"`
	Passes    int               `json:"passes"`
	// DriftCorrections counts what others changed and was put back.
	DriftCorrections int `json:"drift_corrections"`
	// Members are the processes in each cgroup now, by subsystem and path.
	Members       map[string]map[string][]int `json:"members"`
	PidFiles      []pidfiles.FileStatus       `json:"pid_files"`
	PidFileFaults []pidfiles.Fault            `json:"pid_file_faults"`
	Redis         *account.RedisStatus        `json:"redis"`
	Sampler       account.SamplerStatus       `json:"sampler"`
	MissedSlots   uint64                      `json:"missed_slots"`
	// Agents is what all the daemons of the cluster say; null with conf_file.
	Agents *agentsStatus `json:"agents"`
	// OOMKills are the cgroups in which the kernel killed for want of memory.
	OOMKills []account.OOMKill `json:"oom_kills"`
	Cost     costStatus        `json:"cost"`
	// Events are what happened, oldest first, the newest of each kind.
	Events []event   `json:"events"`
	Now    time.Time `json:"now"`
}

type hierarchyStatus struct {
	Name       string   `json:"name"`
	Mount      string   `json:"mount"`
	CgroupV    int      `json:"cgroup_version"`
	Subsystems []string `json:"subsystems"`
	// Use is "own", "mirror", "leave", or "" while the document does not use it.
	Use string `json:"use"`
}

func (d *daemon) status() *status {
	host, _ := os.Hostname() // a name for people: empty does no harm
	s := &status{
		Version: version, Host: host, CgroupRoot: d.root, Document: d.control.versions(), HostNotes: []reconcile.Fault{},
		Members: map[string]map[string][]int{}, PidFiles: orEmpty(d.pidFiles.Files()),
		PidFileFaults: orEmpty(d.pidFiles.Faults()), Sampler: d.sampler.Status(), OOMKills: orEmpty(d.sampler.OOMKills()), Cost: d.costs.status(),
		Events: d.events.list(), Now: time.Now().UTC(),
	}
	s.MissedSlots = s.Sampler.MissedSlots
	source := d.source.Status()
	if source.Kind == zkconf.KindFile {
		s.ConfFile = &source
	} else {
		s.ZooKeeper = &source
	}
	if d.writer != nil {
		r := d.writer.Status()
		s.Redis = &r
	}
	s.Agents = d.agent.status()
	s.HostFaults = d.hostFaults()
	s.Hierarchies = d.hierarchies()
	snap := d.snapshot.Load()
	if snap == nil {
		return s
	}
	// Read again, so that a process that has ended since the last pass shows.
	pidfiles.CloseClaims(d.pidFiles.Read(snap.Cgroups))
	s.PidFiles = orEmpty(d.pidFiles.Files())
	s.HostNotes = append(s.HostNotes, snap.Notes...)
	s.LastPass, s.Passes, s.DriftCorrections = &snap.Pass, snap.Passes, snap.Corrections
	s.Members = d.members(snap)
	return s
}

// hostFaults are those of the last pass, and another writer's.
func (d *daemon) hostFaults() []reconcile.Fault {
	faults := []reconcile.Fault{}
	if d.writer != nil {
		if r := d.writer.Status(); r.OtherWriter != "" {
			faults = append(faults, reconcile.Fault{Place: "redis_prefix " + r.Prefix, Reason: "another daemon writes under it: " + r.OtherWriter})
		}
	}
	if snap := d.snapshot.Load(); snap != nil {
		faults = append(faults, snap.Faults...)
	}
	return faults
}

// hierarchies are the layout as the last pass has found it.
func (d *daemon) hierarchies() []hierarchyStatus {
	use := map[string]string{}
	layout := d.layout
	if snap := d.snapshot.Load(); snap != nil {
		layout = snap.Layout
		for _, t := range snap.Trees {
			use[t.Hierarchy] = t.Mode.String()
		}
	}
	list := []hierarchyStatus{}
	for _, h := range layout.Hierarchies() {
		list = append(list, hierarchyStatus{Name: h.Name(), Mount: h.Mount(), CgroupV: h.Version(), Subsystems: h.Subsystems(), Use: use[h.Name()]})
	}
	return list
}

// members reads who is in each cgroup that takes processes, at this moment.
func (d *daemon) members(snap *reconcile.Snapshot) map[string]map[string][]int {
	out := map[string]map[string][]int{}
	for _, c := range snap.Cgroups {
		for _, subsystem := range c.Subsystems {
			t := snap.Tree(subsystem)
			if t == nil {
				continue
			}
			pids, err := snap.Hierarchies[t.Hierarchy].Procs(t.Full(t.HomeOf(c.Path)), []int{})
			if err != nil {
				continue // a host fault says why, if it lasts
			}
			slices.Sort(pids)
			if out[subsystem] == nil {
				out[subsystem] = map[string][]int{}
			}
			out[subsystem][c.Path] = pids
		}
	}
	return out
}

// orEmpty makes JSON show [] and not null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
