package pidfiles

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// machine is a model of the processes of a machine, with the kernel's rules for parents: it is what a Lister and a plain
// scan both read.
type machine struct {
	procs map[int]*modelProc
	now   uint64
	inos  uint64
	reads int
	lists int
	forks uint64
	holds []*modelProc // by ^fd
	amid  func()       // happens before whatever the machine is asked
	fault error
}

// asked lets time pass.
func (m *machine) asked() {
	if amid := m.amid; amid != nil {
		m.amid = nil
		amid()
		m.amid = amid
	}
}

type modelProc struct {
	Proc
	ino    uint64
	reaped bool
}

func newMachine() *machine {
	m := &machine{procs: map[int]*modelProc{}, now: 100, inos: 1000}
	m.born(1, 0, 1, 1)
	m.born(2, 0, 0, 0).Kernel = true
	m.born(3, 2, 0, 0).Kernel = true
	return m
}

func (m *machine) born(pid, parent, group, session int) *modelProc {
	m.inos++
	m.forks++
	p := &modelProc{Proc: Proc{PID: pid, PPID: parent, PGrp: group, Session: session, Threads: 1, Start: m.now, State: 'S'}, ino: m.inos}
	m.procs[pid] = p
	return p
}

func (m *machine) list() ([]entryOf, error) {
	m.asked()
	m.lists++
	if m.fault != nil {
		return nil, m.fault
	}
	var found []entryOf
	for _, pid := range slices.Sorted(maps.Keys(m.procs)) {
		found = append(found, entryOf{pid: pid, ino: m.procs[pid].ino})
	}
	return found, nil
}

func (m *machine) process(pid int) (Proc, bool, error) {
	m.asked()
	m.reads++
	if p := m.procs[pid]; p != nil {
		return p.Proc, true, nil
	}
	return Proc{}, false, nil
}

func (m *machine) threads(pid int) int {
	m.asked()
	if p := m.procs[pid]; p != nil {
		return p.Threads
	}
	return 0
}

func (m *machine) births() (uint64, bool) {
	m.asked()
	return m.forks, true
}

func (m *machine) living() (n uint64, ok bool) {
	m.asked()
	for _, p := range m.procs {
		n += uint64(p.Threads)
	}
	return n, true
}

// hold gives descriptors that nobody can close.
func (m *machine) hold(pid int) (*handle, error) {
	m.asked()
	p := m.procs[pid]
	if p == nil {
		return nil, unix.ESRCH
	}
	m.holds = append(m.holds, p)
	return &handle{fd: ^len(m.holds) + 1}, nil
}

func (m *machine) ended(fds []unix.PollFd) {
	m.asked()
	for i := range fds {
		if p := m.holds[^fds[i].Fd]; p.reaped || p.Ended() {
			fds[i].Revents = unix.POLLIN
		}
	}
}

// plain is what a scan finds.
func (m *machine) plain() []Proc {
	var procs []Proc
	for _, pid := range slices.Sorted(maps.Keys(m.procs)) {
		procs = append(procs, m.procs[pid].Proc)
	}
	return procs
}

// end lets a process end as the kernel does (exit_notify in its kernel/exit.c): its children get another parent at once,
// it stays as a zombie until it is waited for.
func (m *machine) end(p *modelProc, heir int) {
	for _, child := range m.procs {
		if child.PPID == p.PID {
			child.PPID = heir
		}
	}
	p.State, p.Threads = 'Z', 1
}

// user are the processes that are no kernel threads, nor init, nor zombies.
func (m *machine) user() []*modelProc {
	var out []*modelProc
	for _, pid := range slices.Sorted(maps.Keys(m.procs)) {
		if p := m.procs[pid]; pid > 3 && !p.Ended() {
			out = append(out, p)
		}
	}
	return out
}

