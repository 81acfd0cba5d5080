package cgfs

import (
	"errors"
	"path"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// relative checks that p is a path that stays below the mount, and spells the
// mount itself as ".".
func relative(p string) (string, error) {
	if p == "" {
		return ".", nil
	}
	if !stays(p) {
		return "", ErrOutside
	}
	return p, nil
}

// stays says whether every component of p is the name of something: none is empty,
// "." or "..", and none ends early.
func stays(p string) bool {
	first := 0 // of the component being read
	for i := 0; ; i++ {
		switch {
		case i < len(p) && p[i] == 0:
			return false
		case i < len(p) && p[i] != '/':
			continue
		case i == first, i == first+1 && p[first] == '.', i == first+2 && p[first] == '.' && p[first+1] == '.':
			return false
		case i == len(p):
			return true
		}
		first = i + 1
	}
}

func (h *Hierarchy) absolute(rel string) string { return path.Join(h.mount.Dir, rel) }

// spelling is room for a path as a system call takes it. Nearly all fit, so that
// nothing is allocated for them.
type spelling [256]byte

// spell joins a directory and what is in it, either of which may be empty. The
// path must have been checked.
func (s *spelling) spell(dir, name string) *byte {
	out := s[:0]
	if len(dir)+len(name)+2 > len(s) {
		out = make([]byte, 0, len(dir)+len(name)+2)
	}
	out = append(out, dir...)
	if dir != "" && name != "" {
		out = append(out, '/')
	}
	out = append(out, name...)
	if len(out) == 0 {
		out = append(out, '.')
	}
	out = append(out, 0)
	return &out[0]
}

// noOpenat2 remembers a kernel before 5.6, which lacks openat2.
var noOpenat2 atomic.Bool

// beneath makes leaving the mount impossible, whatever a path looks like
// (openat2(2)).
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// openat opens p beneath the mount.
func (h *Hierarchy) openat(p string, flags int) (int, error) { return h.openIn(p, "", flags) }

// openIn opens what is called name in dir. The path is checked; openat2 makes
// leaving the mount impossible as well. The raw call is for the path, of which
// unix.Openat2 would make a copy.
func (h *Hierarchy) openIn(dir, name string, flags int) (int, error) {
	return openBeneath(h.fd, dir, name, flags)
}

// openBeneath is openIn beneath any directory.
func openBeneath(at int, dir, name string, flags int) (int, error) {
	if dir != "" && !stays(dir) || name != "" && !stays(name) {
		rel, err := relative(path.Join(dir, name))
		if err != nil {
			return -1, err
		}
		dir, name = rel, ""
	}
	var room spelling
	spelled := room.spell(dir, name)
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	how := unix.OpenHow{Flags: uint64(flags), Resolve: beneath}
	for !noOpenat2.Load() {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, uintptr(at), uintptr(unsafe.Pointer(spelled)), uintptr(unsafe.Pointer(&how)), unix.SizeofOpenHow, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		case unix.ENOSYS:
			noOpenat2.Store(true)
		default:
			return -1, errno
		}
	}
	for {
		fd, err := unix.Openat(at, path.Join(".", dir, name), flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
