package cgroup

import (
	"cmp"
	"errors"
	"maps"
	"path"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// take looks where changes were reported.
func (w *watch) take(events []cgfs.Event) error {
	for _, e := range events {
		at := place{e.Hierarchy, e.Dir}
		var err error
		switch {
		case e.Kind == cgfs.EventLost:
			err = w.lookAll()
			w.tick()
		case e.Kind == cgfs.EventTree && below(e.Dir, w.node.dir()):
			err = w.look(at)
			w.members(at)
		case e.Kind != cgfs.EventWrite || w.known[at] == nil:
		case e.Name == "cgroup.procs" || e.Name == "tasks" || e.Name == "cgroup.events" || e.Name == "cgroup.threads":
			w.members(at)
		case w.oom != nil && e.Name == w.oom.File:
			w.kills(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAll compares the whole tree with what is known.
func (w *watch) lookAll() error {
	for _, h := range w.node.hs {
		if err := w.look(place{h, w.node.dir()}); err != nil {
			return err
		}
	}
	return nil
}

// tick looks at what is not reported.
func (w *watch) tick() {
	for _, at := range w.places() {
		w.members(at)
		w.kills(at)
	}
}

// places are the known cgroups, sorted: a parent before its children.
func (w *watch) places() []place {
	return slices.SortedFunc(maps.Keys(w.known), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.h.Name(), b.h.Name()), cmp.Compare(a.dir, b.dir))
	})
}

// look compares a cgroup, and what is below it, with what is known.
func (w *watch) look(at place) error {
	if !w.node.host.visible(w.pathOf(at.dir)) {
		return nil
	}
	info, err := at.h.Stat(at.dir)
	if vanished(err) {
		w.forget(at)
		return nil
	}
	if err != nil {
		return err
	}
	if k := w.known[at]; k != nil && k.inode != info.Inode {
		w.forget(at) // another one of the same name
	}
	if w.known[at] == nil {
		if err := w.learn(at, info.Inode); err != nil {
			return err
		}
	}
	children, err := at.h.Children(at.dir)
	if err != nil && !vanished(err) {
		return err
	}
	for _, name := range children {
		if err := w.look(place{at.h, path.Join(at.dir, name)}); err != nil {
			return err
		}
	}
	if k := w.known[at]; k != nil {
		for _, name := range k.children {
			if !slices.Contains(children, name) {
				w.forget(place{at.h, path.Join(at.dir, name)})
			}
		}
		k.children = children
	}
	return nil
}

// learn begins to watch a new cgroup.
func (w *watch) learn(at place, inode uint64) error {
	if err := w.changes.Add(at.h, at.dir); vanished(err) {
		return nil // gone already
	} else if err != nil {
		return err
	}
	w.known[at] = &known{inode: inode}
	w.event(Event{Kind: EventAppeared}, at)
	for _, resource := range w.options.Pressure {
		err := w.alarms.Add(cgfs.Alarm{Hierarchy: at.h, Dir: at.dir, Resource: resource}, cgfs.Stall{Some: w.options.Stall, Window: w.options.Window})
		if err != nil && !errors.Is(err, ErrNotSupported) && !vanished(err) {
			return err
		}
	}
	w.members(at)
	return nil
}

// forget reports a cgroup that is gone, after all that were below it.
func (w *watch) forget(at place) {
	k := w.known[at]
	if k == nil {
		return
	}
	for _, name := range k.children {
		w.forget(place{at.h, path.Join(at.dir, name)})
	}
	w.left(at, k.pids)
	delete(w.known, at)
	w.changes.Remove(at.h, at.dir)
	if w.alarms != nil {
		w.alarms.Remove(at.h, at.dir)
	}
	w.event(Event{Kind: EventDisappeared}, at)
}

// members compares who is in a cgroup with who was. Whoever has come is no longer
// where they were before.
func (w *watch) members(at place) {
	k := w.known[at]
	if k == nil {
		return
	}
	pids, err := at.h.Procs(at.dir, nil)
	if err != nil {
		return // it is gone, or of another type: the next look says so
	}
	pids = sorted(pids)
	w.left(at, without(k.pids, pids))
	joined := without(pids, k.pids)
	for _, pid := range joined {
		if before, seen := w.at[member{at.h, pid}]; seen && !stillIn(before, pid) {
			w.known[before].pids = without(w.known[before].pids, []int{pid})
			w.left(before, []int{pid})
		}
		w.at[member{at.h, pid}] = at
	}
	k.pids = pids
	if len(joined) > 0 {
		w.event(Event{Kind: EventJoined, PIDs: joined}, at)
	}
}

// without are those of a that are not in b; both are sorted.
func without(a, b []int) []int {
	var out []int
	for _, v := range a {
		if _, found := slices.BinarySearch(b, v); !found {
			out = append(out, v)
		}
	}
	return out
}

// stillIn says whether a process that has come elsewhere is in a cgroup as well:
// on v1 its threads may be spread.
func stillIn(at place, pid int) bool {
	if at.h.Version() != 1 {
		return false
	}
	pids, err := at.h.Procs(at.dir, nil)
	return err == nil && slices.Contains(pids, pid)
}

// left reports who is no longer in a cgroup.
func (w *watch) left(at place, pids []int) {
	for _, pid := range pids {
		if who := (member{at.h, pid}); w.at[who] == at {
			delete(w.at, who)
		}
	}
	if len(pids) > 0 {
		w.event(Event{Kind: EventLeft, PIDs: pids}, at)
	}
}

// kills compares the count of out-of-memory kills.
func (w *watch) kills(at place) {
	k := w.known[at]
	if k == nil || w.oom == nil || w.oom.Hierarchy != at.h {
		return
	}
	text, err := at.h.Read(at.dir, w.oom.File)
	if err != nil {
		return // the root has no such file
	}
	n, err := cgfs.ParseOOMKills([]byte(text))
	if err != nil {
		return
	}
	if n > k.kills {
		w.event(Event{Kind: EventOOMKill, Kills: n - k.kills}, at)
	}
	k.kills = n
}
