package guest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestCgexec: the real cgexec takes the argument that get-cgexec-arg prints, of a leaf and of an inner cgroup, on v1 and on v2 (where it
// needs libcgroup 2.0.2), and the daemon leaves the process where it was born.
func TestCgexec(t *testing.T) {
	needSystemd(t) // the guests with a distribution have cgroup-tools
	h := newHost(t, "/cga")
	h.settings["tasks_update_interval"] = 1
	h.document(`{
		"cpu": {"sub_cgroup": {"inner": {"conf": {}, "sub_cgroup": {"leaf": {"conf": {"share": 200}}}}}},
		"pids": {"sub_cgroup": {"inner": {"conf": {}, "sub_cgroup": {"leaf": {"conf": {"max": 50}}}}, "only": {"conf": {}}}}}`)
	h.start()
	h.wantNoFaults()
	type place struct {
		subsystem, cgroup string
		pid               int
	}
	var born []place
	start := func(name string, homes map[string]string) {
		t.Helper()
		argument := strings.Fields(h.cli("get-cgexec-arg", name).wantStatus(t, 0).out)
		cmd := exec.Command("cgexec", append(argument, "sleep", "3600")...)
		cmd.Stderr = os.Stderr // cgexec's reasons
		p := startProc(t, cmd)
		for subsystem, cgroup := range homes {
			h.wantIn(subsystem, cgroup, p.pid())
			born = append(born, place{subsystem, cgroup, p.pid()})
		}
	}
	inner := "inner"
	if os.Getenv(layoutEnv) == "v2" {
		inner = "inner/@members"
	}
	start("leaf", map[string]string{"cpu": "inner/leaf", "pids": "inner/leaf"})
	start("inner", map[string]string{"cpu": inner, "pids": inner})
	start("only", map[string]string{"pids": "only"})
	throughout(t, 3*time.Second, "full passes", func() error {
		for _, b := range born {
			if err := h.areIn(b.subsystem, b.cgroup, b.pid); err != nil {
				return err
			}
		}
		return nil
	})
}
