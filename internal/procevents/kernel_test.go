package procevents

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open listens, or skips where nobody may.
func open(t *testing.T) *Socket {
	t.Helper()
	s, err := Open()
	if err != nil {
		testhost.Lacks(t, "%v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestKernel: a real process is born and ends; its threads are no news.
func TestKernel(t *testing.T) {
	s := open(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$") // a program of Go: it has threads
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got []Event
	for len(got) < 2 {
		events, err := s.Read()
		if err != nil {
			t.Fatalf("%v, after %+v", err, got)
		}
		for _, e := range events {
			if e.PID == pid {
				got = append(got, e)
			} else if e.Kind == Born && e.Parent == pid {
				t.Errorf("%+v is a thread", e)
			}
		}
	}
	if want := (Event{Kind: Born, PID: pid, Parent: os.Getpid()}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	if want := (Event{Kind: Ended, PID: pid}); got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
}

// TestDeadline: reading ends at a deadline, and goes on.
func TestDeadline(t *testing.T) {
	s := open(t)
	end := time.Now().Add(50 * time.Millisecond)
	if err := s.SetDeadline(end); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := s.Read()
		if err == nil && time.Now().Before(end.Add(time.Minute)) {
			continue // others' processes
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		break
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	_ = exec.Command("true").Run()
	if events, err := s.Read(); err != nil || len(events) == 0 {
		t.Errorf("after a deadline: %v, %v", events, err)
	}
}

// shrink leaves room for a few events only.
func (s *Socket) shrink() (err error) {
	control := s.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	return errors.Join(control, err)
}

// TestLost: whoever does not read is told so, and hears what comes then.
func TestLost(t *testing.T) {
	s := open(t)
	if err := s.shrink(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		_ = exec.Command("true").Run()
	}
	var err error
	for range 100 {
		if _, err = s.Read(); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want %v", err, ErrLost)
	}
	_ = exec.Command("true").Run()
	if events, err := s.Read(); err != nil || len(events) == 0 {
		t.Errorf("after a loss: %v, %v", events, err)
	}
}

// TestClose: Close ends a Read that waits.
func TestClose(t *testing.T) {
	s := open(t)
	done := make(chan error)
	go func() {
		for {
			if _, err := s.Read(); err != nil {
				done <- err
				return
			}
		}
	}()
	_ = s.Close()
	select {
	case err := <-done:
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrLost) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Read does not end")
	}
}
