package cgfs

import (
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenDir opens the cgroup dir for clone3(2) with CLONE_INTO_CGROUP, which v2
// takes: a process is born in the cgroup then. The caller closes it.
func (h *Hierarchy) OpenDir(dir string) (*os.File, error) {
	fd, err := h.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &Error{Op: "open", Path: h.Display(dir), Err: err}
	}
	return os.NewFile(uintptr(fd), h.absolute(dir)), nil
}

// MkdirUnmarked makes the cgroup dir, whose parent must exist, without our mark: it
// is not the daemon's.
func (h *Hierarchy) MkdirUnmarked(dir string) error {
	rel, err := relative(dir)
	if err == nil {
		err = unix.Mkdirat(h.fd, rel, 0o755)
	}
	if err != nil {
		return &Error{Op: "mkdir", Path: h.Display(dir), Err: err}
	}
	return nil
}

// JoinThread moves the calling thread alone into dir (v1): what it forks from
// now on is born there. The caller has locked its goroutine to the thread.
func (h *Hierarchy) JoinThread(dir string) error { return h.Write(dir, "tasks", "0") }

// ThreadGroupLeader says whether the caller runs on the thread by which the
// kernel lists its process in cgroup.procs.
func ThreadGroupLeader() bool { return unix.Gettid() == unix.Getpid() }

// ControlFile is a control file as a directory lists it.
type ControlFile struct {
	Name string
	Mode os.FileMode // the permission bits, which say whether it is read or written at all
}

// Files lists the control files of dir, sorted.
func (h *Hierarchy) Files(dir string) ([]ControlFile, error) {
	f, err := h.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, &Error{Op: "list", Path: h.Display(dir), Err: err}
	}
	slices.Sort(names)
	var out []ControlFile
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			out = append(out, ControlFile{name, os.FileMode(st.Mode & 0o777)})
		}
	}
	return out, nil
}

// Delegate gives the cgroup dir to a user, who can then make cgroups below it
// and move own processes about in it, but not change its limits, which belong to
// whoever owns the cgroup above (cgroup-v2.rst, "Delegation"). The files given
// away are those that the kernel names; on v1, which has no such list, those that
// take processes.
func (h *Hierarchy) Delegate(dir string, uid, gid int) error {
	files := []string{"cgroup.procs", "tasks"}
	if h.Version() == 2 {
		files = delegated()
	}
	for _, file := range files {
		if !h.Exists(dir, file) {
			continue
		}
		if err := h.chown(path.Join(dir, file), uid, gid); err != nil {
			return err
		}
	}
	return h.chown(dir, uid, gid)
}

// delegated are the files that the kernel says may be given away with a v2
// cgroup; before 4.15 it did not say.
func delegated() []string {
	text, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if err != nil {
		return []string{"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
	}
	return strings.Fields(string(text))
}

func (h *Hierarchy) chown(p string, uid, gid int) error {
	rel, err := relative(p)
	if err == nil {
		err = unix.Fchownat(h.fd, rel, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return &Error{Op: "give away", Path: h.Display(p), Err: err}
	}
	return nil
}

// IsController says whether a name is that of a controller, and not of a named
// hierarchy of v1.
func IsController(name string) bool {
	return name != "cgroup" && slices.Contains(controllers, name)
}
