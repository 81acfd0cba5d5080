package cgfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Maker makes cgroups and writes to them, one after the other, as [Hierarchy] does,
// but from a directory on the way that stays open. Where that was removed meanwhile,
// the whole path is tried, so that the outcome is Hierarchy's. One goroutine may use
// it, and must Close it soon.
type Maker struct{ way }

// Maker makes one.
func (h *Hierarchy) Maker() *Maker { return &Maker{way{h: h}} }

// Mkdir is [Hierarchy.Mkdir].
func (m *Maker) Mkdir(dir string) error {
	if at, name, err := m.enter(dir); err == nil {
		made, err := m.h.mkdirIn(at, name, dir)
		if made || !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrRemoved) {
			return err
		}
		m.Close()
	}
	return m.h.Mkdir(dir)
}

// Put is [Hierarchy.Put].
func (m *Maker) Put(dir, file, text, from string) (now string, err error) {
	if file == from && file != DevicesFile {
		if at, name, err := m.enter(dir); err == nil {
			if fd, err := openBeneath(at, name, file, unix.O_RDWR); err == nil {
				return m.h.putTo(fd, dir, file, text)
			}
		}
	}
	return m.h.Put(dir, file, text, from)
}
