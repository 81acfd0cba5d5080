package reconcile

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// model is a hierarchy in memory with the kernel's rules: a parent must exist,
// rmdir needs neither children nor processes, shares are clamped, a write needs
// its file, a process is in one place.
type model struct {
	name    string
	dirs    map[string]*modelDir
	inode   uint64
	now     time.Time
	refuse  map[string]bool // "dir/file text" or "mkdir dir" that the kernel refuses
	writes  int             // every change that was made
	readers int             // every read
	cpus    string          // of a machine with others than 0-1
}

type modelDir struct {
	inode  uint64
	since  time.Time
	marked bool
	files  map[string]string
	procs  map[int]bool
	tasks  map[int]bool // threads, where they differ from procs
}

var _ FS = (*model)(nil)

func newModel(name string) *model {
	m := &model{name: name, dirs: map[string]*modelDir{}, now: time.Unix(1_700_000_000, 0), refuse: map[string]bool{}}
	m.make("", time.Time{})
	return m
}

// make adds a cgroup as somebody else would.
func (m *model) make(dir string, since time.Time) *modelDir {
	m.inode++
	files := map[string]string{}
	switch m.name {
	case "cpu", "cpu,cpuacct":
		files["cpu.shares"] = "1024"
	case "unified":
		files[ControlFile] = ""
	case "blkio":
		files[cgfs.ArmFile] = ""
		if dir != "" {
			files["blkio.bfq.weight"] = "100"
		} else {
			files[cgfs.ArmedFile] = "Total 0"
		}
	case "cpuset":
		files["cpuset.cpus"], files["cpuset.mems"] = "", ""
		if dir == "" {
			files["cpuset.cpus"], files["cpuset.mems"] = "0-1", "0"
			if m.name == "cpuset" && m.cpus != "" {
				files["cpuset.cpus"] = m.cpus
			}
		}
	}
	d := &modelDir{inode: m.inode, since: since, files: files, procs: map[int]bool{}}
	m.dirs[dir] = d
	return d
}

func (m *model) err(op, dir string, errno unix.Errno) error {
	return &cgfs.Error{Op: op, Path: m.name + ":/" + dir, Err: errno}
}

