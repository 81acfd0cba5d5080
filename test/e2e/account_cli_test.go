package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFollow: each new slot is one line of JSON in a pipe, without a gap, and rows of a table on a terminal.
func TestFollow(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": {}}}}}`)
	d := h.startReady()
	cmd := exec.Command(binary, "show-account", "--address", d.addr, "--follow", "--cgroup", "a")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	defer func() { _ = cmd.Process.Kill() }()
	var slots []int64
	lines := bufio.NewScanner(out)
	for len(slots) < 4 && lines.Scan() {
		var line map[string]map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || len(line) != 1 {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		for key := range line {
			slot, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			slots = append(slots, slot)
		}
		if strings.Contains(lines.Text(), `"b"`) {
			t.Errorf("the filter is forgotten: %s", lines.Text())
		}
	}
	for i := 1; i < len(slots); i++ {
		if slots[i] != slots[i-1]+1 {
			t.Errorf("slots %v have a gap", slots)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("stopped by Ctrl-C: %v", err)
		}
	case <-time.After(patience):
		t.Error("Ctrl-C does not stop it")
	}

	s := newScreen(t, binary, "show-account", "--address", d.addr, "--utc", "--since", "-1s", "--follow")
	s.want("TIME", "CPU%", "CGROUP", "/a", "/b")
	eventually(t, "a second that is printed later", func() error {
		if n := strings.Count(s.text(), "/a\n"); n < 3 {
			return errors.New(s.text())
		}
		return nil
	})
	s.keys("C-c")
	s.want("left with 0")

	for _, bad := range [][]string{{"--since", "tomorrow"}, {"--follow", "--end-slot", "5"}, {"--since", "-5s", "--start-slot", "5"}} {
		h.exec(append([]string{"show-account", "--address", d.addr}, bad...)...).wantExit(t, 2)
	}
	since := h.exec("show-account", "--address", d.addr, "--since", fmt.Sprint(slots[0]), "--nr-slot", "2").wantExit(t, 0)
	var two map[string]any
	if err := json.Unmarshal([]byte(since.stdout), &two); err != nil || len(two) != 2 || two[fmt.Sprint(slots[0])] == nil {
		t.Errorf("two slots from %d: %v: %v", slots[0], err, since)
	}
}
