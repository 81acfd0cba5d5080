package cgfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EventKind is what somebody did.
type EventKind int

// The kinds of events.
const (
	// EventTree: Dir was made, removed or renamed, or a cgroup directly below it was.
	EventTree EventKind = iota
	// EventWrite: the control file Name of Dir took a write.
	EventWrite
	// EventLost: events were lost; look at everything.
	EventLost
)

// Event is one change in a watched cgroup, by us or by others. It says where to
// look, never what is there.
type Event struct {
	Hierarchy *Hierarchy
	Dir       string
	// Name is the control file of an EventWrite, and of an EventTree the cgroup
	// below Dir, which has an event of its own.
	Name string
	Kind EventKind
	// Gone, of an EventTree without a Name: Dir was removed, or renamed away.
	Gone bool
}

// Watcher reports what happens in cgroup directories through inotify, which
// works on both versions: mkdir, rmdir, rename and every accepted write to a
// control file, own ones included (inotify(7)).
type Watcher struct {
	file *os.File
	poll poll
	wait wait

	mu    sync.Mutex
	byWD  map[int32]place
	byDir map[place]int32
}

type place struct {
	h   *Hierarchy
	dir string
}

// NewWatcher makes a watcher that watches nothing yet. Close it when done.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: inotify_init1: %w", err)
	}
	return &Watcher{file: os.NewFile(uintptr(fd), "inotify"), byWD: map[int32]place{}, byDir: map[place]int32{}}, nil
}

// Close ends a Read that is under way.
func (w *Watcher) Close() error { return w.file.Close() }

// Add watches dir. Adding it again is free of effect, unless it is another
// directory of the same name by now.
func (w *Watcher) Add(h *Hierarchy, dir string) error {
	rel, err := relative(dir)
	if err != nil {
		return &Error{Op: "watch", Path: h.Display(dir), Err: err}
	}
	const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := w.file.SyscallConn()
	if err != nil {
		return &Error{Op: "watch", Path: h.Display(dir), Err: err}
	}
	var wd int
	ctlErr := raw.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), h.absolute(rel), mask) })
	if err = errors.Join(ctlErr, err); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			err = fmt.Errorf("%w (fs.inotify.max_user_watches is too low)", err)
		}
		return &Error{Op: "watch", Path: h.Display(dir), Err: err}
	}
	at := place{h, dir}
	if old, known := w.byWD[int32(wd)]; known && old != at && w.byDir[old] == int32(wd) {
		delete(w.byDir, old) // it was renamed
	}
	if old, known := w.byDir[at]; known && old != int32(wd) {
		delete(w.byWD, old) // another directory of this name
		_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(old)) })
	}
	w.byWD[int32(wd)] = at
	w.byDir[at] = int32(wd)
	return nil
}

// Remove ends the watch of dir. A watch holds the kernel's directory and counts
// against the user's limit until then, also when the cgroup is removed: kernfs
// tells a watched directory nothing about its own removal.
func (w *Watcher) Remove(h *Hierarchy, dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := place{h, dir}
	wd, known := w.byDir[at]
	if !known {
		return
	}
	delete(w.byDir, at)
	if w.byWD[wd] == at {
		delete(w.byWD, wd)
		if raw, err := w.file.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
		}
	}
}

// Len is the number of watched directories.
func (w *Watcher) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byWD)
}

// Read waits for events and returns them, at least one. It returns
// os.ErrClosed after Close. It is for one goroutine.
func (w *Watcher) Read() ([]Event, error) {
	p := &w.wait
	if p.raw == nil {
		if err := w.prepareWait(); err != nil {
			return nil, err
		}
	}
	for {
		switch err := p.raw.Read(p.read); {
		case err != nil: // only what is closed cannot be waited for
			return nil, os.ErrClosed
		case p.errno == unix.EINTR:
		case p.errno != 0:
			return nil, fmt.Errorf("watch cgroups: %w", p.errno)
		default:
			if events := w.translate(parseInotify(p.buf[:p.n])); len(events) > 0 {
				return events, nil
			}
		}
	}
}

