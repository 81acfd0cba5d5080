package pidfiles

// everyListing is how many passes it takes until every process has been read again, whatever was concluded about it.
const everyListing = 16

// A Lister lists the processes of the machine again and again, for less than a [Scanner.Scan] each time: it reads /proc
// as a whole, but of the processes only those about which something that matters can have changed.
//
// The law behind it: a process's parent stays the same as long as that one runs. So whoever had children is read again,
// and a child whose parent is the same living process keeps what is known of it. Which process it is says the inode of its
// directory in /proc: the kernel makes a new one for each process, and drops it with the process (proc_pid_make_inode and
// proc_flush_pid in the kernel's fs/proc/base.c). Should an inode ever stand for another process than it did, the Lister
// reads everything from then on.
//
// It is not safe for use by two goroutines at the same time.
type Lister struct {
	scan   *Scanner
	source source
	since  uint64
	first  bool // the next listing is the first one of its pass
	turn   int
	plain  bool // inodes do not tell processes apart here

	procs  []Proc // the last listing, sorted by pid
	about  []about
	before listing // the one before; its memory is used again
}

// source is what a Lister reads: a Scanner.
type source interface {
	list() ([]entryOf, error)
	process(pid int) (p Proc, alive bool, err error)
	threads(pid int) int
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
	counted bool // its threads were read or counted in this pass
	parent  bool // it had children
	gone    bool
}

// NewLister opens a proc filesystem: "/proc".
func NewLister(proc string) (*Lister, error) {
	s, err := NewScanner(proc)
	if err != nil {
		return nil, err
	}
	return &Lister{scan: s, source: s}, nil
}

// Close releases the descriptor.
func (l *Lister) Close() error { return l.scan.Close() }

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
	found, err := l.source.list()
	if err != nil {
		return nil, err
	}
	l.takeOver(found)
	if err := l.readDoubtful(); err != nil {
		l.procs, l.about = l.procs[:0], l.about[:0] // nothing half read is taken over
		return nil, err
	}
	l.compact()
	l.first = false
	return l.procs, nil
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
	for i := range l.procs {
		if l.stray(i) {
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
	for i := range old.procs {
		if parent, ok := search(old.procs, old.procs[i].PPID); ok {
			old.about[parent].parent = true
		}
	}
	at := 0
	for _, entry := range found {
		for at < len(old.procs) && old.procs[at].PID < entry.pid {
			at++
		}
		p, known := Proc{PID: entry.pid}, about{}
		// 1 is what the kernel shows when it had no memory for an inode.
		if at < len(old.procs) && old.procs[at].PID == entry.pid && old.about[at].ino == entry.ino && entry.ino > 1 {
			p = old.procs[at]
			known = about{same: true, parent: old.about[at].parent, counted: !l.first && old.about[at].counted}
		}
		known.ino = entry.ino
		l.procs, l.about = append(l.procs, p), append(l.about, known)
	}
}

// unread reports whether a process has to be read in any case: it is new or young, so that it may still join a group or
// session; it had children, whose parent it is only as long as it runs; nothing is known of its parent; or it is its turn.
func (l *Lister) unread(i int) bool {
	p, known := &l.procs[i], &l.about[i]
	switch {
	case !known.same || l.plain:
		return true
	case p.Ended():
		return false // and stays so until somebody waits for it
	case p.State == 'Z', p.Start >= l.since, known.parent, p.PPID == 0:
		return true
	}
	return l.first && p.PID%everyListing == l.turn
}

// stray reports whether a process has to be read because its parent is not surely the one it had.
func (l *Lister) stray(i int) bool {
	if l.about[i].read || l.about[i].gone || l.procs[i].Ended() {
		return false
	}
	parent, ok := search(l.procs, l.procs[i].PPID)
	if !ok {
		return true
	}
	a := &l.about[parent]
	return !a.same || !a.read || a.gone || l.procs[parent].Ended()
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
	p, alive, err := l.source.process(l.procs[i].PID)
	if err != nil {
		return err
	}
	known := &l.about[i]
	if alive && known.same && p.Start != l.procs[i].Start {
		l.plain = true
	}
	known.read, known.counted, known.gone = true, true, !alive
	if alive {
		l.procs[i] = p
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
	for i := range l.about {
		l.about[i].parent = false
	}
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
	l.procs[i], l.about[i].read, l.about[i].counted = p, true, true
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
		l.about[i].counted = true
	}
	return l.procs[i].Threads
}
