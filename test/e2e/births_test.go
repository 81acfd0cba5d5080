package e2e

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/procevents"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// listens says whether a process has joined the group of the proc connector, as /proc/net/netlink says it.
func listens(t *testing.T, pid int) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/net/netlink")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // sk Eth Pid Groups ...; 11 is NETLINK_CONNECTOR
		if len(f) > 3 && f[1] == "11" && f[2] == strconv.Itoa(pid) && f[3] == "00000001" {
			return true
		}
	}
	return false
}

// births is a host with proc_connector where that may be had.
func births(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	s, err := procevents.Open()
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	_ = s.Close()
	h.set("proc_connector", true)
	h.unhurried() // no full pass in between
	return h
}

// escape moves a process out of its cgroup, and again until no placement that was under way has put it back: it stays outside.
func (h *host) escape(pid int, subsystems ...string) {
	h.t.Helper()
	eventually(h.t, "an escape", func() error {
		for _, subsystem := range subsystems {
			h.write(subsystem, "", "cgroup.procs", strconv.Itoa(pid))
		}
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for _, subsystem := range subsystems {
				if err := h.areIn(subsystem, "", pid); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// forking starts a shell that forks when told, and until then does nothing that forks.
func forking(t *testing.T, h *host, name, how string) (p *proc, fork func() (child int)) {
	t.Helper()
	told, file := h.path(name+".fifo"), h.path(name+".child")
	must(t, syscall.Mkfifo(told, 0o600))
	p = shell(t, `read x < "$1"; `+how+` while :; do read x < "$1"; done`, told, file)
	return p, func() int {
		t.Helper()
		w, err := os.OpenFile(told, os.O_WRONLY, 0)
		must(t, err)
		_, err = w.WriteString("now\n")
		must(t, errors.Join(err, w.Close()))
		return pidIn(t, file)
	}
}

const (
	aChild  = `sleep 600 & echo $! > "$2";`
	aDaemon = `( exec sh -c 'echo $$ > "$1"; exec sleep 600' sh "$2" & );` // its parent ends at once
)

// TestEscapedChild: somebody has moved a process out of its cgroup; as soon as it forks, it and its child are inside again. So is
// a daemon: the child of a child that has ended.
func TestEscapedChild(t *testing.T) {
	t.Parallel()
	h := births(t)
	staying, fork := forking(t, h, "staying", aChild)
	leaving, daemonise := forking(t, h, "leaving", aDaemon)
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("a.pid", staying.pid())}, "b": {h.pidFile("b.pid", leaving.pid())}})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}, "blkio": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d := h.startReady()
	eventually(t, "listening", func() error { return differ(true, listens(t, d.cmd.Process.Pid)) })
	h.wantIn("cpu", "a", staying.pid())
	h.wantIn("cpu", "b", leaving.pid())

	h.escape(staying.pid(), "cpu", "blkio")
	child := fork()
	for _, subsystem := range []string{"cpu", "cpuacct", "blkio"} {
		h.wantIn(subsystem, "a", staying.pid(), child)
	}

	h.escape(leaving.pid(), "cpu")
	orphan := daemonise()
	h.wantIn("cpu", "b", orphan, leaving.pid())

	// The daemon remembers whose it is, although no listing has seen it with its parent.
	h.escape(orphan, "cpu")
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	h.wantIn("cpu", "b", orphan)
}

// TestEscapedUnheard: without proc_connector nobody listens, and the child waits for a full pass.
func TestEscapedUnheard(t *testing.T) {
	t.Parallel()
	h := births(t)
	h.set("proc_connector", false)
	p, fork := forking(t, h, "staying", aChild)
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("a.pid", p.pid())}})
	h.document(sampleA)
	d := h.startReady()
	h.wantIn("cpu", "a", p.pid())
	h.escape(p.pid(), "cpu")
	child := fork()
	throughout(t, 300*time.Millisecond, "no news", func() error { return h.areIn("cpu", "", p.pid(), child) })
	if listens(t, d.cmd.Process.Pid) {
		t.Error("it listens")
	}
	must(t, d.cmd.Process.Signal(syscall.SIGHUP))
	h.wantIn("cpu", "a", p.pid(), child)
}

// TestBirthsRefused: without CAP_NET_ADMIN the log says so once, and all else works.
func TestBirthsRefused(t *testing.T) {
	t.Parallel()
	h := births(t)
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("a.pid", p.pid())}})
	h.document(sampleA)
	d := h.startReady("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
	h.wantIn("cpu", "a", p.pid())
	eventually(t, "the refusal in the log", func() error {
		return differ(1, strings.Count(d.logText(), "proc_connector refused, so that processes outside their cgroups are found by full passes only"))
	})
}
