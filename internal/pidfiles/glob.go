package pidfiles

import (
	"os"
	"path/filepath"
	"strings"
)

// expand returns the files that match a pattern now. What is no pattern stands for itself, so that a missing file is
// shown as missing; so does a broken pattern, and one that is not absolute, which is refused when it is read.
func expand(pattern string) []string {
	if !filepath.IsAbs(pattern) {
		return []string{pattern}
	}
	if !isPattern(pattern) {
		return []string{unquoteMeta(pattern)}
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return []string{pattern}
	}
	return files
}

// isPattern reports whether a name may match more than one file. A backslash takes the meaning from the next byte, as in
// filepath.Match.
func isPattern(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// quoteMeta returns a pattern that matches exactly file.
func quoteMeta(file string) string {
	if !strings.ContainsAny(file, `*?[\`) {
		return file
	}
	var b strings.Builder
	for i := range len(file) {
		if strings.IndexByte(`*?[\`, file[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(file[i])
	}
	return b.String()
}

// unquoteMeta is the inverse of quoteMeta.
func unquoteMeta(pattern string) string {
	if strings.IndexByte(pattern, '\\') < 0 {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// matchesIn returns the paths in dir whose name matches pattern.
func matchesIn(dir, pattern string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		if ok, err := filepath.Match(pattern, entry.Name()); err == nil && ok {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}

// splitPath returns the components of an absolute path.
func splitPath(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
}
