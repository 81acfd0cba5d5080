package top

import "time"

// What the daemon's answers hold, as far as it is shown. docs/websocket.md.

type processList struct {
	Cgroup    string       `json:"cgroup"`
	Processes []processRow `json:"processes"`
	More      int          `json:"more"`
}

type processRow struct {
	PID     int       `json:"pid"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Threads int       `json:"threads"`
	CPU     uint64    `json:"cpu_ns"`
	RSS     uint64    `json:"rss_bytes"`
	Started time.Time `json:"started"`
	Cgroup  string    `json:"cgroup"`
}

type processWhy struct {
	processRow
	Places []struct {
		Subsystem string  `json:"subsystem"`
		Is        string  `json:"is"`
		Belongs   *string `json:"belongs"`
		OK        bool    `json:"ok"`
		Why       string  `json:"why"`
	} `json:"places"`
}

type status struct {
	Daemon  string `json:"daemon_version"`
	Root    string `json:"cgroup_root"`
	Version struct {
		Seen     int32 `json:"seen"`
		InForce  int32 `json:"in_force"`
		Rejected *struct {
			Version int32    `json:"version"`
			Reasons []string `json:"reasons"`
		} `json:"rejected"`
	} `json:"version"`
	HostFaults []struct {
		Place  string `json:"place"`
		Reason string `json:"reason"`
	} `json:"host_faults"`
	PidFiles []struct {
		File   string `json:"file"`
		Cgroup string `json:"cgroup"`
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"pid_files"`
	Drift       int     `json:"drift_corrections"`
	MissedSlots uint64  `json:"missed_slots"`
	Events      []event `json:"events"`
	Agents      *agents `json:"agents"`
	// Cost is CPU time of the daemon's parts, by names such as "sampler_seconds".
	Cost map[string]float64 `json:"cost"`
	Now  time.Time          `json:"now"`
}

// agents are the hosts of the cluster; nil without ZooKeeper.
type agents struct {
	Error   string `json:"error"`
	Version int32  `json:"version"`
	There   int    `json:"there"`
	Known   int    `json:"known"`
	Hosts   []struct {
		Host       string `json:"host"`
		State      string `json:"state"`
		Why        string `json:"why"`
		InForce    int32  `json:"in_force"`
		HostFaults int    `json:"host_faults"`
		HostFault  string `json:"host_fault"`
		Daemon     string `json:"daemon_version"`
	} `json:"hosts"`
}

// event is something that happened on the host, for the time line.
type event struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Text    string    `json:"text"`
	Version *int32    `json:"version"`
}

// versionAt is the version of the document that was in force in a second; ok is
// false when the events do not reach back that far.
func (s *status) versionAt(slot int64) (version int32, ok bool) {
	for _, e := range s.Events {
		if e.Version != nil && e.Kind == "version" && e.Time.Unix() <= slot {
			version, ok = *e.Version, true
		}
	}
	return version, ok
}
