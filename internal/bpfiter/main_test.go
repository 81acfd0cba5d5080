package bpfiter

import (
	"os"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestMain fails the run when a test leaves a descriptor or a goroutine behind.
func TestMain(m *testing.M) {
	if version := os.Getenv(openEnv); version != "" {
		openAsNobody(version)
		os.Exit(0)
	}
	os.Exit(testhost.Run(m))
}
