package cgfs

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// ProcCgroup is one line of /proc/PID/cgroup: where a process sits in one
// hierarchy.
type ProcCgroup struct {
	Name string // as Hierarchy.Name
	Path string // from the hierarchy's own root, with a leading slash
}

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
			name = "unified"
		}
		out = append(out, ProcCgroup{Name: name, Path: parts[2]})
	}
	return out, nil
}

// Where says in which cgroup of each hierarchy the process pid sits ("self" is
// the caller). ErrGone: it has ended.
func Where(pid string) ([]ProcCgroup, error) {
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
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
