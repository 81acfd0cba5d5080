package pidfiles

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Scanner lists the processes of the machine. It keeps a descriptor and its buffers, so that a scan allocates nothing
// once they have grown. It is not safe for use by two goroutines at the same time.
type Scanner struct {
	proc  string
	fd    int
	dir   []byte // directory entries as the kernel gives them
	found []entryOf
	path  []byte // "PID/stat\x00"
	stat  []byte
	links unix.Statx_t
	procs []Proc
	born  *births // nil: the counters cannot be read
}

// An entryOf is the directory of a process in /proc.
type entryOf struct {
	pid int
	ino uint64 // of the directory
}

// NewScanner opens a proc filesystem: "/proc".
func NewScanner(proc string) (*Scanner, error) {
	fd, err := unix.Open(proc, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", proc, err)
	}
	born, err := openBirths(fd)
	if err != nil {
		born = nil // it takes longer without them
	}
	return &Scanner{
		born: born,
		proc: proc,
		fd:   fd,
		dir:  make([]byte, 32<<10),
		path: make([]byte, 0, 32),
		// 52 numbers of at most 20 digits and a name of at most 64 bytes; what we need stands in the first half.
		stat: make([]byte, 2048),
	}, nil
}

// Close releases the descriptors.
func (s *Scanner) Close() error {
	if s.born != nil {
		s.born.close()
	}
	return unix.Close(s.fd)
}

// Scan reads /proc once and returns its processes sorted by pid, kernel threads and zombies included. The result is
// valid until the next Scan.
//
// The machine goes on meanwhile: a process that ends during the scan may be missing or not, one that is started may be
// listed or not, so a caller that must see all repeats until nothing new appears.
func (s *Scanner) Scan() ([]Proc, error) {
	s.procs = s.procs[:0]
	found, err := s.list()
	if err != nil {
		return nil, err
	}
	for i := range found {
		p, alive, err := s.process(found[i].pid)
		if err != nil {
			return nil, err
		}
		if alive {
			s.procs = append(s.procs, p)
		}
	}
	return s.procs, nil
}

// list lists /proc, sorted by pid. The result is valid until the next call.
func (s *Scanner) list() ([]entryOf, error) {
	s.found = s.found[:0]
	if _, err := unix.Seek(s.fd, 0, 0); err != nil {
		return nil, fmt.Errorf("seek %s: %w", s.proc, err)
	}
	for {
		n, err := unix.Getdents(s.fd, s.dir)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.proc, err)
		}
		if n == 0 {
			break
		}
		if err := s.entries(s.dir[:n]); err != nil {
			return nil, err
		}
	}
	// procfs lists in this order anyway; others rely on it.
	byPID := func(a, b entryOf) int { return cmp.Compare(a.pid, b.pid) }
	if !slices.IsSortedFunc(s.found, byPID) {
		slices.SortFunc(s.found, byPID)
	}
	return s.found, nil
}

// entries notes the processes among directory entries: struct linux_dirent64 of getdents(2), whose members are the
// inode (8 bytes), an offset (8), the entry's length (2), a type (1), and the name with a NUL.
func (s *Scanner) entries(buf []byte) error {
	const nameAt = 19
	for len(buf) > nameAt {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length <= nameAt || length > len(buf) {
			return fmt.Errorf("list %s: broken directory entry", s.proc)
		}
		pid := 0
		for _, c := range buf[nameAt:length] {
			if c < '0' || c > '9' || pid > maxPID {
				break
			}
			pid = pid*10 + int(c-'0')
		}
		if pid > 0 {
			s.found = append(s.found, entryOf{pid: pid, ino: binary.NativeEndian.Uint64(buf)})
		}
		buf = buf[length:]
	}
	return nil
}

// process reads one process; alive is false when there is none (any more) that we may see.
func (s *Scanner) process(pid int) (p Proc, alive bool, err error) {
	for range tornReads {
		if p, alive, err = s.processOnce(pid); err != nil || !alive || !p.torn() {
			break
		}
	}
	return p, alive, err
}

func (s *Scanner) processOnce(pid int) (p Proc, alive bool, err error) {
	s.path = append(strconv.AppendInt(s.path[:0], int64(pid), 10), "/stat\x00"...)
	data, errno := s.read()
	switch errno {
	case 0:
	case unix.ENOENT, unix.ESRCH:
		return Proc{}, false, nil // it has ended since the directory was listed
	case unix.EACCES, unix.EPERM:
		return Proc{}, false, nil // hidden from us (hidepid, see proc(5)): not ours to move either
	default:
		return Proc{}, false, fmt.Errorf("read %s/%s: %w", s.proc, s.path[:len(s.path)-1], errno)
	}
	p, err = ParseStat(data)
	if err != nil {
		return Proc{}, false, fmt.Errorf("read %s/%s: %w", s.proc, s.path[:len(s.path)-1], err)
	}
	return p, true, nil
}

// threads counts the threads of a process by the links of its task directory: two, as every directory has, and one for
// each thread (proc_task_getattr in the kernel's fs/proc/base.c). That costs less than half of reading its stat. It is 0
// for a process that has ended.
func (s *Scanner) threads(pid int) int {
	s.path = append(strconv.AppendInt(s.path[:0], int64(pid), 10), "/task\x00"...)
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(s.fd), uintptr(unsafe.Pointer(&s.path[0])), 0, unix.STATX_NLINK,
			uintptr(unsafe.Pointer(&s.links)), 0)
		switch errno {
		case 0:
			return max(int(s.links.Nlink)-2, 0)
		case unix.EINTR:
			continue
		case unix.ENOSYS, unix.EPERM: // a kernel before 4.11, or a filter of system calls
			var st unix.Stat_t
			if unix.Fstatat(s.fd, string(s.path[:len(s.path)-1]), &st, 0) == nil {
				return max(int(st.Nlink)-2, 0)
			}
		}
		return 0
	}
}

// births reads how many forks and clones there have been since boot.
func (s *Scanner) births() (forks uint64, ok bool) {
	if s.born == nil {
		return 0, false
	}
	return s.born.forks()
}

// living reads how many threads there are.
func (s *Scanner) living() (threads uint64, ok bool) {
	if s.born == nil {
		return 0, false
	}
	return s.born.threads()
}

func (s *Scanner) hold(pid int) (*handle, error) { return hold(pid) }

func (s *Scanner) ended(fds []unix.PollFd) { ended(fds) }

// read reads the file s.path below /proc. The raw call is for the path, of which unix.Openat would make a copy.
func (s *Scanner) read() ([]byte, unix.Errno) {
	var fd uintptr
	for {
		var errno unix.Errno
		fd, _, errno = unix.Syscall6(unix.SYS_OPENAT, uintptr(s.fd), uintptr(unsafe.Pointer(&s.path[0])),
			unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return nil, errno
		}
	}
	for {
		n, _, errno := unix.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.stat[0])), uintptr(len(s.stat)))
		if errno == unix.EINTR {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_CLOSE, fd, 0, 0)
		if errno != 0 {
			return nil, errno
		}
		return s.stat[:n], 0
	}
}
