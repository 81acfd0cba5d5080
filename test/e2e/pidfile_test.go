package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is a user that owns no process of ours but those that we start as it.
const nobody = 65534

// TestPidFileStates produces every state and rule of a strict pid file, each beside its twin that is fine, in one daemon: none may
// disturb another.
func TestPidFileStates(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	mine := sleeper(t)
	theirs := startProc(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}, "sleep", "600")
	dead := sleeper(t)
	dead.end()
	zombie := shell(t, "sleep 0.1 & exec sleep 600")

	dir := func(name string, mode os.FileMode, uid int) string {
		d := h.path(name)
		must(t, os.Mkdir(d, 0o755), os.Chown(d, uid, uid), os.Chmod(d, mode))
		return d
	}
	put := func(file, text string, mode os.FileMode, uid int) string {
		must(t, os.WriteFile(file, []byte(text), 0o600), os.Chown(file, uid, uid), os.Chmod(file, mode))
		return file
	}
	link := func(file, target string, uid int) string {
		must(t, os.Symlink(target, file), os.Lchown(file, uid, uid))
		return file
	}
	open777, sticky, theirDir := dir("open", 0o777, 0), dir("sticky", os.ModeSticky|0o777, 0), dir("theirs", 0o755, nobody)
	groupDir := dir("group", 0o775, 0)
	pid, their := strconv.Itoa(mine.pid()), strconv.Itoa(theirs.pid())
	fifo := h.path("fifo.pid")
	must(t, syscall.Mkfifo(fifo, 0o644))
	old := put(h.path("stale.pid"), pid, 0o644, 0)
	longAgo := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(old, longAgo, longAgo))

	cases := []struct{ what, file, state string }{
		{"ok", put(h.path("ok.pid"), pid+"\n", 0o644, 0), "ok"},
		{"ok with blanks", put(h.path("blanks.pid"), "  "+pid+" \n\n", 0o644, 0), "ok"},
		{"missing", h.path("missing.pid"), "missing"},
		{"missing directory", h.path("no/such/dir/x.pid"), "missing"},
		{"empty", put(h.path("empty.pid"), "", 0o644, 0), "malformed"},
		{"text", put(h.path("text.pid"), "12abc", 0o644, 0), "malformed"},
		{"two numbers", put(h.path("two.pid"), pid+" "+pid, 0o644, 0), "malformed"},
		{"zero", put(h.path("zero.pid"), "0", 0o644, 0), "malformed"},
		{"negative", put(h.path("negative.pid"), "-"+pid, 0o644, 0), "malformed"},
		{"huge", put(h.path("huge.pid"), strings.Repeat("9", 40), 0o644, 0), "malformed"},
		{"dead", put(h.path("dead.pid"), strconv.Itoa(dead.pid()), 0o644, 0), "dead"},
		{"zombie", put(h.path("zombie.pid"), strconv.Itoa(childOf(t, zombie.pid())), 0o644, 0), "dead"},
		{"stale", old, "stale"},
		{"writable by group", put(h.path("group.pid"), pid, 0o664, 0), "refused"},
		{"writable by world", put(h.path("world.pid"), pid, 0o646, 0), "refused"},
		{"in a directory writable by world", put(filepath.Join(open777, "x.pid"), pid, 0o644, 0), "refused"},
		{"in a directory writable by group", put(filepath.Join(groupDir, "x.pid"), pid, 0o644, 0), "refused"},
		{"in a sticky directory", put(filepath.Join(sticky, "x.pid"), pid, 0o644, 0), "ok"},
		{"a user's file names the user's process", put(filepath.Join(theirDir, "own.pid"), their, 0o644, nobody), "ok"},
		{"a user's file names somebody else's", put(filepath.Join(theirDir, "other.pid"), pid, 0o644, nobody), "refused"},
		{"root's link", link(h.path("link.pid"), h.path("ok.pid"), 0), "ok"},
		{"a user's link to root's file", link(filepath.Join(sticky, "link.pid"), h.path("ok.pid"), nobody), "refused"},
	}
	files := map[string][]string{}
	for i, c := range cases {
		files[fmt.Sprintf("c%d", i)] = []string{c.file}
	}
	files["fifo"] = []string{fifo}
	files["directory"] = []string{h.path("sticky")}
	h.set("cgroup_pid_files", files)
	var names []string
	for cgroup := range files {
		names = append(names, fmt.Sprintf("%q: {\"conf\": {}}", cgroup))
	}
	// One subsystem for all: the same pid is named often, which is a fault of its own that may not hide the states.
	h.document(`{"cpu": {"sub_cgroup": {` + strings.Join(names, ",") + `}}}`)
	d := h.startReady()
	for i, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			eventually(t, "state", func() error {
				got := d.pidStates()[c.file]
				if got.State != c.state || got.Cgroup != fmt.Sprintf("c%d", i) {
					return fmt.Errorf("%+v, want state %s in c%d", got, c.state, i)
				}
				return nil
			})
		})
	}
	for _, file := range []string{fifo, h.path("sticky")} { // neither may block the daemon; which of the two names they get is free
		if got := d.pidStates()[file].State; got != "malformed" && got != "unreadable" && got != "refused" {
			t.Errorf("%s is %q", file, got)
		}
	}
	h.wantIn("cpu", "c18", theirs.pid()) // the right ones of them are members, whatever the others are
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// childOf waits for a child of pid that has ended and that nobody waits for.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	child := 0
	eventually(t, "zombie", func() error {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for _, field := range strings.Fields(string(data)) {
			n, _ := strconv.Atoi(field)
			if s, ok := readStat(n); ok && s.state == "Z" {
				child = n
				return nil
			}
		}
		return fmt.Errorf("none")
	})
	return child
}

