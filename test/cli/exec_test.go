package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// child is a command that exec starts.
func child(name string) {
	switch name {
	case "sticks":
		testhost.ExecWhenTold()
	case "where": // says where it is, first of all
		text, _ := os.ReadFile("/proc/self/cgroup")
		fmt.Print(string(text))
	case "signals": // says which signals it gets; SIGTERM ends it
		got := make(chan os.Signal, 16)
		signal.Notify(got, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
		fmt.Println("ready")
		for s := range got {
			fmt.Println(s)
			if s == syscall.SIGTERM {
				time.Sleep(200 * time.Millisecond) // for a second one of the same kind
				fmt.Println(len(got), "more")
				os.Exit(3)
			}
		}
	case "ignored": // says what it ignores
		fmt.Println(signal.Ignored(syscall.SIGHUP), signal.Ignored(syscall.SIGINT), signal.Ignored(syscall.SIGTERM))
	case "nobody": // a shell without rights; not every setpriv(1) can
		err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody))
		if err == nil {
			err = syscall.Exec("/bin/sh", []string{"sh", "-c", os.Getenv(scriptEnv)}, os.Environ())
		}
		fmt.Println(err)
		os.Exit(1)
	case "terminal":
		_, err := unix.IoctlGetTermios(0, unix.TCGETS)
		fmt.Println("terminal:", err == nil)
		child("signals")
	}
}

// TestExecFrozen: in a frozen cgroup of v1 exec itself would stand still, where not even
// SIGKILL ends it.
func TestExecFrozen(t *testing.T) {
	cg := place(t, "freezer,cpu")
	ok(t, "cgroup", "create", cg+"/x")
	ok(t, "cgroup", "freeze", cg)
	defer func() { ok(t, "cgroup", "thaw", cg) }()
	if _, _, status := command("cgroup", "get", "freezer:/", "release_agent"); status != 0 {
		t.Skip("v2 kills what is frozen")
	}
	for _, name := range []string{cg, cg + "/x"} {
		late := time.AfterFunc(20*time.Second, func() { _, _, _ = command("cgroup", "thaw", cg) })
		refused(t, 1, "frozen", "exec", name, "--", "true")
		late.Stop()
	}
	if _, complaints, status := command("cgroup", "thaw", cg+"/x"); status != 0 || !strings.Contains(complaints, cg+" is thawed") {
		t.Errorf("thaw below a frozen one: %d %q", status, complaints)
	}
}

// TestExecFreezing: the same holds while something in it cannot be stopped.
func TestExecFreezing(t *testing.T) {
	cg := place(t, "freezer,cpu")
	if _, _, status := command("cgroup", "get", "freezer:/", "release_agent"); status != 0 {
		t.Skip("v2 kills what is frozen")
	}
	self, _ := os.Executable()
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"=sticks")
	ok(t, "cgroup", "add", cg, strconv.Itoa(testhost.Stuck(t, child)))
	ok(t, "cgroup", "set", cg, "freezer.state=FROZEN")
	defer func() { ok(t, "cgroup", "thaw", cg) }()
	late := time.AfterFunc(10*time.Second, func() { _, _, _ = command("cgroup", "thaw", cg) })
	refused(t, 1, "it is freezing", "exec", cg, "--", "true")
	late.Stop()
}

// started is exec with one of the children in a cgroup.
func started(cg, name string) *exec.Cmd {
	self, _ := os.Executable()
	cmd := exec.Command(binary, "exec", cg, "--", self)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

// eachWay runs a test for a cgroup of the usual kind, and for one of v2 where this host has both: the ways in differ.
func eachWay(t *testing.T, f func(t *testing.T, cg string)) {
	for _, controllers := range []string{"cpu", "unified"} {
		t.Run(controllers, func(t *testing.T) {
			if out := ok(t, "--json", "cgroup", "tree", "--depth", "0"); !strings.Contains(out, `"`+controllers+`"`) {
				t.Skip("this host has one kind only")
			}
			f(t, place(t, controllers))
		})
	}
}

// isIn says whether the text of /proc/PID/cgroup has a cgroup.
func isIn(text, cg string) bool {
	_, dir, _ := strings.Cut(cg, ":")
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		controllers, _, _ := strings.Cut(cg, ":")
		unified := fields[1] == "" && (controllers == "unified" || !strings.Contains(text, ":"+controllers))
		if len(fields) == 3 && fields[2] == dir && (unified || strings.Contains(","+fields[1]+",", ","+controllers+",")) {
			return true
		}
	}
	return false
}

