package pidfiles

import (
	"slices"

	"golang.org/x/sys/unix"
)

// everyListing is how many passes it takes until every process has been read again, whatever was concluded about it.
const everyListing = 16

// A Lister lists the processes of the machine again and again, for less than a [Scanner.Scan] each time: it reads /proc
// as a whole, but of the processes only those about which something that matters can have changed.
//
// The law behind it: a process's parent stays the same as long as that one runs. So whoever had children is asked whether
// it runs, and a child whose parent is the same living process keeps what is known of it. Which process it is says the
// inode of its directory in /proc: the kernel makes a new one for each process, and drops it with the process
// (proc_pid_make_inode and proc_flush_pid in the kernel's fs/proc/base.c). Should an inode ever stand for another process
// than it did, the Lister reads everything from then on. Parents are held by pidfds, as many as [MaxHeld] allows, so that
// one system call asks about all of them; others are read.
//
// Not even the list is read when nobody was born and nobody has gone since the last time, as the kernel's own counters say,
// see [Lister.unchanged]. Every everyListing'th pass reads it all the same. Should it differ then, the counters are not what
// they seem, and are not asked any more.
//
// It is not safe for use by two goroutines at the same time.
type Lister struct {
	scan   *Scanner
	source source
	since  uint64
	first  bool // the next listing is the first one of its pass
	turn   int
	plain  bool // inodes do not tell processes apart here
	blind  bool // the counters of births do not tell whether the list is the same here

	base   tally // of before the last time that /proc was listed
	based  bool  // base is known
	unborn bool  // nobody was born since the listing before the present one

	procs  []Proc // the last listing, sorted by pid
	about  []about
	before listing // the one before; its memory is used again

	limit int // of processes that are held
	held  int
	polls []unix.PollFd
}

// source is what a Lister reads: a Scanner.
type source interface {
	list() ([]entryOf, error)
	process(pid int) (p Proc, alive bool, err error)
	threads(pid int) int
	births() (forks uint64, ok bool)
	living() (threads uint64, ok bool)
	hold(pid int) (*handle, error)
	ended(fds []unix.PollFd)
}

// listing is a listing and what goes with it.
type listing struct {
	procs []Proc
	about []about
}

// about is what is noted beside a process.
type about struct {
	ino     uint64
	same    bool // it was listed before
	read    bool // its stat was read in this listing
	counted bool // its threads were read or counted in this pass, or their number is exact
	exact   bool // its threads were read or counted since Lister.base was noted
	parent  bool // it had children
	runs    bool // it is held, and had not ended when that was asked in this listing
	gone    bool
	process *handle // when it is held
}

// NewLister opens a proc filesystem: "/proc".
func NewLister(proc string) (*Lister, error) {
	s, err := NewScanner(proc)
	if err != nil {
		return nil, err
	}
	return &Lister{scan: s, source: s, limit: maxHeld()}, nil
}

// Close releases the descriptors.
func (l *Lister) Close() error {
	for i := range l.about {
		l.drop(i)
	}
	return l.scan.Close()
}

// Begin begins a pass, of one or more listings, and returns when, as [Ticks] does: [Pass.Since] for [Assign].
func (l *Lister) Begin() (since uint64) {
	since = Ticks()
	l.begin(since)
	return since
}

func (l *Lister) begin(since uint64) {
	l.since, l.first = since, true
	l.turn = (l.turn + 1) % everyListing
}

// List returns the processes of the machine as [Scanner.Scan] does. The result is valid until the next List.
//
// It is as good as a scan for [Assign] and [History.Update] in the pass that [Lister.Begin] has begun, but for this: a
// process without children may have ended and not been waited for ([Lister.Alive] asks), or have another number of threads
// ([Lister.Threads] counts).
func (l *Lister) List() ([]Proc, error) {
	same, base := !l.blind && l.unchanged(), l.base
	if same && (l.turn != 0 || !l.first) {
		l.again()
	} else if err := l.listAgain(); err != nil {
		l.forget()
		return nil, err
	}
	l.ask()
	if err := l.readDoubtful(); err != nil {
		l.forget() // nothing half read is taken over
		return nil, err
	}
	l.compact()
	if same && l.first && l.turn == 0 && l.base == base {
		l.verify()
	}
	l.first = false
	return l.procs, nil
}

