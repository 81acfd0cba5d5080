package cgfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// What the kernel answers, in words that callers can test with errors.Is. No
// package above this one names an errno.
var (
	// ErrNotExist: the cgroup or the control file is not there.
	ErrNotExist = errors.New("no such cgroup or file")
	// ErrExist: a cgroup of that name is already there.
	ErrExist = errors.New("exists already")
	// ErrBusy: the cgroup has processes or children (rmdir), or is an inner
	// cgroup that takes no processes (attach).
	ErrBusy = errors.New("device or resource busy")
	// ErrGone: the process has ended.
	ErrGone = errors.New("no such process")
	// ErrRemoved: the cgroup behind a kept descriptor was removed. It answers so
	// for ever, also after a cgroup of the same name was made again.
	ErrRemoved = errors.New("the cgroup was removed")
	// ErrNotSupported: this kernel has no such file or operation.
	ErrNotSupported = errors.New("not supported by this kernel")
	// ErrOutside: the path would leave the hierarchy.
	ErrOutside = errors.New("path leaves the hierarchy")
	// ErrTooLong: the path is longer than the kernel takes (PATH_MAX, 4095 bytes), or
	// a name in it (255). See RemoveTree.
	ErrTooLong = errors.New("path is too long for the kernel")
)

var sentinels = map[unix.Errno]error{
	unix.ENOENT:     ErrNotExist,
	unix.EEXIST:     ErrExist,
	unix.EBUSY:      ErrBusy,
	unix.ENOTEMPTY:  ErrBusy,
	unix.ESRCH:      ErrGone,
	unix.ENODEV:     ErrRemoved,
	unix.EOPNOTSUPP: ErrNotSupported,
	unix.EXDEV:      ErrOutside,
	unix.ELOOP:      ErrOutside,

	unix.ENAMETOOLONG: ErrTooLong,
}

// Error is one refused operation on a cgroup file: what was being done, where,
// and what the kernel answered. errors.Is finds both the sentinel and the errno.
type Error struct {
	Op   string // "read", "write", "mkdir", ...
	Path string // as an operator would type it: "cpu:/a/cpu.shares"
	Text string // what was written, if anything
	Err  error
}

func (e *Error) Error() string {
	s := e.Op + " " + Shortened(e.Path)
	if e.Text != "" {
		s += " " + e.Text
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the errno and its sentinel.
func (e *Error) Unwrap() []error {
	var errno unix.Errno
	if errors.As(e.Err, &errno) {
		// A write may be refused for a device that is not there; the cgroup is.
		if s, ok := sentinels[errno]; ok && !(e.Op == "write" && errno == unix.ENODEV) {
			return []error{s, errno}
		}
	}
	return []error{e.Err}
}
