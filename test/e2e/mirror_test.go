package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// needApart asks for cpu and cpuacct in hierarchies of their own: only then is there anything to mirror.
func needApart(t *testing.T) {
	t.Helper()
	if mounts := testhost.Controllers(); mounts["cpu"] == mounts["cpuacct"] {
		testhost.Lacks(t, "cpu and cpuacct are mounted together")
	}
}

// TestMirror: the cpu tree and its members are found again in cpuacct, where the usage is counted.
func TestMirror(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"a/inner": {h.pidFile("p.pid", p.pid())}})
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"inner": {"conf": {}}}}, "structure": {"sub_cgroup": {}}}}}`)
	h.mkdir("cpuacct", "foreign/below")
	h.mkdir("cpuacct", "a/foreign")
	h.startReady()
	h.wantTree("cpuacct", "", "a", "a/inner", "a/foreign", "foreign", "foreign/below", "structure")
	h.wantIn("cpuacct", "a/inner", p.pid())

	// Cgroups that leave the document leave the mirror; what others made there stays, with what it stands in.
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {}}}}}`)
	h.wantTree("cpuacct", "", "a", "a/foreign", "b", "foreign", "foreign/below")
	h.wantShares("b 1024")
	throughout(t, 2*time.Second, "foreign cgroups in the mirror", func() error {
		return differ("a\na/foreign\nb\nforeign\nforeign/below", h.tree("cpuacct", ""))
	})

	// With cpuacct in the document it is like any other subsystem.
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {}}}}, "cpuacct": {"sub_cgroup": {"c": {}}}}`)
	h.wantTree("cpuacct", "", "c")
}

// TestCgexec runs a program with the argument that get-cgexec-arg printed, as users do.
func TestCgexec(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	cgexec := needTool(t, "cgexec")
	h.set("tasks_update_interval", 1) // nothing tells of a process that cgexec starts but the next look
	h.document(`{"cpu": {"sub_cgroup": {"outer": {"conf": {}, "sub_cgroup": {"inner": {"conf": {"share": 200}}}}}},
		"freezer": {"sub_cgroup": {"inner": {"conf": {}}}}}`)
	h.startReady()
	h.wantShares("outer 1024", "outer/inner 200")

	r := h.cli("get-cgexec-arg", "outer/inner").wantExit(t, 0)
	if want := "-g cpu:" + h.root[1:] + "/outer/inner\n"; r.stdout != want {
		t.Fatalf("get-cgexec-arg: %q, want %q", r.stdout, want)
	}
	byPath := startProc(t, nil, cgexec, append(strings.Fields(r.stdout), "sleep", "600")...)
	r = h.cli("get-cgexec-arg", "inner").wantExit(t, 0)
	byName := startProc(t, nil, "/bin/sh", "-c", "exec "+cgexec+" "+strings.TrimSpace(r.stdout)+" sh -c 'sleep 600 & wait'")
	all := append(byName.wantSession(2), byPath.pid())
	h.wantIn("cpu", "outer/inner", all...)
	h.wantIn("cpuacct", "outer/inner", all...)
	h.wantIn("freezer", "inner", byName.session()...)

	// A later child of theirs is born in both.
	late := exec.Command("sh", "-c", strings.Join([]string{cgexec, strings.TrimSpace(r.stdout), "cat /proc/self/cgroup"}, " "))
	out, err := late.CombinedOutput()
	if err != nil || !strings.Contains(string(out), ":cpu:"+h.root+"/outer/inner\n") {
		t.Errorf("cgexec: %v: %s", err, out)
	}
}

// TestMirrorFollowsHand: a process moved by hand between two cpu cgroups is followed in the mirror.
func TestMirrorFollowsHand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	h.set("tasks_update_interval", 1)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}}`)
	h.startReady()
	h.wantShares("a 1024", "b 1024")
	p := shell(t, "sleep 600 & sleep 600 & wait")
	pids := p.wantSession(3)
	for _, name := range []string{"a", "b"} {
		for _, pid := range pids {
			h.write("cpu", name, "cgroup.procs", fmt.Sprint(pid))
		}
		h.wantIn("cpuacct", name, pids...)
		h.wantIn("cpu", name, pids...)
	}
}

// TestMirrorFollowsToRoot: who is evacuated to our root, or put there, is followed too.
func TestMirrorFollowsToRoot(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	needApart(t)
	h.set("tasks_update_interval", 1)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.startReady()
	h.wantShares("a 1024")
	p := shell(t, "sleep 600 & wait")
	pids := p.wantSession(2)
	for _, pid := range pids {
		h.write("cpu", "", "cgroup.procs", fmt.Sprint(pid))
	}
	h.wantIn("cpu", "", pids...)
	h.wantIn("cpuacct", "", pids...)
}
