package pidfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxFileSize bounds the content of a pid file.
const maxFileSize = 4096

// A reader judges single pid files.
type reader struct {
	proc     string
	trust    bool
	verdicts map[string]verdict // by file
	kept     keptClaims
	boot     func() time.Time // bootTime
	buf      []byte           // content of the file being read
}

// A verdict is whether a process was too young for a file. It cannot change while both are the same, whatever happens
// to the wall clock: without this, a clock that is set would make every pid file stale.
type verdict struct {
	file  fileVersion
	named Ident
	stale bool
}

// A fileVersion tells one content of one file from the next.
type fileVersion struct {
	dev, ino      uint64
	mtime, ctime  unix.Timespec
	uid, mode     uint32
	size          int64
	numberOfLinks uint64
}

// claim reads and judges one pid file.
func (r *reader) claim(file, cgroup string) Claim {
	c := Claim{File: file, Cgroup: cgroup}
	if kept := r.kept.find(file, r.trust); kept != nil {
		c.State, c.PID, c.Start, c.process = OK, kept.named.PID, kept.named.Start, kept.held.use()
		return c
	}
	began := time.Now()
	var version fileVersion
	c.State, c.Reason, version = r.judge(&c)
	switch {
	case c.State == OK:
		r.kept.keep(&c, version, r.trust, began)
	case c.process != nil:
		c.process.close()
		c.process = nil
		c.Start = 0
	}
	return c
}

// judge fills in the claim, as far as it gets, and says which version of the file it judged.
func (r *reader) judge(c *Claim) (State, string, fileVersion) {
	if !filepath.IsAbs(c.File) {
		return Refused, "not an absolute path", fileVersion{}
	}
	data, version, err := r.read(c.File)
	if err != nil {
		state, reason := describe(err)
		return state, reason, version
	}
	if len(data) > maxFileSize {
		return Malformed, fmt.Sprintf("longer than %d bytes", maxFileSize), version
	}
	pid, err := ParsePID(data)
	if err != nil {
		return Malformed, err.Error(), version
	}
	c.PID = pid
	if pid == 1 {
		return Refused, "pid 1 is never placed", version
	}
	if pid == os.Getpid() {
		return Refused, "the daemon itself is never placed", version
	}
	state, reason := r.identify(c, version)
	return state, reason, version
}

