package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// counting notes which cgroups are looked at.
type counting struct {
	FS
	looks, reads, writes map[string]int // by cgroup, but reads by file
}

func (c *counting) clear() {
	c.looks, c.reads, c.writes = map[string]int{}, map[string]int{}, map[string]int{}
}

func (c *counting) Stat(dir string) (cgfs.Info, error) {
	c.looks[dir]++
	return c.FS.Stat(dir)
}

func (c *counting) Read(dir, file string) (string, error) {
	c.reads[dir+"/"+file]++
	return c.FS.Read(dir, file)
}

func (c *counting) Same(dir, file, text string) (bool, error) {
	c.reads[dir+"/"+file]++
	return c.FS.Same(dir, file, text)
}

func (c *counting) Restore(dir, file, text string, right func(string) bool) (string, bool, error) {
	c.reads[dir+"/"+file]++
	now, wrote, err := c.FS.Restore(dir, file, text, right)
	if wrote {
		c.writes[dir]++
	}
	return now, wrote, err
}

func (c *counting) Put(dir, file, text, from string) (string, error) {
	c.writes[dir]++
	return c.FS.Put(dir, file, text, from)
}

func (c *counting) Mkdir(dir string) error {
	c.writes[dir]++
	return c.FS.Mkdir(dir)
}

// What is made is not read but where it is written; the events about that are looked
// into once; and what somebody removes is mended without a look at anything else.
func TestKernelUnifiedLooksOnce(t *testing.T) {
	r, h, text, _ := onUnified(t)
	var err error
	if r.watcher, err = cgfs.NewWatcher(); err != nil {
		t.Fatal(err)
	}
	c := &counting{FS: h}
	o := newObserver(c, r.watch(h.Name()))
	o.unwatch = func(dir string) { r.watcher.Remove(h, dir) }
	r.observers[h.Name()] = o
	settle := func(brief bool) {
		t.Helper()
		r.last.Notes = []Fault{{Place: "as before"}} // as a pass leaves it that compares no more than values
		defer func() {
			if brief && len(r.last.Notes) != 1 {
				t.Error("all was compared")
			}
		}()
		for {
			events, err := r.watcher.Poll()
			if err != nil {
				t.Fatal(err)
			}
			r.answer(t.Context(), events)
			select {
			case <-r.inbox.ready:
				r.turn(t.Context(), r.inbox.take(), &backoff{most: time.Hour})
			default:
				if len(events) == 0 {
					return
				}
			}
		}
	}
	most := func(what string, counts map[string]int, want int, of func(string) bool) {
		t.Helper()
		for _, at := range sortedKeys(counts) {
			if counts[at] > want && of(at) {
				t.Errorf("%s: %s %d times", what, at, counts[at])
			}
		}
	}
	all := func(string) bool { return true }
	below := func(at string) bool { return strings.HasPrefix(at, r.opt.Root+"/") }

	c.clear()
	r.SetDocument(document(t, text))
	r.turn(t.Context(), r.inbox.take(), &backoff{most: time.Hour})
	most("read while it is built", c.reads, 0, below)
	if r.last.Pass.Created < 8 {
		t.Fatalf("%+v", r.last.Pass)
	}
	c.clear()
	settle(true)
	most("looked at after own events", c.looks, 1, below)
	most("read after own events", c.reads, 2, below) // as a value, and with its cgroup
	most("written after own events", c.writes, 0, all)

	if err := h.Mkdir(r.opt.Root + "/a/x"); err != nil { // what is of nobody's concern is compared whole
		t.Fatal(err)
	}
	c.clear()
	settle(false)
	most("looked at for a foreign cgroup", c.looks, 1, all)
	if r.last.Pass.Removed+c.looks[r.opt.Root+"/a/x"] == 0 {
		t.Errorf("nobody has looked at a foreign cgroup: %+v", r.last.Pass)
	}

	compiled := r.compiled
	for _, dir := range []string{"a/b/c", "a"} {
		dir = r.opt.Root + "/" + dir
		removed := (&meddler{r: r, h: h}).remove(dir)
		events, err := r.watcher.Poll()
		if err != nil {
			t.Fatal(err)
		}
		c.clear()
		r.answer(t.Context(), events)
		elsewhere := func(at string) bool { return at != dir && !strings.HasPrefix(at, dir+"/") }
		if most("looked at for "+dir, c.looks, 0, elsewhere); !h.Exists("", dir) || len(removed) == 0 {
			t.Errorf("%s was not made again", dir)
		}
		most("read for "+dir, c.reads, 0, all)
		most("written for "+dir, c.writes, 0, elsewhere)
		c.clear()
		settle(true)
		most("looked at after "+dir, c.looks, 1, below)
		most("looked at after "+dir, c.looks, 0, elsewhere)
		most("written after "+dir, c.writes, 0, all)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() > 0 || len(s.Faults) > 0 || r.compiled != compiled {
		t.Errorf("a full pass afterwards: %+v %v", s.Pass, s.Faults)
	}
}
