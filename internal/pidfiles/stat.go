package pidfiles

import (
	"bytes"
	"errors"
)

// kernelThread is PF_KTHREAD of the kernel's linux/sched.h, as shown in field 9 of /proc/PID/stat.
const kernelThread = 0x00200000

// A Proc is one process as /proc/PID/stat shows it, see proc_pid_stat(5).
type Proc struct {
	PID     int
	PPID    int    // 0 for pid 1, kthreadd, and a process whose parent is outside our pid namespace
	PGrp    int    // process group: the pid of its leader, which may have ended
	Session int    // the pid of its leader, which may have ended
	Threads int    // living threads
	Start   uint64 // clock ticks since boot, see [Ticks]
	State   byte   // R, S, D, Z, T, t, X, I
	Kernel  bool   // a kernel thread
}

// Ident returns what tells this process from a later one with the same pid.
func (p *Proc) Ident() Ident { return Ident{PID: p.PID, Start: p.Start} }

// Ended reports whether nothing of the process runs any more. A process whose first thread has ended shows as a zombie
// too, but lives on in its other threads.
func (p *Proc) Ended() bool {
	return p.State == 'X' || p.State == 'x' || p.State == 'Z' && p.Threads <= 1
}

// torn reports whether this was read while another thread than the first one was becoming the process by execve (de_thread
// in the kernel's fs/exec.c): for a moment the text is that of the old first thread, which looks as if it had ended, and
// mostly as if it had no threads. The process lives on by its pid and start. What has really ended looks so too, right
// before it is gone.
func (p *Proc) torn() bool { return p.Threads == 0 || p.State == 'X' || p.State == 'x' }

// tornReads is how often a process is read that seems torn.
const tornReads = 5

// dead reports whether the process has ended beyond doubt, so that it stays so until somebody waits for it.
func (p *Proc) dead() bool { return p.State == 'Z' && p.Threads == 1 }

var errStat = errors.New("not in the form of /proc/PID/stat")

// ParseStat reads the text of /proc/PID/stat. It does not allocate.
func ParseStat(data []byte) (Proc, error) {
	// The command's name may hold anything but NUL: blanks, parentheses, newlines. It ends at the last parenthesis.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return Proc{}, errStat
	}
	pid, ok := number(bytes.TrimSpace(data[:open]))
	if !ok || pid == 0 || pid > maxPID {
		return Proc{}, errStat
	}
	p := Proc{PID: int(pid)}
	f := fields{rest: data[end+1:]}
	state := f.next() // field 3
	if len(state) != 1 {
		return Proc{}, errStat
	}
	p.State = state[0]
	p.PPID = f.pid()
	p.PGrp = f.pid()
	p.Session = f.pid()
	f.skip(2) // tty_nr, tpgid
	p.Kernel = f.number()&kernelThread != 0
	f.skip(10) // 10 minflt to 19 nice
	p.Threads = int(min(f.number(), maxPID))
	f.skip(1) // itrealvalue
	p.Start = f.number()
	if f.bad {
		return Proc{}, errStat
	}
	return p, nil
}

// fields walks through numbers with blanks between them; a fault sticks.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) next() []byte {
	i := 0
	for i < len(f.rest) && (f.rest[i] == ' ' || f.rest[i] == '\n') {
		i++
	}
	j := i
	for j < len(f.rest) && f.rest[j] != ' ' && f.rest[j] != '\n' {
		j++
	}
	field := f.rest[i:j]
	f.rest = f.rest[j:]
	if len(field) == 0 {
		f.bad = true
	}
	return field
}

func (f *fields) skip(n int) {
	for range n {
		f.next()
	}
}

func (f *fields) number() uint64 {
	n, ok := number(f.next())
	if !ok {
		f.bad = true
	}
	return n
}

// pid reads a pid that may be 0 (none), or -1 in a process that is just ending.
func (f *fields) pid() int {
	field := f.next()
	if len(field) > 1 && field[0] == '-' {
		if _, ok := number(field[1:]); !ok {
			f.bad = true
		}
		return 0
	}
	n, ok := number(field)
	if !ok || n > maxPID {
		f.bad = true
		return 0
	}
	return int(n)
}

// number reads an unsigned decimal number, without allocating.
func number(field []byte) (uint64, bool) {
	if len(field) == 0 || len(field) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range field {
		if c < '0' || c > '9' {
			return 0, false
		}
		next := n*10 + uint64(c-'0')
		if n > (1<<64-1)/10 || next < n*10 {
			return 0, false
		}
		n = next
	}
	return n, true
}
