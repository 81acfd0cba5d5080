package account

import (
	"errors"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// meters owns every open usage file and the buffer they are read into.
type meters struct {
	kernel kernel
	limit  int // files that may be kept open
	open   int // files that are
	buf    []byte
}

const (
	firstBuffer = 16 << 10
	// maxBuffer bounds what one usage file may hold; io_service_bytes needs about
	// 130 bytes a device.
	maxBuffer = 1 << 20
)

var errTooLong = errors.New("usage file is longer than 1 MiB")

// meter is the usage file of one directory. It is kept open as long as its
// cgroup lives, so the descriptor, not the name, says which cgroup it is: one
// that was removed and made again under the same name answers ErrRemoved.
type meter struct {
	dir string
	fd  int // -1: not open
}

// read returns the file's bytes, valid until the next read. gone says that the
// cgroup known so far is not there any more, even if another one, which data
// then belongs to, has taken its name. A directory is opened at most once per
// call.
func (r *meters) read(h *cgfs.Hierarchy, files []string, m *meter) (data []byte, gone bool, err error) {
	if m.fd >= 0 {
		data, err = r.pread(m.fd)
		if !errors.Is(err, cgfs.ErrRemoved) {
			return data, false, err
		}
		r.close(m)
		gone = true
	}
	fd, err := r.openFirst(h, files, m.dir)
	if err != nil {
		return nil, gone || errors.Is(err, cgfs.ErrNotExist), err
	}
	data, err = r.pread(fd)
	// Beyond the limit the file is opened for this one read: three to four times
	// the cost, but a value all the same.
	if r.open >= r.limit || err != nil {
		r.kernel.close(fd)
		return data, gone || errors.Is(err, cgfs.ErrRemoved), err
	}
	m.fd = fd
	r.open++
	return data, gone, nil
}

// openFirst opens the first file that this kernel has.
func (r *meters) openFirst(h *cgfs.Hierarchy, files []string, dir string) (fd int, err error) {
	err = cgfs.ErrNotExist
	for _, file := range files {
		if fd, err = r.kernel.open(h, dir, file); !errors.Is(err, cgfs.ErrNotExist) {
			return fd, err
		}
	}
	return -1, err
}

// pread reads a whole file; the kernel answers usage files in one piece, so a
// full buffer means that there may be more.
func (r *meters) pread(fd int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, firstBuffer)
	}
	for {
		n, err := r.kernel.pread(fd, r.buf)
		if err != nil {
			return nil, err
		}
		if n < len(r.buf) {
			return r.buf[:n], nil
		}
		if len(r.buf) >= maxBuffer {
			return nil, errTooLong
		}
		r.buf = make([]byte, 2*len(r.buf))
	}
}

// alive says whether the cgroup that m stands for still exists under its name.
func (r *meters) alive(h *cgfs.Hierarchy, files []string, m *meter) (alive, renamed bool) {
	wasOpen := m.fd >= 0
	if wasOpen {
		if _, err := r.pread(m.fd); errors.Is(err, cgfs.ErrRemoved) {
			return false, false
		}
	}
	fd, err := r.openFirst(h, files, m.dir)
	if err == nil {
		r.kernel.close(fd)
	}
	missing := errors.Is(err, cgfs.ErrNotExist)
	return !missing, missing && wasOpen
}

func (r *meters) close(m *meter) {
	if m.fd >= 0 {
		r.kernel.close(m.fd)
		m.fd = -1
		r.open--
	}
}
