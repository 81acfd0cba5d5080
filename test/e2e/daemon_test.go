package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// host is one test's share of the machine: a cgroup_root of its own in every hierarchy, a directory, and a daemon configuration.
type host struct {
	t        *testing.T
	root     string // cgroup_root
	scratch  string // a directory of root's that nobody else may write; logs/ in it is for what the daemon must not notice
	settings map[string]any
	daemons  int
}

var hosts atomic.Int64

// newHost prepares a configuration in which the document comes from a file; conf_file is replaced by useZooKeeper.
func newHost(t *testing.T) *host {
	t.Helper()
	needHost(t)
	number := hosts.Add(1)
	scratch := filepath.Join(runDir, fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", " ", "_").Replace(t.Name()), number))
	must(t, os.MkdirAll(filepath.Join(scratch, "logs"), 0o755))
	h := &host{t: t, scratch: scratch, root: "/" + testhost.Root(t)}
	h.settings = map[string]any{
		"cgroup_root":        h.root,
		"conf_file":          h.path("document.json"),
		"state_dir":          h.path("state"),
		"communicate_ip":     "127.0.0.1",
		"communicate_port":   0,
		"zk_session_timeout": 2,
		"log_level":          "debug",
		"log_format":         "json",
	}
	return h
}

// uniqueMounts lists each v1 mount once, although co-mounted controllers share one.
func uniqueMounts() []string {
	return slices.Compact(slices.Sorted(maps.Values(testhost.Controllers())))
}

// path names a file in the test's scratch directory.
func (h *host) path(name string) string { return filepath.Join(h.scratch, name) }

// set changes a key of the daemon configuration for the next start; nil removes it.
func (h *host) set(key string, value any) {
	if value == nil {
		delete(h.settings, key)
		return
	}
	h.settings[key] = value
}

// document puts a configuration document where conf_file points, in one step as an editor does.
func (h *host) document(text string) {
	h.t.Helper()
	h.file("document.json.new", text, 0o600)
	if err := os.Rename(h.path("document.json.new"), h.path("document.json")); err != nil {
		h.t.Fatal(err)
	}
}

// file writes a file into the scratch directory and returns its path.
func (h *host) file(name, text string, mode os.FileMode) string {
	h.t.Helper()
	file := h.path(name)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask is
		h.t.Fatal(err)
	}
	return file
}

// config writes the daemon configuration and returns its path.
func (h *host) config() string {
	h.t.Helper()
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(h.settings); err != nil {
		h.t.Fatal(err)
	}
	// In one step, and only when it is another: a command that runs already may be about to read it.
	file := h.path("cgrouparchd.toml")
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, b.Bytes()) {
		return file
	}
	must(h.t, os.Rename(h.file("cgrouparchd.toml.new", b.String(), 0o600), file))
	return file
}

// daemon is a running cgrouparchd.
type daemon struct {
	h    *host
	t    *testing.T
	cmd  *exec.Cmd
	log  string // file with its standard error
	addr string // 127.0.0.1:PORT
	done chan struct{}
	err  error // valid once done is closed
}

// start runs the daemon and waits until it serves; before names a program to run it under (strace, unshare).
func (h *host) start(before ...string) *daemon {
	h.t.Helper()
	d := h.launch(before...)
	within(h.t, patience, "address in the daemon's log", func() error {
		select {
		case <-d.done:
			h.t.Fatalf("daemon ended at its start: %v", d.err)
		default:
		}
		if d.addr = d.findAddr(); d.addr == "" {
			return errors.New("none")
		}
		return nil
	})
	return d
}

// startReady starts the daemon and waits for its first full pass.
func (h *host) startReady(before ...string) *daemon {
	h.t.Helper()
	d := h.start(before...)
	d.waitReady()
	return d
}

// launch starts the process only.
func (h *host) launch(before ...string) *daemon {
	h.t.Helper()
	h.daemons++
	argv := append(slices.Clone(before), binary, "run", "--config", h.config())
	d := &daemon{h: h, t: h.t, log: h.path(fmt.Sprintf("logs/daemon-%d.log", h.daemons)), done: make(chan struct{})}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// A descriptor that a careless parent leaves open: it may not reach the commands that the daemon starts.
	d.cmd.ExtraFiles = []*os.File{log}
	// A group of its own: a Ctrl-C in the terminal stops the tests, which then stop the daemon.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	h.t.Cleanup(d.finish)
	return d
}

var loopbackPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// findAddr looks for the address that the daemon says it listens on: the only loopback address in its log that we did not give it.
func (d *daemon) findAddr() string {
	log, err := os.ReadFile(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	given := fmt.Sprint(d.h.settings)
	for _, addr := range loopbackPort.FindAllString(string(log), -1) {
		if !strings.Contains(given, addr) && !strings.HasSuffix(addr, ":0") {
			return addr
		}
	}
	return ""
}

func (d *daemon) waitReady() {
	d.t.Helper()
	eventually(d.t, "/readyz", func() error {
		code, body := d.get("/readyz")
		if code != 200 {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// descriptors counts what the daemon has open, but for the processes that it holds: how many those are depends on what
// else runs on the machine, and is bounded (pidfiles.MaxHeld).
func (d *daemon) descriptors() (n int) {
	dir := fmt.Sprintf("/proc/%d/fd/", d.pid())
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		// "anon_inode:[pidfd]", since Linux 6.9 "pidfd:[INODE]"
		if target, err := os.Readlink(dir + e.Name()); err == nil && !strings.Contains(target, "pidfd") {
			n++
		}
	}
	return n
}

func (d *daemon) alive() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatalf("signal %v: %v", sig, err)
	}
}

// stop ends the daemon by SIGTERM and insists on a clean end.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	if err := d.wait(15 * time.Second); err != nil {
		d.t.Fatalf("daemon after SIGTERM: %v", err)
	}
}

// kill9 ends the daemon as a crash would.
func (d *daemon) kill9() {
	d.t.Helper()
	d.signal(syscall.SIGKILL)
	<-d.done
}

// wait returns the daemon's exit error, or that it did not end.
func (d *daemon) wait(limit time.Duration) error {
	select {
	case <-d.done:
		return d.err
	case <-time.After(limit):
		return fmt.Errorf("still running after %v", limit)
	}
}

// finish is the end of every daemon: stopped, its log judged, and printed when the test failed.
func (d *daemon) finish() {
	if d.alive() {
		d.cmd.Process.Signal(syscall.SIGCONT)
		d.cmd.Process.Signal(syscall.SIGTERM)
		if err := d.wait(15 * time.Second); err != nil {
			d.t.Errorf("daemon at the end of the test: %v", err)
			d.cmd.Process.Signal(syscall.SIGQUIT) // Go prints every goroutine
			time.Sleep(time.Second)
			d.cmd.Process.Kill()
			<-d.done
		}
	}
	log, _ := os.ReadFile(d.log)
	for _, bad := range []string{"WARNING: DATA RACE", "\npanic: ", "fatal error: "} {
		if bytes.Contains(log, []byte(bad)) {
			d.t.Errorf("daemon's log has %q", strings.TrimSpace(bad))
		}
	}
	if d.t.Failed() {
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		lines = lines[max(0, len(lines)-80):]
		d.t.Logf("end of %s:\n%s", d.log, strings.Join(lines, "\n"))
	}
}

// logText returns what the daemon has logged so far.
func (d *daemon) logText() string {
	log, err := os.ReadFile(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(log)
}

// result is what a command of the binary left.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\n--- stdout\n%s--- stderr\n%s", r.code, r.stdout, r.stderr)
}

// cli runs a command of the binary with this host's configuration file.
func (h *host) cli(args ...string) result {
	h.t.Helper()
	return h.exec(append(args, "--config", h.config())...)
}

// exec runs the binary with exactly these arguments.
func (h *host) exec(args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = h.scratch
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%v: %v %v\n%s", args, err, ctx.Err(), stderr.String())
	}
	if strings.Contains(stderr.String(), "DATA RACE") {
		h.t.Errorf("%v: data race:\n%s", args, stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// wantExit insists on an exit status.
func (r result) wantExit(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Errorf("want exit %d, got %v", code, r)
	}
	return r
}