// unchanged reports whether no process and no thread was born, and none has gone, since l.base was noted, which was right
// before /proc was listed: then the list, and every number of threads that was read since, still hold. When something has
// happened, it reports false.
//
// The kernel counts every fork and clone when the new thread becomes visible, and never uncounts one; a thread is counted
// among those that exist from the same moment on, until it is dropped from its process (copy_process in kernel/fork.c and
// __unhash_process in kernel/exit.c). So if there were as many forks at the end as at the beginning, nobody was born in
// between; and if as many threads exist, while nobody was born, none has gone. The forks are noted first and compared last,
// so that the time between the two looks at the threads lies within that of the forks.
//
// What happens without either is asked about otherwise: that a process ends and nobody waits for it yet, by which its
// children get another parent ([Lister.ask]). execve(2) in a thread that is not the first ends the others, which is seen.
func (l *Lister) unchanged() bool {
	if !l.based {
		return false
	}
	threads, ok := l.source.living()
	if !ok || threads != l.base.threads {
		return false
	}
	forks, ok := l.source.births()
	return ok && forks == l.base.forks
}

// Unchanged reports whether the list is still the one that the last List returned: nobody was born, nobody has gone. False
// says only that something may have happened.
func (l *Lister) Unchanged() bool { return !l.blind && l.unchanged() }

// listAgain lists /proc, with what the kernel had counted before.
func (l *Lister) listAgain() error {
	before, based := l.base, l.based
	l.based = false
	if !l.blind {
		forks, ok := l.source.births()
		threads, also := l.source.living()
		l.base, l.based = tally{forks: forks, threads: threads}, ok && also
	}
	l.unborn = based && l.based && before.forks == l.base.forks
	found, err := l.source.list()
	if err != nil {
		return err
	}
	l.takeOver(found)
	return nil
}

// again begins a listing in which everybody of the last one is still there.
func (l *Lister) again() {
	l.findParents(l.procs, l.about)
	for i := range l.about {
		l.about[i] = l.take(&l.about[i], l.about[i].exact)
	}
}

// take is what is noted of a process that is still there. exact says whether the number of its threads is still right.
func (l *Lister) take(was *about, exact bool) about {
	return about{
		ino: was.ino, same: true, parent: was.parent, process: was.process,
		counted: exact || was.counted && !l.first, exact: exact,
	}
}

// verify compares the list with the one before. When the counters are the same before, between and after the two, the lists
// are, or the counters do not mean what they seem to.
func (l *Lister) verify() {
	equal := func(a, b Proc) bool { return a.PID == b.PID && a.Start == b.Start }
	if !slices.EqualFunc(l.procs, l.before.procs, equal) && l.unchanged() {
		l.blind = true
	}
}

// forget drops all that is known.
func (l *Lister) forget() {
	for i := range l.about {
		l.drop(i)
	}
	l.procs, l.about, l.based = l.procs[:0], l.about[:0], false
}

// findParents notes who of some processes has children among them.
func (l *Lister) findParents(procs []Proc, about []about) {
	for i := range about {
		about[i].parent = false
	}
	kin := lookup{procs: procs}
	for i := range procs {
		if parent, ok := kin.find(procs[i].PPID); ok {
			about[parent].parent = true
		}
	}
}

// A lookup finds parents: siblings often stand together.
type lookup struct {
	procs []Proc
	pid   int // that was looked for last
	at    int
	ok    bool
}

func (l *lookup) find(pid int) (int, bool) {
	if pid != l.pid {
		l.pid = pid
		l.at, l.ok = search(l.procs, pid)
	}
	return l.at, l.ok
}

// readDoubtful reads what cannot be taken over: parents before their children are judged by them.
func (l *Lister) readDoubtful() error {
	for i := range l.procs {
		if l.unread(i) {
			if err := l.readAt(i); err != nil {
				return err
			}
		}
	}
	kin := lookup{procs: l.procs}
	for i := range l.procs {
		if l.stray(i, &kin) {
			if err := l.readAt(i); err != nil {
				return err
			}
		}
	}
	return l.leaders()
}

