package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell returns a command that runs a script, long enough for a slow machine.
func shell(script string) Command {
	return Command{Argv: []string{"sh", "-c", script}, Timeout: time.Minute}
}

func TestOutput(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	open, err := os.Create(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	t.Setenv("CGROUPARCHD_SECRET", "hunter2")
	t.Setenv("PATH", "/nowhere")
	t.Setenv("HOME", "/home/test")

	for _, test := range []struct {
		name    string
		command Command
		want    string
	}{
		{"output", shell("echo one; echo two"), "one\ntwo\n"},
		{"arguments", Command{Argv: []string{"/bin/echo", "a b", "$x"}}, "a b $x\n"},
		{"no output", shell(":"), ""},
		{"errors of a good run are dropped", shell("echo noise >&2; echo answer"), "answer\n"},
		{"exactly the limit", Command{Argv: []string{"printf", "1234"}, MaxOutput: 4}, "1234"},
		{
			"clean environment", shell("/usr/bin/env | /usr/bin/sort | /bin/grep -v -e ^_= -e ^PWD= -e ^SHLVL="),
			"HOME=/home/test\nLANG=C.UTF-8\nPATH=" + searchPath + "\n",
		},
		{
			"environment of its own", Command{
				Argv: []string{"sh", "-c", "echo $CGROUP_PATH $LANG"}, Env: []string{"CGROUP_PATH=a/b", "LANG=C"},
			}, "a/b C\n",
		},
		{"working directory", shell("pwd"), "/\n"},
		{"standard input is empty", shell("cat; readlink /proc/self/fd/0"), "/dev/null\n"},
		{"own process group", shell(`read -r _ _ _ _ group _ </proc/$$/stat; [ "$group" = $$ ] && echo yes`), "yes\n"},
		{
			"a background process that lets go of the output",
			shell("sleep 60 >/dev/null 2>&1 & echo started; kill $!"), "started\n",
		},
		{
			"a background process that keeps standard error open",
			shell("setsid sleep 3 >/dev/null & echo started"), "started\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.command.Output(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("no descriptor of ours", func(t *testing.T) {
		got, err := shell("for f in /proc/$$/fd/*; do readlink $f; done; :").Output(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), secret) || !strings.Contains(string(got), "/dev/null") {
			t.Errorf("descriptors: %s", got)
		}
	})
}

func TestOutputFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		command Command
		want    string
	}{
		{"empty", Command{}, "run command: empty"},
		{"relative", Command{Argv: []string{"./x"}}, "run ./x: neither an absolute path nor a plain name"},
		{
			"not found", Command{Argv: []string{"no-such-program-xyz"}},
			"run no-such-program-xyz: executable file not found in $PATH",
		},
		{
			"missing", Command{Argv: []string{"/no/such", "secret"}},
			"run /no/such: fork/exec /no/such: no such file or directory",
		},
		{"status", shell("echo out; exit 3"), "run sh: exit status 3"},
		{"the end of standard error", shell("echo ' first'; printf 'first\\033\\nlast\\n' >&2; exit 1"), "run sh: exit status 1: first  last"},
		{
			"only the end", shell("head -c 100000 /dev/zero | tr '\\0' x >&2; printf end >&2; exit 1"),
			"run sh: exit status 1: " + strings.Repeat("x", stderrTail-3) + "end",
		},
		{"signal", shell("kill -9 $$"), "run sh: signal: killed"},
		{
			"too much output", Command{Argv: []string{"sh", "-c", "yes"}, MaxOutput: 1000, Timeout: time.Minute},
			"run sh: more than 1000 bytes of output",
		},
		{
			"one byte too much", Command{Argv: []string{"printf", "12345"}, MaxOutput: 4},
			"run printf: more than 4 bytes of output",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.command.Output(t.Context())
			if err == nil {
				t.Fatalf("no error, output %q", got)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if got != nil {
				t.Errorf("output besides the error: %q", got)
			}
		})
	}
	_, err := shell("exit 3").Output(t.Context())
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("error %v does not wrap the exit status", err)
	}
}

// TestOutputTimeout: when the time is up the whole process group is killed, whatever it does with the output.
func TestOutputTimeout(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"program", "echo $$ >%; echo out; sleep 1000"},
		{"child", "sleep 1000 & echo $! >%; wait"},
		{"child after the program has exited", "sleep 1000 & echo $! >%"},
		{"program that closed its output", "echo $$ >%; exec >/dev/null 2>&1; while :; do sleep 1000; done"},
		{"program that ignores signals", "trap '' TERM INT HUP; echo $$ >%; while :; do sleep 1000; done"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			// Under load the script may be killed before its first word: then it is tried with more time.
			for timeout := 200 * time.Millisecond; ; timeout *= 3 {
				c := shell(strings.ReplaceAll(test.script, "%", pidFile))
				c.Timeout = timeout
				_, err := c.Output(t.Context())
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v, want deadline exceeded", err)
				}
				text, _ := os.ReadFile(pidFile)
				pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
				if err != nil {
					if timeout > 10*time.Second {
						t.Fatalf("the script never began: %v", err)
					}
					continue
				}
				waitGone(t, pid)
				return
			}
		})
	}
}

// TestOutputEscape: a process that left the group cannot be killed, but does not hold us up either.
func TestOutputEscape(t *testing.T) {
	c := shell("setsid sleep 4")
	c.Timeout = 300 * time.Millisecond
	begin := time.Now()
	_, err := c.Output(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want deadline exceeded", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v, as long as the process that escaped", took)
	}
}

func TestOutputCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := filepath.Join(t.TempDir(), "begun")
	go func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(begun); err == nil {
				break
			}
		}
		cancel()
	}()
	_, err := shell("echo >" + begun + "; sleep 1000").Output(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	if _, err := shell("echo").Output(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a run that should not have begun", err)
	}
}

func TestTail(t *testing.T) {
	var tl tail
	all := []byte{}
	for i, size := range []int{1, 500, 20, 0, 511, 512, 513, 2000, 7} {
		chunk := slices.Repeat([]byte{byte('a' + i)}, size)
		all = append(all, chunk...)
		if n, err := tl.Write(chunk); n != size || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		want := all[max(0, len(all)-stderrTail):]
		if diff := cmp.Diff(string(want), string(tl.buf)); diff != "" {
			t.Fatalf("after write %d (-want +got):\n%s", i, diff)
		}
	}
}

// waitGone waits for a process to end: killing is not instantaneous. A zombie has ended.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, ok := strings.Cut(string(stat), ") "); !ok || strings.HasPrefix(rest, "Z") {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}
