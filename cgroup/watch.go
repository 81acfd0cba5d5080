package cgroup

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// EventKind says what has happened.
type EventKind string

// The kinds of events.
const (
	EventAppeared    EventKind = "appeared"    // the cgroup was made
	EventDisappeared EventKind = "disappeared" // it was removed
	EventJoined      EventKind = "joined"      // PIDs have come into it
	EventLeft        EventKind = "left"        // PIDs have left it or have ended
	EventOOMKill     EventKind = "oom_kill"    // Kills processes were killed because memory was short
	EventPressure    EventKind = "pressure"    // its processes wait for Resource
	EventFailed      EventKind = "failed"      // the watch has ended for Err; it is the last event
)

// Event is something that has happened in a watched cgroup.
type Event struct {
	Kind EventKind
	// Node is the cgroup in the hierarchy where it has happened.
	Node *Node
	PIDs []int
	// Kills is the number of processes killed since the last event of the kind; on
	// v2 with those in the cgroups below.
	Kills uint64
	// Resource is "memory", "cpu" or "io".
	Resource string
	Err      error
}

// WatchOptions say what is watched. The zero value watches everything but
// pressure.
type WatchOptions struct {
	// Interval is how often is looked at what the kernel does not report: births and
	// deaths of processes, and on v1 out-of-memory kills. 0: one second.
	Interval time.Duration
	// Pressure, if not nil, are the resources to wait for: "memory", "cpu", "io". v1
	// knows memory only, in the hierarchy of that controller. It is an error if none of
	// them can be waited for.
	Pressure []string
	// Stall and Window: on v2 it is pressure when processes wait for Stall within a
	// Window. 0: 200 ms in 2 s. The kernel takes windows of 0.5 to 10 s, and without
	// CAP_SYS_RESOURCE multiples of 2 s only.
	Stall, Window time.Duration
}

// Watch reports what happens in the node and in all below it until ctx ends; then
// the channel is closed. What is there at the beginning is not reported, and the
// node itself need not be there. Nothing is lost by reading slowly, but what has
// happened and was undone meanwhile is not seen.
func (n *Node) Watch(ctx context.Context, o WatchOptions) (<-chan Event, error) {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Stall <= 0 {
		o.Stall = 200 * time.Millisecond
	}
	if o.Window <= 0 {
		o.Window = 2 * time.Second
	}
	if err := n.canPress(o.Pressure); err != nil {
		return nil, err
	}
	w := &watch{node: n, options: o, known: map[place]*known{}, at: map[member]place{}, out: make(chan Event)}
	var err error
	if w.changes, err = cgfs.NewWatcher(); err != nil {
		return nil, err
	}
	if len(o.Pressure) > 0 {
		w.alarms, err = cgfs.NewAlarms()
	}
	if err == nil {
		err = w.begin()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	go w.run(ctx)
	return w.out, nil
}

// canPress says why pressure on the given resources would never be heard of.
func (n *Node) canPress(resources []string) error {
	for _, r := range resources {
		if r != "memory" && r != "cpu" && r != "io" {
			return faultf(ErrInvalid, "watch %s: pressure on %q: not one of memory, cpu, io", n, r)
		}
	}
	tells := func(h *cgfs.Hierarchy) bool {
		return slices.ContainsFunc(resources, func(r string) bool {
			if h.Version() == 1 {
				return r == "memory" && slices.Contains(h.Subsystems(), r)
			}
			return h.Exists("", r+".pressure")
		})
	}
	if len(resources) == 0 || slices.ContainsFunc(n.hs, tells) {
		return nil
	}
	return faultf(ErrNotSupported, "watch %s: pressure on %s is not told here: v1 tells of memory, in the hierarchy of that controller; v2 of all, unless the kernel was started with psi=0", n, strings.Join(resources, ", "))
}

// place is a cgroup in one hierarchy.
type place struct {
	h   *cgfs.Hierarchy
	dir string
}

// member is a process in one hierarchy.
type member struct {
	h   *cgfs.Hierarchy
	pid int
}

// known is what was last seen of a cgroup.
type known struct {
	inode    uint64
	children []string
	pids     []int // sorted
	kills    uint64
}

// watch is the state of one Watch. One goroutine owns it.
type watch struct {
	node    *Node
	options WatchOptions
	changes *cgfs.Watcher
	alarms  *cgfs.Alarms // nil unless asked for: waiting takes a thread
	oom     *cgfs.OOMKills

	known map[place]*known
	at    map[member]place
	// events are to be sent.
	events []Event
	out    chan Event
}

// begin looks at all that is there. Nothing of it is reported.
func (w *watch) begin() error {
	w.oom = w.node.host.layout.OOMKills()
	if w.node.view == trunk {
		return faultf(ErrNotSupported, "watch %s: watch one of the hierarchies, or the grouped root", w.node)
	}
	for _, h := range w.node.hs {
		if dir := w.node.dir(); dir != "" {
			if err := w.changes.Add(h, parent(dir)); err != nil && !errors.Is(err, ErrNotExist) {
				return err // its parent tells that it is removed
			}
		}
		if err := w.look(place{h, w.node.dir()}); err != nil {
			return err
		}
	}
	w.tick()
	w.events = nil
	return nil
}

func (w *watch) close() {
	_ = w.changes.Close()
	if w.alarms != nil {
		_ = w.alarms.Close()
	}
}

// run passes on what the kernel reports. The two readers end when what they read
// is closed.
func (w *watch) run(ctx context.Context) {
	defer close(w.out)
	changed, alarmed := make(chan []cgfs.Event), make(chan []cgfs.Alarm)
	failed := make(chan error, 2)
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { failed <- pass(done, w.changes.Read, changed) })
	if w.alarms != nil {
		readers.Go(func() { failed <- pass(done, w.alarms.Wait, alarmed) })
	}
	ticker := time.NewTicker(w.options.Interval)
	defer func() {
		ticker.Stop()
		close(done)
		w.close()
		readers.Wait()
	}()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case err = <-failed:
		case <-ticker.C:
			err = w.lookAll()
			w.tick()
		case events := <-changed:
			err = w.take(events)
		case alarms := <-alarmed:
			for _, a := range alarms {
				w.event(Event{Kind: EventPressure, Resource: a.Resource}, place{a.Hierarchy, a.Dir})
			}
		}
		if err != nil {
			w.event(Event{Kind: EventFailed, Err: err}, place{w.node.hs[0], w.node.dir()})
		}
		for _, e := range w.events {
			select {
			case w.out <- e:
			case <-ctx.Done():
				return
			}
		}
		if w.events = nil; err != nil {
			return
		}
	}
}

// pass hands on what read gives until it is closed.
func pass[T any](done <-chan struct{}, read func() (T, error), to chan<- T) error {
	for {
		got, err := read()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case to <- got:
		case <-done:
			return nil
		}
	}
}

func (w *watch) event(e Event, at place) {
	e.Node = w.node.at(w.pathOf(at.dir), []*cgfs.Hierarchy{at.h})
	w.events = append(w.events, e)
}

// pathOf is the path of a node from that of its directory.
func (w *watch) pathOf(dir string) string {
	if w.node.host.root == "" {
		return dir
	}
	return dir[min(len(w.node.host.root)+1, len(dir)):]
}