// step does one thing that processes do; choose(n) is a number below n. Pids are few, so that they are given again.
func (m *machine) step(choose func(int) int) {
	m.now += uint64(choose(2))
	users := m.user()
	what := choose(9)
	if what < 3 || len(users) == 0 {
		pid := 4 + choose(60)
		if m.procs[pid] != nil {
			return
		}
		parent := m.procs[1]
		if len(users) > 0 && choose(8) > 0 {
			parent = users[choose(len(users))]
		}
		m.born(pid, parent.PID, parent.PGrp, parent.Session)
		return
	}
	p := users[choose(len(users))]
	switch what {
	case 3, 4:
		heir := 1
		if up := m.procs[p.PPID]; up != nil && choose(3) == 0 {
			heir = up.PID // a subreaper
		}
		m.end(p, heir)
	case 5:
		for _, pid := range slices.Sorted(maps.Keys(m.procs)) {
			if m.procs[pid].Ended() && choose(2) == 0 {
				m.procs[pid].reaped = true
				delete(m.procs, pid)
			}
		}
	case 6:
		p.PGrp, p.Session = p.PID, p.PID // setsid
	case 7:
		p.PGrp = p.PID // setpgid
	case 8:
		before := p.Threads
		p.Threads = 1 + choose(4)
		p.State = "SRSZ"[choose(4)]
		if p.State == 'Z' {
			p.Threads = max(p.Threads, 2) // the first thread has ended, others go on
		}
		m.forks += uint64(max(p.Threads-before, 0) + choose(2)*choose(3)) // some have ended already
	}
}

// judge compares what a pass by the Lister and one by a plain scan conclude, with a history each.
type judge struct {
	m           *machine
	l           *Lister
	plain, ours History
	named       map[int]Named
	since       uint64
}

// compare lists once and compares.
func (j *judge) compare(t *testing.T, first bool) {
	t.Helper()
	got, err := j.l.List()
	if err != nil {
		t.Fatal(err)
	}
	want := j.m.plain()
	if len(got) != len(want) {
		t.Fatalf("%d processes, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if n := j.l.Threads(g.PID); first && !w.Ended() && n != w.Threads {
			t.Fatalf("threads of %d: %d, want %d", g.PID, n, w.Threads)
		}
		if w.Start < j.since { // see Lister.List
			g.PGrp, g.Session = w.PGrp, w.Session
		}
		g.Threads = w.Threads
		if g.Ended() == w.Ended() || w.Ended() && !g.Ended() {
			g.State = w.State // of those that run any will do; a zombie without children may not be known as one
		}
		if w.Ended() {
			g.PPID, g.PGrp, g.Session = w.PPID, w.PGrp, w.Session // nobody asks for those of a zombie
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	pass := Pass{Since: j.since, Self: 999}
	pass.History = j.plain
	wanted := Assign(want, j.named, pass)
	j.plain.Update(want, wanted)
	pass.History = j.ours
	assigned := Assign(got, j.named, pass)
	j.ours.Update(got, assigned)
	var living []Assignment
	for _, a := range assigned {
		// A named process without children that has ended in the middle of the pass, may be missed in it.
		if alive, _ := j.l.Alive(a.PID); alive && !j.m.procs[a.Root.PID].Ended() {
			living = append(living, a)
		}
	}
	// A zombie that is not known as one yet brings its parent forward.
	byPID := func(a, b Assignment) int { return a.PID - b.PID }
	slices.SortFunc(wanted, byPID)
	slices.SortFunc(living, byPID)
	if diff := cmp.Diff(wanted, living, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("assigned (-want +got):\n%s", diff)
	}
}

// disturb is a pass amid which things happen. Whatever it sees, it must not mislead the one after it.
func (j *judge) disturb(choose func(int) int) {
	j.m.amid = func() {
		if choose(6) == 0 {
			j.m.step(choose)
		}
	}
	defer func() { j.m.amid = nil }()
	j.l.begin(j.m.now)
	for range 1 + choose(2) {
		procs, err := j.l.List()
		if err != nil {
			return
		}
		for i := range procs {
			if choose(2) == 0 {
				j.l.Threads(procs[i].PID)
			}
		}
		if len(procs) > 0 {
			j.l.Alive(procs[choose(len(procs))].PID)
		}
	}
}

// run lets a model live, with a pass of one or more listings from time to time.
func run(t *testing.T, steps int, choose func(int) int) {
	m := newMachine()
	j := &judge{m: m, l: &Lister{source: m, limit: 6}, plain: History{}, ours: History{}}
	for range steps {
		for range choose(12) {
			m.step(choose)
		}
		if choose(3) == 0 {
			j.disturb(choose)
		}
		j.named = map[int]Named{}
		for _, p := range m.user() {
			if p.PID%7 == 0 {
				j.named[p.PID] = Named{Path: "g" + strconv.Itoa(p.PID), Start: p.Start}
			}
		}
		m.now++
		j.since = m.now
		j.l.begin(j.since)
		for listing := range 1 + choose(3) {
			for range choose(4) {
				m.step(choose)
			}
			j.compare(t, listing == 0) // threads are counted once a pass
		}
	}
}

// TestListIsScan: whatever processes do, a Lister's listings lead to what plain scans lead to.
func TestListIsScan(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			run(t, 60, rand.New(rand.NewPCG(seed, 1)).IntN)
		})
	}
}

