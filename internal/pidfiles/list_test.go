package pidfiles

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestListReadsWhatMayHaveChanged counts the reads of one listing after another.
func TestListReadsWhatMayHaveChanged(t *testing.T) {
	for _, limit := range []int{0, 100} {
		testListReads(t, limit)
	}
}

func testListReads(t *testing.T, limit int) {
	m := newMachine()
	m.born(10, 1, 10, 10)
	for pid := 100; pid < 900; pid++ {
		m.born(pid, 10, 10, 10)
	}
	l := &Lister{source: m, limit: limit}
	reads := func(fresh bool) int {
		t.Helper()
		if fresh {
			m.now += 1000
			l.begin(m.now)
		}
		m.reads, m.lists = 0, 0
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
		return m.reads
	}
	if got := reads(true); got != len(m.procs) {
		t.Errorf("first listing: %d reads of %d", got, len(m.procs))
	}
	few := 4 // those who have a parent outside, or children
	if got, limit := reads(true), few+800/everyListing+1; got > limit {
		t.Errorf("nothing has changed: %d reads, at most %d wanted", got, limit)
	}
	if limit > 0 {
		few = 2 // pid 1 and kthreadd; the children of both are known to have living parents
	}
	if got := reads(false); got > few || m.lists != 0 {
		t.Errorf("again in the same pass: %d reads and %d listings, at most %d and none wanted", got, m.lists, few)
	}
	m.forks++
	if got := reads(false); got > few || m.lists != 1 {
		t.Errorf("one came and went: %d reads and %d listings, at most %d and one wanted", got, m.lists, few)
	}
	m.born(950, 10, 10, 10)
	if got := reads(false); got > few+2 || m.lists != 1 {
		t.Errorf("one is new: %d reads, at most %d wanted", got, few+2)
	}
	m.end(m.procs[10], 1)
	if got := reads(false); got < 800 || m.lists != 0 {
		t.Errorf("their parent has ended: %d reads and %d listings, at least 800 and none wanted", got, m.lists)
	}
	l.forget()
	if l.held != 0 {
		t.Errorf("%d processes held after all were dropped", l.held)
	}
	for _, p := range m.procs {
		p.ino = 7 // an inode that does not tell processes apart
	}
	reads(true)
	m.procs[100].Start, m.procs[101].Start = 5, 5
	for range everyListing {
		reads(true)
	}
	if got := reads(true); got != len(m.procs) {
		t.Errorf("inodes stand for several processes: %d reads of %d", got, len(m.procs))
	}
}

// TestListCountsThreadsAgain: who has one thread has one as long as nobody was born, and who has more may have lost one.
func TestListCountsThreadsAgain(t *testing.T) {
	m := newMachine()
	m.born(10, 1, 10, 10)
	m.born(11, 1, 10, 10).Threads = 4
	l := &Lister{source: m, limit: 10}
	pass := func() {
		t.Helper()
		m.now += 1000
		l.begin(m.now)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, one, four int) {
		t.Helper()
		pass()
		if a, b := l.Threads(10), l.Threads(11); a != one || b != four {
			t.Errorf("%s: %d and %d threads, want %d and %d", what, a, b, one, four)
		}
	}
	l.turn = 1
	check("first", 1, 4)
	m.procs[11].Threads = 3
	check("one has ended", 1, 3)
	m.procs[11].Threads, m.procs[10].Threads = 2, 2
	m.forks++
	check("one has ended, and one was born elsewhere", 2, 2)
}

// TestListTornByExec: what looks ended because it was read amid an execve by another thread is read again.
func TestListTornByExec(t *testing.T) {
	for _, seen := range []Proc{{State: 'X'}, {State: 'Z'}, {State: 'X', Threads: 2}} {
		m := newMachine()
		p := m.born(100, 1, 100, 100)
		was := p.Proc
		p.State, p.Threads, p.PPID = seen.State, seen.Threads, 0
		l := &Lister{source: m, limit: 10}
		for pass := range 2 {
			m.now += 1000
			m.forks++ // others
			l.begin(m.now)
			l.turn = 1 // not that of 100
			got, err := l.List()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.plain(), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%c with %d threads, pass %d (-scan +list):\n%s", seen.State, seen.Threads, pass, diff)
			}
			p.Proc = was
		}
	}
}

// TestListDoubtsCounters: counters that do not move when they should are found out.
func TestListDoubtsCounters(t *testing.T) {
	m := newMachine()
	l := &Lister{source: m}
	m.born(10, 1, 10, 10)
	for range 3 * everyListing {
		m.now += 1000
		l.begin(m.now)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
	}
	if l.blind {
		t.Error("doubted without a cause")
	}
	m.born(20, 1, 20, 20)
	m.forks--
	m.procs[10].reaped = true
	delete(m.procs, 10)
	for range everyListing {
		m.now += 1000
		l.begin(m.now)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
	}
	if !l.blind {
		t.Error("a birth that was not counted was not found")
	}
	if diff := cmp.Diff(m.plain(), l.procs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestListOrphanOfLeader: an orphan is adopted through a leader that became one after it was read.
func TestListOrphanOfLeader(t *testing.T) {
	m := newMachine()
	m.born(10, 1, 1, 1)
	m.born(20, 10, 1, 1)
	l := &Lister{source: m}
	for range everyListing + 5 {
		m.now += 1000
		l.begin(m.now)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
	}
	leader := m.procs[20]
	leader.PGrp, leader.Session = 20, 20
	m.born(30, 1, 20, 20) // its parent, a child of the leader, has just ended
	procs, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	assigned := Assign(procs, map[int]Named{20: {Path: "a", Start: leader.Start}}, Pass{Since: m.now})
	if len(assigned) != 2 || assigned[1].PID != 30 {
		t.Errorf("assigned %+v, want 20 and 30", assigned)
	}
}

// TestListAfterFault: what was half read is not taken over.
func TestListAfterFault(t *testing.T) {
	m := newMachine()
	l := &Lister{source: m}
	for _, fault := range []error{nil, errors.New("fault"), nil} {
		m.fault = fault
		m.forks++
		l.begin(m.now)
		procs, err := l.List()
		if !errors.Is(err, fault) || err == nil && !cmp.Equal(procs, m.plain()) {
			t.Errorf("%v: %v, %+v", fault, err, procs)
		}
	}
}
