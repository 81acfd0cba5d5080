package cgroup

import (
	"errors"
	"fmt"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// What errors mean; test for them with [errors.Is]. The errno is there too, so
// that fs.ErrPermission is found as well.
var (
	// ErrNotSupported: this cgroup version, this kernel or this cgroup has no such
	// thing; the text says in plain words why.
	ErrNotSupported = cgfs.ErrNotSupported
	// ErrNotExist: the cgroup or the control file is not there.
	ErrNotExist = cgfs.ErrNotExist
	// ErrExist: a cgroup of that name is there already.
	ErrExist = cgfs.ErrExist
	// ErrBusy: the cgroup has processes or children, or is an inner cgroup of v2,
	// which takes no processes.
	ErrBusy = cgfs.ErrBusy
	// ErrGone: the process has ended.
	ErrGone = cgfs.ErrGone
	// ErrTooLong: the path of the cgroup is longer than the kernel takes (4095 bytes).
	// Whoever may make cgroups can make such, by changing into one after the other.
	ErrTooLong = cgfs.ErrTooLong
	// ErrInvalid: a name or a value that is wrong on every host.
	ErrInvalid = errors.New("invalid")
	// ErrReadOnly: the setting is for reading only.
	ErrReadOnly = errors.New("read-only")
	// ErrWriteOnly: the setting is for writing only.
	ErrWriteOnly = errors.New("write-only")
)

// fault is an error of one kind with words of its own.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

// vanished says whether a cgroup is not there, or went away while it was looked at.
func vanished(err error) bool { return errors.Is(err, ErrNotExist) || errors.Is(err, cgfs.ErrRemoved) }

func faultf(kind error, format string, args ...any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}
