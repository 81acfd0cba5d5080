package reconcile

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/procevents"
)

func born(parent, pid int) procevents.Event {
	return procevents.Event{Kind: procevents.Born, PID: pid, Parent: parent}
}

func ended(pid int) procevents.Event { return procevents.Event{Kind: procevents.Ended, PID: pid} }

// TestKin: who is known after a placement and what was heard before, in and after it.
func TestKin(t *testing.T) {
	tree := &Tree{Hierarchy: "cpu", Subsystems: []string{"cpu"}}
	named := pidfiles.Ident{PID: 10, Start: 100}
	judged := []pidfiles.Assignment{
		{PID: 10, Start: 100, Path: "a", Root: named}, {PID: 11, Start: 101, Path: "a", Root: named, Parent: named},
		{PID: 20, Start: 200, Path: "b", Root: pidfiles.Ident{PID: 20, Start: 200}},
	}
	for _, c := range []struct {
		name                  string
		before, during, after []procevents.Event
		want                  map[int]string
		suspects              []int
	}{
		{"nothing heard", nil, nil, nil, map[int]string{10: "a", 11: "a", 20: "b"}, nil},
		{"what was before is in the listing", []procevents.Event{born(10, 12), ended(11)}, nil, nil, map[int]string{10: "a", 11: "a", 20: "b"}, nil},
		{"during", nil, []procevents.Event{born(11, 12), born(12, 13), ended(11), born(99, 98)}, nil, map[int]string{10: "a", 12: "a", 13: "a", 20: "b"}, nil},
		{"after", nil, nil, []procevents.Event{born(20, 21), born(21, 22), ended(21), born(99, 98)}, map[int]string{10: "a", 11: "a", 20: "b", 22: "b"}, []int{21, 22}},
		{"already judged", nil, nil, []procevents.Event{born(10, 20)}, map[int]string{10: "a", 11: "a", 20: "b"}, nil},
	} {
		k := &kin{}
		k.heard(c.before, func(procevents.Event) {})
		k.begin()
		k.judge(tree, "cpu", nil)
		k.judge(tree, "cpu", judged) // a later listing
		k.heard(c.during, func(e procevents.Event) { t.Errorf("%s: %+v is suspected before anybody is known", c.name, e) })
		k.settle(nil, Shield{})
		var suspects []int
		k.heard(c.after, func(e procevents.Event) { suspects = append(suspects, e.PID) })
		got := map[int]string{}
		for pid, m := range k.clans[0].members {
			got[pid] = m.path
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: known (-want +got)\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.suspects, suspects); diff != "" {
			t.Errorf("%s: suspected (-want +got)\n%s", c.name, diff)
		}
		k.lost()
		k.heard([]procevents.Event{born(10, 30)}, func(e procevents.Event) { t.Errorf("%s: %+v is suspected after a loss", c.name, e) })
	}
}

// TestKinTeaches: an orphan is told to the next listing, with whom it belongs to.
func TestKinTeaches(t *testing.T) {
	tree := &Tree{Hierarchy: "cpu", Subsystems: []string{"cpu"}}
	named := pidfiles.Ident{PID: 10, Start: 100}
	k := &kin{}
	k.begin()
	k.judge(tree, "cpu", []pidfiles.Assignment{{PID: 10, Start: 100, Path: "a", Root: named}})
	k.settle(nil, Shield{})
	k.heard([]procevents.Event{born(10, 11), born(11, 12), ended(11), born(10, 13), ended(13)}, func(procevents.Event) {})
	procs := []pidfiles.Proc{{PID: 1, Start: 1}, {PID: 10, PPID: 1, Start: 100}, {PID: 12, PPID: 1, Start: 102}, {PID: 13, PPID: 1, Start: 999}}
	h := pidfiles.History{}
	k.teach("cpu", procs, h)
	k.teach("blkio", procs, h)
	if diff := cmp.Diff(pidfiles.History{{PID: 12, Start: 102}: {Root: named}}, h); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	got := pidfiles.Assign(procs, map[int]pidfiles.Named{10: {Path: "a", Start: 100}}, pidfiles.Pass{History: h, Since: 1000})
	pids := map[int]bool{}
	for _, a := range got {
		pids[a.PID] = true
	}
	if diff := cmp.Diff([]int{10, 12}, slices.Sorted(maps.Keys(pids))); diff != "" {
		t.Errorf("assigned (-want +got)\n%s", diff)
	}
}

// TestAllowance: so many at once, and so many in a second.
func TestAllowance(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := allowance{left: looksAtOnce, at: now}
	count := func() (n int) {
		for a.one(now) {
			n++
		}
		return n
	}
	if n := count(); n != looksAtOnce {
		t.Errorf("%d at once, want %d", n, looksAtOnce)
	}
	now = now.Add(100 * time.Millisecond)
	if n := count(); n < looksPerSecond/10-1 || n > looksPerSecond/10 {
		t.Errorf("%d in 100 ms, want %d", n, looksPerSecond/10)
	}
	now = now.Add(time.Hour)
	if n := count(); n != looksAtOnce {
		t.Errorf("%d after an hour, want %d", n, looksAtOnce)
	}
}
