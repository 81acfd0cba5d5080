package account

import "github.com/cgrouparch/cgrouparch/internal/cgfs"

// kernel is what the sampler needs of a cgroup filesystem, so that a test can
// take cgroups away, and hold up a read, at any moment.
type kernel interface {
	open(h *cgfs.Hierarchy, dir, file string) (int, error)
	pread(fd int, buf []byte) (int, error)
	close(fd int)
	// watch makes a watch of directories; nil, with an error: it cannot.
	watch() (treeWatch, error)
}

// treeWatch tells which cgroups were made or removed, in the directories added.
type treeWatch interface {
	Add(h *cgfs.Hierarchy, dir string) error
	Poll() ([]cgfs.Event, error)
	Close() error
}

type realKernel struct{}

func (realKernel) open(h *cgfs.Hierarchy, dir, file string) (int, error) {
	return h.OpenRead(dir, file)
}

func (realKernel) pread(fd int, buf []byte) (int, error) { return cgfs.Pread(fd, buf) }

// close drops the error: a descriptor that was only read from has nothing left
// to report.
func (realKernel) close(fd int) { _ = cgfs.CloseFD(fd) }

func (realKernel) watch() (treeWatch, error) {
	w, err := cgfs.NewWatcher()
	if err != nil {
		return nil, err
	}
	return w, nil
}