func FuzzListIsScan(f *testing.F) {
	f.Add([]byte("processes come and go, and some are ours"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			return
		}
		at := 0
		run(t, len(data)/8, func(n int) int {
			if len(data) == 0 || n <= 1 {
				return 0
			}
			at++
			return (int(data[at%len(data)]) + at/len(data)) % n
		})
	})
}

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

// forking is a shell's program in which processes fork, end, and are left to others, until it is told to stop; the tree
// then stands still.
const forking = `
grow() {
	i=0
	while [ $i -lt 4 ]; do
		i=$((i+1))
		case $(( ($1 + i + line) % 4 )) in
		0) sleep 1000 & ;;
		1) (sleep 1000 & sleep 1000 & exit 0) ;;
		2) true & ;;
		3) [ $1 -gt 0 ] && ( grow $(($1-1)); exec sleep 1000 ) & ;;
		esac
	done
}
while read line; do grow 3 >/dev/null 2>&1 </dev/null; echo ready; done
`

// TestListOfForkingTrees compares the two ways on real processes.
func TestListOfForkingTrees(t *testing.T) {
	l, err := NewLister("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cmd := exec.Command("/bin/sh", "-c", forking)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	session := 0
	out := &readyLines{make(chan string, 100)}
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	session = cmd.Process.Pid
	s := newScanner(t)
	ours := func(procs []Proc) map[int]string {
		found := map[int]string{}
		for _, p := range procs {
			if p.Session == session && p.State != 'Z' {
				found[p.PID] = fmt.Sprint(p.PPID, p.PGrp, p.Start)
			}
		}
		return found
	}
	defer func() {
		for pid := range ours(scan(t, s)) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = in.Close()
		_ = cmd.Wait()
	}()
	for round := range 12 {
		if _, err := fmt.Fprintln(in, round); err != nil {
			t.Fatal(err)
		}
		l.Begin()
		if _, err := l.List(); err != nil { // amid the forks
			t.Fatal(err)
		}
		select {
		case <-out.ready:
		case <-time.After(time.Minute):
			t.Fatal("the shell is not ready")
		}
		if round%2 == 1 {
			for pid := range ours(scan(t, s)) {
				if pid != session && pid%3 == 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
		var want, got map[int]string
		wrong := 0
		eventually(t, "both ways find the same processes", func() bool {
			before := ours(scan(t, s))
			l.Begin()
			procs, err := l.List()
			if err != nil {
				t.Fatal(err)
			}
			var alive []Proc
			for _, p := range procs {
				if p.Session != session {
					continue
				}
				if ok, _ := l.Alive(p.PID); ok {
					alive = append(alive, p)
				}
			}
			want, got = ours(scan(t, s)), ours(alive)
			// While the tree stands still there is no excuse. One that came and went in between was in neither scan, so
			// that it takes three in a row; and a reading by turn does not make good so soon what was missed.
			if maps.Equal(before, want) && !maps.Equal(got, want) {
				wrong++
			} else {
				wrong = 0
			}
			if wrong == 3 {
				t.Fatalf("round %d (-want +got):\n%s", round, cmp.Diff(want, got))
			}
			return maps.Equal(got, want)
		})
	}
}

type readyLines struct{ ready chan string }

func (l *readyLines) Write(data []byte) (int, error) {
	for range bytes.Count(data, []byte("\n")) {
		l.ready <- strings.TrimSpace(string(data))
	}
	return len(data), nil
}

// TestListThreads counts the threads of real processes that were listed before.
func TestListThreads(t *testing.T) {
	pid := startSleep(t, 0)
	l, err := NewLister("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		l.begin(Ticks() + 1000)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
		l.about[mustFind(t, l.procs, pid)].counted = false
		l.about[mustFind(t, l.procs, os.Getpid())].counted = false
		tids, err := Threads(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Threads(os.Getpid()); got < len(tids) || got > len(tids)+20 {
			t.Errorf("%d threads of ours, want about %d", got, len(tids))
		}
		if got := l.Threads(pid); got != 1 {
			t.Errorf("%d threads of a process with one", got)
		}
	}
}

func mustFind(t *testing.T, procs []Proc, pid int) int {
	t.Helper()
	i, ok := search(procs, pid)
	if !ok {
		t.Fatalf("%d is not listed", pid)
	}
	return i
}