func TestExec(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		out, err := started(cg, "where").Output()
		if err != nil || !isIn(string(out), cg) {
			t.Errorf("it is not in %s: %v\n%s", cg, err, out)
		}
		for script, status := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255} {
			if _, complaints, got := command("exec", cg, "--", "sh", "-c", script); got != status || complaints != "" {
				t.Errorf("%s: status %d, it says %q", script, got, complaints)
			}
		}
		refused(t, 127, "nosuch", "exec", cg, "--", "nosuch-command")
		plain := filepath.Join(t.TempDir(), "plain")
		if err := os.WriteFile(plain, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, 126, "permission denied", "exec", cg, "--", plain)
		refused(t, 1, "no such", "exec", cg+"-missing", "--", "true")
		refused(t, 2, "COMMAND", "exec", cg)
		refused(t, 2, "COMMAND", "exec", cg, "true")
		var exit *exec.ExitError
		err = exec.Command(binary, "exec", cg, "--", "sh", "-c", "kill -TERM $$").Run()
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("a command that SIGTERM ends: %v", err)
		}
		err = exec.Command(binary, "exec", cg, "--", "sh", "-c", "kill -SEGV $$").Run()
		if !errors.As(err, &exit) || exit.ExitCode() != 128+11 && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSEGV {
			t.Errorf("a command that SIGSEGV ends: %v", err)
		}
	})
}

// TestExecInParallel: no child of 200 is outside of its cgroup when it looks, which is the first thing it does.
func TestExecInParallel(t *testing.T) {
	children := 200
	if os.Getenv(guestEnv) != "" {
		children = 20 // each takes a second of an emulated processor
	}
	eachWay(t, func(t *testing.T, cg string) {
		var all sync.WaitGroup
		limit := make(chan bool, 50)
		for i := range children {
			all.Go(func() {
				limit <- true
				defer func() { <-limit }()
				out, err := started(cg, "where").Output()
				if err != nil || !isIn(string(out), cg) {
					t.Errorf("child %d is not in %s: %v\n%s", i, cg, err, out)
				}
			})
		}
		all.Wait()
	})
}

// TestExecJoinsFirst: the kernel's own record of what was done. What is moved is moved before the command is there, and nothing is
// after that.
func TestExecJoinsFirst(t *testing.T) {
	tool(t, "strace")
	eachWay(t, func(t *testing.T, cg string) {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command("strace", "-f", "-y", "-e", "trace=execve,write,clone3,vfork,clone", "-o", trace, binary, "exec", cg, "--", "true")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		joined, there := 0, false
		for line := range strings.Lines(string(text)) {
			switch {
			case strings.Contains(line, "CLONE_INTO_CGROUP"):
				joined++
			case strings.Contains(line, "write(") && (strings.Contains(line, "/cgroup.procs>") || strings.Contains(line, "/tasks>")):
				if there {
					t.Errorf("moved after the command had begun: %s", line)
				}
				joined++
			case strings.Contains(line, "execve(") && strings.Contains(line, `["true"]`):
				there = true
			}
		}
		if joined != 1 || !there {
			t.Errorf("joined %d times, the command was started: %t\n%s", joined, there, text)
		}
	})
}

func TestExecSignals(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		cmd := started(cg, "signals")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		expect(t, out, "ready\n")
		for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGTERM} {
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			expect(t, out, s.String()+"\n")
		}
		expect(t, out, "0 more\n")
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("%v", err)
		}
	})
}

// expect reads a text from a command.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, 0, 64)
	for one := make([]byte, 1); !strings.HasSuffix(string(got), "\n"); {
		if _, err := r.Read(one); err != nil {
			t.Fatalf("%q, then %v", got, err)
		}
		got = append(got, one[0])
	}
	if line := strings.ReplaceAll(string(got), "\r\n", "\n"); line != want {
		t.Fatalf("%q, not %q", line, want)
	}
}

