package pidfiles

import (
	"cmp"
	"slices"

	"go.uber.org/zap"
)

// FileStatus is one pid file as /status shows it.
type FileStatus struct {
	File   string `json:"file"`
	Cgroup string `json:"cgroup"` // path
	State  State  `json:"state"`
	PID    int    `json:"pid"` // 0 when the file names none
	Reason string `json:"reason,omitempty"`
}

// A Fault is what is wrong with a cgroup's list of pid files: the command failed, and its last good list is in use; or
// there are too many files.
type Fault struct {
	Cgroup string `json:"cgroup"` // path
	Reason string `json:"reason"`
}

// Files returns every pid file as the last [Source.Read] found it, sorted by cgroup and file.
func (s *Source) Files() []FileStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.status)
}

// Faults returns what is wrong with the lists now, sorted by cgroup.
func (s *Source) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := slices.Clone(s.faults)
	for path, result := range s.commands {
		if result.err != nil {
			faults = append(faults, Fault{Cgroup: path, Reason: result.err.Error()})
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Cgroup, b.Cgroup), cmp.Compare(a.Reason, b.Reason))
	})
	return faults
}

// note keeps what was read for Files and Faults, and logs what differs from what was logged last.
func (s *Source) note(claims []Claim, faults []Fault) {
	status := make([]FileStatus, 0, len(claims))
	known := make(map[claimKey]FileStatus, len(claims))
	for i := range claims {
		c := &claims[i]
		now := FileStatus{File: c.File, Cgroup: c.Cgroup, State: c.State, PID: c.PID, Reason: c.Reason}
		key := claimKey{file: c.File, cgroup: c.Cgroup}
		if before, ok := s.known[key]; !ok || before != now {
			s.log(now)
		}
		status = append(status, now)
		known[key] = now
	}
	crowded := make(map[string]bool, len(faults))
	for _, fault := range faults {
		if !s.crowded[fault.Cgroup] {
			s.config.Log.Warn("too many pid files", zap.String("cgroup", fault.Cgroup), zap.Int("limit", maxFiles))
		}
		crowded[fault.Cgroup] = true
	}
	s.known, s.crowded = known, crowded
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.faults = status, faults
}

// log writes one line. What happens whenever a service stops and starts is no warning.
func (s *Source) log(now FileStatus) {
	fields := []zap.Field{
		zap.String("pid_file", now.File), zap.String("cgroup", now.Cgroup),
		zap.String("state", string(now.State)), zap.Int("pid", now.PID), zap.String("reason", now.Reason),
	}
	switch now.State {
	case OK, Missing, Dead:
		s.config.Log.Info("pid file state changed", fields...)
	case Unreadable, Malformed, Stale, Refused:
		s.config.Log.Warn("pid file state changed", fields...)
	}
}
