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

// unifiedModel is a v2 hierarchy in memory with the kernel's rules for
// controllers and processes, as kernel/cgroup/cgroup.c has them: what may be
// enabled where, who may be put where, and which cgroups are threaded or invalid.
type unifiedModel struct {
	dirs   map[string]*unifiedDir
	at     map[int]string // processes
	offers []string
	inode  uint64
	now    time.Time
	writes int
	moves  int
	denied []string // what was refused
	stuck  map[int]bool
}

type unifiedDir struct {
	inode    uint64
	since    time.Time
	marked   bool
	threaded bool
	enabled  []string
	files    map[string]string
}

var _ FS = (*unifiedModel)(nil)

// controllerFiles are the files that a cgroup has while its parent enables a
// controller, with their defaults.
var controllerFiles = map[string]map[string]string{
	"cpu":    {"cpu.weight": "100", "cpu.max": "max 100000", "cpu.idle": "0"},
	"io":     {"io.weight": "default 100"},
	"memory": {"memory.max": "max", "memory.low": "0"},
	"pids":   {"pids.max": "max"},
}

// threadedOnes can be enabled among threads (cgroup-v2.rst, "Threads").
var threadedOnes = []string{"cpu", "pids"}

func newUnifiedModel(now time.Time) *unifiedModel {
	m := &unifiedModel{dirs: map[string]*unifiedDir{}, at: map[int]string{}, offers: []string{"cpu", "io", "memory", "pids"}, now: now}
	m.add("", time.Time{})
	return m
}

func (m *unifiedModel) add(dir string, since time.Time) *unifiedDir {
	m.inode++
	d := &unifiedDir{inode: m.inode, since: since, files: map[string]string{}}
	m.dirs[dir] = d
	if dir != "" {
		for _, c := range m.dirs[parent(dir)].enabled {
			maps.Copy(d.files, controllerFiles[c])
		}
	}
	return d
}

func (m *unifiedModel) deny(op, dir string, errno unix.Errno) error {
	err := &cgfs.Error{Op: op, Path: "unified:/" + dir, Err: errno}
	m.denied = append(m.denied, err.Error())
	return err
}

