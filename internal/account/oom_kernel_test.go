package account

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// TestRealOOMKill: a process that the kernel kills for want of memory is told by
// the v1 counter, with its cgroup and no other.
func TestRealOOMKill(t *testing.T) {
	h, root := testCgroup(t, "memory")
	for _, name := range []string{"/a", "/b"} {
		makeCgroup(t, h, root+name)
	}
	if err := h.Write(root+"/a", "memory.limit_in_bytes", "8M"); err != nil {
		t.Fatal(err)
	}
	if err := h.Write(root+"/a", "memory.swappiness", "0"); err != nil { // or the victim is swapped out for ever
		t.Logf("memory.swappiness: %v", err)
	}
	var log bytes.Buffer
	s := NewSampler(SamplerOptions{Ring: NewRing(10), Log: logTo(&log)})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{{
		Name: "memory", Hierarchy: h, OOMKills: &cgfs.OOMKills{Hierarchy: h, File: "memory.oom_control"},
		Root: Cgroup{Dir: root, HasSub: true, Sub: []Cgroup{{Name: "a", Dir: root + "/a"}, {Name: "b", Dir: root + "/b"}}},
	}}})
	for range 2 {
		allocateIn(t, h, root+"/a")
	}
	s.lookForKills(false)
	want := `warn oom kill {"subsystem": "memory", "cgroup": "a", "count": 2}` + "\n"
	if log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
	if kills := s.OOMKills(); len(kills) != 1 || kills[0].Cgroup != "a" || kills[0].Count != 2 {
		t.Errorf("%+v", kills)
	}
}

// allocateIn runs a process in a cgroup that takes more memory than its limit of
// 8 MiB, and waits until it is killed.
func allocateIn(t *testing.T, h *cgfs.Hierarchy, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), allocateEnv+"="+path.Join(h.Mount(), dir, "cgroup.procs"))
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ctx.Err() != nil || !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("not killed by the kernel: %v, %v: %s", err, ctx.Err(), out)
	}
}

// allocateEnv names the cgroup.procs that makes the test binary a victim.
const allocateEnv = "CGATEST_ALLOCATE"

// allocate joins a cgroup and takes 64 MiB; it should not return.
func allocate(procs string) error {
	if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
		return err
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	return fmt.Errorf("%d bytes were to be had", len(held))
}
