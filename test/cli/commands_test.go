package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// sleeper starts a process that does nothing.
func sleeper(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(testhost.Sleeper(t))
}

// nobody is the number of a user who has no rights, and of their group.
const nobody = 65534

func TestMembers(t *testing.T) {
	cg := place(t, "cpu")
	a, b := sleeper(t), sleeper(t)
	ok(t, "cgroup", "create", cg+"/x")
	ok(t, "cgroup", "add", cg+"/x", a, b)
	ok(t, "cgroup", "add", cg+"/x", a)
	var procs []struct {
		PID     int
		Command string
	}
	if err := json.Unmarshal([]byte(ok(t, "--json", "cgroup", "procs", cg+"/x")), &procs); err != nil || len(procs) != 2 || procs[0].Command != "sleep 600" {
		t.Errorf("%+v %v", procs, err)
	}
	if out := ok(t, "cgroup", "procs", cg); out != "" {
		t.Errorf("procs of the one above: %q", out)
	}
	if out := ok(t, "cgroup", "procs", "-r", cg); strings.Count(out, "sleep 600\n") != 2 {
		t.Errorf("procs of all: %q", out)
	}
	ok(t, "cgroup", "remove", cg+"/x", a)
	ok(t, "cgroup", "remove", cg+"/x", a)
	if out := ok(t, "cgroup", "procs", cg+"/x"); !strings.HasPrefix(out, b+" ") || strings.Contains(out, a+" ") {
		t.Errorf("procs after remove: %q", out)
	}
	above := cg
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		above = "cpu:/" // an inner cgroup of v2 takes none
	}
	if out := ok(t, "cgroup", "procs", above); !strings.Contains("\n"+out, "\n"+a+" ") {
		t.Errorf("procs of the one above, after remove: %q", out)
	}
	refused(t, 2, "not a process", "cgroup", "add", cg, "x")
	refused(t, 2, "not a process", "cgroup", "add", cg, "0")
	refused(t, 1, "no such process", "cgroup", "add", cg, "4194303")
	ok(t, "cgroup", "kill", cg)
	if out := ok(t, "cgroup", "procs", "-r", cg); out != "" {
		t.Errorf("procs after kill: %q", out)
	}
}

func TestDelete(t *testing.T) {
	cg := place(t, "cpu")
	ok(t, "cgroup", "create", cg+"/x/y")
	ok(t, "cgroup", "create", cg+"/to")
	pid := sleeper(t)
	ok(t, "cgroup", "add", cg+"/x/y", pid)
	refused(t, 1, "cgroups below", "cgroup", "delete", cg+"/x")
	ok(t, "cgroup", "delete", "-r", "--to", cg+"/to", cg+"/x")
	if out := ok(t, "cgroup", "procs", cg+"/to"); !strings.HasPrefix(out, pid+" ") {
		t.Errorf("the process is not where it was sent: %q", out)
	}
	ok(t, "cgroup", "delete", cg+"/x") // it is not there: no fault
	ok(t, "cgroup", "create", cg+"/e/f")
	out := ok(t, "cgroup", "delete", "--empty", cg)
	if want := []string{cg + "/e", cg + "/e/f"}; !equalLines(out, want) {
		t.Errorf("removed: %q", out)
	}
	ok(t, "cgroup", "create", cg+"/g")
	if out, want := ok(t, "--json", "cgroup", "delete", "--empty", cg+"/g"), fmt.Sprintf("[%q]\n", cg+"/g"); out != want {
		t.Errorf("removed: %q, want %q", out, want)
	}
	if out := ok(t, "--json", "cgroup", "delete", "--empty", cg+"/g"); out != "[]\n" {
		t.Errorf("removed: %q", out)
	}
	refused(t, 1, "removed with it", "cgroup", "delete", "--to", cg+"/to", "-r", cg)
	refused(t, 1, "root", "cgroup", "delete", "cpu:/")
	refused(t, 1, "root", "cgroup", "kill", "cpu:/")
	refused(t, 1, "root", "cgroup", "delegate", "nobody", "cpu:/")
	refused(t, 2, "not a path", "cgroup", "create", cg+"/../../x")
	for _, args := range [][]string{{"delete", "cpu"}, {"delete", "--to", "cpu", cg + "/e"}, {"delete", "--force", "--to", "cpu", cg + "/e"}} {
		refused(t, 2, "cpu: is a controller or hierarchy; ", append([]string{"cgroup"}, args...)...) // and not the cgroup /cpu everywhere
	}
	if out := ok(t, "--json", "cgroup", "tree", "--depth", "0"); strings.Contains(out, `"systemd"`) {
		refused(t, 2, "systemd: is a controller or hierarchy; ", "cgroup", "get", "systemd")
	}
	refused(t, 2, "not a path", "cgroup", "delete", "--to", "cpu:/..", cg+"/e")
	refused(t, 1, "no such", "cgroup", "get", cg+"/missing", "shares")
	refused(t, 1, "no such", "cgroup", "tree", cg+"/missing")
}

