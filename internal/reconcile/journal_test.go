package reconcile

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	origin := zkconf.Origin{Kind: zkconf.KindFile, Path: "/test"}
	if err := (record{Origin: origin, Root: "r", Making: []string{"cpu:/r/old"}}).save(dir); err != nil {
		t.Fatal(err)
	}
	cpu := &Tree{Hierarchy: "cpu"}
	j := newJournal(dir)
	j.clear() // there is none
	for _, name := range []string{"r/a", "r/\n\"b"} {
		if err := j.write(Plan{{Op: OpMkdir, Tree: cpu, Dir: name}, {Op: OpWrite, Tree: cpu, Dir: "r/no"}}); err != nil {
			t.Fatal(err)
		}
	}
	load := func(want ...string) {
		t.Helper()
		r, err := loadRecord(dir, origin, "r")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Making); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	load("cpu:/r/\n\"b", "cpu:/r/a", "cpu:/r/old")
	if r, err := loadRecord(dir, origin, "elsewhere"); err == nil || len(r.Making) > 0 {
		t.Errorf("the journal of another root's record was used: %v", r.Making)
	}
	after := newJournal(dir) // of the next run, which has not written yet
	after.clear()
	load("cpu:/r/old")
	if err := j.write(Plan{{Op: OpMkdir, Tree: cpu, Dir: "r/c"}}); err != nil {
		t.Fatal(err)
	}
	load("cpu:/r/c", "cpu:/r/old")
	if err := os.Remove(filepath.Join(dir, journalFile)); err != nil {
		t.Fatal(err)
	}
	j.clear()
	if err := j.write(Plan{{Op: OpMkdir, Tree: cpu, Dir: "r/d"}}); err != nil {
		t.Fatal(err)
	}
	load("cpu:/r/d", "cpu:/r/old")
	torn, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := torn.WriteString(`"cpu:/r/half`); err != nil { // the disk was full
		t.Fatal(err)
	}
	_ = torn.Close()
	if err := j.write(Plan{{Op: OpMkdir, Tree: cpu, Dir: "r/e"}}); err != nil {
		t.Fatal(err)
	}
	load("cpu:/r/d", "cpu:/r/e", "cpu:/r/old")
	j.close()
	nowhere := newJournal("")
	if err := nowhere.write(Plan{{Op: OpMkdir, Tree: cpu}}); err != nil {
		t.Error(err)
	}
	nowhere.clear()
}

func FuzzJournal(f *testing.F) {
	f.Add("\"cpu:/a\"\n", "cpu:/b")
	f.Add("\"cpu:/a\"\n\"cpu:/to", "x:/\xff")
	f.Add("\n\"\"\nx\n", "")
	for _, at := range []string{"a\"", "b\\", "\x7f", "d e~", "ä", "\x1f", "\x80"} {
		f.Add("", at)
	}
	f.Fuzz(func(t *testing.T, text, at string) {
		parseJournal(text)
		if line := string(appendSpot(nil, "cpu", at)); line != strconv.Quote("cpu:/"+at)+"\n" {
			t.Errorf("%q is announced as %s", at, line)
		}
		whole := parseJournal(text + "\n" + strconv.Quote("cpu:/"+at) + "\n")
		if n := len(whole); n == 0 || whole[n-1] != "cpu:/"+at {
			t.Errorf("%q is lost behind %q: %q", at, text, whole)
		}
	})
}

// What a new document makes is in the journal while it is made, so that the record, which is as it will be, is written once.
func TestRecordIsWrittenOnce(t *testing.T) {
	r := onKernel(t, nil)
	file := filepath.Join(r.opt.StateDir, recordFile)
	var during os.FileInfo
	var making []string
	r.opt.Beat = func() {
		if during == nil {
			var err error
			if during, err = os.Stat(file); err != nil {
				t.Fatal(err)
			}
			making = loadJournal(r.opt.StateDir)
		}
	}
	s := r.pass(t.Context(), work{doc: document(t, many(3, "7")), full: true})
	if s.Pass.Created < 3 || len(making) != s.Pass.Created {
		t.Errorf("%d cgroups were made, and %d announced: %q", s.Pass.Created, len(making), making)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(during, after) {
		t.Errorf("the record was written again: %v", err)
	}
	if left := loadJournal(r.opt.StateDir); len(left) > 0 {
		t.Errorf("the journal still has %q", left)
	}
	if kept, err := loadRecord(r.opt.StateDir, r.opt.Origin(), r.opt.Root); err != nil || len(kept.Settings) != 3 || len(kept.Making) > 0 {
		t.Errorf("the record is %+v %v", kept, err)
	}
}
