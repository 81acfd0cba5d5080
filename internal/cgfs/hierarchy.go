package cgfs

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Hierarchy is one mounted cgroup tree. Every path is relative to its mount,
// without a leading slash; "" is the cgroup at the mount itself. All access goes
// through one kept directory descriptor, and no path can lead outside it.
//
// A Hierarchy may be used by several goroutines.
type Hierarchy struct {
	mount Mount
	fd    int
	doubt doubt
}

// OpenHierarchy opens the cgroup filesystem mounted at dir. It fails when dir is
// not on a cgroup filesystem. Close it when done.
func OpenHierarchy(dir string) (*Hierarchy, error) {
	real, err := filepath.EvalSymlinks(dir) // "cpu" is a link where it is mounted as "cpu,cpuacct"
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	layout, err := Discover(real)
	if err != nil {
		return nil, err
	}
	for _, h := range layout.hierarchies {
		if h.mount.Dir == real {
			for _, other := range layout.hierarchies {
				if other != h {
					_ = other.Close()
				}
			}
			return h, nil
		}
	}
	layout.Close()
	return nil, fmt.Errorf("open %s: not the mount of a cgroup hierarchy", dir)
}

// open opens the mount and proves by its magic number that it is a cgroup
// filesystem of the version that mountinfo promised.
func open(m Mount) (*Hierarchy, error) {
	fd, err := unix.Open(m.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Op: "open", Path: m.Dir, Err: err}
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil, &Error{Op: "statfs", Path: m.Dir, Err: err}
	}
	want := int64(unix.CGROUP_SUPER_MAGIC)
	if m.Version == 2 {
		want = unix.CGROUP2_SUPER_MAGIC
	}
	if int64(st.Type) != want {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open %s: not a cgroup v%d filesystem (magic %#x); something else is mounted over it", m.Dir, m.Version, st.Type)
	}
	return &Hierarchy{mount: m, fd: fd}, nil
}

// Close releases the kept descriptor.
func (h *Hierarchy) Close() error { return unix.Close(h.fd) }

// Name is how the kernel lists the hierarchy in /proc/PID/cgroup: its
// controllers joined by commas, a named hierarchy's name, or "unified".
func (h *Hierarchy) Name() string { return h.mount.Name }

// Version is 1 or 2.
func (h *Hierarchy) Version() int { return h.mount.Version }

// Mount is the directory where the hierarchy is mounted.
func (h *Hierarchy) Mount() string { return h.mount.Dir }

// Subsystems are the controllers bound to the hierarchy.
func (h *Hierarchy) Subsystems() []string { return slices.Clone(h.mount.Subsystems) }

// Display spells a path as the plan and the logs do: "cpu:/a/b".
func (h *Hierarchy) Display(elem ...string) string {
	return h.mount.Name + ":/" + path.Join(elem...)
}

// Children lists the names of the cgroups directly below dir, sorted. A leaf
// costs one fstatat: kernfs counts sub-directories in the link count.
func (h *Hierarchy) Children(dir string) ([]string, error) {
	if info, err := h.Stat(dir); err != nil || info.Leaf {
		return nil, err
	}
	fd, err := h.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &Error{Op: "list", Path: h.Display(dir), Err: err}
	}
	defer unix.Close(fd)
	var names []string
	err = subdirectories(fd, func(name []byte) bool {
		names = append(names, string(name))
		return true
	})
	if err != nil {
		return nil, &Error{Op: "list", Path: h.Display(dir), Err: err}
	}
	slices.Sort(names)
	return names, nil
}

// subdirectories reads the directory entries of fd that are directories, until
// visit wants no more. A name is valid during its call only. cgroup filesystems
// fill in d_type, so no further stat is needed (getdents64(2)).
func subdirectories(fd int, visit func(name []byte) bool) error {
	buf := direntBufs.Get().(*[64 << 10]byte)
	defer direntBufs.Put(buf)
	for {
		n, err := unix.Getdents(fd, buf[:])
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) >= direntName; {
			reclen := int(rest[16]) | int(rest[17])<<8
			if reclen < direntName || reclen > len(rest) {
				return fmt.Errorf("malformed directory entry of %d bytes", reclen)
			}
			kind, name := rest[18], rest[direntName:reclen]
			rest = rest[reclen:]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if kind == unix.DT_DIR && string(name) != "." && string(name) != ".." && !visit(name) {
				return nil
			}
		}
	}
}