func equalLines(text string, want []string) bool {
	got := strings.Fields(text)
	slices.Sort(got)
	return slices.Equal(got, want)
}

func TestSettings(t *testing.T) {
	cg := place(t, "cpu,pids")
	ok(t, "cgroup", "set", cg, "cpu.shares=512", "pids.max=100", "cfs_quota_us=50000")
	if out := ok(t, "--json", "cgroup", "get", cg, "shares", "pids.max", "cpu_quota_percent"); out != `{"cpu_quota_percent":50,"pids.max":100,"shares":512}`+"\n" {
		t.Errorf("%s", out)
	}
	refused(t, 1, "pids.max", "cgroup", "get", cg, "max") // two have it
	refused(t, 1, "read-only", "cgroup", "set", cg, "cpu.stat=1")
	refused(t, 1, "not an integer", "cgroup", "set", cg, "shares=many")
	refused(t, 2, "not one of", "cgroup", "limit", cg, "shares=1")
	refused(t, 1, "neither cpu nor memory", "cgroup", "limit", strings.Replace(cg, "cpu,", "", 1))
	refused(t, 1, "memory", "cgroup", "limit", cg, "memory_limit=1G")
	if _, complaints, status := command("cgroup", "set", cg, "shares=1"); status != 0 || !strings.Contains(complaints, "raised to 2") {
		t.Errorf("a share below the least: %d %q", status, complaints)
	}
	// One that fails does not keep the others.
	refused(t, 1, "nosuch", "cgroup", "set", cg, "nosuch=1", "pids.max")
	if out := ok(t, "cgroup", "get", cg, "pids.max"); out != "pids.max  max\n" {
		t.Errorf("%q", out)
	}
	// In whatever order they stand.
	ok(t, "cgroup", "set", cg, "cfs_quota_us=10000")
	if _, _, status := command("cgroup", "get", cg, "cfs_burst_us"); status == 0 { // since Linux 5.14
		ok(t, "cgroup", "set", cg, "cfs_burst_us=20000", "cfs_quota_us=50000")
		ok(t, "cgroup", "set", cg, "cfs_quota_us=10000", "cfs_burst_us=5000")
		refused(t, 1, "20000", "cgroup", "set", cg, "cfs_burst_us=20000", "pids.max=50")
	}
	all := ok(t, "cgroup", "get", cg)
	for _, name := range []string{"cpu.shares ", "cpu.stat ", "pids.current "} {
		if !strings.Contains(all, "\n"+name) && !strings.HasPrefix(all, name) {
			t.Errorf("get shows no %s: %s", name, all)
		}
	}
	var list []struct {
		Controller, Name, File string
		Writable               bool
	}
	if err := json.Unmarshal([]byte(ok(t, "--json", "cgroup", "get", "--list", cg)), &list); err != nil || len(list) < 20 {
		t.Errorf("%d rows: %v", len(list), err)
	}
}

