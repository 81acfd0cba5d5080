package pidfiles

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// forking is a shell's program in which processes fork, end, and are left to others, until it is told to stop; the tree
// then stands still.
const forking = `
grow() {
	i=0
	while [ $i -lt 4 ]; do
		i=$((i+1))
		case $(( ($1 + i + line) % 4 )) in
		0) sleep 1000 & ;;
		1) (sleep 1000 & sleep 1000 & exit 0) ;;
		2) true & ;;
		3) [ $1 -gt 0 ] && ( grow $(($1-1)); exec sleep 1000 ) & ;;
		esac
	done
}
while read line; do grow 3 >/dev/null 2>&1 </dev/null; echo ready; done
`

// TestListOfForkingTrees compares the two ways on real processes.
func TestListOfForkingTrees(t *testing.T) {
	l, err := NewLister("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cmd := exec.Command("/bin/sh", "-c", forking)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	session := 0
	out := &readyLines{make(chan string, 100)}
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	session = cmd.Process.Pid
	s := newScanner(t)
	ours := func(procs []Proc) map[int]string {
		found := map[int]string{}
		for _, p := range procs {
			if p.Session == session && p.State != 'Z' {
				found[p.PID] = fmt.Sprint(p.PPID, p.PGrp, p.Start)
			}
		}
		return found
	}
	defer func() {
		for pid := range ours(scan(t, s)) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = in.Close()
		_ = cmd.Wait()
	}()
	for round := range 12 {
		if _, err := fmt.Fprintln(in, round); err != nil {
			t.Fatal(err)
		}
		l.Begin()
		if _, err := l.List(); err != nil { // amid the forks
			t.Fatal(err)
		}
		select {
		case <-out.ready:
		case <-time.After(time.Minute):
			t.Fatal("the shell is not ready")
		}
		if round%2 == 1 {
			for pid := range ours(scan(t, s)) {
				if pid != session && pid%3 == 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
		var want, got map[int]string
		wrong := 0
		eventually(t, "both ways find the same processes", func() bool {
			before := ours(scan(t, s))
			l.Begin()
			procs, err := l.List()
			if err != nil {
				t.Fatal(err)
			}
			var alive []Proc
			for _, p := range procs {
				if p.Session != session {
					continue
				}
				if ok, _ := l.Alive(p.PID); ok {
					alive = append(alive, p)
				}
			}
			want, got = ours(scan(t, s)), ours(alive)
			// While the tree stands still there is no excuse. One that came and went in between was in neither scan, so
			// that it takes three in a row; and a reading by turn does not make good so soon what was missed.
			if maps.Equal(before, want) && !maps.Equal(got, want) {
				wrong++
			} else {
				wrong = 0
			}
			if wrong == 3 {
				t.Fatalf("round %d (-want +got):\n%s", round, cmp.Diff(want, got))
			}
			return maps.Equal(got, want)
		})
	}
}

type readyLines struct{ ready chan string }

func (l *readyLines) Write(data []byte) (int, error) {
	for range bytes.Count(data, []byte("\n")) {
		l.ready <- strings.TrimSpace(string(data))
	}
	return len(data), nil
}

// TestListThreads counts the threads of real processes that were listed before.
func TestListThreads(t *testing.T) {
	pid := startSleep(t, 0)
	l, err := NewLister("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		l.begin(Ticks() + 1000)
		if _, err := l.List(); err != nil {
			t.Fatal(err)
		}
		l.about[mustFind(t, l.procs, pid)].counted = false
		l.about[mustFind(t, l.procs, os.Getpid())].counted = false
		tids, err := Threads(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Threads(os.Getpid()); got < len(tids) || got > len(tids)+20 {
			t.Errorf("%d threads of ours, want about %d", got, len(tids))
		}
		if got := l.Threads(pid); got != 1 {
			t.Errorf("%d threads of a process with one", got)
		}
	}
}

func mustFind(t *testing.T, procs []Proc, pid int) int {
	t.Helper()
	i, ok := search(procs, pid)
	if !ok {
		t.Fatalf("%d is not listed", pid)
	}
	return i
}
