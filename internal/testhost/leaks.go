package testhost

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Run runs the tests of a package for its TestMain, and fails when one of them has left a goroutine or a descriptor behind. Descriptors
// that were opened by system calls are in nobody else's view.
func Run(m *testing.M) (code int) {
	// The runtime opens its poller once, with the first file that can be polled.
	if r, w, err := os.Pipe(); err == nil {
		_, _ = r.Close(), w.Close()
	}
	before := Descriptors()
	if code = m.Run(); code != 0 {
		return code
	}
	err := goleak.Find()
	for range 4 { // Redis's client may sleep a second after a dial that failed, also when it was closed
		if err == nil {
			break
		}
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	after := Descriptors()
	for range 10 { // the pipes by which io.Copy joins two connections are kept until the third collection
		if len(after) <= len(before) {
			break
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
		after = Descriptors()
	}
	if len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "descriptors left open: before %q, after %q\n", before, after)
		code = 1
	}
	return code
}

// Descriptors says what each open descriptor of this process is, by its number.
func Descriptors() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var names []string
	for _, e := range entries {
		// The one by which the directory was read is closed by now.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, e.Name()+" "+target)
		}
	}
	return names
}
