package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestPlan shows what run would do, changes nothing, and has nothing to say afterwards.
func TestPlan(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"test_cgroup_a": {h.pidFile("p.pid", p.pid())}})
	h.document(`{"cpu": {"sub_cgroup": {"test_cgroup_a": {"conf": {"share": 200}, "sub_cgroup": {"inner": {}}}}}}`)
	r := h.cli("plan").wantExit(t, 3)
	rest := r.stdout
	for _, step := range []string{ // in this order, among others (the mirror)
		"mkdir cpu:" + h.root + "\n",
		"mkdir cpu:" + h.root + "/test_cgroup_a\n",
		"write cpu:" + h.root + "/test_cgroup_a/cpu.shares 200\n", // a share needs nothing but its cgroup
		"mkdir cpu:" + h.root + "/test_cgroup_a/inner\n",
		fmt.Sprintf("move %d cpu:%s/test_cgroup_a\n", p.pid(), h.root),
	} {
		_, after, found := strings.Cut(rest, step)
		if !found {
			t.Errorf("no %q in its place in the plan:\n%s", step, r.stdout)
			continue
		}
		rest = after
	}
	for subsystem := range testhost.Controllers() {
		if _, err := os.Stat(h.dir(subsystem, "")); err == nil {
			t.Errorf("plan made our root in %s", subsystem)
		}
	}
	if _, err := os.Stat(h.path("state")); err == nil {
		t.Error("plan made state_dir")
	}
	asJSON := h.cli("plan", "--json").wantExit(t, 3)
	if _, err := decode(asJSON.stdout); err != nil {
		t.Errorf("plan --json: %v", err)
	}
	h.cli("run", "--once").wantExit(t, 0)
	if r := h.cli("plan").wantExit(t, 0); r.stdout != "" {
		t.Errorf("plan after run --once:\n%s", r.stdout)
	}
	h.mkdir("cpu", "foreign/below")
	h.write("cpu", "test_cgroup_a", "cpu.shares", "300")
	r = h.cli("plan").wantExit(t, 3)
	if !strings.Contains(r.stdout, "write cpu:"+h.root+"/test_cgroup_a/cpu.shares 200\n") {
		t.Errorf("plan does not put the setting back:\n%s", r.stdout)
	}
	h.wantShares("foreign 1024", "foreign/below 1024", "test_cgroup_a 300", "test_cgroup_a/inner 1024")
}

