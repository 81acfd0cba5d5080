package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mutators are the system calls by which a program can change a file system, for strace(1). The ? lets strace go on where an
// architecture lacks one.
const mutators = "trace=openat,openat2,?open,?creat,?mkdir,mkdirat,?rmdir,?unlink,unlinkat,?rename,?renameat,renameat2," +
	"setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,truncate,ftruncate,?chmod,fchmod,fchmodat," +
	"?chown,fchown,fchownat,?lchown,linkat,symlinkat,?link,?symlink,mount,umount2,?mknod,mknodat,utimensat,pivot_root"

// tracer is a strace that runs.
type tracer struct {
	t      *testing.T
	prefix string
}

// underStrace returns the words to put before a command so that it runs traced while staying our direct child (-D).
func underStrace(h *host, calls string) (*tracer, []string) {
	h.t.Helper()
	strace := needTool(h.t, "strace")
	tr := &tracer{h.t, h.path("logs/strace")}
	return tr, []string{strace, "-D", "-ff", "-y", "-s", "8192", "-o", tr.prefix, "-e", calls, "-e", "signal=none"}
}

// lines returns what strace wrote, of all threads, once it has ended.
func (tr *tracer) lines(tracee int) []string {
	tr.t.Helper()
	var all []string
	files, _ := filepath.Glob(tr.prefix + ".*")
	if len(files) == 0 {
		tr.t.Fatalf("strace of %d wrote nothing", tracee)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tr.t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSpace(string(data)), "\n")...)
	}
	return all
}

// tracerOf returns the process that traces pid, 0 if none does.
func tracerOf(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}

// waitGone waits for the end of a process that is not our child.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "end of strace", func() error {
		if s, ok := readStat(pid); ok && s.state != "Z" {
			return fmt.Errorf("process %d runs", pid)
		}
		return nil
	})
}

// attach traces a running process for a while and returns the lines.
func attach(h *host, pid int, calls string, d time.Duration) []string {
	h.t.Helper()
	return attachWhile(h, pid, calls, func() { time.Sleep(d) })
}

// attachWhile traces a running process while f runs and returns the lines, each thread's in its order.
func attachWhile(h *host, pid int, calls string, f func()) []string {
	h.t.Helper()
	tr, argv := underStrace(h, calls)
	argv = append([]string{argv[0]}, argv[2:]...) // without -D
	cmd := exec.Command(argv[0], append(argv[1:], "-p", strconv.Itoa(pid))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "strace attached", func() error {
		if tracerOf(pid) == 0 {
			return fmt.Errorf("no tracer")
		}
		return nil
	})
	f()
	cmd.Process.Signal(syscall.SIGINT) // detaches
	cmd.Wait()
	return tr.lines(pid)
}

// A call that strace shows: name(arguments) = result.
var (
	callLine  = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+|\?)(?:<([^>]*)>)?`)
	pathFirst = regexp.MustCompile(`^(?:(?:AT_FDCWD|\d+)<([^>]*)>(?:, )?)?(?:"((?:[^"\\]|\\.)*)")?`)
)

// callNames are the names of traced calls, in their order.
func callNames(lines []string) string {
	names := make([]string, len(lines))
	for i, line := range lines {
		names[i], _, _ = strings.Cut(line, "(")
	}
	return strings.Join(names, " ")
}

// changedPath returns the path that a traced call would change, "" if it changes none.
func changedPath(line string) string {
	m := callLine.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	call, args, opened := m[1], m[2], m[4]
	if strings.HasPrefix(call, "open") {
		if !strings.Contains(args, "O_WRONLY") && !strings.Contains(args, "O_RDWR") && !strings.Contains(args, "O_CREAT") &&
			!strings.Contains(args, "O_TRUNC") {
			return ""
		}
		if opened != "" {
			return strings.TrimSuffix(opened, " (deleted)")
		}
	}
	p := pathFirst.FindStringSubmatch(args)
	if p == nil {
		return ""
	}
	if strings.HasPrefix(call, "f") && !strings.HasSuffix(call, "at") {
		return p[1] // by descriptor: a text that follows is no path
	}
	if p[2] != "" && filepath.IsAbs(p[2]) {
		return filepath.Clean(p[2])
	}
	return filepath.Join(p[1], p[2])
}

// changedPaths returns the distinct paths of all calls, sorted.
func changedPaths(lines []string) []string {
	seen := map[string]bool{}
	for _, line := range lines {
		if p := changedPath(line); p != "" {
			seen[p] = true
		}
	}
	var paths []string
	for p := range seen {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

func TestChangedPath(t *testing.T) {
	for line, want := range map[string]string{
		`openat(AT_FDCWD</w>, "/a/b", O_RDONLY|O_CLOEXEC) = 3</a/b>`:                                                                                   "",
		`openat(AT_FDCWD</w>, "b", O_WRONLY|O_CLOEXEC) = 3</w/b>`:                                                                                      "/w/b",
		`openat2(7</sys/fs/cgroup/cpu>, "r/cpu.shares", {flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24) = 9</sys/fs/cgroup/cpu/r/cpu.shares>`: "/sys/fs/cgroup/cpu/r/cpu.shares",
		`openat2(7</sys/fs/cgroup/cpu>, "../x", {flags=O_RDWR, resolve=RESOLVE_BENEATH}, 24) = -1 EXDEV (Invalid cross-device link)`:                   "/sys/fs/cgroup/x",
		`mkdirat(7</sys/fs/cgroup/cpu>, "r/a", 0755) = 0`:                                                                                              "/sys/fs/cgroup/cpu/r/a",
		`unlinkat(7</sys/fs/cgroup/cpu>, "r/a", AT_REMOVEDIR) = -1 EBUSY (Device or resource busy)`:                                                    "/sys/fs/cgroup/cpu/r/a",
		`rmdir("/sys/fs/cgroup/cpu/r") = 0`:                                                                                                            "/sys/fs/cgroup/cpu/r",
		`fsetxattr(8</sys/fs/cgroup/cpu/r/a>, "trusted.cgrouparchd", "1", 1, 0) = 0`:                                                                   "/sys/fs/cgroup/cpu/r/a",
		`+++ exited with 0 +++`: "",
	} {
		if got := changedPath(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
