package clock

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSetSlack runs in a process of its own: the slack stays with the threads.
func TestSetSlack(t *testing.T) {
	if os.Getenv("CLOCK_TEST_SLACK") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestSetSlack$", "-test.v")
		cmd.Env = append(os.Environ(), "CLOCK_TEST_SLACK=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	if err := SetSlack(time.Millisecond); err != nil {
		if os.Geteuid() == 0 && os.Getenv("CGROUPARCHD_TEST_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// Threads that come later have it too.
	done := make(chan time.Duration)
	for range 8 {
		go spinOn(done)
	}
	for range 8 {
		<-done
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err == nil && strings.TrimSpace(string(slack)) != "1000000" {
			t.Errorf("thread %s: %s", thread.Name(), slack)
		}
	}
	// An alarm stays exact; on a busy machine one of many is.
	a := newAlarm(t)
	best := time.Hour
	for range 50 {
		until := time.Now().Add(2 * time.Millisecond).Round(0)
		if _, err := a.Wait(until); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Now().Round(0).Sub(until))
	}
	if best > 900*time.Microsecond {
		t.Errorf("at best %v late", best)
	}
}

func spinOn(done chan<- time.Duration) {
	spin(5 * time.Millisecond)
	done <- ThreadCPU()
}