// TestCgexecArg: exactly the text that scripts paste into a command line, read-only.
func TestCgexecArg(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{
		"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"sub_cgroup": {"inner": {"conf": {}}, "twice": {}}}, "c": {"sub_cgroup": {"twice": {}}}, "with blank": {}}},
		"blkio": {"sub_cgroup": {"a": {}, "x": {"sub_cgroup": {"b": {}}}}}}`)
	root := h.root[1:]
	for _, c := range []struct {
		args   []string
		stdout string
		code   int
	}{
		{[]string{"a"}, "-g blkio:R/a -g cpu:R/a\n", 0},
		{[]string{"/a"}, "-g blkio:R/a -g cpu:R/a\n", 0},
		{[]string{"inner"}, "-g cpu:R/b/inner\n", 0},
		{[]string{"b/inner"}, "-g cpu:R/b/inner\n", 0},
		{[]string{"inner", "a"}, "-g cpu:R/b/inner\n-g blkio:R/a -g cpu:R/a\n", 0},
		{[]string{"b"}, "-g blkio:R/x/b -g cpu:R/b\n", 0},
		{[]string{"b/twice"}, "-g cpu:R/b/twice\n", 0},
		{[]string{"twice"}, "", 1},
		{[]string{"nosuch"}, "", 1},
		{[]string{"nosuch", "inner"}, "-g cpu:R/b/inner\n", 1},
		{[]string{"with blank"}, "", 1},
		{[]string{"../a"}, "", 1},
		{[]string{"--json", "a", "inner"}, `{"a":"-g blkio:R/a -g cpu:R/a","inner":"-g cpu:R/b/inner"}`, 0},
		{[]string{"--json", "with blank"}, `{"with blank":"-g cpu:R/with blank"}`, 0},
		{[]string{"--json", "nosuch", "a"}, `{"a":"-g blkio:R/a -g cpu:R/a","nosuch":""}`, 1},
		{nil, "", 2},
	} {
		r := h.cli(append([]string{"get-cgexec-arg"}, c.args...)...).wantExit(t, c.code)
		want := strings.ReplaceAll(c.stdout, "R/", root+"/")
		if strings.HasPrefix(want, "{") {
			if err := sameJSON(want, r.stdout); err != nil {
				t.Errorf("%v: %v", c.args, err)
			}
		} else if r.stdout != want {
			t.Errorf("%v: %q, want %q", c.args, r.stdout, want)
		}
		if c.code != 0 && strings.TrimSpace(r.stderr) == "" {
			t.Errorf("%v: no reason on standard error", c.args)
		}
	}
	for subsystem := range testhost.Controllers() {
		if _, err := os.Stat(h.dir(subsystem, "")); err == nil {
			t.Errorf("get-cgexec-arg made our root in %s", subsystem)
		}
	}
}

// TestCgexecArgAuto: with cgroup_root "auto" and no running daemon, the rule for cgroup v1 is applied, and that is said.
func TestCgexecArgAuto(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if _, err := os.Stat("/run/cgrouparchd"); err == nil {
		t.Skip("a daemon of this machine has published its root")
	}
	h.document(sample)
	h.set("cgroup_root", nil)
	r := h.cli("get-cgexec-arg", "test_cgroup_a", "test_cgroup_b_sub1").wantExit(t, 0)
	if want := "-g blkio:test_cgroup_a -g cpu:test_cgroup_a\n-g cpu:test_cgroup_b/test_cgroup_b_sub1\n"; r.stdout != want {
		t.Errorf("%q, want %q", r.stdout, want)
	}
	if strings.TrimSpace(r.stderr) == "" {
		t.Error("no warning that the root is a guess")
	}
}

// TestCheck: exit statuses for the daemon's configuration and for the document, from its source and from a file.
func TestCheck(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	h.cli("check").wantExit(t, 0)
	good, bad := h.file("good.json", sample, 0o644), h.file("bad.json", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": -5, "x": 1}}}}}`, 0o644)
	h.cli("check", "--conf-file", good).wantExit(t, 0)
	if r := h.cli("check", "--conf-file", bad).wantExit(t, 1); !strings.Contains(r.stdout+r.stderr, "cpu/a: share:") {
		t.Errorf("check does not name the place: %v", r)
	}
	h.cli("check", "--conf-file", h.path("no-such-file")).wantExit(t, 1)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"sharez": 5}}}}}`)
	if r := h.cli("check").wantExit(t, 1); !strings.Contains(r.stdout+r.stderr, "sharez") {
		t.Errorf("check does not name the unknown key: %v", r)
	}

	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	h.cli("check").wantExit(t, 0)
	zk.Client(identity).Put(node, `[]`)
	h.cli("check").wantExit(t, 1)
}

// TestShowAccount prints what the websocket says.
func TestShowAccount(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	eventually(t, "slots", func() error {
		if n := len(d.slots(10)); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	_, port, _ := net.SplitHostPort(d.addr)
	r := h.cli("show-account", "--communicate-port", port).wantExit(t, 0)
	var slots map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.stdout), &slots); err != nil || len(slots) == 0 {
		t.Fatalf("show-account: %v: %v", err, r)
	}
	for slot, value := range slots {
		if err := sameJSON(`{"`+slot+`":`+string(value)+`}`, d.ask(`{"cmd":"show_account","args":{"start_slot":`+slot+`,"end_slot":`+slot+`}}`)); err != nil {
			t.Errorf("slot %s: %v", slot, err)
		}
	}
	d.stop()
	h.cli("show-account", "--communicate-port", port).wantExit(t, 1)
}

// TestAnswerLost: an answer that cannot be written is a failure; a script that reads it must not believe in success.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	_, port, _ := net.SplitHostPort(d.addr)
	h.set("communicate_port", port) // a number as text, as in the ancestor's example
	config := h.config()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	defer full.Close()
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"check"}, {"get-cgexec-arg", "test_cgroup_a"},
		{"get-cgexec-arg", "--json", "test_cgroup_a"}, {"show-account"}} {
		cmd := exec.Command(binary, append(args, "--config", config)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v to a full disk: exit %d, %v: %s", args, code, err, stderr.String())
		}
	}
}

// TestVersion says what is asked in a bug report.
func TestVersion(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.exec("version").wantExit(t, 0)
	for _, word := range []string{"go1.", "cpu", "blkio"} {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("version does not say %q: %v", word, r)
		}
	}
	if r := h.exec("version", "--json").wantExit(t, 0); sameJSON(r.stdout, r.stdout) != nil {
		t.Errorf("version --json: %v", r)
	}
}

// TestUsage: faults of usage and of the daemon's configuration exit 2 and say what and where; flags may stand anywhere, and win.
func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	config := h.config()
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"no command", nil, 2, ""},
		{"unknown command", []string{"nosuch"}, 2, "nosuch"},
		{"unknown flag", []string{"check", "--no-such-flag"}, 2, "no-such-flag"},
		{"argument too many", []string{"check", "--config", config, "x"}, 2, "x"},
		{"no such file", []string{"check", "--config", h.path("nosuch.toml")}, 2, "nosuch.toml"},
		{"unknown key", []string{"check", "--config", h.file("1.toml", "conf_file = \"/x\"\n\nno_such_key = 1\n", 0o644)}, 2, "1.toml:3: no_such_key"},
		{"wrong type", []string{"check", "--config", h.file("2.toml", "conf_file = 5\n", 0o644)}, 2, "2.toml:1: conf_file"},
		{"impossible value", []string{"check", "--config", h.file("3.toml", "conf_file = \"/x\"\ntasks_update_interval = -1\n", 0o644)}, 2, "3.toml:2: tasks_update_interval"},
		{"not TOML", []string{"check", "--config", h.file("4.toml", "conf_file = \n", 0o644)}, 2, "4.toml:1"},
		{"two sources", []string{"check", "--config", h.file("5.toml", "conf_file = \"/x\"\nzk_host = \"127.0.0.1:1\"\n", 0o644)}, 2, "zk_host"},
		{"no source", []string{"run", "--config", h.file("6.toml", "log_level = \"info\"\n", 0o644)}, 2, "conf_file"},
		{"bad flag value", []string{"check", "--config", config, "--communicate-port", "70000"}, 2, "communicate"},
		{"nothing is mounted there", []string{"run", "--once", "--config", config, "--cgroup-dir", h.scratch}, 1, "cgroup"},
		{"flag after", []string{"check", "--config", config}, 0, ""},
		{"flag before", []string{"--config", config, "check"}, 0, ""},
		{"flag wins", []string{"check", "--config", config, "--conf-file", h.path("nosuch.json")}, 1, "nosuch.json"},
		{"flag before wins", []string{"--conf-file", h.path("nosuch.json"), "--config", config, "check"}, 1, "nosuch.json"},
		{"number as text", []string{"check", "--config", h.file("7.toml", fmt.Sprintf("conf_file = %q\ncommunicate_port = \"3344\"\n", h.path("document.json")), 0o644)}, 0, ""},
		{"help", []string{"--help"}, 0, ""},
		{"help of a command", []string{"get-cgexec-arg", "--help"}, 0, ""},
	} {
		r := h.exec(c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("%s: want exit %d and %q on standard error: %v", c.name, c.code, c.stderr, r)
		}
		if c.code == 2 && r.stdout != "" {
			t.Errorf("%s: standard output: %q", c.name, r.stdout)
		}
	}
	help := h.exec("--help").wantExit(t, 0).stdout
	for _, command := range []string{"run", "get-cgexec-arg", "plan", "check", "show-account", "version"} {
		if !strings.Contains(help, command) {
			t.Errorf("--help does not name %s", command)
		}
	}
	for _, sh := range []string{"bash", "zsh", "fish"} {
		if r := h.exec("completion", sh).wantExit(t, 0); !strings.Contains(r.stdout, "cgrouparchd") {
			t.Errorf("completion %s: %v", sh, r)
		}
	}
}
