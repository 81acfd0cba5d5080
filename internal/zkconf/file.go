package zkconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

const (
	// filePoll is how often the file is read without an event: where
	// directories cannot be watched (network filesystems, inotify's limits)
	// or did not exist, nothing else tells.
	filePoll = 5 * time.Second
	// fileQuiet is how long the file must rest before it is read: an editor
	// truncates and writes, and half a document would be rejected aloud.
	fileQuiet = 50 * time.Millisecond
	// fileBusy is how long a file that does not come to rest is waited for.
	fileBusy = time.Second
)

// File follows the document in a local file, without ZooKeeper. Its version counts
// up from 0 with each changed content. Its exported fields must not change once
// it is in use.
type File struct {
	Path string
	Log  *zap.Logger // may be nil

	tracker tracker

	// Run's, which may be run again after it has ended: the count goes on.
	content  []byte
	versions int32     // how many were seen
	doc      *Document // the last valid one
}

// Run implements Source. The file and its directory may be absent at first and
// come and go; editors may write it or rename another over it. After it has ended
// it may be run again, and reads the file anew.
func (f *File) Run(ctx context.Context, updates func(Update)) error {
	w := newDirWatch(f.Path, f.logger())
	defer w.close()
	poll := time.NewTicker(filePoll)
	defer poll.Stop()
	for {
		w.renew()
		data, err := readDocument(f.Path)
		f.setState(err)
		if err == nil && (f.versions == 0 || !bytes.Equal(data, f.content)) {
			f.content = data
			f.tracker.seen(f.versions)
			f.versions++
			u := newUpdate(f.doc, data, f.versions-1)
			if u.Doc != nil {
				f.doc = u.Doc
			}
			updates(u)
		}
		w.wait(ctx, poll.C)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Fetch implements Source.
func (f *File) Fetch(context.Context) (Update, error) {
	data, err := readDocument(f.Path)
	if err != nil {
		return Update{}, err
	}
	return newUpdate(nil, data, 0), nil
}

// Status implements Source.
func (f *File) Status() SourceStatus { return f.tracker.snapshot(f.Origin()) }

// Origin implements Source. The path is absolute.
func (f *File) Origin() Origin {
	path, err := filepath.Abs(f.Path)
	if err != nil {
		path = f.Path // the working directory is gone: better than nothing
	}
	return Origin{Kind: KindFile, Path: path}
}

func (f *File) logger() *zap.Logger {
	if f.Log == nil {
		return zap.NewNop()
	}
	return f.Log
}

func (f *File) setState(err error) {
	log := f.logger()
	switch {
	case err == nil:
		f.tracker.set(log, StateConnected, nil)
	case errors.Is(err, fs.ErrNotExist):
		f.tracker.set(log, StateNoNode, err)
	default:
		f.tracker.set(log, StateNoAccess, err)
	}
}

// readDocument reads the file, of which it takes no more than shows that it is
// too large. A FIFO or a device in its place is refused instead of waited for.
func readDocument(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	return io.ReadAll(io.LimitReader(file, MaxSize+1))
}

// dirWatch watches the directory of a file: a watch on the file itself would end
// with the first editor that renames a new one over it.
type dirWatch struct {
	log       *zap.Logger
	file, dir string
	watcher   *fsnotify.Watcher // nil: none to be had, polling must do
	watched   os.FileInfo       // the directory that the watch is on
}

func newDirWatch(path string, log *zap.Logger) *dirWatch {
	w := &dirWatch{log: log, file: filepath.Base(path), dir: filepath.Dir(path)}
	var err error
	if w.watcher, err = fsnotify.NewWatcher(); err != nil {
		w.watcher = nil // inotify's limits are reached
		log.Warn("configuration file is polled only", zap.Error(err))
	}
	return w
}

func (w *dirWatch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // nothing is to be had from it any more
	}
}

// renew sets the watch if there is none, or if another directory has taken the
// place of the one that is watched.
func (w *dirWatch) renew() {
	if w.watcher == nil {
		return
	}
	info, err := os.Stat(w.dir)
	if err == nil && w.watched != nil && os.SameFile(info, w.watched) {
		return
	}
	if w.watched != nil {
		_ = w.watcher.Remove(w.dir) // it went with its directory
		w.watched = nil
	}
	if err == nil && w.watcher.Add(w.dir) == nil {
		w.watched = info
	}
}

// wait returns when the file may have changed and has come to rest, at a poll,
// or when ctx is done.
func (w *dirWatch) wait(ctx context.Context, poll <-chan time.Time) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if w.watcher != nil {
		events, errs = w.watcher.Events, w.watcher.Errors
	}
	var quiet, busy <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll:
			return
		case <-quiet:
			return
		case <-busy:
			return
		case err := <-errs:
			// Most likely inotify's queue has overflowed: events were lost.
			w.log.Debug("watch of the configuration file", zap.Error(err))
			return
		case e := <-events:
			if !w.concerns(e.Name) {
				continue
			}
			if busy == nil {
				busy = time.After(fileBusy)
			}
			quiet = time.After(fileQuiet)
		}
	}
}

// concerns says whether a change of the name can change what the file holds.
// Kubernetes puts a new version in place by renaming the link "..data" beside it.
func (w *dirWatch) concerns(name string) bool {
	base := filepath.Base(name)
	return base == w.file || name == w.dir || strings.HasPrefix(base, "..")
}
