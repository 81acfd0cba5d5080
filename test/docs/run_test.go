package docs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// run is how a block is run: "run" alone expects success at once.
type run struct {
	exit       int           // "run, exit 3"
	background bool          // "run, background": it goes on until the document's end
	stop       time.Duration // "run, stop after 3s": interrupted then, which is success
}

func parseRun(marker string) (r run, err error) {
	words := strings.Split(marker, ", ")
	if words[0] != "run" {
		return run{}, fmt.Errorf("not a marker: %q", marker)
	}
	for _, w := range words[1:] {
		switch {
		case w == "background":
			r.background = true
		case strings.HasPrefix(w, "exit "):
			r.exit, err = strconv.Atoi(strings.TrimPrefix(w, "exit "))
		case strings.HasPrefix(w, "stop after "):
			r.stop, err = time.ParseDuration(strings.TrimPrefix(w, "stop after "))
		default:
			err = fmt.Errorf("not a word of a marker: %q", w)
		}
		if err != nil {
			return run{}, err
		}
	}
	return r, nil
}

const (
	insideEnv = "CGROUPARCHD_DOCS_INSIDE" // our root cgroup, set in the namespaces
	patience  = 5 * time.Minute           // the first build takes long
)

// TestRun runs the blocks of all documents in order, those of the README first,
// as a reader would type them: with the file names, ports and host names that they have. It therefore
// happens in namespaces of its own, of mounts and network, where /etc, /usr/local
// and the cgroup hierarchies are its own too: the latter show a cgroup of the
// test's as their root.
func TestRun(t *testing.T) {
	if root := os.Getenv(insideEnv); root != "" {
		inside(t, root)
		return
	}
	if os.Getuid() != 0 {
		testhost.Lacks(t, "not root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := testhost.Root(t)
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--",
		self, "-test.run=^TestRun$", "-test.v="+strconv.FormatBool(testing.Verbose()), "-test.count=1")
	cmd.Env = append(os.Environ(), insideEnv+"="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// running is a program that was started; done gets what its end was, once.
type running struct {
	cmd  *exec.Cmd
	done chan error
}

// guest is the machine that a document is run on.
type guest struct {
	t       *testing.T
	dir     string // a checkout
	env     []string
	running []running
}

func inside(t *testing.T, root string) {
	dir, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, dir: dir, env: os.Environ()}
	g.prepare(root)
	defer g.stop()
	for _, file := range documents(t) {
		for _, b := range blocksOf(t, file) {
			if r, err := parseRun(b.marker); err == nil && !t.Failed() {
				g.run(b, r)
			}
		}
	}
}

// prepare makes the machine: what a reader has before the first line.
func (g *guest) prepare(root string) {
	g.must("ip", "link", "set", "lo", "up")
	for _, mount := range testhost.Hierarchies() {
		own := filepath.Join(mount, root)
		if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			g.t.Fatal(err)
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // a new cpuset takes nobody without them
			if data, err := os.ReadFile(filepath.Join(mount, f)); err == nil {
				_ = os.WriteFile(filepath.Join(own, f), data, 0)
			}
		}
		g.must("mount", "--bind", own, mount)
	}
	scratch := g.t.TempDir()
	g.must("mount", "-t", "tmpfs", "tmpfs", scratch)
	g.t.Cleanup(func() { _ = syscall.Unmount(scratch, syscall.MNT_DETACH) }) // or it cannot be removed
	for _, dir := range []string{"/etc", "/usr/local", "/var/lib", "/run"} {
		name := strings.ReplaceAll(dir[1:], "/", "-")
		upper, work := filepath.Join(scratch, name), filepath.Join(scratch, name+"-work")
		g.mkdir(upper, work)
		g.must("mount", "-t", "overlay", "overlay", "-o", "lowerdir="+dir+",upperdir="+upper+",workdir="+work, dir)
	}
	// sudo is for those who are not root; readers of the test are.
	g.write("/usr/local/bin/sudo", "#!/bin/sh\nexec \"$@\"\n", 0o755)
	zk := testserver.ZooKeeper(g.t)
	redis := testserver.Redis(g.t)
	g.forward("127.0.0.1:2181", zk.Addr())
	g.forward("127.0.0.1:6379", redis.Addr())
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		g.t.Fatal(err)
	}
	g.write("/etc/hosts", string(hosts)+"127.0.0.1 localhost zk1 zk2 zk3\n", 0o644)
	// The pid files of the examples name living processes.
	g.mkdir("/run/nightly")
	for _, file := range []string{"/run/nginx.pid", "/run/nightly/1.pid"} {
		cmd := exec.Command("sleep", "600")
		g.start(cmd)
		g.write(file, strconv.Itoa(cmd.Process.Pid)+"\n", 0o644)
	}
}

func (g *guest) must(name string, args ...string) {
	g.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		g.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (g *guest) mkdir(dirs ...string) {
	g.t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *guest) write(name, text string, mode os.FileMode) {
	g.t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		g.t.Fatal(err)
	}
}

// forward lets a server be found at its usual port.
func (g *guest) forward(from, to string) {
	g.t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			pipe := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				_ = a.Close()
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
}

func (g *guest) start(cmd *exec.Cmd) running {
	g.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // what it leaves behind may hold its output open
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	r := running{cmd, make(chan error, 1)}
	go func() { // the only one that waits: two would wait for each other's news
		r.done <- cmd.Wait()
		close(r.done)
	}()
	g.running = append(g.running, r)
	return r
}

func (g *guest) stop() {
	for _, r := range g.running {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	}
	for _, r := range g.running {
		for range r.done { // until it has ended; it was killed, so how is no news
		}
	}
}

// command is the program of a block. A fault in any line is a fault of the block.
func (g *guest) command(ctx context.Context, b block) *exec.Cmd {
	var cmd *exec.Cmd
	switch b.language {
	case "python":
		cmd = exec.CommandContext(ctx, "/usr/bin/python3", "-c", b.text)
	default:
		cmd = exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", b.text)
	}
	cmd.Dir, cmd.Env = g.dir, g.env
	return cmd
}

func (g *guest) run(b block, r run) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if b.language == "toml" {
		g.mkdir("/etc/cgrouparchd")
		g.write("/etc/cgrouparchd/cgrouparchd.toml", b.text, 0o600)
		return
	}
	if b.language == "json" {
		g.write(filepath.Join(g.dir, "arch_conf.json"), b.text, 0o600)
		g.t.Cleanup(func() { _ = os.Remove(filepath.Join(g.dir, "arch_conf.json")) })
		return
	}
	var out testhost.Output
	cmd := g.command(context.Background(), b)
	cmd.Stdout, cmd.Stderr = &out, &out
	done := g.start(cmd).done
	if r.background {
		select {
		case err := <-done:
			g.t.Errorf("%v: ended at once: %v\n%s", b, err, out.String())
		case <-time.After(2 * time.Second):
		}
		return
	}
	var stop <-chan time.Time
	if r.stop > 0 {
		stop = time.After(r.stop)
	}
	for {
		select {
		case <-stop:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
			stop = nil
			continue
		case <-ctx.Done():
			g.t.Errorf("%v: no end within %v:\n%s", b, patience, out.String())
			return
		case err := <-done:
			if code := cmd.ProcessState.ExitCode(); code != r.exit && (r.stop == 0 || stop != nil) {
				g.t.Errorf("%v: %v, want exit status %d:\n%s\n%s", b, err, r.exit, b.text, out.String())
			}
			g.t.Logf("%v:\n%s", b, out.String())
			return
		}
	}
}
