package cgfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Pattern names cgroups below a root as people write it in protected_cgroup.
type Pattern struct {
	Subsystems []string // empty: every one
	Glob       string   // as path.Match takes it, without outer slashes
	Whole      bool     // compared with the whole path, else with the name
}

// String is the pattern as people write it.
func (p Pattern) String() string {
	text := p.Glob
	if p.Whole {
		text = "/" + text
	}
	if len(p.Subsystems) > 0 {
		text = strings.Join(p.Subsystems, ",") + ":" + text
	}
	return text
}

// ParsePattern reads
//
//	lxc*          a name or a glob
//	/a/b, a/b     a path
//	cpu:/a/b      a path in one subsystem
//	cpu,memory:/a the same in several
//
// The slash after the colon may be left out where a controller stands before it:
// other names have colons as well ("x.slice:cri-containerd:1f"). io is blkio. What no cgroup can
// have as its name or path is an error.
func ParsePattern(s string) (Pattern, error) {
	if _, err := path.Match(s, ""); err != nil {
		return Pattern{}, fmt.Errorf("a bad pattern: %q", s)
	}
	p := Pattern{Glob: s}
	if before, rest, ok := strings.Cut(s, ":"); ok && before != "" && !strings.Contains(before, "/") {
		names := strings.Split(before, ",")
		if strings.HasPrefix(rest, "/") || !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(controllers, n) }) {
			if i := slices.Index(names, "io"); i >= 0 { // v2's name; the document's is the same on both
				names[i] = "blkio"
			}
			p.Subsystems, p.Glob, p.Whole = names, rest, true
		}
	}
	p.Whole = p.Whole || strings.Contains(p.Glob, "/")
	p.Glob = strings.Trim(p.Glob, "/")
	switch {
	case p.Glob == "" && p.Whole:
		return Pattern{}, errors.New("a path protects a cgroup below our root, not the root itself")
	case p.Glob == "":
		return Pattern{}, errors.New("an empty name")
	case slices.Contains(p.Subsystems, ""):
		return Pattern{}, fmt.Errorf("an empty subsystem: %q", s)
	}
	for name := range strings.SplitSeq(p.Glob, "/") {
		if name == "" || name == "." || name == ".." {
			return Pattern{}, fmt.Errorf("no cgroup has such a path: %q", s)
		}
	}
	return p, nil
}
