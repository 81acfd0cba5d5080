package pidfiles

import (
	"golang.org/x/sys/unix"
)

// MaxHeld is how many processes a [Lister], and likewise a [Source], holds by a pidfd from one pass to the next when limit
// descriptors may be open: few enough to leave the others to those who have no choice.
func MaxHeld(limit uint64) int { return int(min(limit/16, 1024)) }

// maxHeld is MaxHeld of this process.
func maxHeld() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return MaxHeld(limit.Cur)
}

// ended asks of many processes at once which of them have ended, without waiting: a pidfd becomes readable when the last
// thread of a process ends (pidfd_poll in the kernel's fs/pidfs.c; see pidfd_open(2)). What could not be asked about may
// have.
func ended(fds []unix.PollFd) {
	for i := range fds {
		fds[i].Events = unix.POLLIN
	}
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			for i := range fds {
				fds[i].Revents = unix.POLLERR
			}
		}
		return
	}
}

// ask finds out which of those who had children run, as far as they are held.
func (l *Lister) ask() {
	l.polls = l.polls[:0]
	for i := range l.about {
		switch a := &l.about[i]; {
		case a.process == nil:
		case !a.parent:
			l.drop(i)
		default:
			l.polls = append(l.polls, unix.PollFd{Fd: int32(a.process.fd)})
		}
	}
	if len(l.polls) == 0 {
		return
	}
	l.source.ended(l.polls)
	at := 0
	for i := range l.about {
		if a := &l.about[i]; a.process != nil {
			a.runs = l.polls[at].Revents == 0
			at++
		}
	}
}

// hold begins to hold a parent that is about to be read: what is read then is of the held process, unless that has ended.
func (l *Lister) hold(i int) {
	if a := &l.about[i]; a.process == nil && a.parent && l.held < l.limit {
		if process, err := l.source.hold(l.procs[i].PID); err == nil {
			a.process = process
			l.held++
		}
	}
}

// drop lets go of a process.
func (l *Lister) drop(i int) {
	if a := &l.about[i]; a.process != nil {
		a.process.close()
		a.process, a.runs = nil, false
		l.held--
	}
}
