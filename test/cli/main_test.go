// Package cli tests the commands cgroup and exec as a person at a shell uses them, on whichever cgroups the host has.
package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

const (
	// binaryEnv is the program under test; without it, it is built.
	binaryEnv = "CGROUPARCHD_BINARY"
	// allEnv turns skips for want of a tool or a right into failures.
	allEnv = "CGROUPARCHD_TEST_ALL"
	// guestEnv is set in a virtual machine: tools that are missing there are no fault.
	guestEnv = "CGROUPARCHD_GUEST"
	// childEnv makes the test binary a command to be started.
	childEnv = "CGATEST_CLI_CHILD"
	// scriptEnv is what the child "nobody" types into a shell.
	scriptEnv = "CGATEST_CLI_SCRIPT"
)

var (
	// root is the cgroup below which everything of this run is.
	root   = "/" + testhost.Name("cli")
	binary string
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child(name)
		return
	}
	// Under nohup these would be ignored in all children, as exec has to pass it on; what is caught is not inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cgatest-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv(binaryEnv); binary == "" {
		binary = filepath.Join(dir, "cgrouparchd")
		build := exec.Command("go", "build", "-o", binary, "../../cmd/cgrouparchd")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
			return 1
		}
		_ = os.Chmod(dir, 0o755) // other users run it too
	}
	testhost.Sweep()
	code := m.Run()
	for _, left := range []string{root, "unified:" + root} {
		if out, _, status := command("cgroup", "tree", left); status == 0 {
			fmt.Fprintf(os.Stderr, "left behind:\n%s", out)
			_, _, _ = command("cgroup", "kill", left)
			_, _, _ = command("cgroup", "delete", "-r", left)
			code = 1
		}
	}
	return code
}

// command runs the program and returns its outputs and its exit status.
func command(args ...string) (stdout, stderr string, status int) {
	cmd := exec.Command(binary, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		status = exit.ExitCode()
	default:
		return out.String(), err.Error(), -1
	}
	return out.String(), complaints.String(), status
}

// ok runs the program, which is to succeed, and returns its output.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	out, complaints, status := command(args...)
	if status != 0 {
		t.Fatalf("%s: status %d: %s", strings.Join(args, " "), status, complaints)
	}
	return out
}

// refused runs the program, which is to fail in a certain way and say so.
func refused(t *testing.T, status int, words string, args ...string) {
	t.Helper()
	out, complaints, got := command(args...)
	if got != status || !strings.Contains(complaints, words) || out != "" {
		t.Errorf("%s: status %d, not %d; output %q; it says %q, not %q", strings.Join(args, " "), got, status, out, complaints, words)
	}
}

// place is a cgroup of the test's own, which is gone after it.
func place(t *testing.T, controllers string) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root")
	}
	if _, complaints, status := command("cgroup", "create", controllers+":"+root); status != 0 {
		if strings.Contains(complaints, "not supported") || strings.Contains(complaints, "not mounted") {
			t.Skipf("this host does not have all of %s: %s", controllers, complaints)
		}
		skip(t, complaints)
	}
	dir := root + "/" + strings.ReplaceAll(t.Name(), "/", "-")
	name := controllers + ":" + dir
	ok(t, "cgroup", "create", name)
	t.Cleanup(func() {
		ok(t, "cgroup", "kill", "--force", name)
		ok(t, "cgroup", "delete", "--force", "-r", name)
		ok(t, "cgroup", "delete", "--force", "-r", dir)             // where the daemon has mirrored it
		_, _, _ = command("cgroup", "delete", controllers+":"+root) // when it was the last one
		_, _, _ = command("cgroup", "delete", root)
	})
	return name
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv(allEnv) == "1" && os.Getenv(guestEnv) == "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// tool skips a test when a program that it runs is not there.
func tool(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, err.Error())
		}
	}
}

// eventually polls until f has nothing to complain about.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%s: not within a minute: %v", what, err)
		}
	}
}
