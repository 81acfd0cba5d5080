package pidfiles

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
)

// An interest is a name, or a pattern of names, to be noticed in a directory.
type interest struct {
	dir  string // without symbolic links
	base string // pattern as of filepath.Match
	way  bool   // a directory on the way to pid files, not yet there or one of many
}

// react says what a change of name asks for. It is pure.
func react(interests []interest, name string) reaction {
	dir, base := filepath.Split(name)
	dir = filepath.Clean(dir)
	result := ignore
	for _, in := range interests {
		if in.dir != dir {
			continue
		}
		if ok, err := filepath.Match(in.base, base); err != nil || !ok {
			continue
		}
		if in.way {
			return rearm
		}
		result = notify
	}
	return result
}

// interests looks at the file system and says where to watch for what, so that each of files is noticed when it appears:
// in its directory, or in the nearest one that exists. It is sorted.
func interests(files []string) []interest {
	set := map[interest]bool{}
	for _, file := range files {
		if filepath.IsAbs(file) {
			interestsOf(file, set)
		}
	}
	list := make([]interest, 0, len(set))
	for in := range set {
		list = append(list, in)
	}
	slices.SortFunc(list, compareInterests)
	return list
}

// maxDirectories bounds what one pattern may have watched: watches are a resource of the whole machine.
const maxDirectories = 256

func interestsOf(file string, set map[interest]bool) {
	components := splitPath(file)
	if len(components) == 0 {
		return
	}
	dirs := []string{"/"}
	for _, component := range components[:len(components)-1] {
		var next []string
		for _, dir := range dirs {
			matches := []string{filepath.Join(dir, unquoteMeta(component))}
			if isPattern(component) {
				// Each directory that matches may be followed by another one.
				set[interest{dir, component, true}] = true
				matches = matchesIn(dir, component)
			}
			for _, match := range matches {
				switch real, err := filepath.EvalSymlinks(match); {
				case err != nil || !isDirectory(real):
					set[interest{dir, component, true}] = true
				case len(next) < maxDirectories:
					next = append(next, real)
				}
			}
		}
		dirs = next
	}
	last := components[len(components)-1]
	for _, dir := range dirs {
		set[interest{dir, last, false}] = true
		if isPattern(last) {
			continue
		}
		// Where a link leads, the file is changed without a trace here.
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, unquoteMeta(last))); err == nil && filepath.Dir(real) != dir {
			set[interest{filepath.Dir(real), quoteMeta(filepath.Base(real)), false}] = true
		}
	}
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func compareInterests(a, b interest) int {
	if c := cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.base, b.base)); c != 0 {
		return c
	}
	switch {
	case a.way == b.way:
		return 0
	case b.way:
		return -1
	}
	return 1
}
