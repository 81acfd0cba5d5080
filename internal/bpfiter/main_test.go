package bpfiter

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run when a test leaves a descriptor or a goroutine behind.
func TestMain(m *testing.M) {
	if version := os.Getenv(openEnv); version != "" {
		openAsNobody(version)
		os.Exit(0)
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
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			names = append(names, e.Name()+" "+target)
		}
	}
	return names
}
