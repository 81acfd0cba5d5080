// Package command runs one of the operator's commands within bounds and returns what it printed.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	defaultTimeout   = 10 * time.Second
	defaultMaxOutput = 64 << 10

	// lingering is how long a command that has exited may leave standard error open before it is abandoned.
	lingering = 500 * time.Millisecond

	// stderrTail is how much of the end of standard error an error shows.
	stderrTail = 512
)

// searchPath is where a command without a slash is looked up, and the PATH it gets. It does not come from our own
// environment, so that a command does not depend on how the daemon was started.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A Command is a program of the operator's, with its bounds. It is a value: the same one may run many times, also at
// the same time.
type Command struct {
	// Argv is the program and its arguments. The program is an absolute path, or a name looked up in the usual
	// directories (never in the daemon's own PATH).
	Argv []string

	// Env is added to a clean PATH, LANG and HOME, as "KEY=value". Nothing else of our environment is passed on.
	Env []string

	// Timeout bounds the whole run. Zero is 10 s.
	Timeout time.Duration

	// MaxOutput is how many bytes of standard output are accepted; more is an error. Zero is 64 KiB.
	MaxOutput int
}

// Output runs the command and returns its standard output. The command gets /dev/null as standard input, / as working
// directory, three descriptors and a process group of its own.
//
// The run ends when standard output is closed and the program has exited. When the time is up, ctx is done or there is
// too much output, the whole process group is killed. A command may leave a background process behind if that closes
// standard output.
//
// The error carries the program's name, never its arguments (they may hold a secret), and the end of standard error.
// It wraps context.DeadlineExceeded when the time was up, ctx's error when ctx ended it, and *exec.ExitError when the
// program failed.
func (c Command) Output(ctx context.Context) ([]byte, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("run command: empty")
	}
	output, err := c.output(ctx)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	return output, nil
}

func (c Command) output(ctx context.Context) ([]byte, error) {
	program, err := lookup(c.Argv[0])
	if err != nil {
		return nil, err
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	limit := c.MaxOutput
	if limit <= 0 {
		limit = defaultMaxOutput
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	var stderr tail
	cmd := &exec.Cmd{
		Path:        program,
		Args:        c.Argv,
		Env:         environment(c.Env),
		Dir:         "/",
		Stderr:      &stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   lingering,
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}

	// Closing our end of the pipe ends the read below even when a process that left the group holds the other end.
	stop := context.AfterFunc(ctx, func() {
		killGroup(cmd.Process)
		_ = stdout.Close()
	})
	output, readErr := io.ReadAll(io.LimitReader(stdout, int64(limit)+1))
	tooMuch := len(output) > limit
	if tooMuch {
		killGroup(cmd.Process)
	}
	waitErr := cmd.Wait()
	ended := !stop()

	switch {
	case ended:
		// What the program says about being killed is of no interest.
		return nil, stderr.explain(ctx.Err())
	case tooMuch:
		return nil, stderr.explain(fmt.Errorf("more than %d bytes of output", limit))
	case waitErr != nil && !errors.Is(waitErr, exec.ErrWaitDelay):
		return nil, stderr.explain(waitErr)
	case readErr != nil:
		return nil, stderr.explain(readErr)
	}
	return output, nil
}

// killGroup ends the command and what it started. While the program has not been waited for, its pid cannot become
// another group's; afterwards Signal says so and nothing is done.
func killGroup(p *os.Process) {
	if errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return
	}
	// ESRCH means that all have gone, which is what is wanted.
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
}

// lookup finds the program without the help of our own PATH and working directory.
func lookup(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "/") {
		return "", errors.New("neither an absolute path nor a plain name")
	}
	for _, dir := range filepath.SplitList(searchPath) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// environment is what the command sees: three variables of ours, then those asked for, of which the last one wins.
func environment(extra []string) []string {
	home := os.Getenv("HOME")
	if home == "" {
		home = "/"
	}
	return append([]string{"PATH=" + searchPath, "LANG=C.UTF-8", "HOME=" + home}, extra...)
}

// tail keeps the last bytes written to it, so that a talkative command costs no memory.
type tail struct{ buf []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > stderrTail {
		p = p[len(p)-stderrTail:]
	}
	if over := len(t.buf) + len(p) - stderrTail; over > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[over:])]
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

// explain adds the end of standard error to err, on one line and without control characters: it goes to a log.
func (t *tail) explain(err error) error {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "?"))
	if text == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, text)
}
