package cgfs

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is put back is the same whether Go's runtime is told of the system calls or not.
func TestKernelRestore(t *testing.T) {
	h, root := kernel(t, "cpu")
	set := func(file, text string) {
		if err := h.Write(root, file, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, dir, file, was, text string
		now                        string
		wrote                      bool
		err                        error
	}{
		{"changed", root, "cpu.shares", "7", "500", "500", true, nil},
		{"as it should be", root, "cpu.shares", "500", "500", "500", false, nil},
		{"clamped", root, "cpu.shares", "7", "1", "2", true, nil},
		{"refused", root, "cpu.shares", "7", "many", "", false, unix.EINVAL},
		{"no such file", root, "cpu.nothing", "7", "500", "", false, ErrNotExist},
		{"no such cgroup", root + "/gone", "cpu.shares", "7", "500", "", false, ErrNotExist},
		{"outside", "..", "cpu.shares", "7", "500", "", false, ErrOutside},
		{"may wait", root, "cpu.cfs_period_us", "50000", "60000", "60000", true, nil},
	} {
		for _, doubtful := range []bool{false, true} {
			h.doubt.until.Store(0)
			if doubtful {
				h.doubt.until.Store(1 << 62)
			}
			file := "cpu.shares"
			if c.dir == root && h.Exists(root, c.file) {
				file = c.file
			}
			set(file, c.was)
			now, wrote, err := h.Restore(c.dir, c.file, c.text, func(now string) bool { return now == c.text })
			if now != c.now || wrote != c.wrote || !errors.Is(err, c.err) {
				t.Errorf("%s, doubtful %v: %q, %v, %v", c.name, doubtful, now, wrote, err)
			}
			if is, err := h.Read(root, file); c.err != nil && (is != c.was || err != nil) {
				t.Errorf("%s, doubtful %v: it is %q now, %v", c.name, doubtful, is, err)
			}
		}
	}
	// A path that is too long for the usual room.
	deep := root
	for range 9 {
		deep += "/a-name-that-takes-thirty-letters"
		if err := h.Mkdir(deep); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for d := deep; d != root; d = filepath.Dir(d) {
			_ = h.Rmdir(d)
		}
	})
	h.doubt.until.Store(0)
	if now, wrote, err := h.Restore(deep, "cpu.shares", "500", func(now string) bool { return now == "500" }); now != "500" || !wrote || err != nil {
		t.Errorf("deep: %q, %v, %v", now, wrote, err)
	}
}

// Calls that took long are not hidden from the runtime for a while.
func TestDoubt(t *testing.T) {
	var d doubt
	began := time.Unix(1000, 0)
	quiet := func(file string, at time.Duration) bool { return d.calls(file, began.Add(at)).quiet }
	if !quiet("cpu.shares", 0) || quiet("memory.limit_in_bytes", 0) || quiet("cpuset.cpus", 0) || quiet("cpu.cfs_quota_us", 0) {
		t.Error("what may wait at the beginning")
	}
	d.took(began, began.Add(quickMost))
	if !quiet("cpu.shares", quickMost) {
		t.Error("doubted without reason")
	}
	d.took(began, began.Add(quickMost+1))
	if quiet("cpu.shares", quickMost+doubtRest) || !quiet("cpu.shares", quickMost+doubtRest+1) {
		t.Error("doubted not long enough, or too long")
	}
}
