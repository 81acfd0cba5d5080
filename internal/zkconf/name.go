package zkconf

import (
	"strings"
	"unicode"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// badName says why a cgroup cannot have the name, "" when it can.
func badName(name string) string {
	switch {
	case strings.HasPrefix(name, "@"):
		return "name beginning with @ (reserved)"
	case cgfs.IsControlFile(name):
		return "name of a control file"
	}
	return badComponent(name)
}

// badComponent says why a name cannot be one component of a path.
func badComponent(name string) string {
	switch {
	case name == "":
		return "empty name"
	case len(name) > 255: // NAME_MAX
		return "name longer than 255 bytes"
	case name == "." || name == "..":
		return "name that means another directory"
	case strings.Contains(name, "/"):
		return "name with a slash"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "name with a control character"
	}
	return ""
}
