package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestDrift: what somebody else removes or changes is put back at once, and said.
func TestDrift(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"test_cgroup_b_sub1": {h.pidFile("p.pid", p.pid())}})
	h.document(sample)
	d := h.startReady()
	h.wantShares(sampleShares...)
	h.wantTree("blkio", "blkio.bfq.weight", "test_cgroup_a 500")
	h.wantIn("cpu", "test_cgroup_b/test_cgroup_b_sub1", p.pid())

	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"share", func() error { return h.put("cpu", "test_cgroup_b", "cpu.shares", "999") }},
		{"weight", func() error { return h.put("blkio", "test_cgroup_a", "blkio.bfq.weight", "77") }},
		{"leaf removed", func() error { return syscall.Rmdir(h.dir("cpu", "test_cgroup_a")) }},
		{"mirror removed", func() error { return syscall.Rmdir(h.dir("cpuacct", "test_cgroup_a")) }},
		{"tree removed", func() error { return removeTreeOnce(h.dir("cpu", "test_cgroup_b")) }},
		{"everything removed", func() error { return removeTreeOnce(h.dir("blkio", "test_cgroup_a")) }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		h.wantShares(sampleShares...)
		h.wantTree("blkio", "blkio.bfq.weight", "test_cgroup_a 500")
		h.wantTree("cpuacct", "", "test_cgroup_a", "test_cgroup_b", "test_cgroup_b/test_cgroup_b_sub1")
		// A member that was thrown out is placed again.
		h.wantIn("cpu", "test_cgroup_b/test_cgroup_b_sub1", p.pid())
	}
	if log := d.logText(); !strings.Contains(log, "test_cgroup_b") {
		t.Error("no correction was logged")
	}
}

// put is what a person with a shell does to a configured cgroup.
func (h *host) put(subsystem, cgroup, file, text string) error {
	return testhost.WriteControl(filepath.Join(h.dir(subsystem, cgroup), file), text)
}

// removeTreeOnce removes a cgroup that the daemon may already be making again: that it was gone once is enough.
func removeTreeOnce(top string) error {
	info, err := os.Stat(top)
	if err != nil {
		return err
	}
	for range 200 {
		_ = testhost.RemoveOnce(top) // it may be there again: the look that follows tells
		now, err := os.Stat(top)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !os.SameFile(info, now) {
			return nil
		}
	}
	return fmt.Errorf("%s cannot be removed", top)
}

// TestOurRootRemoved: even our root can be removed by hand.
func TestOurRootRemoved(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	h.document(sample)
	h.startReady()
	h.wantShares(sampleShares...)
	if err := removeTreeOnce(h.dir("cpu", "")); err != nil {
		t.Fatal(err)
	}
	h.wantShares(sampleShares...)
}

// TestTwoWriters: a second writer that insists does not make a busy loop of the daemon.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}}}}`)
	d := h.startReady()
	h.wantShares("a 300")
	corrections, end := 0, time.Now().Add(5*time.Second)
	for time.Now().Before(end) {
		if h.read("cpu", "a", "cpu.shares") == "300" {
			corrections++
			h.write("cpu", "a", "cpu.shares", "400")
		}
		time.Sleep(time.Millisecond)
	}
	// At once would be hundreds of times; with backoff it is a few.
	if corrections > 100 {
		t.Errorf("%d corrections in 5 s: no backoff", corrections)
	}
	if corrections < 2 {
		t.Errorf("%d corrections in 5 s: it gave up", corrections)
	}
	h.wantShares("a 300")
	if !d.alive() {
		t.Error("the daemon ended")
	}
}