// read returns the content of a pid file, one byte more than allowed at most, and which version of the file it is. The
// content is valid until the next read.
func (r *reader) read(name string) ([]byte, fileVersion, error) {
	var way trail
	var fd int
	var err error
	if r.trust {
		fd, err = openFollowing(name)
	} else {
		fd, way, err = openTrusted(name)
	}
	if err != nil {
		return nil, fileVersion{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	file, err := look(fd)
	if err != nil {
		return nil, fileVersion{}, err
	}
	// Before anything is opened for reading: opening a device can do things, opening a FIFO can wait.
	if file.kind() != unix.S_IFREG {
		return nil, fileVersion{}, fmt.Errorf("not a regular file (%s)", kindName(file.kind()))
	}
	if !r.trust {
		if reason := distrust(file, way); reason != "" {
			return nil, fileVersion{}, reason
		}
	}
	return r.content(fd)
}

// openFollowing opens a file as a path descriptor, following links.
func openFollowing(name string) (int, error) {
	for {
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// content reads the file that a path descriptor stands for. Its entry in /proc/self/fd leads to that very file, however
// often the name is replaced meanwhile. O_NONBLOCK is for a file on which its owner has taken a lease, see fcntl(2).
func (r *reader) content(path int) ([]byte, fileVersion, error) {
	fd, err := unix.Open(r.proc+"/self/fd/"+strconv.Itoa(path), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fileVersion{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	// The content must not be newer than the time it is judged by, nor older: read until both belong together. A file
	// that is written all the time is judged by the time before the content, which errs towards stale.
	const attempts = 3
	if r.buf == nil {
		r.buf = make([]byte, maxFileSize+1)
	}
	for attempt := 1; ; attempt++ {
		before, err := versionOf(fd)
		if err != nil {
			return nil, fileVersion{}, err
		}
		n, err := readFull(fd, r.buf)
		if err != nil {
			return nil, fileVersion{}, err
		}
		after, err := versionOf(fd)
		if err != nil {
			return nil, fileVersion{}, err
		}
		if before == after || attempt == attempts {
			return r.buf[:n], before, nil
		}
	}
}

// readFull reads from the beginning until buf is full or the file ends.
func readFull(fd int, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

func versionOf(fd int) (fileVersion, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fileVersion{}, err
	}
	return versionIn(&st), nil
}

// versionAt is versionOf for a name, see fstatat(2).
func versionAt(dir int, name string, flags int) (fileVersion, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &st, flags)
		if err == nil {
			return versionIn(&st), nil
		}
		if err != unix.EINTR {
			return fileVersion{}, err
		}
	}
}

func versionIn(st *unix.Stat_t) fileVersion {
	return fileVersion{
		dev: uint64(st.Dev), ino: st.Ino, mtime: st.Mtim, ctime: st.Ctim,
		uid: st.Uid, mode: st.Mode, size: st.Size, numberOfLinks: uint64(st.Nlink),
	}
}

// identify finds the process, holds it, and says whether the file may name it. The order matters: once the pidfd is
// open, all that is read belongs to the held process if that is still alive at the end.
func (r *reader) identify(c *Claim, version fileVersion) (State, string) {
	held, err := hold(c.PID)
	switch {
	case errors.Is(err, unix.ESRCH):
		return Dead, "no such process"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return Malformed, "the number is that of a thread, not of a process"
	case err != nil:
		return Unreadable, fmt.Sprintf("open process: %v", err)
	}
	c.process = held
	proc, err := r.stat(c.PID)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return Dead, "no such process"
		}
		return Unreadable, err.Error()
	}
	if proc.Kernel {
		return Refused, "a kernel thread is never placed"
	}
	if proc.Ended() {
		return Dead, "the process is a zombie"
	}
	c.Start = proc.Start
	if !r.trust {
		if reason, err := r.foreign(c.PID, version.uid); err != nil {
			return Unreadable, err.Error()
		} else if reason != "" {
			return Refused, reason
		}
		if r.stale(c, version) {
			return Stale, "the process started after the file was written"
		}
	}
	if !held.alive() {
		return Dead, "the process has just ended"
	}
	return OK, ""
}

// stat reads /proc/PID/stat in one read: what is needed of it stands in the first half.
func (r *reader) stat(pid int) (proc Proc, err error) {
	for range tornReads {
		if proc, err = r.statOnce(pid); err != nil || !proc.torn() {
			break
		}
	}
	return proc, err
}

func (r *reader) statOnce(pid int) (Proc, error) {
	name := r.proc + "/" + strconv.Itoa(pid) + "/stat"
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Proc{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var buf [2048]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return Proc{}, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	proc, err := ParseStat(buf[:n])
	if err != nil {
		return Proc{}, fmt.Errorf("read %s: %w", name, err)
	}
	return proc, nil
}

// foreign says why a file that belongs to owner must not name a process, "" when it may. Root's may name any. Anyone
// else's names a process of which the real, the effective and the saved user are all owner: these are what the kernel
// compares before it lets one process trace another (ptrace(2)). With less, a user could have a server moved that only
// acts for them at the moment, or that can become root again.
//
// The owner of the directory /proc/PID says nothing: it is root once a server has dropped its privileges, see proc(5).
func (r *reader) foreign(pid int, owner uint32) (string, error) {
	if owner == 0 {
		return "", nil
	}
	data, err := os.ReadFile(r.proc + "/" + strconv.Itoa(pid) + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return "", nil // ended; its pidfd will say so
	}
	if err != nil {
		return "", err
	}
	uids, err := parseUIDs(data)
	if err != nil {
		return "", fmt.Errorf("read %s/%d/status: %w", r.proc, pid, err)
	}
	for _, uid := range uids {
		if uid != owner {
			return fmt.Sprintf("the file belongs to user %d, the process to user %d", owner, uid), nil
		}
	}
	return "", nil
}

var errStatus = errors.New("not in the form of /proc/PID/status")

// parseUIDs returns the real, the effective and the saved user from the text of /proc/PID/status.
func parseUIDs(data []byte) ([3]uint32, error) {
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("Uid:"))
		if !ok {
			continue
		}
		var uids [3]uint32
		words := bytes.Fields(rest)
		if len(words) < len(uids) {
			return uids, errStatus
		}
		for i := range uids {
			n, ok := number(words[i])
			if !ok || n > 1<<32-1 {
				return uids, errStatus
			}
			uids[i] = uint32(n)
		}
		return uids, nil
	}
	return [3]uint32{}, errStatus
}

// stale reports whether the process is too young for the file, as it was found when the two were first seen together.
func (r *reader) stale(c *Claim, version fileVersion) bool {
	named := Ident{PID: c.PID, Start: c.Start}
	old, ok := r.verdicts[c.File]
	if ok && old.file == version && old.named == named {
		return old.stale
	}
	stale := isStale(c.Start, r.boot(), time.Unix(version.mtime.Unix()))
	r.verdicts[c.File] = verdict{file: version, named: named, stale: stale}
	return stale
}

// forget drops the verdicts on files that are no longer in use.
func (r *reader) forget(claims []Claim) {
	used := make(map[string]bool, len(claims))
	for i := range claims {
		used[claims[i].File] = true
	}
	for file := range r.verdicts {
		if !used[file] {
			delete(r.verdicts, file)
		}
	}
	r.kept.end(used)
}

// kindName says in words what kind of file it is.
func kindName(kind uint32) string {
	switch kind {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	case unix.S_IFLNK:
		return "symbolic link"
	}
	return "unknown"
}