// direntBufs are for the entries of a directory: a large one is read in few calls.
var direntBufs = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// direntName is the offset of d_name in struct linux_dirent64.
const direntName = 19

// Info is the identity of one cgroup directory.
type Info struct {
	// Inode differs for a cgroup that was removed and made again.
	Inode uint64
	// Changed is a time not before the cgroup was made: the kernel keeps no birth
	// time, and its inode may be younger than the cgroup.
	Changed time.Time
	// Leaf: it has no child cgroups.
	Leaf bool
}

// Stat says which directory is at dir.
func (h *Hierarchy) Stat(dir string) (Info, error) {
	rel, err := relative(dir)
	if err != nil {
		return Info{}, &Error{Op: "stat", Path: h.Display(dir), Err: err}
	}
	info, errno := stat(h.fd, rel)
	if errno != 0 {
		return Info{}, &Error{Op: "stat", Path: h.Display(dir), Err: errno}
	}
	return info, nil
}

// stat is Stat of a checked path below at. The raw call is for the path, of which
// unix.Statx would make a copy.
func stat(at int, rel string) (Info, unix.Errno) {
	var room spelling
	var st unix.Statx_t
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(at), uintptr(unsafe.Pointer(room.spell(rel, ""))), unix.AT_SYMLINK_NOFOLLOW,
		unix.STATX_INO|unix.STATX_NLINK|unix.STATX_MTIME, uintptr(unsafe.Pointer(&st)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		return oldStat(at, rel)
	}
	return Info{Inode: st.Ino, Changed: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)), Leaf: st.Nlink == 2}, errno
}

// oldStat is for a kernel before 4.11, or a filter of system calls that does not
// know statx.
func oldStat(at int, rel string) (Info, unix.Errno) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, rel, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		errno := unix.EIO // in case it is of another kind, which none is
		errors.As(err, &errno)
		return Info{}, errno
	}
	return Info{Inode: st.Ino, Changed: time.Unix(st.Mtim.Unix()), Leaf: st.Nlink == 2}, 0
}

// Mkdir makes the cgroup dir, whose parent must exist, and marks it as ours.
// ErrExist means that somebody else made it first: it is not marked then.
func (h *Hierarchy) Mkdir(dir string) error {
	_, err := h.mkdirIn(h.fd, dir, dir)
	return err
}

// mkdirIn makes and marks the cgroup dir by its path from the directory at.
func (h *Hierarchy) mkdirIn(at int, rel, dir string) (made bool, err error) {
	if rel, err = relative(rel); err != nil {
		return false, &Error{Op: "mkdir", Path: h.Display(dir), Err: err}
	}
	var room spelling
	if _, _, errno := unix.Syscall(unix.SYS_MKDIRAT, uintptr(at), uintptr(unsafe.Pointer(room.spell(rel, ""))), 0o755); errno != 0 {
		return false, &Error{Op: "mkdir", Path: h.Display(dir), Err: errno}
	}
	// An old kernel without extended attributes on cgroups still gets its cgroup.
	if err := h.markIn(at, rel, dir); !errors.Is(err, ErrNotSupported) {
		return true, err
	}
	return true, nil
}

// Rmdir removes the cgroup dir. ErrBusy: it still has processes or children.
func (h *Hierarchy) Rmdir(dir string) error {
	rel, err := relative(dir)
	if err == nil {
		err = unix.Unlinkat(h.fd, rel, unix.AT_REMOVEDIR)
	}
	if err != nil {
		return &Error{Op: "rmdir", Path: h.Display(dir), Err: err}
	}
	return nil
}

