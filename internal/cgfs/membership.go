package cgfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ProcCgroup is one line of /proc/PID/cgroup: where a process sits in one
// hierarchy.
type ProcCgroup struct {
	Name string // as Hierarchy.Name
	Path string // from the hierarchy's own root, with a leading slash
}

// unifiedName is what the unified hierarchy is called among those with a name.
const unifiedName = "unified"

// ParseProcCgroup reads the text of /proc/PID/cgroup (cgroups(7)): lines such as
// "4:cpu,cpuacct:/a/b", "1:name=systemd:/" and "0::/".
func ParseProcCgroup(data []byte) ([]ProcCgroup, error) {
	var out []ProcCgroup
	for line := range bytes.Lines(data) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("read /proc/PID/cgroup: malformed line %q", line)
		}
		name := strings.TrimPrefix(parts[1], "name=")
		if parts[0] == "0" && name == "" {
			name = unifiedName
		}
		out = append(out, ProcCgroup{Name: name, Path: parts[2]})
	}
	return out, nil
}

// Where says in which cgroup of each hierarchy the process pid sits ("self" is
// the caller). ErrGone: it has ended.
//
// Of a thread that has ended the kernel says "/" for every v1 hierarchy
// (proc_cgroup_show), also of a first thread that the others outlive: then it is asked
// of one of them.
func Where(pid string) ([]ProcCgroup, error) {
	where, err := whereOf(pid)
	if err != nil || !nowhere(where) {
		return where, err
	}
	id, err := strconv.Atoi(pid)
	if err != nil {
		return where, nil // self and thread-self run
	}
	threads := threadsOf(id)
	if len(threads) < 2 || Runs(id, id) {
		return where, nil
	}
	for _, tid := range threads {
		if tid != id && Runs(id, tid) {
			if living, err := whereOf(fmt.Sprintf("%d/task/%d", id, tid)); err == nil {
				return living, nil
			}
		}
	}
	return where, nil
}

// nowhere says whether all v1 hierarchies, of which there are some, have "/".
func nowhere(where []ProcCgroup) bool {
	v1 := false
	for _, c := range where {
		if c.Name == unifiedName {
			continue
		}
		if v1 = true; c.Path != "/" {
			return false
		}
	}
	return v1
}

func whereOf(id string) ([]ProcCgroup, error) {
	data, err := os.ReadFile("/proc/" + id + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return ParseProcCgroup(data)
}

// Dir finds the cgroup of h among a process's cgroups, relative to the mount. ok
// is false when the process sits outside what is mounted.
func (h *Hierarchy) Dir(cgroups []ProcCgroup) (dir string, ok bool) {
	for _, c := range cgroups {
		if c.Name != h.mount.Name {
			continue
		}
		root := strings.TrimSuffix(h.mount.Root, "/")
		rest, ok := strings.CutPrefix(c.Path, root)
		if !ok || (rest != "" && rest[0] != '/') {
			return "", false
		}
		return strings.Trim(rest, "/"), true
	}
	return "", false
}
