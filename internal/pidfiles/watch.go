package pidfiles

import (
	"context"
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
func (w *Watch) Run(ctx context.Context, changed func()) error {
	for {
		watcher, err := fsnotify.NewWatcher()
		if err == nil {
			a := armed{watcher: watcher, log: w.log, dirs: map[string]bool{}, failed: map[string]bool{}}
			w.loop(ctx, &a, changed)
			_ = watcher.Close()
		} else {
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
	report := time.NewTimer(0)
	if !report.Stop() {
		<-report.C
	}
	defer report.Stop()
	retry := time.NewTicker(rearmEvery)
	defer retry.Stop()
	pending := false
	var last time.Time
	soon := func() {
		if !pending {
			pending = true
			report.Reset(max(settle, spacing-time.Since(last)))
		}
	}
	if a.arm(w.list()) {
		soon()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			if a.arm(w.list()) {
				soon()
			}
		case <-retry.C:
			if len(a.failed) > 0 && a.arm(w.list()) {
				soon()
			}
		case event, ok := <-a.watcher.Events:
			if !ok {
				return
			}
			switch a.judge(event) {
			case ignore:
			case rearm:
				a.arm(w.list())
				soon()
			case notify:
				soon()
			}
		case err, ok := <-a.watcher.Errors:
			if !ok {
				return
			}
			// Events were lost, whichever error it is: look at everything.
			w.log.Debug("pid file watch lost events", zap.Error(err))
			a.arm(w.list())
			soon()
		case <-report.C:
			pending, last = false, time.Now()
			changed()
		}
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
	dirs      map[string]bool // directories under watch, with symbolic links resolved
	failed    map[string]bool // directories that could not be watched; logged once
	interests []interest
}

// arm makes the watches agree with the list of files, and reports whether a directory was added.
func (a *armed) arm(files []string) (added bool) {
	// A directory may appear between looking for it and watching its parent: look again after each watch that was added.
	// The bound is for a file system that never comes to rest; events lead here again.
	const attempts = 8
	for range attempts {
		if !a.armOnce(files) {
			break
		}
		added = true
	}
	return added
}

func (a *armed) armOnce(files []string) (added bool) {
	a.interests = interests(files)
	wanted := make(map[string]bool, len(a.interests))
	for _, in := range a.interests {
		wanted[in.dir] = true
	}
	for dir := range a.dirs {
		if !wanted[dir] {
			_ = a.watcher.Remove(dir) // it may be gone already
			delete(a.dirs, dir)
		}
	}
	for dir := range a.failed {
		if !wanted[dir] {
			delete(a.failed, dir)
		}
	}
	for _, in := range a.interests {
		if a.dirs[in.dir] {
			continue
		}
		if err := a.watcher.Add(in.dir); err != nil {
			if !a.failed[in.dir] {
				a.log.Warn("directory of pid files is not watched", zap.String("directory", in.dir), zap.Error(err))
			}
			a.failed[in.dir] = true
			continue
		}
		delete(a.failed, in.dir)
		a.dirs[in.dir] = true
		added = true
	}
	return added
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
	if a.dirs[event.Name] {
		// The directory itself. Its permissions count too; gone or renamed, its watch means nothing any more.
		if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
			_ = a.watcher.Remove(event.Name)
			delete(a.dirs, event.Name)
			return rearm
		}
		return notify
	}
	return react(a.interests, event.Name)
}
