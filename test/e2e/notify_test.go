package e2e

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestNotify: the service manager hears that the daemon is ready once its API listens, is pinged while the daemon works and told what is
// in force, and hears of the stop (sd_notify(3)).
func TestNotify(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	socket := h.path("notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer manager.Close()
	heard := func() string {
		buf := make([]byte, 4096)
		must(t, manager.SetReadDeadline(time.Now().Add(patience)))
		n, err := manager.Read(buf)
		must(t, err)
		return string(buf[:n])
	}

	// No document yet: readiness does not wait for one.
	d := h.start("env", "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=600000", "WATCHDOG_PID=")
	if first := heard(); first != "READY=1" {
		t.Errorf("first message %q", first)
	}
	if code, _ := d.get("/healthz"); code != 200 {
		t.Errorf("ready, but /healthz answers %d", code)
	}
	status := ""
	hear := func() {
		for _, line := range strings.Split(heard(), "\n") {
			if text, ok := strings.CutPrefix(line, "STATUS="); ok {
				status = text
			}
		}
	}
	for hear(); !strings.HasPrefix(status, "no document yet"); hear() {
	}
	h.document(sample)
	within(t, patience, "status", func() error {
		if hear(); !strings.HasPrefix(status, "version 0 in force") {
			return errors.New(status)
		}
		return nil
	})
	for range 3 { // it lives
		if ping := heard(); !strings.HasPrefix(ping, "WATCHDOG=1") {
			t.Errorf("ping %q", ping)
		}
	}
	d.stop()
	for last := ""; last != "STOPPING=1\nSTATUS=stopping"; last = heard() {
	}
}
