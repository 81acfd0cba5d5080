// Package testhost gives tests what they need of the machine that they run on: cgroups of their own, and processes to put into them.
//
// Nothing is left behind: what a test has made goes with it, from every hierarchy, and what remains of a run that was killed goes
// when the next one begins.
package testhost

import (
	"os"
	"testing"
	"time"
)

// patience bounds waiting for what the kernel does by itself. It is generous: a machine may be busy, or emulated.
const patience = time.Minute

// Lacks ends a test for want of something: as skipped, or as failed where everything must run (CGROUPARCHD_TEST_ALL=1), since in CI
// a skipped test proves nothing.
func Lacks(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CGROUPARCHD_TEST_ALL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
