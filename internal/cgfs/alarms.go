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
// (memory.rst, "Memory Pressure"). All of them sit in one epoll instance, so that
// any number costs one thread, which Wait blocks. The runtime's poller cannot wait
// in its stead: to ask a stall trigger whether it has fired is to take that from
// it (psi_trigger_poll), and an epoll instance that watches ours asks first.
type Alarms struct {
	epoll int
	stop  int // an eventfd, number 0 in set

	waiting sync.Mutex // held by Wait, so that Close closes nothing under it

	mu     sync.Mutex
	closed bool
	last   int32
	set    map[int32]*alarm
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
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for pressure: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("wait for pressure: %w", err)
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		_, _ = unix.Close(stop), unix.Close(epoll)
		return nil, fmt.Errorf("wait for pressure: %w", err)
	}
	return &Alarms{epoll: epoll, stop: stop, set: map[int32]*alarm{}}, nil
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
	if errors.Is(err, unix.EINVAL) { // psi_trigger_create
		err = fmt.Errorf("%w (a window lasts 0.5 to 10 s, and without CAP_SYS_RESOURCE whole multiples of 2 s)", err)
	}
	return &Error{Op: "wait for pressure", Path: at.Hierarchy.Display(at.Dir, file), Err: err}
}

func (a *Alarms) add(one *alarm, events uint32) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := os.ErrClosed
	if !a.closed {
		a.last++
		err = unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, one.fds[0], &unix.EpollEvent{Events: events, Fd: a.last})
	}
	if err != nil {
		one.close()
		return &Error{Op: "wait for pressure", Path: one.Hierarchy.Display(one.Dir), Err: err}
	}
	a.set[a.last] = one
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
// ends by itself. os.ErrClosed after Close. It is for one goroutine.
func (a *Alarms) Wait() ([]Alarm, error) {
	a.waiting.Lock()
	defer a.waiting.Unlock()
	events := make([]unix.EpollEvent, 64)
	for {
		if a.isClosed() {
			return nil, os.ErrClosed
		}
		n, err := unix.EpollWait(a.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wait for pressure: %w", err)
		}
		if out := a.fired(events[:n]); len(out) > 0 {
			return out, nil
		}
	}
}

func (a *Alarms) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
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
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return os.ErrClosed
	}
	a.closed = true
	for id, one := range a.set {
		delete(a.set, id)
		one.close()
	}
	a.mu.Unlock()
	if err := write(a.stop, "\x01\x00\x00\x00\x00\x00\x00\x00"); err != nil {
		return fmt.Errorf("stop to wait for pressure: %w", err)
	}
	a.waiting.Lock()
	defer a.waiting.Unlock()
	return errors.Join(unix.Close(a.epoll), unix.Close(a.stop))
}
