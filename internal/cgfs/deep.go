package cgfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Removal says how [Hierarchy.RemoveTree] deals with what it meets.
type Removal struct {
	// Leave moves the processes out of a cgroup: name, directly below the cgroup
	// that up has as its mount. Nil: a cgroup that has processes stays.
	Leave func(up *Hierarchy, name string) error
	// Keep says which names stay, with all that is below and above. Nil: none.
	Keep func(name string) bool
}

// RemoveTree removes the cgroup dir and all below it, also where paths are longer
// than the kernel takes (PATH_MAX, path_resolution(7)): whoever may make cgroups
// can make such by changing into each before making the next. Only the path of the
// cgroup above dir has to be one that the kernel takes.
//
// Cgroups that are made meanwhile are removed as well, until ctx ends. ErrBusy:
// something is left.
func (h *Hierarchy) RemoveTree(ctx context.Context, dir string, r Removal) error {
	if _, err := relative(dir); err != nil || dir == "" {
		return &Error{Op: "remove", Path: h.Display(dir), Err: errors.Join(err, ErrOutside)}
	}
	above := path.Dir(dir)
	if above == "." {
		above = ""
	}
	fd, err := h.openat(above, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return &Error{Op: "open", Path: h.Display(above), Err: err}
	}
	w := deepWalk{Removal: r, at: h.seenFrom(fd), levels: []level{{left: []string{path.Base(dir)}}}, pause: time.Millisecond}
	defer func() { _ = w.at.Close() }()
	for len(w.levels) > 1 || len(w.top().left) > 0 {
		if err = ctx.Err(); err != nil {
			err = fmt.Errorf("%w: not done in time (%w)", ErrBusy, err)
			break
		}
		if err = w.step(); err != nil {
			break
		}
	}
	if err == nil && w.top().stays {
		err = fmt.Errorf("%w: something in it stays", ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("remove %s and what is below it: %w", h.Display(Shortened(dir)), err)
	}
	return nil
}

// Shortened is a path as people can read it: the end of one that is about as long as
// a path can be is left out.
func Shortened(p string) string {
	const long, enough = 3072, 160
	if len(p) < long {
		return p
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(p[:enough], ""), len(p))
}

// seenFrom is the hierarchy with the directory behind fd as its mount, which it
// owns.
func (h *Hierarchy) seenFrom(fd int) *Hierarchy {
	m := h.mount
	m.Name, m.Dir = "...", fmt.Sprintf("/proc/self/fd/%d", fd)
	return &Hierarchy{mount: m, fd: fd}
}

// deepWalk goes through a tree depth first. It holds one directory at a time, and
// one more while it steps: the way down is by name, and the way back by "..", which
// is the same directory for ever, because cgroups cannot be moved to another parent
// (kernfs refuses a rename across directories).
type deepWalk struct {
	Removal
	at     *Hierarchy // whose mount is the directory of the last level
	levels []level
	pause  time.Duration // before the next try on what is busy for no reason that can be seen
}

// level is one directory on the way from the top to where the walk is.
type level struct {
	name  string
	left  []string // cgroups in it that are still to be removed
	stays bool     // something in it stays
}

func (w *deepWalk) top() *level { return &w.levels[len(w.levels)-1] }

// step removes the next cgroup of this directory, or goes into it, or goes back up
// when there is none.
func (w *deepWalk) step() error {
	here := w.top()
	last := len(here.left) - 1
	if last < 0 {
		return w.up()
	}
	name := here.left[last]
	if w.Keep != nil && w.Keep(name) {
		here.left, here.stays = here.left[:last], true
		return nil
	}
	err := w.at.Rmdir(name)
	switch {
	case err == nil, errors.Is(err, ErrNotExist):
		here.left, w.pause = here.left[:last], time.Millisecond
		return nil
	case !errors.Is(err, ErrBusy):
		return err
	}
	fd, err := w.at.openat(name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil // the next step notices
	}
	if err != nil {
		return &Error{Op: "open", Path: w.at.Display(name), Err: err}
	}
	down := w.at.seenFrom(fd)
	children, err := down.Children("")
	if err == nil && len(children) > 0 {
		here.left = here.left[:last] // up puts it back
		w.levels = append(w.levels, level{name: name, left: children})
		_ = w.at.Close()
		w.at = down
		return nil
	}
	_ = down.Close()
	if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrRemoved) {
		return err
	}
	return w.empty(name)
}

// empty moves the processes out of a cgroup that has none below it, and tries once
// whether it can be removed now.
func (w *deepWalk) empty(name string) error {
	here := w.top()
	if w.Leave == nil {
		here.left, here.stays = here.left[:len(here.left)-1], true
		return nil
	}
	if err := w.Leave(w.at, name); err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrRemoved) {
		return err
	}
	if err := w.at.Rmdir(name); !errors.Is(err, ErrBusy) {
		return nil // the next step notices
	}
	time.Sleep(w.pause)
	w.pause = min(2*w.pause, 50*time.Millisecond)
	return nil
}

// up goes back to the directory above. What was gone into is tried again there,
// unless something in it stays.
func (w *deepWalk) up() error {
	done := *w.top()
	fd, err := unix.Openat(w.at.fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{Op: "open", Path: w.at.Display(".."), Err: err}
	}
	_ = w.at.Close()
	w.at = w.at.seenFrom(fd)
	w.levels = w.levels[:len(w.levels)-1]
	if done.stays {
		w.top().stays = true
		return nil
	}
	w.top().left = append(w.top().left, done.name)
	return nil
}
