package testhost

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ptraceSeize is PTRACE_SEIZE of ptrace(2).
const ptraceSeize = 0x4206

// Stuck starts a process that sleeps in the kernel where the freezer of v1 cannot stop it (state D), until the test ends, and
// returns its number. child is this test binary, with what makes it call [ExecWhenTold]. A frozen cgroup that it is in has to be
// thawed before the test ends.
//
// It is a process of several threads in execve(2), which waits for its other threads to go: one of them is traced by us, and so
// goes only when we wait for it (ptrace(2)).
func Stuck(t testing.TB, child *exec.Cmd) (pid int) {
	t.Helper()
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid = child.Process.Pid
	line, err := bufio.NewReader(out).ReadString('\n')
	var other int
	if err == nil {
		other, err = anotherThread(pid, strings.TrimSpace(line))
	}
	traced, release, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		_ = child.Process.Kill()
		close(release)
		<-ended
		_ = child.Wait()
	})
	if err != nil {
		close(ended)
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		trace(other, traced, release)
	}()
	if err := <-traced; err != nil {
		Lacks(t, "needs ptrace(2): %v", err)
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !sleepsHard(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is not stuck", pid)
		}
	}
	return pid
}

// ExecWhenTold is the life of a child of [Stuck].
func ExecWhenTold() {
	runtime.LockOSThread()
	fmt.Println(syscall.Gettid())
	_, _ = os.Stdin.Read(make([]byte, 1))
	fmt.Println(syscall.Exec("/bin/true", []string{"true"}, nil))
}

// anotherThread is a thread of a process that is not the one named.
func anotherThread(pid int, tid string) (int, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	for _, one := range threads {
		if n, err := strconv.Atoi(one.Name()); err == nil && n != pid && one.Name() != tid {
			return n, nil
		}
	}
	return 0, fmt.Errorf("process %d has no other thread", pid)
}

// trace traces a thread until it is released and has ended. Only the thread that traces may wait.
func trace(tid int, traced chan<- error, release <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceSeize, uintptr(tid), 0, 0, 0, 0); errno != 0 {
		traced <- errno
		return
	}
	traced <- nil
	<-release
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(tid, &status, syscall.WALL, nil); err != nil && err != syscall.EINTR || status.Exited() || status.Signaled() {
			return
		}
	}
}

// sleepsHard says whether a process is in state D (proc_pid_stat(5)).
func sleepsHard(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") D "))
}
