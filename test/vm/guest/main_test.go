// Package guest tests the daemon as a black box in a virtual machine: nothing else runs there, so that even the root of a hierarchy may
// be the daemon's. Elsewhere every test skips; see test/vm/README.md.
package guest

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

const (
	// layoutEnv is set in a guest only: v1, v2 or hybrid.
	layoutEnv = "CGROUPARCHD_GUEST"
	// systemdEnv is set where systemd is process 1.
	systemdEnv = "CGROUPARCHD_GUEST_SYSTEMD"
	// serversEnv is set where ZooKeeper and Redis are installed.
	serversEnv = "CGROUPARCHD_GUEST_SERVERS"
	// binaryEnv is the daemon.
	binaryEnv = "CGROUPARCHD_BINARY"
	// workloadEnv makes the test binary a sample process (see workload).
	workloadEnv = "CGATEST_WORKLOAD"
)

// patience bounds every wait for what must happen. It judges that it happens, never how fast: the machine is emulated.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if name := os.Getenv(workloadEnv); name != "" {
		if err := workload(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// need skips a test that is about other cgroup layouts than this guest's.
func need(t *testing.T, layouts ...string) {
	t.Helper()
	switch layout := os.Getenv(layoutEnv); {
	case layout == "":
		t.Skip("runs in a virtual machine of test/vm only")
	case !slices.Contains(layouts, layout):
		t.Skipf("this guest has cgroup layout %s", layout)
	}
}

// must ends the test on an error that is not the daemon's.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until f has nothing to complain about.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// throughout polls for a while and fails at the first complaint: for what must not happen.
func throughout(t *testing.T, d time.Duration, what string, f func() error) {
	t.Helper()
	for start := time.Now(); time.Since(start) < d; time.Sleep(20 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// needSystemd skips a test that wants systemd as process 1.
func needSystemd(t *testing.T) {
	t.Helper()
	need(t, "v1", "v2", "hybrid")
	if os.Getenv(systemdEnv) != "1" {
		t.Skip("this guest has no systemd")
	}
}

// needServers skips a test that wants real ZooKeeper and Redis.
func needServers(t *testing.T) {
	t.Helper()
	need(t, "v1", "v2", "hybrid")
	if os.Getenv(serversEnv) != "1" {
		t.Skip("this guest has no ZooKeeper and Redis")
	}
}