// Exists says whether dir has a file of this name.
func (h *Hierarchy) Exists(dir, file string) bool {
	var st unix.Stat_t
	rel, err := relative(path.Join(dir, file))
	return err == nil && unix.Fstatat(h.fd, rel, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// Read returns the text of a control file without the final newline.
func (h *Hierarchy) Read(dir, file string) (string, error) {
	if file == DevicesFile {
		return h.readDevices(dir)
	}
	if raw, ok := strings.CutPrefix(file, RawPrefix); ok {
		return h.readRaw(dir, raw)
	}
	if raw, ok := strings.CutPrefix(file, keptPrefix); ok {
		return h.readKept(dir, raw)
	}
	data, err := h.readAll(dir, file)
	return strings.TrimSuffix(string(data), "\n"), err
}

func (h *Hierarchy) readAll(dir, file string) ([]byte, error) {
	fd, err := h.OpenRead(dir, file)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data, err := readWhole(fd, !strings.HasSuffix(file, "procs") && file != "tasks" && !strings.HasSuffix(file, "threads"))
	if err != nil {
		return nil, &Error{Op: "read", Path: h.Display(dir, file), Err: err}
	}
	return data, nil
}

// readWhole reads a control file from its beginning. What is not a list of
// processes is made by the kernel in one piece (single_open of seq_file), so that a
// read which leaves room has had all of it. Of a list, the kernel gives as many
// lines as there is room for, here and in a page of its own (seq_read_iter in its
// fs/seq_file.c): a first read that leaves room for one more in both has had all.
func readWhole(fd int, once bool) ([]byte, error) {
	buf := make([]byte, 0, 512)
	for {
		n, err := unix.Pread(fd, buf[len(buf):cap(buf)], int64(len(buf)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		}
		first := len(buf) == 0
		buf = buf[:len(buf)+n]
		if once && len(buf) < cap(buf) || first && n+maxPIDLine < min(cap(buf), 4096) {
			return buf, nil
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
	}
}

// maxPIDLine is more than the length of a line with a process id: pid_max is at most
// 2^22 (PID_MAX_LIMIT in the kernel's linux/threads.h).
const maxPIDLine = 16

// Write writes text to a control file in one write, which is what the kernel
// takes as one value. The file is never created: a missing one is ErrNotExist.
func (h *Hierarchy) Write(dir, file, text string) error {
	if file == DevicesFile {
		return h.writeDevices(dir, text)
	}
	if raw, ok := strings.CutPrefix(file, RawPrefix); ok {
		return h.writeKept(dir, raw, text)
	}
	fd, err := h.openIn(dir, file, unix.O_WRONLY)
	if err != nil {
		return &Error{Op: "write", Path: h.Display(dir, file), Text: text, Err: err}
	}
	defer unix.Close(fd)
	if err := write(fd, text); err != nil {
		return &Error{Op: "write", Path: h.Display(dir, file), Text: text, Err: err}
	}
	return nil
}

// Put writes text to a control file and returns what the file from, normally the
// same, reads afterwards, without the final newline. An error may be that of
// either; the value is not known then.
func (h *Hierarchy) Put(dir, file, text, from string) (now string, err error) {
	if file == from && file != DevicesFile {
		// A file that cannot be opened for both answers so before anything is written.
		if fd, err := h.openIn(dir, file, unix.O_RDWR); err == nil {
			return h.putTo(fd, dir, file, text)
		}
	}
	if err := h.Write(dir, file, text); err != nil {
		return "", err
	}
	return h.Read(dir, from)
}

// putTo is Put to an open file, which it closes.
func (h *Hierarchy) putTo(fd int, dir, file, text string) (now string, err error) {
	err, op := write(fd, text), "write"
	if err == nil {
		now, err = readBack(fd, text)
		op, text = "read", ""
	}
	_ = unix.Close(fd)
	if err != nil {
		return "", &Error{Op: op, Path: h.Display(dir, file), Text: text, Err: err}
	}
	return now, nil
}

// readBack is what a control file reads, without the final newline: text itself
// where it reads that, as most do which have just been written.
func readBack(fd int, text string) (string, error) {
	var room [sameRoom]byte
	n, err := Pread(fd, room[:])
	if err == nil && n < len(room) {
		return cutNewline(room[:n], text), nil
	}
	data, err := readWhole(fd, true)
	return strings.TrimSuffix(string(data), "\n"), err
}

// cutNewline is data without its final newline: text itself where it is that.
func cutNewline(data []byte, text string) string {
	if data = bytes.TrimSuffix(data, []byte("\n")); string(data) == text {
		return text
	}
	return string(data)
}

// write writes text, of which the kernel makes a copy of its own. A write of no bytes
// never reaches it, so that nothing is spelled as an empty line.
func write(fd int, text string) error {
	if text == "" {
		text = "\n"
	}
	return writeBytes(fd, unsafe.Slice(unsafe.StringData(text), len(text)))
}

func writeBytes(fd int, text []byte) error {
	for {
		_, err := unix.Write(fd, text)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// OpenRead opens a control file for reading, outside the runtime's poller (each
// cgroup file that os.Open touches becomes an epoll target). The caller owns the
// descriptor.
func (h *Hierarchy) OpenRead(dir, file string) (int, error) {
	fd, err := h.openIn(dir, file, unix.O_RDONLY)
	if err != nil {
		return -1, &Error{Op: "open", Path: h.Display(dir, file), Err: err}
	}
	return fd, nil
}

// Pread reads a kept control file from its beginning. ErrRemoved: its cgroup is
// gone.
func Pread(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, 0)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENODEV):
			return 0, ErrRemoved
		}
		return 0, err
	}
}

// CloseFD closes a descriptor from OpenRead.
func CloseFD(fd int) error { return unix.Close(fd) }

// Procs appends the processes in dir to dst, by thread group id. A process whose
// threads are spread over several cgroups is listed in each of them.
func (h *Hierarchy) Procs(dir string, dst []int) ([]int, error) {
	return h.pids(dir, "cgroup.procs", dst)
}

// Tasks appends the threads in dir to dst.
func (h *Hierarchy) Tasks(dir string, dst []int) ([]int, error) {
	if h.mount.Version == 2 {
		return h.pids(dir, "cgroup.threads", dst)
	}
	return h.pids(dir, "tasks", dst)
}

func (h *Hierarchy) pids(dir, file string, dst []int) ([]int, error) {
	data, err := h.readAll(dir, file)
	if err != nil {
		return dst, err
	}
	for len(data) > 0 {
		pid, rest, err := cutPID(data)
		if err != nil {
			return dst, &Error{Op: "read", Path: h.Display(dir, file), Err: err}
		}
		dst, data = append(dst, pid), rest
	}
	return dst, nil
}

// cutPID takes the decimal number and the newline that data begins with.
func cutPID(data []byte) (pid int, rest []byte, err error) {
	i := 0
	for ; i < len(data) && '0' <= data[i] && data[i] <= '9' && pid < 1<<40; i++ {
		pid = pid*10 + int(data[i]-'0')
	}
	if i == 0 || (i < len(data) && data[i] != '\n') {
		return 0, nil, fmt.Errorf("not a process id: %q", data[:min(len(data), 32)])
	}
	return pid, data[min(i+1, len(data)):], nil
}

// Move moves whole processes, with all their threads, into dir, in one burst
// through one open cgroup.procs: the kernel makes the first write of a burst wait
// for a grace period, and only that. done gets each process's outcome; ErrGone
// says that it has ended. The error is that of opening dir.
func (h *Hierarchy) Move(dir string, pids []int, done func(pid int, err error)) error {
	fd, err := h.openIn(dir, "cgroup.procs", unix.O_WRONLY)
	if err != nil {
		return &Error{Op: "open", Path: h.Display(dir, "cgroup.procs"), Err: err}
	}
	defer unix.Close(fd)
	for _, pid := range pids {
		if pid < 1 { // v2 lists processes of other pid namespaces as 0, which would mean us
			continue
		}
		if err := attach(fd, pid); err != nil {
			done(pid, &Error{Op: "move " + strconv.Itoa(pid), Path: h.Display(dir), Err: err})
			continue
		}
		done(pid, nil)
	}
	return nil
}

func attach(fd, pid int) (err error) {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], int64(pid), 10)
	for range attachTries {
		if err = writeBytes(fd, text); !errors.Is(err, unix.EINVAL) {
			return err
		}
		// A task that is just being born answers EINVAL for a moment.
		time.Sleep(time.Millisecond)
	}
	return err
}

const attachTries = 4
