package pidfiles

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// holding is a source that keeps claims of files that were written a moment ago.
func holdingSource(t *testing.T, files map[string][]string, trust bool) *Source {
	t.Helper()
	s := New(Config{Files: files, Trust: trust, Hold: true})
	s.reader.kept.young = true
	t.Cleanup(s.Close)
	return s
}

// TestKeptAsJudged: a source that keeps what it has judged says what one says that has seen nothing before, whatever
// happens to the files, the way to them and the processes.
func TestKeptAsJudged(t *testing.T) {
	needRoot(t)
	for _, trust := range []bool{false, true} {
		for seed := range uint64(6) {
			keptAsJudged(t, trust, rand.New(rand.NewPCG(seed, 7)))
		}
	}
}

func keptAsJudged(t *testing.T, trust bool, random *rand.Rand) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	sub, other := filepath.Join(dir, "sub"), filepath.Join(dir, "other")
	must(t, os.Mkdir(sub, 0o755))
	must(t, os.Mkdir(other, 0o755))
	must(t, os.Symlink(sub, filepath.Join(dir, "link")))
	names := []string{filepath.Join(dir, "a"), filepath.Join(sub, "b"), filepath.Join(dir, "link", "c"), filepath.Join(dir, "d")}
	source := holdingSource(t, map[string][]string{"g": names, "h": names[:2]}, trust)
	cgroups := []Cgroup{{Path: "g"}, {Path: "h"}}
	var running []*exec.Cmd
	begin := func() int {
		cmd := exec.Command("/bin/sleep", "1000")
		must(t, cmd.Start())
		running = append(running, cmd)
		return cmd.Process.Pid
	}
	end := func(cmd *exec.Cmd) { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	defer func() {
		for _, cmd := range running {
			end(cmd)
		}
	}()
	begin()
	kept := 0
	for range 80 {
		name := names[random.IntN(len(names))]
		switch random.IntN(14) {
		case 0:
			begin()
		case 1:
			if len(running) > 2 {
				i := random.IntN(len(running))
				end(running[i])
				running = append(running[:i], running[i+1:]...)
			}
		case 2:
			_ = os.Remove(name)
		case 3:
			_ = os.Chmod(name, []os.FileMode{0o644, 0o664}[random.IntN(2)])
		case 4:
			must(t, os.Chmod(sub, []os.FileMode{0o755, 0o777, 0o777 | os.ModeSticky}[random.IntN(3)]))
		case 5:
			_ = os.Chown(name, []int{0, userU}[random.IntN(2)], 0)
		case 6:
			must(t, os.Lchown(filepath.Join(dir, "link"), []int{0, userU}[random.IntN(2)], 0))
		case 7:
			must(t, os.Remove(filepath.Join(dir, "link")))
			must(t, os.Symlink([]string{sub, other}[random.IntN(2)], filepath.Join(dir, "link")))
		case 8:
			writeFile(t, name, "rubbish")
		case 9:
			_ = os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour)) // of before its process
		case 10, 11, 12, 13:
			writeFile(t, name+".new", strconv.Itoa(running[random.IntN(len(running))].Process.Pid)+"\n")
			must(t, os.Rename(name+".new", name))
		}
		for range 2 {
			got := source.Read(cgroups)
			fresh := New(Config{Files: source.config.Files, Trust: trust})
			want := fresh.Read(cgroups)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Claim{})); diff != "" {
				t.Fatalf("trust %v (-want +got):\n%s", trust, diff)
			}
			for i := range got {
				if got[i].Alive() != (got[i].State == OK) {
					t.Fatalf("alive %v: %+v", got[i].Alive(), got[i])
				}
			}
			CloseClaims(want)
			CloseClaims(got)
			CloseClaims(got)
		}
		kept += len(source.reader.kept.byFile)
	}
	if kept == 0 {
		t.Error("nothing was ever kept")
	}
}

// TestKept: what is kept, for how long, and who holds the process.
func TestKept(t *testing.T) {
	file := writePID(t, startSleep(t, 0))
	source := holdingSource(t, map[string][]string{"a": {file}}, false)
	k := &source.reader.kept
	cgroups := []Cgroup{{Path: "a"}}
	must(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Second)))
	k.young = false
	CloseClaims(source.Read(cgroups))
	if len(k.byFile) != 0 {
		t.Error("kept, although a change could not be told by the file's times")
	}
	k.young = true
	judged := 0
	for range 2 * everyListing {
		before := k.byFile[file]
		CloseClaims(source.Read(cgroups))
		if k.byFile[file] != before {
			judged++
		}
	}
	if judged != 2 {
		t.Errorf("judged %d times in %d readings, want 2", judged, 2*everyListing)
	}
	claims := source.Read(cgroups)
	source.Close()
	if len(k.byFile) != 0 || !claims[0].Alive() {
		t.Error("a claim's process is let go of with the source, or kept after it")
	}
	CloseClaims(claims)
	if claims[0].Alive() {
		t.Error("a closed claim is alive")
	}
	CloseClaims(source.Read(cgroups))
	if source.Read(nil); len(k.byFile) != 0 {
		t.Error("kept although nobody asks for it")
	}
	CloseClaims(source.Read(cgroups))
	source.SetRules(Rules{Files: source.config.Files, Trust: true})
	before := k.byFile[file]
	if CloseClaims(source.Read(cgroups)); before == nil || k.byFile[file] == before {
		t.Error("judged by other rules, but not again")
	}
	source.Read(nil)
	k.limit = 0
	CloseClaims(source.Read(cgroups))
	if len(k.byFile) != 0 {
		t.Error("more are held than may be")
	}
}

// TestUsersFileIsJudged: the file of a user may be OK, but whose process it is can change at any time.
func TestUsersFileIsJudged(t *testing.T) {
	needRoot(t)
	file := writePID(t, startSleep(t, userU))
	must(t, os.Chown(file, userU, 0))
	source := holdingSource(t, map[string][]string{"a": {file}}, false)
	claims := source.Read([]Cgroup{{Path: "a"}})
	defer CloseClaims(claims)
	if claims[0].State != OK || len(source.reader.kept.byFile) != 0 {
		t.Errorf("%+v, %d kept", claims[0], len(source.reader.kept.byFile))
	}
}

func TestSettled(t *testing.T) {
	now := time.Unix(1700000000, 500e6)
	at := func(d time.Duration) unix.Timespec { return unix.NsecToTimespec(now.Add(-d).UnixNano()) }
	for _, test := range []struct {
		ctime, mtime time.Duration // ago
		want         bool
	}{
		{time.Second, time.Second, true}, {200 * time.Millisecond, time.Second, true}, {199 * time.Millisecond, time.Second, false},
		{time.Second, 199 * time.Millisecond, false}, {-time.Hour, time.Hour, false}, {time.Hour, -time.Hour, false},
		{2500 * time.Millisecond, 2500 * time.Millisecond, false}, {3500 * time.Millisecond, 3500 * time.Millisecond, true},
	} {
		if got := settled(fileVersion{ctime: at(test.ctime), mtime: at(test.mtime)}, now); got != test.want {
			t.Errorf("changed %s ago, written %s ago: %v", test.ctime, test.mtime, got)
		}
	}
}

func TestMaxHeld(t *testing.T) {
	for limit, want := range map[uint64]int{0: 0, 256: 16, 1024: 64, 20000: 1024, 1 << 40: 1024} {
		if got := MaxHeld(limit); got != want {
			t.Errorf("of %d descriptors %d may be held, want %d", limit, got, want)
		}
	}
}
