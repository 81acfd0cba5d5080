package pidfiles

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// read returns what one pid file is worth, with the checks on or off.
func read(t *testing.T, file string, trust bool) Claim {
	t.Helper()
	source := New(Config{Files: map[string][]string{"a": {file}}, Trust: trust})
	claims := source.Read([]Cgroup{{Path: "a"}})
	t.Cleanup(func() { CloseClaims(claims) })
	if len(claims) != 1 {
		t.Fatalf("%d claims for one file", len(claims))
	}
	return claims[0]
}

// verdictOf is a claim without what differs from run to run.
func verdictOf(c Claim) string {
	if c.Reason == "" {
		return string(c.State)
	}
	return string(c.State) + ": " + c.Reason
}

// TestStates makes every state for real. trusted is what the same file is worth without the checks: that shows which
// states the checks are the cause of.
func TestStates(t *testing.T) {
	other := startSleep(t, 0)
	content := func(text string) func(*testing.T) string {
		return func(t *testing.T) string { return writeFile(t, filepath.Join(t.TempDir(), "x.pid"), text) }
	}
	names := func(pid int) func(*testing.T) string { return content(strconv.Itoa(pid)) }

	for _, test := range []struct {
		name    string
		file    func(t *testing.T) string
		want    string
		trusted string // "": the same
	}{
		{"ok", names(other), "ok", ""},
		{"ok with white space", content(fmt.Sprintf("\n  %d \n", other)), "ok", ""},
		{
			"missing", func(t *testing.T) string { return filepath.Join(t.TempDir(), "x.pid") },
			"missing: no such file or directory", "",
		},
		{
			"directory missing", func(t *testing.T) string { return filepath.Join(t.TempDir(), "a/b/x.pid") },
			"missing: no such file or directory", "",
		},
		{
			"below a file", func(t *testing.T) string { return filepath.Join(writePID(t, other), "x.pid") },
			"missing: not a directory", "",
		},
		{
			"dangling link", func(t *testing.T) string {
				link := filepath.Join(t.TempDir(), "x.pid")
				must(t, os.Symlink("nothing", link))
				return link
			}, "missing: no such file or directory", "",
		},
		{
			"ring of links", func(t *testing.T) string {
				link := filepath.Join(t.TempDir(), "x.pid")
				must(t, os.Symlink("x.pid", link))
				return link
			}, "unreadable: too many levels of symbolic links", "",
		},
		{"directory", func(t *testing.T) string { return t.TempDir() }, "unreadable: not a regular file (directory)", ""},
		{"root directory", func(*testing.T) string { return "/" }, "unreadable: is a directory", "unreadable: not a regular file (directory)"},
		{
			"fifo", func(t *testing.T) string {
				path := filepath.Join(t.TempDir(), "x.pid")
				must(t, unix.Mkfifo(path, 0o644))
				return path
			}, "unreadable: not a regular file (fifo)", "",
		},
		{
			"socket", func(t *testing.T) string {
				path := filepath.Join(t.TempDir(), "x")
				listener, err := net.Listen("unix", path)
				must(t, err)
				t.Cleanup(func() { _ = listener.Close() })
				return path
			}, "unreadable: not a regular file (socket)", "",
		},
		{"device", func(*testing.T) string { return "/dev/zero" }, "unreadable: not a regular file (device)", ""},
		{
			"leased", func(t *testing.T) string {
				path := writePID(t, other)
				file, err := os.OpenFile(path, os.O_RDWR, 0)
				must(t, err)
				t.Cleanup(func() { _ = file.Close() })
				_, err = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
				must(t, err)
				return path
			}, "unreadable: resource temporarily unavailable", "",
		},
		{"name too long", func(*testing.T) string { return "/" + strings.Repeat("x", 300) }, "unreadable: file name too long", ""},
		{"relative", func(*testing.T) string { return "x.pid" }, "refused: not an absolute path", ""},
		{"empty", content(""), "malformed: empty", ""},
		{"zero", content("0\n"), "malformed: not a possible pid", ""},
		{"huge", content("99999999999\n"), "malformed: not a possible pid", ""},
		{"negative", content("-5\n"), "malformed: not one decimal number", ""},
		{"text", content("12abc\n"), "malformed: not one decimal number", ""},
		{"two", content("12\n13\n"), "malformed: not one decimal number", ""},
		{"longest", content(strconv.Itoa(other) + strings.Repeat(" ", 4096-len(strconv.Itoa(other)))), "ok", ""},
		{"too long", content(strconv.Itoa(other) + strings.Repeat(" ", 4097)), "malformed: longer than 4096 bytes", ""},
		{
			"thread", func(t *testing.T) string {
				tids, err := Threads(os.Getpid())
				must(t, err)
				if tids[0] == os.Getpid() {
					tids = tids[1:]
				}
				return writePID(t, tids[0])
			}, "malformed: the number is that of a thread, not of a process", "",
		},
		{
			"dead", func(t *testing.T) string {
				cmd := exec.Command("/bin/true")
				must(t, cmd.Run())
				return writePID(t, cmd.Process.Pid)
			}, "dead: no such process", "",
		},
		{"zombie", func(t *testing.T) string { return writePID(t, startZombie(t)) }, "dead: the process is a zombie", ""},
		{
			"first thread ended", func(t *testing.T) string {
				cmd := startHelper(t, "leaderless", nil)
				eventually(t, "the first thread has ended", func() bool {
					p, err := (&reader{proc: "/proc"}).stat(cmd.Process.Pid)
					return err == nil && p.State == 'Z'
				})
				return writePID(t, cmd.Process.Pid)
			}, "ok", "",
		},
		{"pid 1", names(1), "refused: pid 1 is never placed", ""},
		{"ourselves", names(os.Getpid()), "refused: the daemon itself is never placed", ""},
		{
			"kernel thread", func(t *testing.T) string {
				if name, err := os.ReadFile("/proc/2/comm"); err != nil || string(name) != "kthreadd\n" {
					t.Skip("no kernel threads in this pid namespace")
				}
				return writePID(t, 2)
			}, "refused: a kernel thread is never placed", "",
		},
		{
			"stale", func(t *testing.T) string {
				path := writePID(t, other)
				old := time.Now().Add(-time.Minute)
				must(t, os.Chtimes(path, old, old))
				return path
			}, "stale: the process started after the file was written", "ok",
		},
		{
			"written just before the process was started", func(t *testing.T) string {
				path := writePID(t, other)
				p, err := (&reader{proc: "/proc"}).stat(other)
				must(t, err)
				modified := bootTime().Add(time.Duration(p.Start)*10*time.Millisecond - 1900*time.Millisecond)
				must(t, os.Chtimes(path, modified, modified))
				return path
			}, "ok", "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := test.file(t)
			if diff := cmp.Diff(test.want, verdictOf(read(t, file, false))); diff != "" {
				t.Errorf("strict (-want +got):\n%s", diff)
			}
			want := test.trusted
			if want == "" {
				want = test.want
			}
			if diff := cmp.Diff(want, verdictOf(read(t, file, true))); diff != "" {
				t.Errorf("unchecked (-want +got):\n%s", diff)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOwners: who may name whose process, by which way. Each refusal has the trusted twin, which is ok: without the
// check the process would be moved.
func TestOwners(t *testing.T) {
	needRoot(t)
	pids := map[string]int{"root": startSleep(t, 0), "U": startSleep(t, userU), "W": startSleep(t, userW)}

	for _, test := range []struct {
		name string
		// files is the file system in words, one entry a line below the test's directory: "PATH OWNER MODE" for a
		// directory when PATH ends in a slash, else for a pid file; "LINK OWNER -> TARGET"; "LINK = FILE" for a hard link.
		// The pid file to read is x, unless a line says "read NAME".
		files string
		names string
		want  string
	}{
		{"root's", "x root 644", "root", "ok"},
		{"root's names U's", "x root 644", "U", "ok"},
		{"root's, private", "x root 600", "U", "ok"},
		{"writable by group", "x root 664", "U", "refused: the file is writable by group or world"},
		{"writable by world", "x root 646", "U", "refused: the file is writable by group or world"},
		{"U's names U's", "x U 644", "U", "ok"},
		{"U's names root's", "x U 644", "root", "refused: the file belongs to user 65534, the process to user 0"},
		{"U's names W's", "x U 644", "W", "refused: the file belongs to user 65534, the process to user 65533"},
		{"directory of group", "d/ root 775\nd/x root 644\nread d/x", "U", "refused: its directory is writable by group or world"},
		{"directory of world", "d/ root 757\nd/x root 644\nread d/x", "U", "refused: its directory is writable by group or world"},
		{"sticky directory", "d/ root 1777\nd/x root 644\nread d/x", "U", "ok"},
		{"sticky directory, U's", "d/ root 1777\nd/x U 644\nread d/x", "U", "ok"},
		{"sticky directory, U's names root's", "d/ root 1777\nd/x U 644\nread d/x", "root", "refused: the file belongs to user 65534, the process to user 0"},
		{"U's directory, root's file", "d/ U 755\nd/x root 644\nread d/x", "root", "ok"},
		{"U's directory, U's file", "d/ U 755\nd/x U 644\nread d/x", "U", "ok"},

		{"hard link", "y root 644\nx = y", "root", "ok"},
		{
			"hard link in sticky directory", "y root 644\nd/ root 1777\nd/x = y\nread d/x", "root",
			"refused: the file has another hard link, and others can make one in its directory",
		},
		{
			"hard link in U's directory", "y root 644\nd/ U 755\nd/x = y\nread d/x", "root",
			"refused: the file has another hard link, and others can make one in its directory",
		},
		{"hard link to U's in U's directory", "y U 644\nd/ U 755\nd/x = y\nread d/x", "U", "ok"},

		{"root's link", "y root 644\nx root -> y", "root", "ok"},
		{"root's link to U's", "y U 644\nx root -> y", "U", "ok"},
		{"U's link to root's", "y root 644\nx U -> y", "root", "refused: a symbolic link on the way belongs to user 65534"},
		{"U's link to U's", "y U 644\nx U -> y", "U", "ok"},
		{"U's link to U's names root's", "y U 644\nx U -> y", "root", "refused: the file belongs to user 65534, the process to user 0"},
		{"W's link to U's", "y U 644\nx W -> y", "U", "refused: a symbolic link on the way belongs to user 65533"},
		{"absolute link", "y root 644\nx root -> %/y", "root", "ok"},
		{"chain", "z root 644\ny root -> z\nx root -> %/y", "root", "ok"},
		{"chain with U's link", "z root 644\ny U -> z\nx root -> y", "root", "refused: a symbolic link on the way belongs to user 65534"},
		{
			"linked directory", "d/ root 755\nd/x root 644\ne root -> d\nread e/x", "root", "ok",
		},
		{
			"directory linked by U", "d/ root 755\nd/x root 644\ne U -> d\nread e/x", "root",
			"refused: a symbolic link on the way belongs to user 65534",
		},
		{
			"link in U's directory", "y root 644\nd/ U 755\nd/x root -> ../y\nread d/x", "root",
			"refused: a symbolic link is on the way, and a directory of user 65534",
		},
		{"link in U's directory to U's", "d/ U 755\nd/y U 644\nd/x root -> y\nread d/x", "U", "ok"},
		{
			"link into W's directory", "d/ W 755\nd/y root 644\nx root -> d/y", "root",
			"refused: a symbolic link is on the way, and a directory of user 65533",
		},
		{
			"link through W's directory", "d/ W 755\nd/e/ root 755\nd/e/y root 644\nx root -> d/e/y", "root",
			"refused: a symbolic link is on the way, and a directory of user 65533",
		},
		{
			"link in directory of world", "y root 644\nd/ root 777\nd/x root -> ../y\nread d/x", "root",
			"refused: a symbolic link is on the way, and a directory that is writable by group or world",
		},
		{"link in sticky directory", "y root 644\nd/ root 1777\nd/x root -> ../y\nread d/x", "root", "ok"},
		{
			"link of procfs", "y root 644\nread /proc/self/root/%/y", "root",
			"refused: a symbolic link in procfs is on the way",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := layOut(t, test.files, pids[test.names])
			if diff := cmp.Diff(test.want, verdictOf(read(t, file, false))); diff != "" {
				t.Errorf("strict (-want +got):\n%s", diff)
			}
			if got := verdictOf(read(t, file, true)); got != "ok" {
				t.Errorf("unchecked: %s; so the case proves nothing", got)
			}
		})
	}
}

// TestStickyLink is the case of TestOwners whose trusted twin the kernel may refuse by itself: with protected_symlinks,
// proc_sys_fs(5), nobody follows another user's link in a sticky directory that the world may write to.
func TestStickyLink(t *testing.T) {
	needRoot(t)
	file := layOut(t, "y root 644\nd/ root 1777\nd/x U -> ../y\nread d/x", startSleep(t, 0))
	want := "refused: a symbolic link on the way belongs to user 65534"
	if diff := cmp.Diff(want, verdictOf(read(t, file, false))); diff != "" {
		t.Errorf("strict (-want +got):\n%s", diff)
	}

	protection, err := os.ReadFile("/proc/sys/fs/protected_symlinks")
	must(t, err)
	want = "ok"
	if string(protection) != "0\n" {
		want = "unreadable: permission denied"
	}
	if diff := cmp.Diff(want, verdictOf(read(t, file, true))); diff != "" {
		t.Errorf("unchecked, protected_symlinks %s (-want +got):\n%s", strings.TrimSpace(string(protection)), diff)
	}
}

// layOut makes the files of a case of TestOwners and returns the pid file to read.
func layOut(t *testing.T, files string, pid int) string {
	t.Helper()
	root := t.TempDir()
	users := map[string]int{"root": 0, "U": userU, "W": userW}
	result := filepath.Join(root, "x")
	for line := range strings.Lines(files) {
		words := strings.Fields(strings.ReplaceAll(line, "%", root))
		path := filepath.Join(root, words[0])
		switch {
		case words[0] == "read":
			if result = words[1]; !filepath.IsAbs(result) {
				result = filepath.Join(root, result)
			}
		case words[1] == "=":
			must(t, os.Link(filepath.Join(root, words[2]), path))
		case words[2] == "->":
			must(t, os.Symlink(words[3], path))
			must(t, os.Lchown(path, users[words[1]], users[words[1]]))
		default:
			mode, err := strconv.ParseUint(words[2], 8, 32)
			must(t, err)
			if strings.HasSuffix(words[0], "/") {
				must(t, os.Mkdir(path, 0o755))
			} else {
				writeFile(t, path, strconv.Itoa(pid))
			}
			must(t, os.Chown(path, users[words[1]], users[words[1]]))
			must(t, syscall.Chmod(path, uint32(mode)))
		}
	}
	return result
}

// TestSystemLink: a link that root alone could have made, such as /var/run, adds nothing to check.
func TestSystemLink(t *testing.T) {
	file := entry{uid: 0, mode: unix.S_IFREG | 0o644, link: 1}
	dir := func(uid, mode uint32) entry { return entry{uid: uid, mode: unix.S_IFDIR | mode, link: 2} }
	root, users := dir(0, 0o755), dir(userU, 0o755)
	for _, test := range []struct {
		name string
		way  trail
		want refusal
	}{
		{"no link", trail{dirs: []entry{root, root, users}}, ""},
		{"/var/run", trail{dirs: []entry{root, root, root, root, users}, links: []link{{after: 2}}}, ""},
		{
			"a link of U's", trail{dirs: []entry{root, root, root, root, users}, links: []link{{entry{uid: userU}, 2}}},
			"a symbolic link on the way belongs to user 65534",
		},
		{
			"a second link behind U's directory",
			trail{dirs: []entry{root, root, users, root}, links: []link{{after: 1}, {after: 3}}},
			"a symbolic link is on the way, and a directory of user 65534",
		},
		{
			"a link in a directory like /tmp",
			trail{dirs: []entry{root, dir(0, 0o1777), users}, links: []link{{after: 2}}},
			"a symbolic link is on the way, and a directory of user 65534",
		},
	} {
		if got := distrust(file, test.way); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestPrivileges: a file of U's names a process only when U is its user in every way. The owner of /proc/PID does not
// tell: it is root in each case here, since a process that changed its users cannot be traced by them at once.
func TestPrivileges(t *testing.T) {
	needRoot(t)
	for _, test := range []struct {
		real, effective, saved int
		want                   string
	}{
		{userU, userU, userU, "ok"},
		{0, userU, userU, "refused: the file belongs to user 65534, the process to user 0"},
		{userU, 0, userU, "refused: the file belongs to user 65534, the process to user 0"},
		{userU, userU, 0, "refused: the file belongs to user 65534, the process to user 0"},
		{userU, userU, userW, "refused: the file belongs to user 65534, the process to user 65533"},
	} {
		mode := fmt.Sprintf("uids %d %d %d", test.real, test.effective, test.saved)
		t.Run(mode, func(t *testing.T) {
			file := writePID(t, startHelper(t, mode, nil).Process.Pid)
			must(t, os.Chown(file, userU, userU))
			if diff := cmp.Diff(test.want, verdictOf(read(t, file, false))); diff != "" {
				t.Errorf("strict (-want +got):\n%s", diff)
			}
			if got := verdictOf(read(t, file, true)); got != "ok" {
				t.Errorf("unchecked: %s", got)
			}
		})
	}
}

// TestAlive: a claim follows its process, and lets go of it.
func TestAlive(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	must(t, cmd.Start())
	c := read(t, writePID(t, cmd.Process.Pid), false)
	copied := c
	if !c.Alive() || !copied.Alive() {
		t.Error("not alive, although the process runs")
	}
	must(t, cmd.Process.Kill())
	eventually(t, "the process has ended", func() bool { return !c.Alive() })
	_ = cmd.Wait()
	if copied.Alive() {
		t.Error("alive after the process was waited for")
	}
	CloseClaims([]Claim{c, copied, {}})
	CloseClaims([]Claim{c})

	living := read(t, writePID(t, startSleep(t, 0)), false)
	CloseClaims([]Claim{living})
	if living.Alive() {
		t.Error("a closed claim is alive")
	}
	if none := (Claim{}); none.Alive() {
		t.Error("an empty claim is alive")
	}
}

// TestClockSet: setting the wall clock makes no process stale, and no stale one good, as long as file and process are
// the same.
func TestClockSet(t *testing.T) {
	source := New(Config{Files: map[string][]string{"good": {writePID(t, startSleep(t, 0))}, "old": {writePID(t, startSleep(t, 0))}}})
	old := source.config.Files["old"][0]
	must(t, os.Chtimes(old, time.Time{}, time.Now().Add(-time.Minute)))
	states := func() string {
		claims := source.Read([]Cgroup{{Path: "good"}, {Path: "old"}})
		defer CloseClaims(claims)
		return string(claims[0].State) + " " + string(claims[1].State)
	}
	const want = "ok stale"
	if got := states(); got != want {
		t.Fatalf("states %s, want %s", got, want)
	}
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		source.reader.boot = func() time.Time { return bootTime().Add(step) }
		if got := states(); got != want {
			t.Errorf("after a step of %v: states %s, want %s", step, got, want)
		}
	}
	// The step does count for a file that is written again: it would be wrong to keep the verdict then.
	source.reader.boot = func() time.Time { return bootTime().Add(time.Hour) }
	must(t, os.Chtimes(source.config.Files["good"][0], time.Time{}, time.Now()))
	if got := states(); got != "stale stale" {
		t.Errorf("file written again: states %s", got)
	}
	source.Read(nil)
	if len(source.reader.verdicts) != 0 {
		t.Errorf("verdicts on files that are not used: %v", source.reader.verdicts)
	}
}

// TestReuse makes the kernel give one pid to two processes, in a pid namespace of its own.
func TestReuse(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=reuse "+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	want := "first ok true\nended dead false\nreused stale false\ntrusted ok true\ninit refused false\n"
	if diff := cmp.Diff(want, string(output)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// reuse runs in the namespaces of TestReuse, as pid 1.
func reuse(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	file := filepath.Join(dir, "x.pid")
	show := func(what, file string, trust bool) {
		claims := New(Config{Files: map[string][]string{"a": {file}}, Trust: trust}).Read([]Cgroup{{Path: "a"}})
		fmt.Println(what, claims[0].State, claims[0].Alive())
		CloseClaims(claims)
	}

	first := exec.Command("/bin/sleep", "1000")
	if err := first.Start(); err != nil {
		return err
	}
	pid := first.Process.Pid
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return err
	}
	show("first", file, false)
	_ = first.Process.Kill()
	_ = first.Wait()
	show("ended", file, false)
	// As if the file had been left behind for a minute.
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Minute)); err != nil {
		return err
	}
	for range 100 { // threads of ours may take the number first
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return err
		}
		second := exec.Command("/bin/sleep", "1000")
		if err := second.Start(); err != nil {
			return err
		}
		if second.Process.Pid != pid {
			_ = second.Process.Kill()
			_ = second.Wait()
			continue
		}
		show("reused", file, false)
		show("trusted", file, true)
		init := filepath.Join(dir, "init.pid")
		if err := os.WriteFile(init, []byte("1"), 0o644); err != nil {
			return err
		}
		show("init", init, true)
		_ = second.Process.Kill()
		_ = second.Wait()
		return nil
	}
	return fmt.Errorf("pid %d was never given again", pid)
}

func BenchmarkRead(b *testing.B) {
	for _, trust := range []bool{false, true} {
		b.Run(fmt.Sprintf("trust=%v", trust), func(b *testing.B) {
			cmd := exec.Command("/bin/sleep", "1000")
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			dir := b.TempDir()
			for i := range 200 {
				if err := os.WriteFile(fmt.Sprintf("%s/%d.pid", dir, i), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			source := New(Config{Files: map[string][]string{"a": {dir + "/*.pid"}}, Trust: trust})
			for b.Loop() {
				claims := source.Read([]Cgroup{{Path: "a"}})
				if len(claims) != 200 || claims[7].State != OK {
					b.Fatalf("%d claims, %+v", len(claims), claims[7])
				}
				CloseClaims(claims)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(200*b.N), "ns/file")
		})
	}
}