// TestProtected: what is protected is refused without --force, be it the cgroup or one below it.
func TestProtected(t *testing.T) {
	cg := place(t, "cpu")
	_, dir, _ := strings.Cut(cg, ":")
	ok(t, "cgroup", "create", cg+"/mine")
	ok(t, "cgroup", "create", cg+"/a/keep")
	ok(t, "cgroup", "create", "--force", cg+"/b/docker/x")
	flags := []string{"--cgroup-root", dir, "--protected-cgroup", "keep", "--protected-cgroup", "cpu:/mine", "cgroup"}
	with := func(args ...string) []string { return append(slices.Clone(flags), args...) }
	for _, args := range [][]string{
		{"set", cg + "/mine", "shares=100"}, {"limit", cg + "/mine", "cpu_limit=50"}, {"create", cg + "/mine/x"}, {"delete", cg + "/mine"},
		{"add", cg + "/mine", "1"}, {"remove", cg + "/mine", "1"}, {"freeze", cg + "/mine"}, {"thaw", cg + "/mine"}, {"kill", cg + "/mine"},
		{"delegate", "nobody", cg + "/mine"}, {"kill", cg + "/a"}, {"delete", "-r", cg + "/a"}, {"delete", "--empty", cg}, {"kill", cg + "/b"},
		{"set", cg + "/b/docker/x", "shares=100"}, {"create", "cpu:/system.slice/x"},
		{"delete", "--to", cg + "/mine", cg + "/a"},
	} {
		refused(t, 1, "protected", with(args...)...)
	}
	inside := exec.Command("sleep", "1000")
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(inside.Process.Pid)
	t.Cleanup(func() { _ = inside.Process.Kill(); _ = inside.Wait() })
	ok(t, with("add", "--force", cg+"/mine", pid)...)
	refused(t, 1, "/mine, which is protected", with("add", cg+"/a", pid)...)
	ok(t, with("add", "--force", cg+"/a", pid)...)
	ok(t, with("set", "--force", cg+"/mine", "shares=100")...)
	ok(t, with("get", cg+"/mine", "shares")...) // reading is free
	ok(t, with("set", cg+"/a", "shares=100")...)
	ok(t, with("delete", "--force", "-r", cg+"/a")...)
	ok(t, append([]string{"--protect-system-cgroups=false"}, with("set", cg+"/b/docker/x", "shares=100")...)...)
}

func TestTree(t *testing.T) {
	cg := place(t, "cpu")
	ok(t, "cgroup", "create", cg+"/a.slice/b.scope")
	var tree struct {
		Name, Kind  string
		Controllers []string
		Children    []struct {
			Name, Kind string
			Children   []struct{ Name, Kind string }
		}
	}
	if err := json.Unmarshal([]byte(ok(t, "--json", "cgroup", "tree", cg)), &tree); err != nil {
		t.Fatal(err)
	}
	if tree.Name != t.Name() || tree.Kind != "cgroup" || tree.Children[0].Kind != "slice" || tree.Children[0].Children[0].Kind != "scope" {
		t.Errorf("%+v", tree)
	}
	if out := ok(t, "cgroup", "tree", "--depth", "1", cg); strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
	if out := ok(t, "cgroup", "tree", "--depth", "1"); !strings.HasPrefix(out, "/\n") || strings.Count(out, "\n") < 2 {
		t.Errorf("%s", out)
	}
}