func (m *model) Children(dir string) ([]string, error) {
	m.readers++
	if m.dirs[dir] == nil {
		return nil, m.err("list", dir, unix.ENOENT)
	}
	var out []string
	for p := range m.dirs {
		if p != "" && parent(p) == dir {
			out = append(out, path.Base(p))
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *model) Stat(dir string) (cgfs.Info, error) {
	m.readers++
	d := m.dirs[dir]
	if d == nil {
		return cgfs.Info{}, m.err("stat", dir, unix.ENOENT)
	}
	if m.refuse["read "+dir] {
		return cgfs.Info{}, m.err("stat", dir, unix.ENAMETOOLONG)
	}
	children, _ := m.Children(dir)
	return cgfs.Info{Inode: d.inode, Changed: d.since, Leaf: len(children) == 0}, nil
}

func (m *model) Marked(dir string) (bool, error) {
	m.readers++
	if m.dirs[dir] == nil {
		return false, m.err("read the mark of", dir, unix.ENOENT)
	}
	return m.dirs[dir].marked, nil
}

func (m *model) Read(dir, file string) (string, error) {
	m.readers++
	if m.dirs[dir] == nil {
		return "", m.err("open", path.Join(dir, file), unix.ENOENT)
	}
	text, ok := m.dirs[dir].files[file]
	if !ok {
		return "", m.err("open", path.Join(dir, file), unix.ENOENT)
	}
	return text, nil
}

func (m *model) Same(dir, file, text string) (bool, error) {
	now, err := m.Read(dir, file)
	return err == nil && now == text, err
}

func (m *model) SameChildren(dir string, names []string) (bool, error) {
	now, err := m.Children(dir)
	return slices.Equal(now, names), err
}

func (m *model) Procs(dir string, dst []int) ([]int, error) {
	m.readers++
	if m.dirs[dir] == nil {
		return dst, m.err("open", dir, unix.ENOENT)
	}
	return append(dst, slices.Sorted(maps.Keys(m.dirs[dir].procs))...), nil
}

func (m *model) Tasks(dir string, dst []int) ([]int, error) {
	if d := m.dirs[dir]; d != nil && d.tasks != nil {
		return append(dst, slices.Sorted(maps.Keys(d.tasks))...), nil
	}
	return m.Procs(dir, dst)
}

func (m *model) Mkdir(dir string) error {
	switch {
	case m.refuse["mkdir "+dir]:
		return m.err("mkdir", dir, unix.EPERM)
	case m.dirs[dir] != nil:
		return m.err("mkdir", dir, unix.EEXIST)
	case m.dirs[parent(dir)] == nil:
		return m.err("mkdir", dir, unix.ENOENT)
	}
	m.writes++
	m.make(dir, m.now).marked = true
	return nil
}

func (m *model) Mark(dir string) error {
	m.dirs[dir].marked = true
	return nil
}

func (m *model) Write(dir, file, text string) error {
	d := m.dirs[dir]
	if d == nil {
		return m.err("write", path.Join(dir, file), unix.ENOENT)
	}
	if _, ok := d.files[file]; !ok {
		return m.err("write", path.Join(dir, file), unix.ENOENT)
	}
	if m.refuse[path.Join(dir, file)+" "+text] || file == "cpu.shares" && dir == "" {
		return m.err("write", path.Join(dir, file), unix.EINVAL)
	}
	m.writes++
	switch file {
	case "cpu.shares":
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return m.err("write", path.Join(dir, file), unix.EINVAL)
		}
		text = strconv.FormatUint(min(max(n, 2), 262144), 10)
	case "cpuset.cpus", "cpuset.mems":
		if errno := m.vetSet(dir, file, text); errno != 0 {
			return m.err("write", path.Join(dir, file)+" "+text, errno)
		}
	case cgfs.ArmFile:
		disk, _, _ := strings.Cut(text, " ")
		m.dirs[""].files[cgfs.ArmedFile] = disk + " Read 0\nTotal 0"
		return nil
	}
	d.files[file] = text
	return nil
}

// vetSet is validate_change of kernel/cgroup/cpuset.c: a cpuset holds what its
// children hold, its parent what it holds, and with processes it is not empty.
func (m *model) vetSet(dir, file, text string) unix.Errno {
	want, err := cgfs.ParseSet(text)
	switch {
	case err != nil:
		return unix.EINVAL
	case dir == "":
		return unix.EACCES
	case len(want) == 0 && len(m.dirs[dir].procs) > 0:
		return unix.ENOSPC
	}
	for p, d := range m.dirs {
		if p != "" && parent(p) == dir && !set(d.files[file]).Within(want) {
			return unix.EBUSY
		}
	}
	if !want.Within(set(m.dirs[parent(dir)].files[file])) {
		return unix.EACCES
	}
	return 0
}

func (m *model) Put(dir, file, text, from string) (string, error) {
	if err := m.Write(dir, file, text); err != nil {
		return "", err
	}
	return m.Read(dir, from)
}

func (m *model) Restore(dir, file, text string, right func(string) bool) (string, bool, error) {
	now, err := m.Read(dir, file)
	if err != nil || right(now) {
		return now, false, err
	}
	now, err = m.Put(dir, file, text, file)
	return now, err == nil, err
}

func (m *model) Move(dir string, pids []int, done func(int, error)) error {
	to := m.dirs[dir]
	if to == nil {
		return m.err("open", dir, unix.ENOENT)
	}
	for _, pid := range pids {
		if m.name == "cpuset" && (to.files["cpuset.cpus"] == "" || to.files["cpuset.mems"] == "") {
			done(pid, m.err("move "+strconv.Itoa(pid), dir, unix.ENOSPC))
			continue
		}
		m.writes++
		for _, d := range m.dirs {
			delete(d.procs, pid)
		}
		to.procs[pid] = true
		done(pid, nil)
	}
	return nil
}

// Split: processes of a model are whole.
func (m *model) Split(_ string, pids []int) (whole, threads []int, err error) { return pids, nil, nil }

func (m *model) MoveThread(dir string, tid int) error {
	return m.Move(dir, []int{tid}, func(int, error) {})
}

// RemoveTree: no path is too long for a model.
func (m *model) RemoveTree(_ context.Context, dir string, _ cgfs.Removal) error {
	return m.err("remove", dir, unix.EINVAL)
}

func (m *model) Rmdir(dir string) error {
	d := m.dirs[dir]
	if d == nil {
		return m.err("rmdir", dir, unix.ENOENT)
	}
	children, _ := m.Children(dir)
	if len(children) > 0 || len(d.procs) > 0 {
		return m.err("rmdir", dir, unix.EBUSY)
	}
	m.writes++
	delete(m.dirs, dir)
	return nil
}

// String is the whole state as text, a line for each thing that is not the
// kernel's default.
func (m *model) String() string {
	var b strings.Builder
	for _, dir := range slices.SortedFunc(maps.Keys(m.dirs), comparePaths) {
		d := m.dirs[dir]
		fmt.Fprintf(&b, "%s:/%s", m.name, dir)
		for _, file := range slices.Sorted(maps.Keys(d.files)) {
			if v := d.files[file]; v != "" && file != cgfs.ArmedFile && !(dir == "" && strings.HasPrefix(file, "cpuset")) {
				fmt.Fprintf(&b, " %s=%s", file, v)
			}
		}
		if len(d.procs) > 0 {
			fmt.Fprintf(&b, " pids=%v", slices.Sorted(maps.Keys(d.procs)))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
