package pidfiles

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Scanner lists the processes of the machine. It keeps a descriptor and its buffers, so that a scan allocates nothing
// once they have grown. It is not safe for use by two goroutines at the same time.
type Scanner struct {
	proc  string
	fd    int
	dir   []byte // directory entries as the kernel gives them
	path  []byte // "PID/stat\x00"
	stat  []byte
	procs []Proc
	// inodes are those of the processes' directories, in the order of procs: procfs
	// gives each a number of its own, and another to the next process with its pid.
	inodes []uint64
	last   []Proc // of the scan before, while [Scanner.Again] lists
	known  []uint64
}

// NewScanner opens a proc filesystem: "/proc".
func NewScanner(proc string) (*Scanner, error) {
	fd, err := unix.Open(proc, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", proc, err)
	}
	return &Scanner{
		proc: proc,
		fd:   fd,
		dir:  make([]byte, 32<<10),
		path: make([]byte, 0, 32),
		// 52 numbers of at most 20 digits and a name of at most 64 bytes; what we need stands in the first half.
		stat: make([]byte, 2048),
	}, nil
}

// Close releases the descriptor.
func (s *Scanner) Close() error { return unix.Close(s.fd) }

// Scan reads /proc once and returns its processes sorted by pid, kernel threads and zombies included. The result is
// valid until the next Scan.
//
// The machine goes on meanwhile: a process that ends during the scan may be missing or not, one that is started may be
// listed or not, so a caller that must see all repeats until nothing new appears.
func (s *Scanner) Scan() ([]Proc, error) {
	s.known = s.known[:0]
	return s.list()
}

// Again is Scan for a caller that has scanned a moment ago: it reads only what is new since, and says of all others what it
// said then, unless they are gone.
func (s *Scanner) Again() ([]Proc, error) {
	s.procs, s.last = s.last, s.procs
	s.inodes, s.known = s.known, s.inodes
	return s.list()
}

func (s *Scanner) list() ([]Proc, error) {
	s.procs, s.inodes = s.procs[:0], s.inodes[:0]
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
	byPID := func(a, b Proc) int { return cmp.Compare(a.PID, b.PID) }
	if !slices.IsSortedFunc(s.procs, byPID) {
		slices.SortFunc(s.procs, byPID)
		s.inodes = s.inodes[:0] // not theirs any more: the next scan reads all
	}
	return s.procs, nil
}

// entries reads the processes among directory entries: struct linux_dirent64 of getdents(2), whose members are the
// inode (8 bytes), an offset (8), the entry's length (2), a type (1), and the name with a NUL.
func (s *Scanner) entries(buf []byte) error {
	const nameAt = 19
	for len(buf) > nameAt {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length <= nameAt || length > len(buf) {
			return fmt.Errorf("list %s: broken directory entry", s.proc)
		}
		if c := buf[nameAt]; c >= '1' && c <= '9' {
			if err := s.process(binary.NativeEndian.Uint64(buf), buf[nameAt:length]); err != nil {
				return err
			}
		}
		buf = buf[length:]
	}
	return nil
}

// process reads one process; name is its directory with NULs behind.
func (s *Scanner) process(inode uint64, name []byte) error {
	end, pid := 0, 0
	for end < len(name) && name[end] >= '0' && name[end] <= '9' && pid <= maxPID {
		pid = 10*pid + int(name[end]-'0')
		end++
	}
	if len(s.known) > 0 {
		if i, ok := search(s.last, pid); ok && s.known[i] == inode {
			s.procs, s.inodes = append(s.procs, s.last[i]), append(s.inodes, inode)
			return nil
		}
	}
	s.path = append(append(s.path[:0], name[:end]...), "/stat\x00"...)
	data, errno := s.read()
	switch errno {
	case 0:
	case unix.ENOENT, unix.ESRCH:
		return nil // it has ended since the directory was listed
	case unix.EACCES, unix.EPERM:
		return nil // hidden from us (hidepid, see proc(5)): not ours to move either
	default:
		return fmt.Errorf("read %s/%s: %w", s.proc, s.path[:len(s.path)-1], errno)
	}
	p, err := ParseStat(data)
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", s.proc, s.path[:len(s.path)-1], err)
	}
	s.procs, s.inodes = append(s.procs, p), append(s.inodes, inode)
	return nil
}

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
