package account

import (
	"fmt"
	"os"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestMain fails the run when a test leaves a descriptor or a goroutine behind:
// the kept files are opened outside the runtime's view and nothing else would
// notice.
func TestMain(m *testing.M) {
	if procs := os.Getenv(allocateEnv); procs != "" {
		fmt.Fprintln(os.Stderr, allocate(procs))
		os.Exit(1)
	}
	os.Exit(testhost.Run(m))
}
