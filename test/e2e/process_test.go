package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proc is a sample process, leader of a session of its own, so that it and all its descendants can be found and ended together.
type proc struct {
	t   *testing.T
	cmd *exec.Cmd
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// startProc starts a program that ends with the test.
func startProc(t *testing.T, attr *syscall.SysProcAttr, name string, args ...string) *proc {
	t.Helper()
	cmd := exec.Command(name, args...)
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setsid = true
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &proc{t, cmd}
	t.Cleanup(p.end)
	return p
}

// sleeper is a process that does nothing.
func sleeper(t *testing.T) *proc { t.Helper(); return startProc(t, nil, "sleep", "600") }

// shell runs a script of /bin/sh.
func shell(t *testing.T, script string, args ...string) *proc {
	t.Helper()
	return startProc(t, nil, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
}

// end kills the process and everything of its session; it may be called twice.
func (p *proc) end() {
	for range 100 {
		kill(-p.pid()) // the group, in one step that no fork escapes (kill(2))
		left := 0
		for _, pid := range p.session() {
			if pid != p.pid() {
				kill(pid) // somebody who has left the group
				left++
			}
		}
		if left == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.cmd.Wait()
}

// kill ends a process of ours; that it may have ended already is no error.
func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// session lists the living processes of the session that p leads, p included, ascending.
func (p *proc) session() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if stat, ok := readStat(pid); ok && stat.session == p.pid() && stat.state != "Z" && stat.state != "X" {
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids
}

// wantSession waits until the session has n living processes and returns them.
func (p *proc) wantSession(n int) []int {
	p.t.Helper()
	var pids []int
	eventually(p.t, "sample processes", func() error {
		if pids = p.session(); len(pids) != n {
			return fmt.Errorf("%d of %d: %v", len(pids), n, pids)
		}
		return nil
	})
	return pids
}

// stat is what the tests need of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	state   string
	parent  int
	session int
	flags   uint64
	ticks   uint64 // user and system time
}

func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	session, _ := strconv.Atoi(fields[3])
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	user, _ := strconv.ParseUint(fields[11], 10, 64)
	system, _ := strconv.ParseUint(fields[12], 10, 64)
	return stat{fields[0], parent, session, flags, user + system}, true
}

// pidFile writes a pid file of mode 0644 into the scratch directory.
func (h *host) pidFile(name string, pid int) string {
	h.t.Helper()
	return h.file(name, strconv.Itoa(pid)+"\n", 0o644)
}

// startWorkload runs the test binary itself as a sample process and waits for its first line.
func startWorkload(t *testing.T, name string) *proc {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workloadEnv+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &proc{t, cmd}
	t.Cleanup(p.end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("workload %s: %q, %v", name, line, err)
	}
	return p
}

// workload is the life of a sample process.
func workload(name string) {
	switch name {
	case "threads":
		started := make(chan bool)
		for range 8 {
			go func() {
				runtime.LockOSThread() // each sleeps in a thread of its own
				started <- true
				_ = syscall.Nanosleep(&syscall.Timespec{Sec: 600}, nil)
			}()
		}
		for range 8 {
			<-started
		}
	default:
		fmt.Fprintln(os.Stderr, "unknown workload", name)
		os.Exit(1)
	}
	fmt.Println("ready")
	time.Sleep(10 * time.Minute)
}

// commandOf returns the command line of a process, each word followed by a blank.
func commandOf(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(cmdline), "\x00", " ")
}

// threads counts the threads of a process.
func threads(pid int) int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(tasks)
}
