package account

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// fakeKernel keeps the rules of cgroup files that matter to the sampler: a
// descriptor belongs to a cgroup, not to a name, and answers ErrRemoved for ever
// once that is gone.
type fakeKernel struct {
	mu    sync.Mutex
	dirs  map[string]*fakeCgroup
	fds   map[int]fakeFile
	next  int
	opens int
	reads int
	// watches are told of removals; nil: there is no inotify.
	watches       map[*fakeWatch]bool
	noMoreWatches bool
	// slow is how long each read of a stampKernel takes.
	slow atomic.Int64
}

type fakeCgroup struct {
	files   map[string]string
	removed bool
	broken  error // what reads answer
}

type fakeFile struct {
	cgroup *fakeCgroup
	name   string
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{dirs: make(map[string]*fakeCgroup), fds: make(map[int]fakeFile)}
}

// set makes the cgroup if need be and gives its file a content.
func (k *fakeKernel) set(dir, file, content string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dirs[dir] == nil {
		k.dirs[dir] = &fakeCgroup{files: make(map[string]string)}
	}
	k.dirs[dir].files[file] = content
}

func (k *fakeKernel) setSlow(d time.Duration) { k.slow.Store(int64(d)) }

func (k *fakeKernel) remove(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirs[dir].removed = true
	delete(k.dirs, dir)
	for w := range k.watches {
		if dir != "" && w.dirs[above(dir)] {
			w.events = append(w.events, cgfs.Event{Dir: above(dir), Kind: cgfs.EventTree}, cgfs.Event{Dir: dir, Kind: cgfs.EventTree})
		}
		delete(w.dirs, dir)
	}
}

func (k *fakeKernel) breakReads(dir string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirs[dir].broken = err
}

func (k *fakeKernel) open(_ *cgfs.Hierarchy, dir, file string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opens++
	c := k.dirs[dir]
	if c == nil {
		return -1, fmt.Errorf("open %s/%s: %w", dir, file, cgfs.ErrNotExist)
	}
	if _, ok := c.files[file]; !ok && file != "" { // "" is the directory
		return -1, fmt.Errorf("open %s/%s: %w", dir, file, cgfs.ErrNotExist)
	}
	k.next++
	k.fds[k.next] = fakeFile{c, file}
	return k.next, nil
}

func (k *fakeKernel) pread(fd int, buf []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, ok := k.fds[fd]
	k.reads++
	switch {
	case !ok:
		return 0, errors.New("bad file descriptor")
	case f.cgroup.removed:
		return 0, cgfs.ErrRemoved
	case f.cgroup.broken != nil:
		return 0, f.cgroup.broken
	}
	return copy(buf, f.cgroup.files[f.name]), nil
}

func (k *fakeKernel) close(fd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.fds[fd]; !ok {
		panic("closed twice")
	}
	delete(k.fds, fd)
}

func (k *fakeKernel) openFDs() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.fds)
}

// fakeWatch forgets a directory that is removed, as a watch stays with the inode.
type fakeWatch struct {
	k      *fakeKernel
	dirs   map[string]bool
	events []cgfs.Event
	lost   bool
}

func (k *fakeKernel) watch() (treeWatch, error) {
	if k.watches == nil {
		return nil, errors.New("no inotify")
	}
	w := &fakeWatch{k: k, dirs: make(map[string]bool)}
	k.watches[w] = true
	return w, nil
}

func (w *fakeWatch) Add(_ *cgfs.Hierarchy, dir string) error {
	if w.k.dirs[dir] == nil || w.k.noMoreWatches {
		return cgfs.ErrNotExist
	}
	w.dirs[dir] = true
	return nil
}

func (w *fakeWatch) Poll() ([]cgfs.Event, error) {
	events := w.events
	w.events = nil
	if w.lost {
		w.lost, events = false, []cgfs.Event{{Kind: cgfs.EventLost}}
	}
	return events, nil
}

func (w *fakeWatch) Close() error {
	delete(w.k.watches, w)
	return nil
}

// names lists the cgroups, sorted.
func (k *fakeKernel) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.dirs))
}

const (
	numberFile = "cpuacct.usage"
	bytesFile  = "blkio.throttle.io_service_bytes"
)

var (
	fakeHierarchy = new(cgfs.Hierarchy)
	numberUsage   = cgfs.Usage{Kind: cgfs.UsageNumber, Key: "usage", Files: []string{numberFile}, ParseNumber: cgfs.ParseNumber}
	summedUsage   = cgfs.Usage{Kind: cgfs.UsageDevices, Files: []string{bytesFile, "blkio.bfq.io_service_bytes"}, ParseDevices: cgfs.ParseServiceBytes, SumBelow: true}
)

// testSampler is a sampler on a fake kernel.
func testSampler(k kernel, r *Ring, o SamplerOptions) *Sampler {
	o.Ring = r
	s := NewSampler(o)
	s.meters.kernel = k
	return s
}

// subsystemOf makes a subsystem of paths below our root, each at the directory
// of the same path. Parents must come before children.
func subsystemOf(name string, usage cgfs.Usage, paths ...string) Subsystem {
	s := Subsystem{Name: name, Hierarchy: fakeHierarchy, Usage: usage, Root: Cgroup{HasSub: true}}
	for _, p := range paths {
		c := &s.Root
		elems := strings.Split(p, "/")
		for _, e := range elems[:len(elems)-1] {
			i := slices.IndexFunc(c.Sub, func(c Cgroup) bool { return c.Name == e })
			c = &c.Sub[i]
			c.HasSub = true
		}
		c.Sub = append(c.Sub, Cgroup{Name: elems[len(elems)-1], Dir: p})
	}
	return s
}

// slotText renders a slot, "" if it is not held.
func slotText(r *Ring, slot int64) string {
	var s snapshot
	if !r.load(slot, Filter{}, &s) {
		return ""
	}
	return string(s.layout.full.append(nil, s.words, s.extra()))
}

// sampleText samples once, beside the clock.
func sampleText(s *Sampler) string {
	words, _, _ := s.sample()
	text := string(s.layout.full.append(nil, words, s.extras.read(&s.meters, 0)))
	s.spare = words
	return text
}

// logTo collects a log as text, without times.
func logTo(b *bytes.Buffer) *zap.Logger { return newTestLog(b) }

func ioBytes(read, write uint64) string {
	return fmt.Sprintf("8:0 Read %d\n8:0 Write %d\n8:0 Sync 0\n8:0 Async 0\n8:0 Discard 0\n8:0 Total %d\nTotal %d\n", read, write, read+write, read+write)
}

func checkNoFDs(t *testing.T, k *fakeKernel) {
	t.Helper()
	if n := k.openFDs(); n != 0 {
		t.Errorf("%d descriptors left open", n)
	}
}
