package pidfiles

import (
	"maps"
	"slices"

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
