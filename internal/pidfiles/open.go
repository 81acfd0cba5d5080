package pidfiles

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed, as in path_resolution(7).
const maxLinks = 40

// refusal is the reason why a file must not be trusted.
type refusal string

func (r refusal) Error() string { return string(r) }

// An entry is what was met on the way to a file: a directory, a symbolic link, or the file.
type entry struct {
	uid  uint32
	mode uint32 // type and permissions
	ino  uint64
	dev  uint64
	link uint64 // number of hard links
}

func (e *entry) kind() uint32 { return e.mode & unix.S_IFMT }

// writable reports whether group or world may write. With an access control list the group's bits are its mask, so they
// show any writer.
func (e *entry) writable() bool { return e.mode&0o022 != 0 }

func (e *entry) sticky() bool { return e.mode&unix.S_ISVTX != 0 }

// A trail is the way to a file, as it was walked.
type trail struct {
	dirs  []entry // directories in the order in which they were used; the last one holds the file
	links []link  // symbolic links in the order in which they were followed
}

// A link is a symbolic link on a trail.
type link struct {
	entry
	after int // how many of the trail's directories come before it
}

// openTrusted opens a file without following symbolic links by itself: each component is opened beneath the one before
// and looked at through its own descriptor, so that what is checked is what is used. The descriptor is an O_PATH one:
// nothing has been opened for reading, and no device or FIFO has been touched.
func openTrusted(name string) (fd int, way trail, err error) {
	dir, err := openPath(unix.AT_FDCWD, "/")
	if err != nil {
		return -1, trail{}, err
	}
	defer func() { _ = unix.Close(dir) }()
	here, err := look(dir)
	if err != nil {
		return -1, trail{}, err
	}
	rest := name
	for {
		component, more := "", ""
		component, more, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		rest = strings.TrimLeft(more, "/")
		if component == "" {
			return -1, trail{}, unix.EISDIR
		}
		way.dirs = append(way.dirs, here)
		next, err := openPath(dir, component)
		if err != nil {
			return -1, trail{}, err
		}
		found, err := look(next)
		if err != nil {
			_ = unix.Close(next)
			return -1, trail{}, err
		}
		switch {
		case found.kind() == unix.S_IFLNK:
			target, err := readLink(next)
			_ = unix.Close(next)
			if err != nil {
				return -1, trail{}, err
			}
			if way.links = append(way.links, link{found, len(way.dirs)}); len(way.links) > maxLinks {
				return -1, trail{}, unix.ELOOP
			}
			rest = target + "/" + rest
			if rest = strings.TrimRight(rest, "/"); path.IsAbs(target) {
				if next, err = openPath(unix.AT_FDCWD, "/"); err != nil {
					return -1, trail{}, err
				}
				_ = unix.Close(dir)
				dir = next
				if here, err = look(dir); err != nil {
					return -1, trail{}, err
				}
			}
		case rest != "":
			if found.kind() != unix.S_IFDIR {
				_ = unix.Close(next)
				return -1, trail{}, unix.ENOTDIR
			}
			_ = unix.Close(dir)
			dir, here = next, found
		default:
			return next, way, nil
		}
	}
}

// openPath opens what a component is, a symbolic link itself included, without opening it for reading.
func openPath(dir int, component string) (int, error) {
	for {
		fd, err := unix.Openat(dir, component, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readLink returns the text of a symbolic link. Those of procfs (/proc/PID/root, /proc/PID/fd/N) are refused: the kernel
// does not follow their text, so following it here would lead to another file.
func readLink(fd int) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return "", err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return "", refusal("a symbolic link in procfs is on the way")
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", unix.ENOENT
	}
	return string(buf[:n]), nil
}

func look(fd int) (entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return entry{}, err
	}
	return entry{uid: st.Uid, mode: st.Mode, ino: st.Ino, dev: uint64(st.Dev), link: uint64(st.Nlink)}, nil
}

// distrust says why a file must not be trusted, "" when it may be. It is pure.
//
// Nobody but the file's owner and root may be able to change the file, or to put another one in its place: neither
// directly, nor by a hard link, nor by a symbolic link.
func distrust(file entry, way trail) refusal {
	dir := way.dirs[len(way.dirs)-1]
	switch {
	case file.writable():
		return "the file is writable by group or world"
	case dir.writable() && !dir.sticky():
		return "its directory is writable by group or world"
	case file.link > 1 && (dir.writable() || !trusts(file.uid, dir.uid)):
		// Whoever may write to the directory may have linked somebody else's file into it.
		return "the file has another hard link, and others can make one in its directory"
	}
	for i := range way.links {
		if reason := distrustLink(file.uid, way, i); reason != "" {
			return reason
		}
	}
	return ""
}

// distrustLink says why symbolic link i must not be followed to a file of owner's.
func distrustLink(owner uint32, way trail, i int) refusal {
	l := &way.links[i]
	if l.uid == 0 && rootsAlone(way.dirs[:l.after]) {
		// Part of the system, such as /var/run: the name could as well be written without it.
		return ""
	}
	if !trusts(owner, l.uid) {
		return refusal(fmt.Sprintf("a symbolic link on the way belongs to user %d", l.uid))
	}
	for _, dir := range way.dirs {
		if !trusts(owner, dir.uid) {
			return refusal(fmt.Sprintf("a symbolic link is on the way, and a directory of user %d", dir.uid))
		}
		if dir.writable() && !dir.sticky() {
			return "a symbolic link is on the way, and a directory that is writable by group or world"
		}
	}
	return ""
}

// rootsAlone reports whether nobody but root can change what these directories hold.
func rootsAlone(dirs []entry) bool {
	return !slices.ContainsFunc(dirs, func(dir entry) bool { return dir.uid != 0 || dir.writable() })
}

// trusts reports whether what belongs to user other may decide what owner's file is: owner's own things, and root's.
func trusts(owner, other uint32) bool { return other == 0 || other == owner }

// describe turns an error of opening into a state and a reason.
func describe(err error) (State, string) {
	var refused refusal
	switch {
	case errors.As(err, &refused):
		return Refused, string(refused)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return Missing, err.Error()
	}
	return Unreadable, err.Error()
}
