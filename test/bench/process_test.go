package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a program that speaks lines: a floor, or this test binary in another role.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	end func()
}

// start runs a program until the row ends, and waits until it says that it is ready. Lines before that are returned.
func (b *bench) start(argv ...string) (*process, []string) {
	b.t.Helper()
	return b.startAs("", argv...)
}

// role runs this test binary as one of the roles.
func (b *bench) role(name string, args ...string) *process {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	p, _ := b.startAs(name, append([]string{self}, args...)...)
	return p
}

func (b *bench) startAs(role string, argv ...string) (*process, []string) {
	b.t.Helper()
	p := &process{t: b.t, cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Stderr = os.Stderr
	if role != "" {
		p.cmd.Env = append(os.Environ(), roleEnv+"="+role)
	}
	var err error
	p.in, err = p.cmd.StdinPipe()
	b.must(err)
	out, err := p.cmd.StdoutPipe()
	b.must(err)
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, 1<<20)
	b.must(p.cmd.Start())
	// Most end with their standard input, and none has anything to put in order but a profile; their children end with them.
	p.end = sync.OnceFunc(func() {
		p.in.Close()
		if os.Getenv(profileEnv) != "" {
			time.Sleep(time.Second)
		}
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	b.t.Cleanup(p.end)
	var lines []string
	for {
		line := p.line()
		if line == "ready" {
			return p, lines
		}
		lines = append(lines, line)
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// say sends a line.
func (p *process) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatalf("%s: %v", p.cmd.Path, err)
	}
}

// line receives one.
func (p *process) line() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("%s has ended: %v", strings.Join(p.cmd.Args, " "), p.out.Err())
	}
	return p.out.Text()
}

// took is what one piece of work cost.
type took struct {
	cpu, wall time.Duration
	count     int
}

// ask sends a line and receives what it cost.
func (p *process) ask(format string, args ...any) took {
	p.t.Helper()
	p.say(format, args...)
	return p.took()
}

func (p *process) took() took {
	p.t.Helper()
	line := p.line()
	var w took
	if _, err := fmt.Sscan(line, &w.cpu, &w.wall, &w.count); err != nil {
		p.t.Fatalf("%s answered %q: %v", p.cmd.Path, line, err)
	}
	return w
}

// file writes a file into the scratch directory.
func (b *bench) file(name, text string) string {
	b.t.Helper()
	file := b.path(name)
	b.must(os.WriteFile(file+".new", []byte(text), 0o600))
	b.must(os.Rename(file+".new", file)) // in one step, as an editor does
	return file
}
