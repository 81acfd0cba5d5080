package cgfs

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// busy starts shells that want the same processor, so that all but one have to wait.
func busy(t *testing.T, n int) []int {
	t.Helper()
	var pids []int
	for range n {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		var first unix.CPUSet
		first.Set(0)
		if err := unix.SchedSetaffinity(cmd.Process.Pid, &first); err != nil {
			t.Skipf("processor 0 is not ours: %v", err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

// TestAlarmStall: a stall is heard of, again and again, also where it is the only one that is waited for.
func TestAlarmStall(t *testing.T) {
	h, root := unified(t, "freezer")
	a, err := NewAlarms()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	at := Alarm{Hierarchy: h, Dir: root, Resource: "cpu"}
	err = a.Add(at, Stall{Some: 10 * time.Millisecond, Window: 2 * time.Second})
	if errors.Is(err, ErrNotSupported) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel counts no stalls: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Move(root, busy(t, 2), func(pid int, err error) {
		if err != nil {
			t.Errorf("move %d: %v", pid, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	heard := make(chan Alarm)
	go func() {
		defer close(heard)
		for {
			alarms, err := a.Wait()
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			for _, one := range alarms {
				heard <- one
			}
		}
	}()
	for range 2 {
		select {
		case got := <-heard:
			if got != at {
				t.Errorf("an alarm of %+v", got)
			}
		case <-time.After(20 * time.Second):
			text, err := h.Read(root, "cpu.pressure")
			t.Fatalf("no alarm; cpu.pressure: %s (%v)", text, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for range heard { // Wait ends
	}
	if err := a.Add(at, Stall{Some: 10 * time.Millisecond, Window: 2 * time.Second}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
