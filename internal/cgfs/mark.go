package cgfs

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MarkName is the extended attribute that every cgroup made by the daemon
// carries, so that it can tell its own from others'.
const MarkName = "trusted.cgrouparchd"

// noXattrat remembers a kernel before 6.13, which has extended attributes only by
// absolute path or descriptor.
var noXattrat atomic.Bool

// xattrArgs is struct xattr_args of linux/xattr.h.
type xattrArgs struct {
	value       uint64
	size, flags uint32
}

// markValue is what the mark holds. It has an address that stays: xattrArgs holds it
// as a number, of which the runtime does not know.
var (
	markName  = append([]byte(MarkName), 0)
	markValue = [1]byte{'1'}
)

// Mark puts our mark on dir.
func (h *Hierarchy) Mark(dir string) error {
	rel, err := relative(dir)
	if err != nil {
		return &Error{Op: "mark", Path: h.Display(dir), Err: err}
	}
	return h.markIn(h.fd, rel, dir)
}

// markIn marks dir by its checked path from the directory at.
func (h *Hierarchy) markIn(at int, rel, dir string) error {
	args := xattrArgs{value: uint64(uintptr(unsafe.Pointer(&markValue))), size: uint32(len(markValue))}
	_, err := xattrat(unix.SYS_SETXATTRAT, at, rel, &args)
	if errors.Is(err, errNoXattrat) {
		err = unix.Lsetxattr(h.absolute(dir), MarkName, markValue[:], 0)
	}
	if err != nil {
		return &Error{Op: "mark", Path: h.Display(dir), Err: err}
	}
	return nil
}

// Marked says whether dir carries our mark. Whatever it holds is a mark.
func (h *Hierarchy) Marked(dir string) (bool, error) {
	rel, err := relative(dir)
	if err == nil {
		_, err = xattrat(unix.SYS_GETXATTRAT, h.fd, rel, &xattrArgs{}) // how long it is, see getxattr(2)
		if errors.Is(err, errNoXattrat) {
			_, err = unix.Lgetxattr(h.absolute(rel), MarkName, nil)
		}
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	}
	return false, &Error{Op: "read the mark of", Path: h.Display(dir), Err: err}
}

// errNoXattrat: it has to be done in the old way.
var errNoXattrat = errors.New("no extended attributes relative to a directory")

// xattrat asks for our mark on rel, relative to the directory at: the calls that take
// a path need it absolute, from which every component of the mount's own would be
// walked again. A filter of system calls that does not know these answers EPERM.
func xattrat(trap uintptr, at int, rel string, args *xattrArgs) (int, error) {
	if noXattrat.Load() {
		return 0, errNoXattrat
	}
	var room spelling
	n, _, errno := unix.Syscall6(trap, uintptr(at), uintptr(unsafe.Pointer(room.spell(rel, ""))), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(&markName[0])), uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args))
	switch errno {
	case 0:
		return int(n), nil
	case unix.ENOSYS:
		noXattrat.Store(true)
		return 0, errNoXattrat
	case unix.EPERM:
		return 0, errNoXattrat
	}
	return 0, errno
}
