package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestPrune: foreign cgroups go and their processes move up; protected ones stay, also below a foreign parent, with what contains them.
func TestPrune(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("protected_cgroup", []string{"by_name", "glob_*", "/only/here", "cpu:/in_cpu"})
	foreign := []string{
		"plain", "plain/below", "plain/below/deeper",
		"by_name", "by_name/inside", "x/by_name", "configured/by_name",
		"glob_1", "x/y/glob_2", "x/y/other",
		"only/here", "only/there", "elsewhere/only/here",
		"in_cpu",
		"docker/abc", "system.slice/ssh.service", "kubepods.slice", "lxc.payload",
		"configured/foreign",
	}
	for _, c := range foreign {
		h.mkdir("cpu", c)
	}
	h.mkdir("blkio", "in_cpu")
	inPlain, inDeep, inKept, inBelowConfigured := sleeper(t), sleeper(t), sleeper(t), sleeper(t)
	put := func(p *proc, cgroup string) { h.write("cpu", cgroup, "cgroup.procs", strconv.Itoa(p.pid())) }
	put(inPlain, "plain")
	put(inDeep, "plain/below/deeper")
	put(inKept, "x") // contains protected ones: stays, with its members
	put(inBelowConfigured, "configured/foreign")
	h.document(`{"cpu": {"sub_cgroup": {"configured": {"conf": {"share": 300}}}}, "blkio": {}}`)
	h.startReady()
	kept := []string{
		"by_name", "by_name/inside", "x", "x/by_name", "configured", "configured/by_name", "glob_1", "x/y", "x/y/glob_2",
		"only", "only/here", "in_cpu", "docker", "docker/abc", "system.slice", "system.slice/ssh.service", "kubepods.slice", "lxc.payload",
	}
	h.wantTree("cpu", "", kept...)
	h.wantTree("blkio", "")
	h.wantIn("cpu", "", inPlain.pid(), inDeep.pid())
	h.wantIn("cpu", "x", inKept.pid())
	h.wantIn("cpu", "configured", inBelowConfigured.pid()) // the nearest ancestor with conf
}

// TestPruneWithoutShield is the twin of the test above: without protection nothing of it stays.
func TestPruneWithoutShield(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("protect_system_cgroups", false)
	for _, c := range []string{"by_name/inside", "x/y/glob_2", "only/here", "docker/abc", "system.slice/ssh.service"} {
		h.mkdir("cpu", c)
	}
	h.document(`{"cpu": {}}`)
	h.startReady()
	h.wantShares()
}

// TestOwnCgroupStays: the cgroup in which the daemon itself runs is neither pruned nor evacuated.
func TestOwnCgroupStays(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mkdir("cpu", "mine/deep")
	h.mkdir("cpu", "other")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	procs := filepath.Join(h.dir("cpu", "mine/deep"), "cgroup.procs")
	d := h.startReady("/bin/sh", "-c", `echo $$ > "$0" && exec "$@"`, procs)
	h.wantTree("cpu", "", "a", "mine", "mine/deep")
	if err := h.areIn("cpu", "mine/deep", d.pid()); err != nil {
		t.Error(err)
	}
}

// TestHandMadeCanBeFilled: a cgroup that somebody makes and fills within a second is not pulled from under them.
func TestHandMadeCanBeFilled(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.startReady()
	h.wantShares("a 1024")
	p := sleeper(t)
	for i := range 5 {
		name := fmt.Sprintf("hand_%d", i)
		made := time.Now()
		h.mkdir("cpu", name)
		for time.Since(made) < 600*time.Millisecond { // well below a second, whatever else runs here
			if _, err := os.Stat(h.dir("cpu", name)); err != nil && time.Since(made) < 900*time.Millisecond {
				t.Fatalf("removed %v after it was made", time.Since(made))
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := testhost.WriteControl(filepath.Join(h.dir("cpu", name), "cgroup.procs"), strconv.Itoa(p.pid())); err != nil && time.Since(made) < 900*time.Millisecond {
			t.Fatalf("%v after it was made: %v", time.Since(made), err)
		}
		h.wantShares("a 1024") // and then it goes, with its process moved up
		h.wantIn("cpu", "", p.pid())
	}
}

// TestHandMadeIsPrunedUnhurried: the pass that prunes it is arranged; nobody waits for the interval.
func TestHandMadeIsPrunedUnhurried(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.startReady()
	h.wantShares("a 1024")
	h.mkdir("cpu", "a/hand/made")
	h.wantShares("a 1024")
}

// forkStorm forks as fast as a shell can, from four parents, with grandchildren that lose their parent.
const forkStorm = `
storm() { while :; do (sleep 0.2 &) ; done; }
storm & storm & storm &
while :; do : ; (:) ; done`

// TestRemovalUnderForkStorm: the processes of the cgroup fork all the time, and it goes all the same.
func TestRemovalUnderForkStorm(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"keep": {"conf": {}, "sub_cgroup": {"storm": {"conf": {}, "sub_cgroup": {"below": {"conf": {}}}}}}}}}`)
	h.startReady()
	h.wantShares("keep 1024", "keep/storm 1024", "keep/storm/below 1024")
	gate := h.path("go")
	p := shell(t, `while [ ! -e "$1" ]; do sleep 0.02; done`+forkStorm, gate)
	h.write("cpu", "keep/storm/below", "cgroup.procs", strconv.Itoa(p.pid()))
	h.file("go", "", 0o600)
	eventually(t, "storm", func() error {
		if n := len(h.members("cpu", "keep/storm/below")); n < 10 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	h.document(`{"cpu": {"sub_cgroup": {"keep": {"conf": {}}}}}`)
	h.wantShares("keep 1024")
	eventually(t, "the storm in the nearest ancestor", func() error { return h.areIn("cpu", "keep", p.pid()) })
	p.end()
}
