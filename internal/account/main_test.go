package account

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run when a test leaves a descriptor or a goroutine behind:
// the kept files are opened outside the runtime's view and nothing else would
// notice.
func TestMain(m *testing.M) {
	if procs := os.Getenv(allocateEnv); procs != "" {
		fmt.Fprintln(os.Stderr, allocate(procs))
		os.Exit(1)
	}
	// The runtime's poller comes with the first network or pipe use; have it first.
	r, w, err := os.Pipe()
	if err == nil {
		_, _ = r.Close(), w.Close()
	}
	before := openFiles()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if after := openFiles(); len(after) > len(before) {
			fmt.Fprintf(os.Stderr, "descriptors left open: before %v, after %v\n", before, after)
			code = 1
		}
	}
	os.Exit(code)
}

// openFiles says what each descriptor is.
func openFiles() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, e.Name()+" "+target)
		}
	}
	return names
}