func TestWatch(t *testing.T) {
	cg := place(t, "cpu")
	cmd := exec.Command(binary, "--json", "cgroup", "watch", "--interval", "50ms", cg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	seen := func(event string) bool {
		var e struct {
			Event, Cgroup string
			PIDs          []int
		}
		select {
		case line := <-lines:
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		default:
		}
		return e.Event == event && e.Cgroup == cg+"/x"
	}
	eventually(t, "a cgroup that appears is reported", func() error { // until the watch has begun, it is not
		ok(t, "cgroup", "create", cg+"/x")
		if seen("appeared") {
			return nil
		}
		ok(t, "cgroup", "delete", cg+"/x")
		return fmt.Errorf("nothing yet")
	})
	ok(t, "cgroup", "create", cg+"/x")
	ok(t, "cgroup", "add", cg+"/x", sleeper(t))
	eventually(t, "a process that joins is reported", func() error {
		if !seen("joined") {
			return fmt.Errorf("nothing yet")
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range lines {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

// TestDelegateForReal: the user works with the same commands.
func TestDelegateForReal(t *testing.T) {
	cg := place(t, "cpu")
	ok(t, "cgroup", "delegate", "nobody", cg+"/mine")
	ok(t, "cgroup", "create", cg+"/others")
	script := fmt.Sprintf(`
		set -e
		C="%s cgroup"; MINE=%s/mine; OTHERS=%s/others
		$C create $MINE/sub
		$C add $MINE/sub $$
		$C procs $MINE/sub | grep -q "^$$ "
		$C set $MINE/sub shares=2048
		if test -e /sys/fs/cgroup/cgroup.controllers; then
			# What has a controller for its children takes no process any more, and above it nothing is the user's.
			if $C remove $MINE/sub $$ 2>/dev/null; then echo "not refused: remove"; exit 1; fi
			$C create $MINE/two
			$C add $MINE/two $$
			$C procs $MINE/two | grep -q "^$$ "
		else
			$C remove $MINE/sub $$
			$C procs $MINE | grep -q "^$$ "
		fi
		$C delete $MINE/sub
		for try in "create $OTHERS/sub" "set $OTHERS shares=1" "set $MINE shares=1" "add $OTHERS $$" "add $MINE %s" "delete $OTHERS" "delegate nobody $OTHERS"; do
			if $C $try 2>/dev/null; then echo "not refused: $try"; exit 1; fi
		done
		echo done`, binary, cg, cg, sleeper(t))
	cmd := started(cg+"/mine", "nobody")
	cmd.Env = append(cmd.Env, scriptEnv+"="+script)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%s%v", out, err)
	}
	refused(t, 2, "no such user", "cgroup", "delegate", "no-such-user", cg+"/x")
}

// TestCompletion: cobra's hidden command says what a shell would offer.
func TestCompletion(t *testing.T) {
	cg := place(t, "cpu")
	ok(t, "cgroup", "create", cg+"/alpha/beta")
	for _, tt := range []struct {
		args  []string
		want  string
		wrong string
	}{
		{[]string{"cgroup", "get", "cp"}, "cpu:/\n", "memory"},
		{[]string{"cgroup", "get", "cpu,me"}, "cpu,memory:/\n", ""},
		{[]string{"cgroup", "tree", cg + "/al"}, cg + "/alpha/\n", ""},
		{[]string{"cgroup", "procs", cg + "/alpha/"}, cg + "/alpha/beta\n", ""},
		{[]string{"cgroup", "get", cg, "cpu.sh"}, "cpu.shares", "cpu.stat"},
		{[]string{"cgroup", "get", cg, "cpu.st"}, "cpu.stat", ""},
		{[]string{"cgroup", "set", cg, "cpu.s"}, "cpu.shares=", "cpu.stat"},
		{[]string{"cgroup", "limit", cg, ""}, "cpu_limit=", ""},
		{[]string{"cgroup", "delegate", "nob"}, "nobody", ""},
		{[]string{"exec", "cp"}, "cpu:/\n", ""},
		{[]string{"cgroup", "watch", "--pressure", ""}, "memory\n", ""},
		{[]string{"cgroup", "delete", "--to", "cp"}, "cpu:/\n", ""},
	} {
		if tt.args[1] == "get" && strings.Contains(tt.want, "memory") && !strings.Contains(ok(t, "--json", "cgroup", "tree", "--depth", "0"), `"memory"`) {
			continue
		}
		out := ok(t, append([]string{"__complete"}, tt.args...)...)
		if !strings.Contains(out, tt.want) || tt.wrong != "" && strings.Contains(out, tt.wrong) {
			t.Errorf("%q: %q", tt.args, out)
		}
	}
}

// TestForAnybody: a user who may not read the daemon's configuration can look around.
func TestForAnybody(t *testing.T) {
	cg := place(t, "cpu")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.toml"), []byte("zk_host = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asNobody := func(args ...string) (string, error) {
		cmd := exec.Command(binary, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := asNobody("cgroup", "get", cg, "shares"); err != nil || out != "shares  1024\n" {
		t.Errorf("%q %v", out, err)
	}
	// One that was named has to be readable.
	out, err := asNobody("--config", filepath.Join(dir, "secret.toml"), "cgroup", "get", cg, "shares")
	if err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("%q %v", out, err)
	}
}
