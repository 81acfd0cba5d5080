package testhost

import (
	"os"
	"slices"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)) that shows a hierarchy of cgroups.
type mount struct {
	dir     string
	version int
	options []string // on v1 the controllers are among them
}

// readMounts finds the hierarchies. Those of which only a part is mounted count only with parts, as in a container, where the part
// looks like the whole.
func readMounts(text string, parts bool) []mount {
	var found []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || left[3] != "/" && !parts {
			continue
		}
		m := mount{dir: unescape.Replace(left[4]), options: strings.Split(right[2], ",")}
		switch right[0] {
		case "cgroup":
			m.version = 1
		case "cgroup2":
			m.version = 2
		default:
			continue
		}
		found = append(found, m)
	}
	return found
}

// unescape undoes what the kernel does to a path in /proc/self/mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func mountinfo() string {
	data, _ := os.ReadFile("/proc/self/mountinfo") // without /proc there are no cgroups for us
	return string(data)
}

// Hierarchies lists where hierarchies of cgroups are mounted, v1 and v2, each once.
func Hierarchies() []string {
	var dirs []string
	for _, m := range readMounts(mountinfo(), true) {
		dirs = append(dirs, m.dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Controllers gives the mount point of each v1 controller. Controllers that are mounted together have the same.
func Controllers() map[string]string {
	found := map[string]string{}
	for _, m := range readMounts(mountinfo(), false) {
		for _, o := range m.options {
			// xattr and the name of a hierarchy without controllers are the options that are none.
			if m.version == 1 && !slices.Contains([]string{"rw", "ro", "xattr"}, o) && !strings.Contains(o, "=") {
				found[o] = m.dir
			}
		}
	}
	return found
}
