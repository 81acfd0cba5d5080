package pidfiles

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// A tally is what the kernel had counted at one moment, kernel threads and the processes of every pid namespace included.
type tally struct {
	forks   uint64 // every fork and clone since boot: "processes" in /proc/stat (total_forks in the kernel's kernel/fork.c)
	threads uint64 // that exist, those that have ended and were not waited for included: the number behind the slash in /proc/loadavg
}

// births reads the kernel's counters of births. They are in two files, which are read one after the other: the order
// is what conclusions rest on, see [Lister.unchanged].
type births struct {
	stat, loadavg int // descriptors
	buf           []byte
}

// openBirths opens the counters of a proc filesystem, of which dir is a descriptor. They have to be the kernel's own: what
// LXCFS mounts over them counts differently, and late.
func openBirths(dir int) (*births, error) {
	b := &births{stat: -1, loadavg: -1, buf: make([]byte, 4096)}
	for _, file := range []struct {
		fd   *int
		name string
	}{{&b.stat, "stat"}, {&b.loadavg, "loadavg"}} {
		fd, err := unix.Openat(dir, file.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.close()
			return nil, fmt.Errorf("open %s: %w", file.name, err)
		}
		*file.fd = fd
		var fs unix.Statfs_t
		if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
			b.close()
			return nil, fmt.Errorf("open %s: not in procfs", file.name)
		}
	}
	return b, nil
}

func (b *births) close() {
	for _, fd := range []int{b.stat, b.loadavg} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// forks reads how many forks and clones there have been. ok is false when it cannot be known.
func (b *births) forks() (n uint64, ok bool) {
	data, ok := b.read(b.stat)
	if !ok {
		return 0, false
	}
	return parseForks(data)
}

// threads reads how many threads there are.
func (b *births) threads() (n uint64, ok bool) {
	data, ok := b.read(b.loadavg)
	if !ok {
		return 0, false
	}
	return parseThreads(data)
}

// read reads a file of procfs in one read, so that it is of one moment.
func (b *births) read(fd int) ([]byte, bool) {
	for {
		n, err := unix.Pread(fd, b.buf, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, false
		case n < len(b.buf):
			return b.buf[:n], true
		default:
			b.buf = make([]byte, 2*len(b.buf))
		}
	}
}

// parseForks finds the line "processes N" in the text of /proc/stat (proc_stat(5)). It stands near the end.
func parseForks(data []byte) (uint64, bool) {
	const name = "\nprocesses "
	at := bytes.LastIndex(data, []byte(name))
	if at < 0 {
		return 0, false
	}
	line, _, ended := bytes.Cut(data[at+len(name):], []byte("\n"))
	return counter(line, ended)
}

// parseThreads finds the second number of the fourth field in the text of /proc/loadavg (proc_loadavg(5)).
func parseThreads(data []byte) (uint64, bool) {
	_, rest, ok := bytes.Cut(data, []byte("/"))
	if !ok {
		return 0, false
	}
	field, _, ended := bytes.Cut(rest, []byte(" "))
	return counter(field, ended)
}

// counter reads a number that is more than 0, if it has come whole.
func counter(field []byte, whole bool) (uint64, bool) {
	n, ok := number(field)
	if !ok || !whole || n == 0 {
		return 0, false
	}
	return n, true
}
