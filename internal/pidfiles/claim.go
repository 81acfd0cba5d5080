package pidfiles

import (
	"golang.org/x/sys/unix"
)

// State says what a pid file is worth.
type State string

// The states of a pid file.
const (
	OK         State = "ok"         // it names a living process
	Missing    State = "missing"    // there is no such file
	Unreadable State = "unreadable" // it cannot be read, or is no regular file
	Malformed  State = "malformed"  // it does not hold exactly one process's pid
	Dead       State = "dead"       // the process has ended
	Stale      State = "stale"      // the process is younger than the file: the pid was given to another one
	Refused    State = "refused"    // the file must not name that process, or cannot be trusted
)

// States are all of them.
var States = []State{OK, Missing, Unreadable, Malformed, Dead, Stale, Refused}

// A Claim is what one pid file says about one cgroup.
type Claim struct {
	File   string
	Cgroup string // path
	State  State
	PID    int    // 0 when the file names none
	Reason string // why the state is not OK; never shows what is in the file
	Start  uint64 // when the process started, in clock ticks since boot (see [Ticks]); only when OK

	process *handle // only when OK
}

// Alive reports whether the process that the claim was judged for is still running. The pid cannot have been given to
// another process while it is true. It is false for a claim that is not OK, or was closed.
func (c *Claim) Alive() bool { return c.process != nil && c.process.alive() }

// CloseClaims lets go of the processes that claims hold. It may be called twice.
func CloseClaims(claims []Claim) {
	for i := range claims {
		if claims[i].process != nil {
			claims[i].process.close()
		}
	}
}

// A handle holds a process by a pidfd: as long as it is open, "the process" means the same one.
type handle struct {
	fd int
	of *holding // nil: the descriptor is its own
}

// hold opens a process. ESRCH means that there is none; EINVAL or ENOENT (which one depends on the kernel) that pid is
// a thread's, see pidfd_open(2).
func hold(pid int) (*handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	return &handle{fd: fd}, nil
}

// alive asks without waiting: a pidfd becomes readable when the process (its last thread) ends.
func (h *handle) alive() bool {
	if h.fd < 0 {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 0
	}
}

func (h *handle) close() {
	if h.fd >= 0 {
		if h.of != nil {
			h.of.release()
		} else {
			_ = unix.Close(h.fd)
		}
		h.fd = -1
	}
}
