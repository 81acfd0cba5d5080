// Package testserver runs the real servers that tests need, ZooKeeper and Redis, each alone on a loopback port with a directory of its own.
//
// Nothing is left behind: a server dies with its test, and with the test
// process if that is killed. A test is skipped where the server is not
// installed, unless the environment has CGROUPARCHD_TEST_ALL=1: then it fails.
package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// readyTimeout is how long a server may take until it serves: a Java machine on
// two busy cores, under the race detector's load.
const readyTimeout = 3 * time.Minute

// process is one server: a command that can be ended and started again.
type process struct {
	t     testing.TB
	name  string
	dir   string // temporary, holds data and log
	addr  string // 127.0.0.1:PORT, the same after each start
	argv  []string
	ready func() error // nil when it serves

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// need ends the test (as skipped, or failed when everything must run) unless
// every file is there.
func need(t testing.TB, files ...string) {
	t.Helper()
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			testhost.Lacks(t, "server not installed: %v", err)
		}
	}
}

// freePort returns a loopback port that nobody listens on. It lies below the
// range from which the kernel takes ports for outgoing connections
// (ip_local_port_range), so that none of those takes it while our server is
// down between two starts.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free loopback port")
	return 0
}

// tempDir is t.TempDir with a short path (a test's name may be long) and
// without its failure when a dying server still writes there.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cgatest-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start runs the command and waits until it serves.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The death signal is sent when the thread that started the child
		// ends, not the process (prctl(2)): keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed: the status says nothing
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.done = cmd, done
	return p.waitReady()
}

func (p *process) waitReady() error {
	deadline := time.After(readyTimeout)
	// Less and less often: on a slow machine the questions would take what the server needs to come up.
	for pause := 10 * time.Millisecond; ; pause = min(pause*5/4, 200*time.Millisecond) {
		err := p.ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			p.cmd = nil
			return fmt.Errorf("%s ended at its start: %w\n%s", p.name, err, p.log())
		case <-deadline:
			return fmt.Errorf("%s does not serve after %v: %w\n%s", p.name, readyTimeout, err, p.log())
		case <-time.After(pause):
		}
	}
}

// signal sends sig if the server runs; with wait it returns when it has ended.
func (p *process) signal(sig syscall.Signal, wait bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Signal(sig)
	if !wait {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill() // the wait below tells
		<-p.done
	}
	p.cmd = nil
	return nil
}

// log returns the end of what the server wrote.
func (p *process) log() string {
	data, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Addr returns where the server listens, "127.0.0.1:PORT". It stays the same
// when the server is started again.
func (p *process) Addr() string { return p.addr }

// Pid returns the server's process, 0 while it is down.
func (p *process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Start starts the server again after Stop or Kill and waits until it serves.
func (p *process) Start() {
	p.t.Helper()
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

// Stop ends the server in good order (SIGTERM) and waits for it.
func (p *process) Stop() { p.must(p.signal(syscall.SIGTERM, true)) }

// Kill ends the server by SIGKILL and waits for it.
func (p *process) Kill() { p.must(p.signal(syscall.SIGKILL, true)) }

// Freeze stops the server by SIGSTOP: its kernel still accepts connections,
// but nothing answers.
//
// The signal is delivered to each thread in its own time, so it waits until all
// have stopped.
func (p *process) Freeze() {
	p.t.Helper()
	p.must(p.signal(syscall.SIGSTOP, false))
	for deadline := time.Now().Add(10 * time.Second); !p.stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not freeze", p.name)
		}
	}
}

// stopped says whether every thread is in state T, see proc_pid_stat(5).
func (p *process) stopped() bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
	for _, file := range stats {
		text, err := os.ReadFile(file)
		after := string(text[strings.LastIndexByte(string(text), ')')+1:])
		if err != nil || !strings.HasPrefix(after, " T") {
			return false
		}
	}
	return true
}

// Thaw lets a frozen server go on.
func (p *process) Thaw() { p.must(p.signal(syscall.SIGCONT, false)) }

func (p *process) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}
