package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proc is a sample process, leader of a session in which all its descendants are found.
type proc struct {
	t   *testing.T
	cmd *exec.Cmd
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// shell runs a script of /bin/sh that ends with the test.
func shell(t *testing.T, script string, args ...string) *proc {
	t.Helper()
	return startProc(t, exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, args...)...))
}

func sleeper(t *testing.T) *proc { t.Helper(); return startProc(t, exec.Command("sleep", "3600")) }

func startProc(t *testing.T, cmd *exec.Cmd) *proc {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	p := &proc{t, cmd}
	t.Cleanup(p.end)
	return p
}

// end kills the whole session; it may be called twice.
func (p *proc) end() {
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // the group in one step, that no fork escapes (kill(2))
	for _, pid := range p.session() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.cmd.Wait()
}

// session lists the living processes of the session.
func (p *proc) session() (pids []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range entries {
		data, _ := os.ReadFile(file)
		_, rest, ok := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest) // state, parent, group, session: proc_pid_stat(5)
		if ok && len(fields) > 3 && fields[3] == strconv.Itoa(p.pid()) && fields[0] != "Z" && fields[0] != "X" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// wantSession waits until the session has n processes.
func (p *proc) wantSession(n int) []int {
	p.t.Helper()
	var pids []int
	eventually(p.t, "sample processes", func() error {
		if pids = p.session(); len(pids) != n {
			return fmt.Errorf("%d of %d", len(pids), n)
		}
		return nil
	})
	return pids
}

// startWorkload runs the test binary as a sample process and waits for its first line.
func startWorkload(t *testing.T, words string) *proc {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workloadEnv+"="+words)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	p := startProc(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("workload %s: %q, %v", words, line, err)
	}
	return p
}

// workload is the life of a sample process: it says that it is ready, and goes on.
func workload(words string) error {
	name, rest, _ := strings.Cut(words, " ")
	switch name {
	case "threads":
		for range 8 {
			ready := make(chan bool)
			go func() {
				runtime.LockOSThread() // each sleeps in a thread of its own
				ready <- true
				_ = syscall.Nanosleep(&syscall.Timespec{Sec: 3600}, nil)
			}()
			<-ready
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "direct":
		fmt.Println("ready")
		return directIO(strings.Fields(rest))
	case "memory":
		fmt.Println("ready")
		return holdMemory(rest)
	default:
		return errors.New("unknown workload " + name)
	}
	return nil
}

// waitFor waits until somebody makes the file: by then the process has been placed.
func waitFor(file string) {
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// directIO waits for a file, then writes and reads past the page cache, and makes another file: START DATA DONE.
func directIO(args []string) error {
	const size = 64 << 10
	waitFor(args[0])
	fd, err := syscall.Open(args[1], syscall.O_RDWR|syscall.O_CREAT|syscall.O_DIRECT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", args[1], err)
	}
	// Direct I/O wants memory aligned to the disk's blocks; a mapping is.
	buf, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := range directBlocks {
		if _, err := syscall.Pwrite(fd, buf, int64(i)*size); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	for i := range directBlocks / 2 {
		if _, err := syscall.Pread(fd, buf, int64(i)*size); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	if err := os.WriteFile(args[2], nil, 0o600); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
}

// directBlocks is how many blocks of 64 KiB directIO writes; it reads half of them.
const directBlocks = 32

// holdMemory waits for a file and then uses 16 MiB: memory is charged to the cgroup in which it is first touched.
func holdMemory(start string) error {
	waitFor(start)
	held := make([]byte, 16<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	time.Sleep(time.Hour)
	runtime.KeepAlive(held)
	return nil
}
