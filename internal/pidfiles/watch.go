package pidfiles

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

const (
	// settle is how long after a first event a change is reported: creating and writing a file are two events.
	settle = 5 * time.Millisecond

	// spacing is the least time between two reports, so that a file written all the time does not make a busy loop.
	spacing = 100 * time.Millisecond

	// rearmEvery is when a watch that could not be set up is tried again.
	rearmEvery = 30 * time.Second
)

// A Watch reports that a pid file may have been created, changed or removed, by inotify on the directories. It is a
// hint, which comes early: what a network file system or a full watch table hides is found by the next pass.
type Watch struct {
	log   *zap.Logger
	wake  chan struct{} // the list was set
	mu    sync.Mutex
	files []string
}

// NewWatch returns a watch of nothing. Nil for log means that nothing is logged.
func NewWatch(log *zap.Logger) *Watch {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watch{log: log, wake: make(chan struct{}, 1)}
}

// SetFiles says which files to watch: absolute paths, globs allowed, as [Source.Patterns] returns them. It may be called
// at any time and returns at once; calling it with the same files looks again for directories that have appeared or
// were replaced.
func (w *Watch) SetFiles(files []string) {
	w.mu.Lock()
	w.files = slices.Clone(files)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends, and then returns nil. It calls changed a few milliseconds after a pid file has, or may
// have, changed: also when a new directory came under watch, since something may have happened there before. Events
// that concern no pid file are ignored. A watch that cannot be set up is logged once and tried again; it never ends Run.
// changed must not block: it is to wake somebody up.
func (w *Watch) Run(ctx context.Context, changed func()) error {
	for failed := false; ; failed = true {
		watcher, err := fsnotify.NewWatcher()
		if err == nil {
			w.loop(ctx, newArmed(watcher, w.log), changed)
			_ = watcher.Close()
		} else if !failed {
			w.log.Warn("pid files are not watched", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rearmEvery):
		}
	}
}

// loop handles events until ctx ends or the watcher breaks.
func (w *Watch) loop(ctx context.Context, a *armed, changed func()) {
	r := reporter{timer: time.NewTimer(time.Hour)}
	r.timer.Stop()
	defer r.timer.Stop()
	retry := time.NewTicker(rearmEvery)
	defer retry.Stop()
	r.soon(a.arm(w.list()))
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			r.soon(a.arm(w.list()))
		case <-retry.C:
			if len(a.failed) > 0 {
				r.soon(a.arm(w.list()))
			}
		case event, ok := <-a.watcher.Events:
			if !ok {
				return
			}
			what := a.judge(event)
			if what == rearm {
				a.arm(w.list())
			}
			r.soon(what != ignore)
		case err, ok := <-a.watcher.Errors:
			if !ok {
				return
			}
			// Events were lost, whichever error it is: look at everything.
			w.log.Debug("pid file watch lost events", zap.Error(err))
			a.arm(w.list())
			r.soon(true)
		case <-r.timer.C:
			r.pending, r.last = false, time.Now()
			changed()
		}
	}
}

// reporter says when to report: soon after the first event, not too soon after the last report.
type reporter struct {
	timer   *time.Timer
	pending bool
	last    time.Time
}

// soon sets the timer, if there is something to report.
func (r *reporter) soon(something bool) {
	if something && !r.pending {
		r.pending = true
		r.timer.Reset(max(settle, spacing-time.Since(r.last)))
	}
}

func (w *Watch) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files
}

// armed is what is being watched.
type armed struct {
	watcher   *fsnotify.Watcher
	log       *zap.Logger
	dirs      map[string]os.FileInfo // directories under watch, with symbolic links resolved
	failed    map[string]bool        // directories that could not be watched; logged once
	interests []interest
}

func newArmed(watcher *fsnotify.Watcher, log *zap.Logger) *armed {
	return &armed{watcher: watcher, log: log, dirs: map[string]os.FileInfo{}, failed: map[string]bool{}}
}

// arm makes the watches agree with the list of files, and reports whether something may have happened before it did.
func (a *armed) arm(files []string) (changed bool) {
	// A directory may come or go between looking for it and watching it or its parent: look again until nothing has to be
	// done. The bound is for a file system that never comes to rest; then events lead here again.
	const attempts = 100
	for range attempts {
		if !a.armOnce(files) {
			break
		}
		changed = true
	}
	return changed
}

func (a *armed) armOnce(files []string) (again bool) {
	a.interests = interests(files)
	wanted := make(map[string]bool, len(a.interests))
	for _, in := range a.interests {
		wanted[in.dir] = true
	}
	for dir := range a.dirs {
		if !wanted[dir] {
			a.drop(dir)
		}
	}
	for dir := range a.failed {
		if !wanted[dir] {
			delete(a.failed, dir)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(wanted)) {
		if a.add(dir) {
			again = true
		}
	}
	return again
}

// add watches a directory, unless the same one is being watched. It reports whether things were not as they seemed.
func (a *armed) add(dir string) (again bool) {
	info, err := os.Stat(dir)
	if err == nil {
		if old, ok := a.dirs[dir]; ok && os.SameFile(old, info) {
			return false
		}
		a.drop(dir) // another one of that name
		err = a.watcher.Add(dir)
	}
	switch {
	case err == nil:
		delete(a.failed, dir)
		a.dirs[dir] = info
		return true
	case errors.Is(err, fs.ErrNotExist):
		a.drop(dir)
		return true
	case !a.failed[dir]:
		a.failed[dir] = true
		a.log.Warn("directory of pid files is not watched", zap.String("directory", dir), zap.Error(err))
	}
	return false
}

// drop ends the watch of a directory, which may be gone already.
func (a *armed) drop(dir string) {
	if _, ok := a.dirs[dir]; ok {
		_ = a.watcher.Remove(dir)
		delete(a.dirs, dir)
	}
}

// reaction is what an event asks for.
type reaction int

const (
	ignore reaction = iota
	notify
	rearm // and notify
)

// judge says what to do about an event.
func (a *armed) judge(event fsnotify.Event) reaction {
	if _, ok := a.dirs[event.Name]; !ok {
		return react(a.interests, event.Name)
	}
	// The directory itself: its permissions count too.
	if event.Op == fsnotify.Chmod {
		return notify
	}
	// Gone, renamed or made again: its watch means nothing any more.
	a.drop(event.Name)
	return rearm
}
