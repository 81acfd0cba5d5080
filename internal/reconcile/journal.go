package reconcile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// journal is the file of the cgroups that are about to be made: the record speaks of
// every setting, and to write it whole takes longer than to make one cgroup again.
// Where the journal cannot be written, they go to the record.
//
// One write puts a plan's cgroups into it before the first of them is made; it is
// emptied once they are made and marked. A kill finds either none of them made, or
// all of their names in the file: the kernel's copy of a written page outlives the
// process, and a power cut ends the cgroups too.
type journal struct {
	dir  string
	file *os.File // nil: not opened yet
	// used: it may have something in it.
	used bool
}

const journalFile = "making"

func newJournal(dir string) journal { return journal{dir: dir, used: dir != ""} }

// write adds the cgroups that a plan makes.
func (j *journal) write(plan Plan) error {
	if j.dir == "" {
		return nil
	}
	if err := j.open(); err != nil {
		return err
	}
	size := 1
	for i := range plan {
		if s := &plan[i]; s.Op == OpMkdir {
			size += len(s.Tree.Hierarchy) + len(s.Dir) + len("\":/\"\n")
		}
	}
	lines := append(make([]byte, 0, size), '\n') // the write before may have ended amid a line, on a full disk
	for i := range plan {
		if s := &plan[i]; s.Op == OpMkdir {
			lines = appendSpot(lines, s.Tree.Hierarchy, s.Dir)
		}
	}
	if len(lines) == 1 {
		return nil
	}
	j.used = true
	_, err := j.file.Write(lines)
	return err
}

// appendSpot appends a line of the journal: a quoted place, as in record.Making.
func appendSpot(lines []byte, hierarchy, dir string) []byte {
	if !plain(hierarchy) || !plain(dir) {
		return append(strconv.AppendQuote(lines, hierarchy+":/"+dir), '\n')
	}
	lines = append(append(lines, '"'), hierarchy...)
	lines = append(append(lines, ":/"...), dir...)
	return append(lines, "\"\n"...)
}

// plain says whether quoting leaves s as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (j *journal) open() error {
	if j.file != nil {
		return nil
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(j.dir, journalFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	j.file = file
	return nil
}

// clear empties it. Where that fails the same cgroups are looked at once more after
// the next start, which marks none that has its mark. A file that somebody has
// removed is made again by the next write.
func (j *journal) clear() {
	if !j.used {
		return
	}
	if j.file == nil {
		j.used = os.Truncate(filepath.Join(j.dir, journalFile), 0) != nil && !missing(filepath.Join(j.dir, journalFile))
		return
	}
	j.used = j.file.Truncate(0) != nil
	if info, err := j.file.Stat(); err != nil || info.Sys().(*syscall.Stat_t).Nlink == 0 {
		j.close()
	}
}

func missing(file string) bool {
	_, err := os.Lstat(file)
	return os.IsNotExist(err)
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
}

// loadJournal reads what an earlier run was about to make, as record.Making. A
// line that is not whole was written by a kill before anything was made.
func loadJournal(dir string) []string {
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		return nil
	}
	return parseJournal(string(data))
}

func parseJournal(text string) (out []string) {
	for line := range strings.Lines(text) {
		quoted, whole := strings.CutSuffix(line, "\n")
		if at, err := strconv.Unquote(quoted); whole && err == nil && strings.Contains(at, ":/") {
			out = append(out, at)
		}
	}
	return out
}