// wait is what Read needs, made once.
type wait struct {
	raw   syscall.RawConn
	read  func(fd uintptr) (done bool)
	buf   []byte
	n     int
	errno unix.Errno
}

// prepareWait makes it. The descriptor does not block, so the runtime need not know
// of the call that reads it: see [quick].
func (w *Watcher) prepareWait() (err error) {
	p := &w.wait
	if p.raw, err = w.file.SyscallConn(); err != nil {
		return os.ErrClosed
	}
	p.buf = make([]byte, 64<<10)
	p.read = func(fd uintptr) bool {
		var n uintptr
		n, _, p.errno = unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)))
		p.n = int(n)
		return p.errno != unix.EAGAIN
	}
	return nil
}

// poll is what Poll needs, made once.
type poll struct {
	raw  syscall.RawConn
	read func(fd uintptr)
	buf  []byte
	n    int
	err  error
}

func (w *Watcher) preparePoll() (err error) {
	p := &w.poll
	if p.raw, err = w.file.SyscallConn(); err != nil {
		return err
	}
	p.buf = make([]byte, 4<<10)
	p.read = func(fd uintptr) { p.n, p.err = unix.Read(int(fd), p.buf) }
	return nil
}

// Poll returns the events that have happened until now, without waiting for any.
// It is for one goroutine, and instead of Read. Without events it allocates
// nothing.
func (w *Watcher) Poll() (events []Event, err error) {
	p := &w.poll
	if p.raw == nil {
		if err := w.preparePoll(); err != nil {
			return nil, fmt.Errorf("watch cgroups: %w", err)
		}
	}
	for {
		if err := p.raw.Control(p.read); err != nil {
			return events, fmt.Errorf("watch cgroups: %w", err)
		}
		switch {
		case errors.Is(p.err, unix.EAGAIN):
			return events, nil
		case errors.Is(p.err, unix.EINTR):
		case p.err != nil:
			return events, fmt.Errorf("watch cgroups: %w", p.err)
		default:
			events = append(events, w.translate(parseInotify(p.buf[:p.n]))...)
		}
	}
}

func (w *Watcher) translate(raw []rawEvent) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Event
	for _, e := range raw {
		if e.mask&unix.IN_Q_OVERFLOW != 0 {
			out = append(out, Event{Kind: EventLost})
			continue
		}
		at, known := w.byWD[e.wd]
		switch {
		case !known:
		case e.mask&unix.IN_IGNORED != 0: // the watch was removed
			delete(w.byWD, e.wd)
			if w.byDir[at] == e.wd {
				delete(w.byDir, at)
			}
		case e.mask&unix.IN_MODIFY != 0:
			out = append(out, Event{Hierarchy: at.h, Dir: at.dir, Name: e.name, Kind: EventWrite})
		default:
			out = append(out, Event{Hierarchy: at.h, Dir: at.dir, Name: e.name, Kind: EventTree})
			if e.name != "" {
				// It is gone, or another one has taken its name.
				out = append(out, Event{Hierarchy: at.h, Dir: path.Join(at.dir, e.name), Kind: EventTree, Gone: e.mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0})
			}
		}
	}
	return out
}

type rawEvent struct {
	wd   int32
	mask uint32
	name string
}

// parseInotify splits what an inotify descriptor gave into events: struct
// inotify_event with a NUL-padded name behind each (inotify(7)).
func parseInotify(data []byte) []rawEvent {
	var out []rawEvent
	for len(data) >= unix.SizeofInotifyEvent {
		size := int(binary.NativeEndian.Uint32(data[12:]))
		if size < 0 || size > len(data)-unix.SizeofInotifyEvent {
			return out
		}
		name, _, _ := strings.Cut(string(data[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
		out = append(out, rawEvent{
			wd:   int32(binary.NativeEndian.Uint32(data)),
			mask: binary.NativeEndian.Uint32(data[4:]),
			name: name,
		})
		data = data[unix.SizeofInotifyEvent+size:]
	}
	return out
}