// TestExecIgnored: what nohup, or a shell for its background jobs, has told a command to ignore, it ignores.
func TestExecIgnored(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		cmd := started(cg, "ignored")
		shell := exec.Command("sh", append([]string{"-c", `trap '' HUP INT; exec "$@"`, "sh"}, cmd.Args...)...)
		shell.Env = cmd.Env
		if out, err := shell.Output(); err != nil || string(out) != "true true false\n" {
			t.Errorf("%q %v", out, err)
		}
	})
}

// TestExecStreams: standard input and a further descriptor reach the command.
func TestExecStreams(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		cmd := exec.Command(binary, "exec", cg, "--", "sh", "-c", "cat; cat <&3")
		cmd.Stdin = strings.NewReader("one\n")
		file := filepath.Join(t.TempDir(), "two")
		if err := os.WriteFile(file, []byte("two\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		two, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer two.Close()
		cmd.ExtraFiles = []*os.File{two}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "one\ntwo\n" {
			t.Errorf("%q %v", out, err)
		}
	})
}

// TestExecTerminal: the command has the terminal, and Ctrl-C reaches it once, as does what somebody sends to the process group.
func TestExecTerminal(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		keys, tty := terminal(t)
		cmd := started(cg, "terminal")
		cmd.Stdin, cmd.Stdout = tty, tty
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = tty.Close()
		expect(t, keys, "terminal: true\n")
		expect(t, keys, "ready\n")
		for i := range 20 { // two that come together may look like one
			var err error
			if i%4 == 0 {
				err = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
			} else {
				_, err = keys.Write([]byte{3})
			}
			if err != nil {
				t.Fatal(err)
			}
			expect(t, keys, "interrupt\n")
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		expect(t, keys, "terminated\n")
		expect(t, keys, "0 more\n")
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("%v: %s", err, complaints.String())
		}
	})
}

// terminal makes a terminal without echo, and its keyboard and screen.
func terminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skip(err) // /dev/pts is not mounted
	}
	settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	settings.Lflag &^= unix.ECHO // which may come before or after what the signal makes a program print
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, settings); err != nil {
		t.Fatal(err)
	}
	return keys, tty
}

// TestExecByName looks a cgroup up in the document, as get-cgexec-arg does.
func TestExecByName(t *testing.T) {
	cg := place(t, "cpu")
	_, dir, _ := strings.Cut(cg, ":")
	file := filepath.Join(t.TempDir(), "document.json")
	document := `{"cpu": {"sub_cgroup": {"web": {"conf": {}}, "batch": {"sub_cgroup": {"nightly": {"conf": {"share": 200}}}}, "x": {"sub_cgroup": {"web2": {}}}, "y": {"sub_cgroup": {"web2": {}}}}}}`
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--conf-file", file, "--cgroup-root", dir, "--state-dir", t.TempDir()}
	ok(t, append([]string{"run", "--once"}, flags...)...)
	for name, at := range map[string]string{"web": "/web", "batch/nightly": "/batch/nightly", "nightly": "/batch/nightly"} {
		args := append(append([]string{"exec"}, flags...), name, "--", "cat", "/proc/self/cgroup")
		if out := ok(t, args...); !isIn(out, "cpu:"+dir+at) {
			t.Errorf("%s is not in %s: %s", name, at, out)
		}
	}
	refused(t, 1, "no such cgroup", append(append([]string{"exec"}, flags...), "nosuch", "--", "true")...)
	refused(t, 1, "give a path", append(append([]string{"exec"}, flags...), "web2", "--", "true")...)
	refused(t, 2, "one of zk_host", "exec", "--cgroup-root", dir, "web", "--", "true")
}

func BenchmarkExec(b *testing.B) {
	cg := "cpu:" + root
	if _, complaints, status := command("cgroup", "create", cg); status != 0 {
		b.Skip(complaints)
	}
	defer command("cgroup", "delete", root)
	b.Run("plain", func(b *testing.B) { again(b, "/bin/true") })
	b.Run("exec", func(b *testing.B) { again(b, binary, "exec", cg, "--", "/bin/true") })
	if _, err := exec.LookPath("cgexec"); err == nil {
		b.Run("cgexec", func(b *testing.B) { again(b, "cgexec", "-g", strings.TrimSuffix(cg, "/"), "/bin/true") })
	}
}

func again(b *testing.B, args ...string) {
	var cpu time.Duration // of the command and what it becomes: other load does not change it as it does the time that passes
	defer func() { b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		cmd := exec.Command(args[0], args[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
}
