package cgfs

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Mount is one mounted cgroup hierarchy as /proc/self/mountinfo tells it.
type Mount struct {
	// Name is how /proc/PID/cgroup calls the hierarchy: "cpu,cpuacct", the name of
	// a named hierarchy, or "unified".
	Name string
	// Dir is where it is mounted.
	Dir string
	// Root is the cgroup that is mounted there: "/", or a part of the hierarchy
	// that was bind-mounted (in containers).
	Root string
	// Version is 1 or 2.
	Version int
	// Subsystems are the controllers of a v1 hierarchy in the kernel's order, or
	// the name of a named one. Those of a v2 hierarchy are not in mountinfo.
	Subsystems []string
	// ReadOnly: mounted read-only here.
	ReadOnly bool
	// LocalEvents: a cgroup's memory.events leave out the cgroups below (the v2
	// option memory_localevents).
	LocalEvents bool
}

// ParseMountinfo finds the cgroup mounts at or below dir in the text of
// /proc/self/mountinfo (proc_pid_mountinfo(5)). Of several mounts of one
// hierarchy it keeps the one that shows most: writable before read-only, the
// whole before a part, and of equals the first. A mount that a later one hides is left out.
func ParseMountinfo(data []byte, dir string) ([]Mount, error) {
	byDir := map[string]int{}
	var found []Mount
	for n, line := range bytes.Split(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		m, ok, err := parseMount(string(line))
		if err != nil {
			return nil, fmt.Errorf("mountinfo line %d: %w", n+1, err)
		}
		if !below(m.Dir, dir) {
			continue
		}
		if i, hidden := byDir[m.Dir]; hidden {
			found[i].Version = 0
		}
		if ok {
			byDir[m.Dir] = len(found)
			found = append(found, m)
		}
	}
	return best(found), nil
}

func below(p, dir string) bool {
	dir = path.Clean(dir)
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// parseMount reads one line. ok is false for a mount of another filesystem.
func parseMount(line string) (m Mount, ok bool, err error) {
	left, right, found := strings.Cut(line, " - ")
	before, after := strings.Fields(left), strings.Fields(right)
	if !found || len(before) < 6 || len(after) < 2 {
		return Mount{}, false, fmt.Errorf("malformed: %q", line)
	}
	m = Mount{Root: unescape(before[3]), Dir: unescape(before[4])}
	for o := range strings.SplitSeq(before[5], ",") {
		m.ReadOnly = m.ReadOnly || o == "ro"
	}
	switch after[0] {
	case "cgroup2":
		m.Version, m.Name = 2, unifiedName
		m.LocalEvents = slices.Contains(strings.Split(after[len(after)-1], ","), "memory_localevents")
		return m, true, nil
	case "cgroup":
		if len(after) < 3 {
			return Mount{}, false, fmt.Errorf("malformed: %q", line)
		}
		m.Version = 1
		m.Subsystems = subsystems(after[len(after)-1])
		m.Name = strings.Join(m.Subsystems, ",")
		return m, m.Name != "", nil
	}
	return m, false, nil
}

// mountFlags are the options of a cgroup v1 superblock that are no controllers
// (cgroup1_show_options in kernel/cgroup/cgroup-v1.c).
var mountFlags = map[string]bool{
	"rw": true, "ro": true, "noprefix": true, "xattr": true, "cpuset_v2_mode": true, "clone_children": true,
	"favordynmods": true, "nofavordynmods": true, "none": true, "all": true, "seclabel": true, "sync": true,
	"dirsync": true, "mand": true, "lazytime": true,
}

func subsystems(options string) []string {
	var out []string
	var name string
	for o := range strings.SplitSeq(options, ",") {
		key, value, hasValue := strings.Cut(o, "=")
		switch {
		case key == "name" && hasValue:
			name = value
		case hasValue || mountFlags[o] || o == "":
		default:
			out = append(out, o)
		}
	}
	if len(out) == 0 && name != "" {
		return []string{name}
	}
	return out
}

// unescape undoes the octal escapes of blanks in mountinfo ("\040").
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func best(found []Mount) []Mount {
	var out []Mount
	index := map[string]int{}
	for _, m := range found {
		if m.Version == 0 {
			continue
		}
		i, seen := index[m.Name]
		switch {
		case !seen:
			index[m.Name] = len(out)
			out = append(out, m)
		case worth(m) > worth(out[i]):
			out[i] = m
		}
	}
	return out
}

func worth(m Mount) int {
	n := 0
	if !m.ReadOnly {
		n += 2
	}
	if m.Root == "/" {
		n++
	}
	return n
}
