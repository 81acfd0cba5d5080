package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// pageDocument has hostile names: what they would do if a page believed them is run a program, hide what they are, and spoil objects.
const pageDocument = `{
  "cpu": {"sub_cgroup": {
    "a": {"conf": {"share": 500}},
    "b": {"conf": {"share": %d}, "sub_cgroup": {"b1": {"conf": {}}, "<img src=x onerror=alert(1)>": {"conf": {}}, "evil\u202egpj.exe": {"conf": {}},
      "__proto__": {"conf": {}}, "toString": {"conf": {}}}}%s
  }},
  "blkio": {"sub_cgroup": {"disk": {"conf": {}}}},
  "memory": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}%s
}`

// browser runs a script of test/page in a real browser, with further arguments. actions are what it may ask for while it runs.
func (h *host) browser(t *testing.T, script string, d *daemon, actions map[string]func(), args ...string) {
	t.Helper()
	dir, err := filepath.Abs("../page")
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		testhost.Lacks(t, "playwright-core is not installed (npm ci in test/page): %v", err)
	}
	for _, program := range []string{"node", "/usr/bin/chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			testhost.Lacks(t, "no browser: %v", err)
		}
	}
	shots := os.Getenv("CGROUPARCHD_TEST_SHOTS") // where somebody wants to look at them
	if shots == "" {
		shots = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(dir, script), "http://" + d.addr, shots}, args...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, asked := strings.CutPrefix(lines.Text(), "request ")
		if !asked {
			t.Log(lines.Text())
			continue
		}
		answer := "unknown"
		if action := actions[what]; action != nil {
			action()
			answer = "done"
		}
		_, _ = io.WriteString(in, answer+"\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", script, err, complaints.String())
	}
}

// freePort is a port that was free a moment ago: a daemon that starts again has to come back to it.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestPage is what people do with the live page.
func TestPage(t *testing.T) {
	h := newHost(t)
	port := freePort(t)
	h.set("communicate_port", port)
	h.document(fmt.Sprintf(pageDocument, 100, "", ""))
	burner := shell(t, "while :; do :; done")
	writer := shell(t, "while :; do dd if=/dev/zero of="+h.path("written")+" bs=1M count=4 oflag=direct 2>/dev/null; sleep 0.2; done")
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("burner", burner.pid())}, "disk": {h.pidFile("writer", writer.pid())}})
	start := func() *daemon {
		d := h.launch()
		d.addr = "127.0.0.1:" + strconv.Itoa(port)
		d.waitReady()
		return d
	}
	d := start()
	h.browser(t, "page.mjs", d, map[string]func(){
		"drift":    func() { must(t, h.put("cpu", "b", "cpu.shares", "999")) },
		"document": func() { h.document(fmt.Sprintf(pageDocument, 300, `, "new": {"conf": {"share": 50}}`, "")) },
		"fault":    func() { h.document(fmt.Sprintf(pageDocument, 300, "", `, "nosuch": {}`)) },
		"stop":     func() { d.stop() },
		"start":    func() { d = start() },
	})
}

// TestPageLarge: a thousand cgroups do not make the page stutter.
func TestPageLarge(t *testing.T) {
	h := newHost(t)
	groups := make([]string, 50)
	for i := range groups {
		leaves := make([]string, 20)
		for j := range leaves {
			leaves[j] = fmt.Sprintf(`"leaf%d-%d":{"conf":{}}`, i, j)
		}
		groups[i] = fmt.Sprintf(`"g%d":{"conf":{},"sub_cgroup":{%s}}`, i, strings.Join(leaves, ","))
	}
	tree := `{"sub_cgroup":{` + strings.Join(groups, ",") + `}}`
	h.document(`{"cpu":` + tree + `,"blkio":` + tree + `}`)
	burner := shell(t, "while :; do :; done")
	h.set("cgroup_pid_files", map[string][]string{"g7/leaf7-3": {h.pidFile("burner", burner.pid())}})
	d := h.startReady()
	h.browser(t, "large.mjs", d, nil)
}

// TestPageHosts: the page says which hosts lag behind, and why.
func TestPageHosts(t *testing.T) {
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	client.Create(node, sampleFor(0), identity)
	d := h.startReady()
	says, _ := otherHost(t, zk.Addr(), "absent")
	says(fleet.Agent{Seen: 0, InForce: -1})
	h.browser(t, "hosts.mjs", d, map[string]func(){"anew": func() {
		client.Delete(node)
		client.Create(node, `{"cpu": {"sub_cgroup": {"made_anew": {}}}}`, identity)
	}})
}

// questionsDocument is of a host that can be asked all ten questions.
const questionsDocument = `{
  "cpu": {"sub_cgroup": {"a": {"conf": {"share": 500}}, "b": {"conf": {"share": %d}}}},
  "blkio": {"sub_cgroup": {"disk": {"conf": {}}}},
  "memory": {"sub_cgroup": {"holder": {"conf": {}}, "hog": {"conf": {"limit_in_bytes": "16M"}}}},
  "pids": {"sub_cgroup": {"a": {"conf": {}}}}
}`

// TestPageQuestions: the ten questions of docs/operations.md, each in at most three keys or clicks.
func TestPageQuestions(t *testing.T) {
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	h.useZooKeeper(zk.Addr())
	edit := func(i int) {
		file := h.file("edit.json", fmt.Sprintf(questionsDocument, 100*(i+1)), 0o600)
		h.cli("conf", "set", file, "--yes", "--reason", fmt.Sprintf("edit %d", i)).wantExit(t, 0)
	}
	edit(0)
	first := time.Now().Unix() + 1
	time.Sleep(time.Until(time.Unix(first+2, 0))) // seconds tell one version's time from the next one's
	edit(1)

	// Memory is charged where a process is when it takes it: they wait until they have been placed.
	wait := func(file, then string) string {
		return "while [ ! -e " + h.path(file) + " ]; do sleep 0.1; done; " + then
	}
	burner := shell(t, "while :; do :; done")
	writer := shell(t, "while :; do dd if=/dev/zero of="+h.path("written")+" bs=1M count=4 oflag=direct 2>/dev/null; sleep 0.2; done")
	holder := shell(t, wait("hold", `x=$(head -c 30000000 /dev/zero | tr '\0' x); sleep 600`))
	hog := shell(t, wait("hog", "head -c 100000000 /dev/zero | tail -c 90000000; sleep 600"))
	stray := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{
		"a": {h.pidFile("burner", burner.pid())}, "disk": {h.pidFile("writer", writer.pid())}, "holder": {h.pidFile("holder", holder.pid())},
		"hog": {h.pidFile("hog.pid", hog.pid())}, "b": {h.file("stray.pid", strconv.Itoa(stray.pid()), 0o666)},
	})
	d := h.startReady()
	says, _ := otherHost(t, zk.Addr(), "absent")
	says(fleet.Agent{Seen: 0, InForce: 0})
	h.browser(t, "questions.mjs", d, map[string]func(){
		"busy":  func() { h.wantIn("memory", "holder", holder.pid()); h.file("hold", "", 0o600) },
		"edit":  func() { edit(2) },
		"drift": func() { h.write("cpu", "b", "cpu.shares", "999") },
		"oom":   func() { h.wantIn("memory", "hog", hog.pid()); h.file("hog", "", 0o600) },
	}, strconv.FormatInt(first, 10), strconv.Itoa(stray.pid()))
}
