package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReplaced: a cgroup that somebody removes and makes again is another one, and so is one that takes its name by rename.
func TestReplaced(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}, "b": {"conf": {"share": 500}}}}}`)
	h.startReady()
	a, b := h.dir("cpu", "a"), h.dir("cpu", "b")
	for range 3 { // more would be a fight, which is another test
		h.wantShares("a 300", "b 500")
		if err := os.Remove(a); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(a, 0o755); err != nil && !os.IsExist(err) { // the daemon may have been faster
			t.Fatal(err)
		}
	}
	h.wantShares("a 300", "b 500")
	swap := a + ".swap"
	for _, step := range [][2]string{{a, swap}, {b, a}, {swap, b}} {
		// What the daemon puts in the way meanwhile is empty, and goes.
		eventually(t, "rename", func() error {
			if _, err := os.Stat(step[0]); err != nil {
				return nil
			}
			_ = os.Remove(step[1])
			return os.Rename(step[0], step[1])
		})
	}
	h.wantShares("a 300", "b 500")
	h.wantTree("cpu", "", "a", "b")
}

// TestRootRemoved: our root, too, is put back at once, also when it was removed while we could not look.
func TestRootRemoved(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}}}}`)
	d := h.startReady()
	h.wantShares("a 300")
	remove := func() {
		for _, dir := range []string{h.dir("cpu", "a"), h.dir("cpu", "")} {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	d.signal(syscall.SIGSTOP)
	remove()
	d.signal(syscall.SIGCONT)
	h.wantShares("a 300")
	if err := os.Rename(h.dir("cpu", ""), h.dir("cpu", "")+"-aside"); err != nil {
		t.Fatal(err)
	}
	h.wantShares("a 300")
	if err := os.Remove(h.dir("cpu", "") + "-aside/a"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.dir("cpu", "") + "-aside"); err != nil {
		t.Fatal(err)
	}
}

// TestThreadsInTwoCgroups: a process whose threads somebody has put into two cgroups has one place in the mirror, and is not moved to
// and fro.
func TestThreadsInTwoCgroups(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	h.unhurried()
	p := startWorkload(t, "threads")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}}`)
	d := h.startReady()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid()))
	if err != nil || len(tasks) < 3 {
		t.Fatal(tasks, err)
	}
	h.write("cpu", "a", "tasks", strconv.Itoa(p.pid()))
	h.write("cpu", "b", "tasks", tasks[2].Name())
	h.wantIn("cpuacct", "a", p.pid())
	d.signal(syscall.SIGHUP)
	time.Sleep(500 * time.Millisecond) // for the pass that SIGHUP asks for
	before := d.number("passes")
	throughout(t, 2*time.Second, "a process in two cgroups", func() error { return h.areIn("cpuacct", "a", p.pid()) })
	if after := d.number("passes"); after > before+10 {
		t.Errorf("%d passes in 2 s", after-before)
	}
	h.cli("plan").wantExit(t, 0)
}

// TestOnceMirrorsEvacuees: one pass is enough for the mirror of what it evacuates.
func TestOnceMirrorsEvacuees(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	p := sleeper(t)
	h.mkdir("cpu", "p/foreign")
	h.write("cpu", "p/foreign", "cgroup.procs", strconv.Itoa(p.pid()))
	h.document(`{"cpu": {"sub_cgroup": {"p": {"conf": {}}}}}`)
	if r := h.cli("plan").wantExit(t, 3); !strings.Contains(r.stdout, fmt.Sprintf("move %d cpuacct:%s/p\n", p.pid(), h.root)) {
		t.Errorf("plan:\n%s", r.stdout)
	}
	h.cli("run", "--once").wantExit(t, 0)
	h.wantIn("cpu", "p", p.pid())
	h.wantIn("cpuacct", "p", p.pid())
	h.cli("plan").wantExit(t, 0)
}

// TestPathTooLong: a cgroup whose control files have no path any more stops nothing else.
func TestPathTooLong(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	deep := func(share string) string {
		name := strings.Repeat("n", 253)
		return `{"cpu": {"sub_cgroup": {"other": {"conf": {"share": ` + share + `}}, ` +
			strings.Repeat(`"`+name+`": {"sub_cgroup": {`, 15) + `"` + name + `": {"conf": {}}` + strings.Repeat("}}", 15) + `}}}`
	}
	h.document(deep("200"))
	h.startReady()
	eventually(t, "the other cgroup", func() error { return differ("200", h.read("cpu", "other", "cpu.shares")) })
	h.document(deep("300"))
	eventually(t, "the other cgroup after an edit", func() error { return differ("300", h.read("cpu", "other", "cpu.shares")) })
	h.document(`{"cpu": {}}`)
	h.wantTree("cpu", "")
}
