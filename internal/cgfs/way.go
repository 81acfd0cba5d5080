package cgfs

import "golang.org/x/sys/unix"

// way is the directories that lead to the cgroup which was asked for last, kept open,
// so that the way to its siblings and children is not walked again. The kernel walks a
// cgroup filesystem at the pace of its locks: no component of a path can be passed
// without them (kernfs_dop_revalidate in fs/kernfs/dir.c).
//
// A directory that was removed stays what it is: all in it is ErrNotExist, or
// ErrRemoved, also after one of its name was made. Whoever cannot live with that asks
// again by the whole path. One that was renamed, which v1 allows, stays what it is
// too: nobody should keep it for long.
type way struct {
	h    *Hierarchy
	open []step // each below the one before
}

type step struct {
	dir string // relative to the mount
	fd  int
}

// longestWay bounds the descriptors that are held.
const longestWay = 8

// Close releases what is held open.
func (w *way) Close() {
	for len(w.open) > 0 {
		w.leave()
	}
}

func (w *way) leave() {
	last := len(w.open) - 1
	_ = unix.Close(w.open[last].fd)
	w.open = w.open[:last]
}

// enter sees to it that the parent of dir is open, and gives dir's name in it.
func (w *way) enter(dir string) (at int, name string, err error) {
	end := len(dir) - 1
	for end >= 0 && dir[end] != '/' {
		end--
	}
	if end < 0 {
		return w.h.fd, dir, nil
	}
	up, name := dir[:end], dir[end+1:]
	for len(w.open) > 0 && !within(w.open[len(w.open)-1].dir, up) {
		w.leave()
	}
	if n := len(w.open); n > 0 && len(w.open[n-1].dir) == len(up) {
		return w.open[n-1].fd, name, nil
	}
	if len(w.open) == longestWay {
		w.leave()
	}
	at, rest := w.h.fd, up
	if n := len(w.open); n > 0 {
		at, rest = w.open[n-1].fd, up[len(w.open[n-1].dir)+1:]
	}
	fd, err := openBeneath(at, rest, "", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", &Error{Op: "open", Path: w.h.Display(up), Err: err}
	}
	w.open = append(w.open, step{up, fd})
	return fd, name, nil
}

// within says whether p is dir or below it.
func within(dir, p string) bool {
	return len(p) >= len(dir) && p[:len(dir)] == dir && (len(p) == len(dir) || p[len(dir)] == '/')
}
