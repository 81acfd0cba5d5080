package cgfs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Alarms waits for the kernel to say that cgroups are under pressure: stall
// triggers of v2 (Documentation/accounting/psi.rst), memory.pressure_level of v1
// (memory.rst, "Memory Pressure"). All of them sit in one epoll instance, which
// the runtime's poller watches in turn, so that any number costs no thread.
type Alarms struct {
	file *os.File // the epoll instance

	mu   sync.Mutex
	next int32
	set  map[int32]*alarm
}

type alarm struct {
	Alarm
	fds []int
	// counter: the first descriptor is an eventfd, to be read when it is ready.
	counter bool
}

// Alarm is one pressure that is waited for.
type Alarm struct {
	Hierarchy *Hierarchy
	Dir       string
	// Resource is "memory", "cpu" or "io".
	Resource string
}

// Stall is how long processes of a cgroup must have waited for a resource within
// a window of time to be an alarm.
type Stall struct{ Some, Window time.Duration }

// NewAlarms waits for nothing yet. Close it when done.
func NewAlarms() (*Alarms, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true) // os.File takes it for the runtime's poller then
	}
	if err != nil {
		return nil, fmt.Errorf("wait for pressure: %w", err)
	}
	return &Alarms{file: os.NewFile(uintptr(fd), "epoll"), set: map[int32]*alarm{}}, nil
}

// Add waits for pressure on a cgroup. v1 has levels instead of stalls: any
// reclaim that fails now and then ("medium") is an alarm there, of memory only.
// ErrNotSupported: the cgroup cannot tell.
func (a *Alarms) Add(at Alarm, stall Stall) error {
	if at.Hierarchy.Version() == 1 {
		return a.addLevel(at)
	}
	file := at.Resource + ".pressure"
	fd, err := at.Hierarchy.openIn(at.Dir, file, unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return a.refused(at, file, err)
	}
	if err := write(fd, fmt.Sprintf("some %d %d", stall.Some.Microseconds(), stall.Window.Microseconds())); err != nil {
		_ = unix.Close(fd)
		return a.refused(at, file, err)
	}
	return a.add(&alarm{Alarm: at, fds: []int{fd}}, unix.EPOLLPRI)
}

// addLevel registers an eventfd with cgroup.event_control.
func (a *Alarms) addLevel(at Alarm) error {
	const file = "memory.pressure_level"
	if at.Resource != "memory" {
		return a.refused(at, at.Resource+".pressure", unix.ENOENT)
	}
	level, err := at.Hierarchy.openIn(at.Dir, file, unix.O_RDONLY)
	if err != nil {
		return a.refused(at, file, err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(level)
		return a.refused(at, file, err)
	}
	one := &alarm{Alarm: at, fds: []int{event, level}, counter: true}
	if err := at.Hierarchy.Write(at.Dir, "cgroup.event_control", fmt.Sprintf("%d %d medium,hierarchy", event, level)); err != nil {
		one.close()
		return err
	}
	return a.add(one, unix.EPOLLIN)
}

func (a *Alarms) refused(at Alarm, file string, err error) error {
	if errors.Is(err, unix.ENOENT) && at.Hierarchy.Exists(at.Dir, "cgroup.procs") {
		err = fmt.Errorf("%w (%w)", ErrNotSupported, err)
	}
	return &Error{Op: "wait for pressure", Path: at.Hierarchy.Display(at.Dir, file), Err: err}
}

func (a *Alarms) add(one *alarm, events uint32) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	raw, err := a.file.SyscallConn()
	if err == nil {
		ctl := raw.Control(func(fd uintptr) {
			err = unix.EpollCtl(int(fd), unix.EPOLL_CTL_ADD, one.fds[0], &unix.EpollEvent{Events: events, Fd: a.next})
		})
		err = errors.Join(ctl, err)
	}
	if err != nil {
		one.close()
		return &Error{Op: "wait for pressure", Path: one.Hierarchy.Display(one.Dir), Err: err}
	}
	a.set[a.next] = one
	return nil
}

func (o *alarm) close() {
	for _, fd := range o.fds {
		_ = unix.Close(fd) // closing takes it out of the epoll instance too
	}
}

// Remove ends the alarms of a cgroup.
func (a *Alarms) Remove(h *Hierarchy, dir string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, one := range a.set {
		if one.Hierarchy == h && one.Dir == dir {
			delete(a.set, id)
			one.close()
		}
	}
}

// Wait returns what is under pressure now. An alarm whose cgroup was removed
// ends by itself. os.ErrClosed after Close.
func (a *Alarms) Wait() ([]Alarm, error) {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		events, n := make([]unix.EpollEvent, 64), 0
		var waitErr error
		err := raw.Read(func(fd uintptr) bool {
			n, waitErr = unix.EpollWait(int(fd), events, 0)
			return n > 0 || waitErr != nil && !errors.Is(waitErr, unix.EINTR)
		})
		if err = errors.Join(err, waitErr); err != nil {
			if errors.Is(err, os.ErrClosed) {
				return nil, os.ErrClosed
			}
			return nil, fmt.Errorf("wait for pressure: %w", err)
		}
		if out := a.fired(events[:n]); len(out) > 0 {
			return out, nil
		}
	}
}

func (a *Alarms) fired(events []unix.EpollEvent) []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Alarm
	for _, e := range events {
		one, known := a.set[e.Fd]
		switch {
		case !known:
		case e.Events&unix.EPOLLERR != 0, !one.Hierarchy.Exists(one.Dir, "cgroup.procs"):
			delete(a.set, e.Fd) // both versions signal a removed cgroup
			one.close()
		default:
			if one.counter {
				var count [8]byte
				_, _ = unix.Read(one.fds[0], count[:])
			}
			out = append(out, one.Alarm)
		}
	}
	return out
}

// Close ends a Wait that is under way, and all alarms.
func (a *Alarms) Close() error {
	err := a.file.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, one := range a.set {
		delete(a.set, id)
		one.close()
	}
	return err
}
