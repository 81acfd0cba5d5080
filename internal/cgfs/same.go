package cgfs

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Same says whether a control file reads text, as [Hierarchy.Read] would give it:
// whoever knows what was there asks for no more, and nothing is allocated.
func (h *Hierarchy) Same(dir, file, text string) (bool, error) {
	return h.sameBelow(h.fd, dir, dir, file, text)
}

// sameBelow is Same of a cgroup by its path from the directory at.
func (h *Hierarchy) sameBelow(at int, rel, dir, file, text string) (bool, error) {
	if file == DevicesFile || strings.HasPrefix(file, RawPrefix) || strings.HasPrefix(file, keptPrefix) || len(text) >= sameRoom-1 {
		now, err := h.Read(dir, file)
		return err == nil && now == text, err
	}
	fd, err := openBeneath(at, rel, file, unix.O_RDONLY)
	if err != nil {
		return false, &Error{Op: "open", Path: h.Display(dir, file), Err: err}
	}
	defer unix.Close(fd)
	var buf [sameRoom]byte
	for {
		n, err := unix.Pread(fd, buf[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, &Error{Op: "read", Path: h.Display(dir, file), Err: err}
		}
		data := buf[:n] // the whole, or longer than text at any rate, see readWhole
		if n > 0 && data[n-1] == '\n' {
			data = data[:n-1]
		}
		return string(data) == text, nil
	}
}

// sameRoom is enough for what nearly every control file reads.
const sameRoom = 256

// SameChildren says whether the cgroups directly below dir are those of a sorted
// list without doubles.
func (h *Hierarchy) SameChildren(dir string, names []string) (bool, error) {
	fd, err := h.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, &Error{Op: "list", Path: h.Display(dir), Err: err}
	}
	defer unix.Close(fd)
	found, same := 0, true
	err = subdirectories(fd, func(name []byte) bool {
		_, same = slices.BinarySearchFunc(names, name, func(a string, b []byte) int { return cmp.Compare(a, string(b)) })
		found++
		return same
	})
	if err != nil {
		return false, &Error{Op: "list", Path: h.Display(dir), Err: err}
	}
	return same && found == len(names), nil
}

// Reader reads cgroups again, one after the other, as [Hierarchy] does, but from a
// directory on the way that stays open. One goroutine may use it, and must Close it
// soon.
type Reader struct{ way }

// Reader makes one.
func (h *Hierarchy) Reader() *Reader { return &Reader{way{h: h}} }

// Stat is [Hierarchy.Stat].
func (r *Reader) Stat(dir string) (Info, error) {
	at, name, err := r.enter(dir)
	if err != nil {
		return Info{}, err
	}
	rel, err := relative(name)
	if err != nil {
		return Info{}, &Error{Op: "stat", Path: r.h.Display(dir), Err: err}
	}
	info, errno := stat(at, rel)
	if errno != 0 {
		return Info{}, &Error{Op: "stat", Path: r.h.Display(dir), Err: errno}
	}
	return info, nil
}

// Same is [Hierarchy.Same].
func (r *Reader) Same(dir, file, text string) (bool, error) {
	at, name, err := r.enter(dir)
	if err != nil {
		return false, err
	}
	return r.h.sameBelow(at, name, dir, file, text)
}

// SameChildren is [Hierarchy.SameChildren].
func (r *Reader) SameChildren(dir string, names []string) (bool, error) {
	return r.h.SameChildren(dir, names)
}