// TestPidFileUnreadable: a loop of links cannot be opened by anybody.
func TestPidFileUnreadable(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	loop := h.path("loop.pid")
	must(t, os.Symlink(loop, loop))
	h.set("cgroup_pid_files", map[string][]string{"a": {loop}})
	h.document(sampleA)
	d := h.startReady()
	h.wantShares("a 300")
	d.wantPidState(loop, "unreadable")
}

// TestPidFileAtOnce: new, changed and re-made pid files are noticed without waiting for the interval, globs included.
func TestPidFileAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	first, second, third := sleeper(t), sleeper(t), sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{
		"a":         {h.path("first.pid")}, // a name
		"outer/a":   {h.path("glob-*.pid")},
		"elsewhere": {h.path("third.pid")},
	})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "outer": {"sub_cgroup": {"a": {"conf": {}}}}, "elsewhere": {"conf": {}}}}}`)
	d := h.startReady()
	h.wantShares("a 1024", "outer 1024", "outer/a 1024", "elsewhere 1024")
	d.wantPidState(h.path("first.pid"), "missing")
	h.pidFile("first.pid", first.pid())
	h.wantIn("cpu", "a", first.pid())
	h.pidFile("glob-1.pid", second.pid())
	h.wantIn("cpu", "outer/a", second.pid())
	h.pidFile("first.pid", third.pid())
	h.wantIn("cpu", "a", third.pid(), first.pid()) // the first is no longer named: it stays where it is
	must(t, os.Rename(h.pidFile("new", third.pid()), h.path("third.pid")), os.Remove(h.path("first.pid")))
	h.wantIn("cpu", "elsewhere", third.pid())
}

// TestSamePidTwice: named twice in one subsystem, a pid belongs to the first by path, and that is a fault.
func TestSamePidTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"b": {h.pidFile("1.pid", p.pid())}, "c": {h.pidFile("2.pid", p.pid())}})
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {}}, "c": {"conf": {}}}}, "blkio": {"sub_cgroup": {"c": {"conf": {}}}}}`)
	d := h.startReady()
	h.wantIn("cpu", "b", p.pid())
	h.wantIn("blkio", "c", p.pid())
	d.wantStatus(strconv.Itoa(p.pid()))
}

// TestPidFileCommand: the command's list is used beside the table, kept when it fails, and read anew at SIGHUP.
func TestPidFileCommand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	first, second := sleeper(t), sleeper(t)
	h.pidFile("first.pid", first.pid())
	h.file("list", h.path("first.pid")+"\n", 0o644)
	script := h.file("list.sh", `#!/bin/sh
[ -e "`+h.path("fail")+`" ] && { echo it fails >&2; exit 3; }
echo "$# $1 $CGROUP_PATH $CGROUP_SUBSYSTEMS fds:$(ls /proc/self/fd | tr '\n' ' ') secret:$`+markerEnv+`." >> `+h.path("calls")+`
[ "$1" = inner ] && cat `+h.path("list")+`
exit 0
`, 0o755)
	h.set("get_cgroup_pid_file", []string{script})
	h.document(`{"cpu": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": {}}}}}}}`)
	d := h.startReady()
	h.wantIn("cpu", "outer/inner", first.pid())
	calls, _ := os.ReadFile(h.path("calls")) // 3 is the directory that ls lists
	if !strings.Contains(string(calls), "1 inner outer/inner cpu fds:0 1 2 3  secret:.") {
		t.Errorf("the command was called with: %s", calls)
	}
	h.pidFile("second.pid", second.pid())
	h.file("list", h.path("first.pid")+"\n"+h.path("second.pid")+"\n", 0o644)
	d.signal(syscall.SIGHUP)
	h.wantIn("cpu", "outer/inner", first.pid(), second.pid())

	h.file("fail", "", 0o644)
	d.signal(syscall.SIGHUP)
	d.wantStatus("it fails")
	h.write("cpu", "", "cgroup.procs", strconv.Itoa(second.pid()))
	d.signal(syscall.SIGHUP)
	h.wantIn("cpu", "outer/inner", second.pid()) // by the last good list
}

// TestPidFileCheckOff trusts every pid file that can be read.
func TestPidFileCheckOff(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("pid_file_check", "off")
	p := sleeper(t)
	file := h.file("p.pid", strconv.Itoa(p.pid()), 0o666)
	h.set("cgroup_pid_files", map[string][]string{"a": {file}})
	h.document(sampleA)
	d := h.startReady()
	h.wantIn("cpu", "a", p.pid())
	d.wantPidState(file, "ok")
}
