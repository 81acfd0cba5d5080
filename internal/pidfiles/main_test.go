package pidfiles

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// Two ordinary users; nothing needs to know their names.
const (
	userU = 65534
	userW = 65533
)

// helperEnv makes the test binary play one of the processes that tests need.
const helperEnv = "PIDFILES_TEST_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		if err := helper(mode); err != nil {
			fmt.Println("helper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testhost.Run(m))
}

// helper is a process that tests need: it prints a line when it is ready, and ends with its standard input.
func helper(mode string) error {
	mode, argument, _ := strings.Cut(mode, " ")
	switch mode {
	case "uids": // real, effective, saved
		var r, e, s int
		if _, err := fmt.Sscan(argument, &r, &e, &s); err != nil {
			return err
		}
		if err := syscall.Setresuid(r, e, s); err != nil {
			return err
		}
	case "leaderless": // the first thread ends, another one goes on
		return leaderless()
	case "storm": // processes and threads come and go
		return storm()
	case "exec":
		return execElsewhere()
	case "reuse":
		return reuse(argument)
	default:
		return fmt.Errorf("no mode %q", mode)
	}
	return untilClosed()
}

func untilClosed() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// startHelper starts the test binary as a helper and waits until it is ready.
func startHelper(t *testing.T, mode string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	cmd.SysProcAttr = attr
	return start(t, cmd)
}

// start starts a helper and waits until it prints that it is ready.
func start(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("helper said %q, %v", line, err)
	}
	return cmd
}

// startSleep starts a process that does nothing, of a user, and returns its pid.
func startSleep(t *testing.T, uid uint32) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// startZombie returns the pid of a process that has ended and was not waited for.
func startZombie(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	eventually(t, "the process has ended", func() bool {
		p, err := (&reader{proc: "/proc"}).stat(cmd.Process.Pid)
		return err == nil && p.State == 'Z'
	})
	return cmd.Process.Pid
}

// eventually waits for what another process or the kernel does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not seen in time: %s", what)
}

// needRoot skips a test that other users or namespaces are needed for.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		testhost.Lacks(t, "needs root")
	}
}

// writePID writes a pid file and returns its path.
func writePID(t *testing.T, pid int) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "x.pid"), strconv.Itoa(pid)+"\n")
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// leaderless lets the main thread of the process end while the process goes on.
func leaderless() error {
	errs := make(chan error)
	go func() { errs <- untilClosed() }()
	if unix.Gettid() != os.Getpid() {
		return fmt.Errorf("not on the main thread")
	}
	// The system call ends this thread alone; the runtime goes on without it.
	_, _, errno := unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return errno
}

// init keeps the main goroutine of the helper on the main thread, which the Go runtime does for init functions.
func init() {
	if os.Getenv(helperEnv) == "leaderless" {
		runtime.LockOSThread()
	}
}