// takeOver begins a listing with what is known of the processes that are still there.
func (l *Lister) takeOver(found []entryOf) {
	old := listing{procs: l.procs, about: l.about}
	l.procs, l.about, l.before = l.before.procs[:0], l.before.about[:0], old
	l.findParents(old.procs, old.about)
	at := 0
	for _, entry := range found {
		for at < len(old.procs) && old.procs[at].PID < entry.pid {
			at++
		}
		p, known := Proc{PID: entry.pid}, about{}
		// 1 is what the kernel shows when it had no memory for an inode.
		if at < len(old.procs) && old.procs[at].PID == entry.pid && old.about[at].ino == entry.ino && entry.ino > 1 {
			p = old.procs[at]
			was := &old.about[at]
			// Where nobody was born, who had one thread has not more.
			known = l.take(was, was.exact && l.unborn && p.Threads == 1)
			was.process = nil
		}
		known.ino = entry.ino
		l.procs, l.about = append(l.procs, p), append(l.about, known)
	}
	for i := range old.about {
		if a := &old.about[i]; a.process != nil {
			a.process.close()
			a.process = nil
			l.held--
		}
	}
}

// unread reports whether a process has to be read in any case: it is new or young, so that it may still join a group or
// session; it had children, whose parent it is only as long as it runs; nothing is known of its parent; or it is its turn.
func (l *Lister) unread(i int) bool {
	p, known := &l.procs[i], &l.about[i]
	switch {
	case !known.same || l.plain:
		return true
	case p.dead():
		return false
	case p.Ended(), p.State == 'Z', p.Start >= l.since, known.parent && !known.runs, p.PPID == 0:
		return true
	}
	return l.first && p.PID%everyListing == l.turn
}

// stray reports whether a process has to be read because its parent is not surely the one it had.
func (l *Lister) stray(i int, kin *lookup) bool {
	if l.about[i].read || l.about[i].gone || l.procs[i].Ended() {
		return false
	}
	parent, ok := kin.find(l.procs[i].PPID)
	if !ok {
		return true
	}
	a := &l.about[parent]
	return !a.same || !a.read && !a.runs || a.gone || l.procs[parent].Ended()
}

// leaders reads the parents and the leaders of what is new: whether an orphan belongs to us depends on their groups and
// sessions, which a process may change.
func (l *Lister) leaders() error {
	for i := range l.procs {
		p, known := &l.procs[i], &l.about[i]
		if !known.read || known.gone || known.same && p.Start < l.since {
			continue
		}
		for _, pid := range [...]int{p.PPID, p.PGrp, p.Session} {
			if j, ok := search(l.procs, pid); ok && !l.about[j].read && !l.about[j].gone {
				if err := l.readAt(j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readAt reads the process at i.
func (l *Lister) readAt(i int) error {
	l.hold(i)
	p, alive, err := l.source.process(l.procs[i].PID)
	if err != nil {
		return err
	}
	known := &l.about[i]
	if alive && known.same && p.Start != l.procs[i].Start {
		l.plain = true
	}
	known.read, known.counted, known.exact, known.gone = true, true, true, !alive
	if alive {
		l.procs[i] = p
	} else {
		l.drop(i)
	}
	return nil
}

// compact drops those that have gone.
func (l *Lister) compact() {
	n := 0
	for i := range l.procs {
		if !l.about[i].gone {
			l.procs[n], l.about[n] = l.procs[i], l.about[i]
			n++
		}
	}
	l.procs, l.about = l.procs[:n], l.about[:n]
}

// Alive reports whether a process of the last listing has not ended, and is no zombie, and whether its stat had to be
// read for that.
func (l *Lister) Alive(pid int) (alive, read bool) {
	i, ok := search(l.procs, pid)
	if !ok {
		return false, false
	}
	if l.about[i].read || l.procs[i].Ended() {
		return !l.procs[i].Ended(), false
	}
	p, alive, err := l.source.process(pid)
	if err != nil || !alive || p.Start != l.procs[i].Start {
		return false, true
	}
	l.procs[i], l.about[i].read, l.about[i].counted, l.about[i].exact = p, true, true, true
	return !p.Ended(), true
}

// Threads counts the living threads of a process of the last listing, once a pass. It is 0 for any other one.
func (l *Lister) Threads(pid int) int {
	i, ok := search(l.procs, pid)
	if !ok {
		return 0
	}
	if !l.about[i].counted {
		l.procs[i].Threads = l.source.threads(pid)
		l.about[i].counted, l.about[i].exact = true, true
	}
	return l.procs[i].Threads
}
