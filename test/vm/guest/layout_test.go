package guest

import (
	"os"
	"strings"
	"testing"
)

// TestLayout: the daemon sees the hierarchies that this guest mounts, whatever /proc/cgroups says about others.
func TestLayout(t *testing.T) {
	need(t, "v1", "v2", "hybrid")
	h := newHost(t, "/cga")
	got := h.cli("version").wantStatus(t, 0).out
	var want []string
	switch os.Getenv(layoutEnv) {
	case "v1":
		want = []string{
			"cgroup v1 /sys/fs/cgroup/cpu,cpuacct cpu,cpuacct\n", "cgroup v1 /sys/fs/cgroup/net_cls,net_prio net_cls,net_prio\n",
			"cgroup v1 /sys/fs/cgroup/blkio blkio\n",
		}
	case "v2":
		want = []string{"cgroup v2 /sys/fs/cgroup "}
	case "hybrid":
		want = []string{"cgroup v1 /sys/fs/cgroup/cpu,cpuacct cpu,cpuacct\n", "cgroup v2 /sys/fs/cgroup/unified"}
	}
	for _, line := range want {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
}

// TestSystemd: the guest is what its name says, and these tests run in a unit like any other.
func TestSystemd(t *testing.T) {
	needSystemd(t)
	comm, err := os.ReadFile("/proc/1/comm")
	must(t, err)
	self, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	if strings.TrimSpace(string(comm)) != "systemd" || !strings.Contains(string(self), "/system.slice/vmtest.service") {
		t.Errorf("process 1 is %s, we are in\n%s", comm, self)
	}
}
