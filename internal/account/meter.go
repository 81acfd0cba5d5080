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
	pool   []*subsystem // whose files may give way to busier ones
	hand   hand

	openCounters OpenCounters // nil: not wanted, or refused
	refused      error        // why, until it is said
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
	dir  string
	fd   int   // -1: not open
	heat uint8 // how often its numbers change, of late
}

// hand goes round all directories, looking for a file that may give way.
type hand struct{ subsystem, directory int }

const (
	// probes bounds how many files are looked at for each that is opened beyond the
	// limit.
	probes = 4
	// cooler is by how much one that gives way must be cooler: files that change
	// alike do not take turns.
	cooler = 64
)

// heated takes note of whether the numbers have changed.
func (m *meter) heated(changed bool) {
	heat := int(m.heat)
	if changed {
		heat += (255 - heat + 3) / 4
	} else {
		heat -= (heat + 7) / 8
	}
	m.heat = uint8(heat)
}

// giveWay closes a file that is kept open though its numbers change less often
// than m's, if one is soon found. The busiest files are those that stay: a document
// with more cgroups than descriptors has mostly idle ones.
func (r *meters) giveWay(m *meter) bool {
	for range probes {
		if len(r.pool) == 0 {
			return false
		}
		r.hand.directory++
		if r.hand.subsystem >= len(r.pool) || r.hand.directory >= len(r.pool[r.hand.subsystem].dirs) {
			r.hand = hand{(r.hand.subsystem + 1) % len(r.pool), 0}
		}
		dirs := r.pool[r.hand.subsystem].dirs
		if len(dirs) == 0 {
			continue
		}
		if other := &dirs[r.hand.directory].meter; other.fd >= 0 && int(other.heat)+cooler <= int(m.heat) {
			r.close(other)
			return true
		}
	}
	return false
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
	if err != nil || r.open >= r.limit && !r.giveWay(m) {
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
