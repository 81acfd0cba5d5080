package clock

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm wakes one goroutine at times of the wall clock, as exactly as the kernel
// wakes a thread (timerfd_create(2)). The runtime's own timers are up to a
// millisecond late in an idle process, since its poller counts milliseconds, and
// do not see a clock that is stepped.
type Alarm struct {
	file *os.File
	fd   int
}

// NewAlarm makes an alarm. Close it when done.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make alarm: timerfd_create: %w", err)
	}
	return &Alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// Close ends a Wait that is under way.
func (a *Alarm) Close() error { return a.file.Close() }

// Wait blocks until the wall clock shows the time, or somebody sets the clock: due
// is true. It is false when Wake was called meanwhile, or since the last Wait. For
// one goroutine at a time.
func (a *Alarm) Wait(until time.Time) (due bool, err error) {
	set := unix.ItimerSpec{Value: unix.NsecToTimespec(max(until.UnixNano(), 1))} // 0 would disarm it
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &set, nil); err != nil {
		return false, fmt.Errorf("set alarm: timerfd_settime: %w", err)
	}
	var expirations [8]byte
	_, err = a.file.Read(expirations[:])
	switch {
	case err == nil, errors.Is(err, unix.ECANCELED):
		return true, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		// What Wake announces was there before it; the caller looks now.
		return false, a.file.SetReadDeadline(time.Time{})
	}
	return false, fmt.Errorf("wait for alarm: %w", err)
}

// Wake ends the present Wait, or the next one. Any goroutine may call it.
func (a *Alarm) Wake() { _ = a.file.SetReadDeadline(time.Unix(1, 0)) } // fails only when closed
