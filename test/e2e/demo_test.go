package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestDemo runs the demonstration of the README: it shows usage, and leaves nothing behind, however it ends.
func TestDemo(t *testing.T) {
	t.Parallel()
	needHost(t)
	for _, c := range []struct {
		name string
		args []string
		end  syscall.Signal
		code int
	}{
		{"by itself", []string{"--seconds", "4"}, 0, 0},
		{"by Ctrl-C", nil, syscall.SIGINT, 0},
		{"by SIGTERM", nil, syscall.SIGTERM, 143},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out testhost.Output
			cmd := exec.Command("test/demo.sh", c.args...)
			cmd.Dir = filepath.Join("..", "..")
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			must(t, cmd.Start())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = cmd.Wait() // the exit code is looked at below
			}()
			if c.end != 0 {
				deadline := time.Now().Add(3 * patience) // the first build takes long
				for !strings.Contains(out.String(), "cpu:front") && time.Now().Before(deadline) {
					time.Sleep(50 * time.Millisecond)
				}
				must(t, syscall.Kill(-cmd.Process.Pid, c.end)) // to the group, as a terminal does
			}
			select {
			case <-done:
			case <-time.After(3 * patience):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
				<-done
				t.Errorf("the demonstration did not end")
			}
			text := out.String()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			for _, word := range []string{"cpu:front", "cpu:batch", "blkio:writer", "is gone"} {
				if !strings.Contains(text, word) {
					t.Errorf("no %q in:\n%s", word, text)
				}
			}
			wantNothingOfDemo(t, cmd.Process.Pid)
			if t.Failed() {
				t.Logf("output:\n%s", text)
			}
		})
	}
}

// wantNothingOfDemo looks for cgroups, files and processes of one run.
func wantNothingOfDemo(t *testing.T, pid int) {
	t.Helper()
	root := "cgrouparch-demo-" + strconv.Itoa(pid)
	for _, mount := range uniqueMounts() {
		if _, err := os.Stat(filepath.Join(mount, root)); err == nil {
			t.Errorf("left behind: %s/%s", mount, root)
			_ = testhost.Remove(filepath.Join(mount, root))
		}
	}
	for left, command := range markedProcesses() {
		if strings.Contains(command, "cgrouparch-demo") {
			t.Errorf("left behind: process %d: %s", left, command)
			kill(left)
		}
	}
	if files, _ := filepath.Glob("/var/tmp/" + root + ".*"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