func (m *unifiedModel) below(dir string) []string {
	var out []string
	for p := range m.dirs {
		if p != "" && parent(p) == dir {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func (m *unifiedModel) has(dir string) bool {
	for _, at := range m.at {
		if at == dir {
			return true
		}
	}
	return false
}

// populated: it or something below it holds processes.
func (m *unifiedModel) populated(dir string) bool {
	for _, at := range m.at {
		if _, below := relativeTo(dir, at); below {
			return true
		}
	}
	return false
}

func hasDomain(controllers []string) bool {
	return slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(threadedOnes, c) })
}

func hasThreaded(controllers []string) bool {
	return slices.ContainsFunc(controllers, func(c string) bool { return slices.Contains(threadedOnes, c) })
}

// canBeThreadRoot is cgroup_can_be_thread_root.
func (m *unifiedModel) canBeThreadRoot(dir string) bool {
	d := m.dirs[dir]
	if dir == "" {
		return true
	}
	for _, child := range m.below(dir) {
		if !m.dirs[child].threaded && m.populated(child) {
			return false
		}
	}
	return !d.threaded && !hasDomain(d.enabled)
}

// isThreadRoot is cgroup_is_thread_root.
func (m *unifiedModel) isThreadRoot(dir string) bool {
	d := m.dirs[dir]
	if d.threaded {
		return false
	}
	for _, child := range m.below(dir) {
		if m.dirs[child].threaded {
			return true
		}
	}
	return m.has(dir) && hasThreaded(d.enabled)
}

// validDomain is cgroup_is_valid_domain.
func (m *unifiedModel) validDomain(dir string) bool {
	if m.dirs[dir].threaded {
		return false
	}
	for dir != "" {
		dir = parent(dir)
		if dir != "" && m.isThreadRoot(dir) || m.dirs[dir].threaded {
			return false
		}
	}
	return true
}

// domain is dom_cgrp: the nearest cgroup from dir upwards that is not threaded.
func (m *unifiedModel) domain(dir string) string {
	for m.dirs[dir].threaded {
		dir = parent(dir)
	}
	return dir
}

func (m *unifiedModel) kind(dir string) string {
	switch {
	case m.dirs[dir].threaded:
		return "threaded"
	case !m.validDomain(dir):
		return "domain invalid"
	case m.isThreadRoot(dir):
		return "domain threaded"
	}
	return "domain"
}

func (m *unifiedModel) Children(dir string) ([]string, error) {
	if m.dirs[dir] == nil {
		return nil, m.deny("list", dir, unix.ENOENT)
	}
	var out []string
	for _, p := range m.below(dir) {
		out = append(out, path.Base(p))
	}
	return out, nil
}

func (m *unifiedModel) Stat(dir string) (cgfs.Info, error) {
	d := m.dirs[dir]
	if d == nil {
		return cgfs.Info{}, &cgfs.Error{Op: "stat", Path: "unified:/" + dir, Err: unix.ENOENT}
	}
	return cgfs.Info{Inode: d.inode, Changed: d.since, Leaf: len(m.below(dir)) == 0}, nil
}

func (m *unifiedModel) Marked(dir string) (bool, error) {
	if m.dirs[dir] == nil {
		return false, m.deny("read the mark of", dir, unix.ENOENT)
	}
	return m.dirs[dir].marked, nil
}

func (m *unifiedModel) Mark(dir string) error {
	m.dirs[dir].marked = true
	return nil
}

func (m *unifiedModel) Read(dir, file string) (string, error) {
	d := m.dirs[dir]
	missing := &cgfs.Error{Op: "open", Path: "unified:/" + path.Join(dir, file), Err: unix.ENOENT}
	if d == nil {
		return "", missing
	}
	switch file {
	case ControlFile:
		return strings.Join(d.enabled, " "), nil
	case typeFile:
		if dir == "" {
			return "", missing
		}
		return m.kind(dir), nil
	}
	text, ok := d.files[file]
	if !ok {
		return "", missing
	}
	return text, nil
}

func (m *unifiedModel) Same(dir, file, text string) (bool, error) {
	now, err := m.Read(dir, file)
	return err == nil && now == text, err
}

func (m *unifiedModel) SameChildren(dir string, names []string) (bool, error) {
	now, err := m.Children(dir)
	return slices.Equal(now, names), err
}

func (m *unifiedModel) Procs(dir string, dst []int) ([]int, error) {
	if m.dirs[dir] == nil {
		return dst, m.deny("open", dir, unix.ENOENT)
	}
	if m.dirs[dir].threaded {
		return dst, &cgfs.Error{Op: "read", Path: "unified:/" + dir, Err: unix.EOPNOTSUPP}
	}
	for _, pid := range slices.Sorted(maps.Keys(m.at)) {
		if m.domain(m.at[pid]) == dir {
			dst = append(dst, pid)
		}
	}
	return dst, nil
}

func (m *unifiedModel) Tasks(dir string, dst []int) ([]int, error) {
	for _, pid := range slices.Sorted(maps.Keys(m.at)) {
		if m.at[pid] == dir {
			dst = append(dst, pid)
		}
	}
	return dst, nil
}

func (m *unifiedModel) Mkdir(dir string) error {
	switch {
	case m.dirs[dir] != nil:
		return m.deny("mkdir", dir, unix.EEXIST)
	case m.dirs[parent(dir)] == nil:
		return m.deny("mkdir", dir, unix.ENOENT)
	}
	m.writes++
	m.add(dir, m.now).marked = true
	return nil
}

// Split: processes of a model are whole.
func (m *unifiedModel) Split(_ string, pids []int) (whole, threads []int, err error) {
	return pids, nil, nil
}

func (m *unifiedModel) MoveThread(dir string, tid int) error {
	return m.Move(dir, []int{tid}, func(int, error) {})
}

// RemoveTree: no path is too long for a model.
func (m *unifiedModel) RemoveTree(_ context.Context, dir string, _ cgfs.Removal) error {
	return m.deny("remove", dir, unix.EINVAL)
}

func (m *unifiedModel) Rmdir(dir string) error {
	switch {
	case m.dirs[dir] == nil:
		return m.deny("rmdir", dir, unix.ENOENT)
	case len(m.below(dir)) > 0, m.has(dir):
		return m.deny("rmdir", dir, unix.EBUSY)
	}
	m.writes++
	delete(m.dirs, dir)
	return nil
}

func (m *unifiedModel) Write(dir, file, text string) error {
	d := m.dirs[dir]
	at := path.Join(dir, file)
	if d == nil {
		return m.deny("write", at, unix.ENOENT)
	}
	if file == ControlFile {
		return m.control(dir, text)
	}
	if _, ok := d.files[file]; !ok {
		return m.deny("write", at, unix.ENOENT)
	}
	switch file {
	case "cpu.weight":
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > 10000 {
			return m.deny("write", at+" "+text, unix.ERANGE)
		}
		if d.files["cpu.idle"] == "1" {
			return m.deny("write", at+" "+text, unix.EINVAL)
		}
	case "io.weight":
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > 10000 {
			return m.deny("write", at+" "+text, unix.ERANGE)
		}
		text = "default " + text
	}
	m.writes++
	d.files[file] = text
	return nil
}

// control is cgroup_subtree_control_write.
func (m *unifiedModel) control(dir, text string) error {
	d := m.dirs[dir]
	enable, disable := []string{}, []string{}
	offered := m.offers
	if dir != "" {
		offered = m.dirs[parent(dir)].enabled
	}
	for _, word := range strings.Fields(text) {
		name := word[1:]
		switch {
		case word[0] == '+' && slices.Contains(d.enabled, name):
		case word[0] == '+' && !slices.Contains(offered, name):
			return m.deny("write", dir+" "+text, unix.ENOENT)
		case word[0] == '+':
			enable = append(enable, name)
		case slices.Contains(d.enabled, name):
			for _, child := range m.below(dir) {
				if slices.Contains(m.dirs[child].enabled, name) {
					return m.deny("write", dir+" "+text, unix.EBUSY)
				}
			}
			disable = append(disable, name)
		}
	}
	if errno := m.vet(dir, enable); errno != 0 {
		return m.deny("write", dir+" "+text, errno)
	}
	m.writes++
	for _, name := range enable {
		d.enabled = append(d.enabled, name)
		for _, child := range m.below(dir) {
			maps.Copy(m.dirs[child].files, controllerFiles[name])
		}
	}
	for _, name := range disable {
		d.enabled = slices.DeleteFunc(d.enabled, func(s string) bool { return s == name })
		for _, child := range m.below(dir) {
			for file := range controllerFiles[name] {
				delete(m.dirs[child].files, file)
			}
		}
	}
	slices.Sort(d.enabled)
	return nil
}

// vet is cgroup_vet_subtree_control_enable.
func (m *unifiedModel) vet(dir string, enable []string) unix.Errno {
	switch {
	case len(enable) == 0:
		return 0
	case !m.validDomain(m.domain(dir)):
		return unix.EOPNOTSUPP
	case dir == "":
		return 0
	case hasDomain(enable):
		if m.isThreadRoot(dir) || m.dirs[dir].threaded {
			return unix.EOPNOTSUPP
		}
	case m.canBeThreadRoot(dir) || m.dirs[dir].threaded:
		return 0
	}
	if m.has(dir) {
		return unix.EBUSY
	}
	return 0
}

// vetMove is cgroup_migrate_vet_dst.
func (m *unifiedModel) vetMove(dir string) unix.Errno {
	switch {
	case !m.validDomain(m.domain(dir)):
		return unix.EOPNOTSUPP
	case m.canBeThreadRoot(dir) || m.dirs[dir].threaded || len(m.dirs[dir].enabled) == 0:
		return 0
	}
	return unix.EBUSY
}

func (m *unifiedModel) Restore(dir, file, text string, right func(string) bool) (string, bool, error) {
	now, err := m.Read(dir, file)
	if err != nil || right(now) {
		return now, false, err
	}
	now, err = m.Put(dir, file, text, file)
	return now, err == nil, err
}

func (m *unifiedModel) Put(dir, file, text, from string) (string, error) {
	if err := m.Write(dir, file, text); err != nil {
		return "", err
	}
	return m.Read(dir, from)
}

func (m *unifiedModel) Move(dir string, pids []int, done func(int, error)) error {
	if m.dirs[dir] == nil {
		return m.deny("open", dir, unix.ENOENT)
	}
	for _, pid := range pids {
		at := "move " + strconv.Itoa(pid)
		switch {
		case m.at[pid] == "" && !slices.Contains(slices.Collect(maps.Keys(m.at)), pid):
			done(pid, m.deny(at, dir, unix.ESRCH))
		case m.stuck[pid]: // such as a kernel thread
			done(pid, m.deny(at, dir, unix.EINVAL))
		case m.vetMove(dir) != 0:
			done(pid, m.deny(at, dir, m.vetMove(dir)))
		default:
			m.moves++
			m.at[pid] = dir
			done(pid, nil)
		}
	}
	return nil
}

// String is the whole state, a line for each cgroup.
func (m *unifiedModel) String() string {
	var b strings.Builder
	for _, dir := range slices.SortedFunc(maps.Keys(m.dirs), comparePaths) {
		d := m.dirs[dir]
		fmt.Fprintf(&b, "/%s", dir)
		if len(d.enabled) > 0 {
			fmt.Fprintf(&b, " +%s", strings.Join(d.enabled, "+"))
		}
		if kind := m.kind(dir); kind != "domain" {
			fmt.Fprintf(&b, " (%s)", kind)
		}
		for _, file := range slices.Sorted(maps.Keys(d.files)) {
			controller, _, _ := strings.Cut(file, ".")
			if text := d.files[file]; text != controllerFiles[controller][file] {
				fmt.Fprintf(&b, " %s=%s", file, text)
			}
		}
		var pids []int
		for _, pid := range slices.Sorted(maps.Keys(m.at)) {
			if m.at[pid] == dir {
				pids = append(pids, pid)
			}
		}
		if len(pids) > 0 {
			fmt.Fprintf(&b, " pids=%v", pids)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
