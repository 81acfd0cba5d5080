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
	HostFaults []placed `json:"host_faults"`
	HostNotes  []placed `json:"host_notes"`
	// Members are processes by subsystem and path.
	Members map[string]map[string][]int `json:"members"`
	// ZooKeeper is nil where the document is a file.
	ZooKeeper *struct{} `json:"zookeeper"`
	PidFiles  []struct {
		File   string `json:"file"`
		Cgroup string `json:"cgroup"`
		State  string `json:"state"`
		Reason string `json:"reason"`
		PID    int    `json:"pid"`
	} `json:"pid_files"`
	Drift       int     `json:"drift_corrections"`
	MissedSlots uint64  `json:"missed_slots"`
	Events      []event `json:"events"`
	Agents      *agents `json:"agents"`
	// Cost is CPU time of the daemon's parts, by names such as "sampler_seconds",
	// and whatever newer daemons tell.
	Cost map[string]any `json:"cost"`
	Now  time.Time      `json:"now"`
}

// placed is a host fault or note.
type placed struct {
	Place  string `json:"place"`
	Reason string `json:"reason"`
	New    bool   `json:"new"` // in a comparison: the older document does not have it
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

// comparison is what changes between two documents, or what is wrong with the
// newer one.
type comparison struct {
	Valid    bool     `json:"valid"`
	Faults   []fault  `json:"faults"`
	Warnings []string `json:"warnings"`
	// MoreWarnings is how many more there are than were sent; so for the others.
	MoreWarnings int    `json:"more_warnings"`
	Summary      string `json:"summary"`
	Changes      []struct {
		Kind string `json:"kind"` // "-", "!", "~", "+"; "" is about lines that were left out
		Text string `json:"text"`
	} `json:"changes"`
	MoreChanges    int      `json:"more_changes"`
	HostFaults     []placed `json:"host_faults"` // null: not known
	MoreHostFaults int      `json:"more_host_faults"`
	HostNotes      []placed `json:"host_notes"`
	MoreHostNotes  int      `json:"more_host_notes"`
	// Note is not the daemon's but of who has compared instead of it: what could
	// not be found out.
	Note string `json:"note"`
}

// fault is one of a document.
type fault struct {
	Line   int    `json:"line"` // 0 is unknown
	Column int    `json:"column"`
	Text   string `json:"text"`
}

// history is the list of versions, newest first.
type history struct {
	Problem  string            `json:"problem"`
	Versions []documentVersion `json:"versions"`
}

// documentVersion is one version of the document.
type documentVersion struct {
	Version int32     `json:"version"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Reason  string    `json:"reason"`
	What    *string   `json:"what"` // it changed; nil is unknown
}
