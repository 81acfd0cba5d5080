package testhost

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Every cgroup that a test makes at the top of a hierarchy is called cgatest-OWNER-NAME. The owner is the test's process, so that runs
// at the same time have names of their own and what a killed one has left is known as such.
const prefix = "cgatest-"

// owner is this process: its number, and unless it is of the first namespace of processes also that of its namespace, since numbers
// mean nothing in another one.
var owner = sync.OnceValue(func() string {
	const first = "pid:[4026531836]" // PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h
	pid := strconv.Itoa(os.Getpid())
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || namespace == first {
		return pid
	}
	return pid + "." + strings.Trim(namespace, "pid:[]")
})

// Name is what a cgroup at the top of a hierarchy is to be called that is this process's own.
func Name(word string) string { return prefix + owner() + "-" + word }

var roots atomic.Int64

// Root names a cgroup of the test's own. It makes none; what the test makes of that name, in whichever hierarchies, is removed when the
// test ends.
func Root(t testing.TB) string {
	t.Helper()
	sweepOnce()
	root := Name(strconv.FormatInt(roots.Add(1), 10))
	t.Cleanup(func() {
		for _, mount := range Hierarchies() {
			if err := Remove(filepath.Join(mount, root)); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	})
	return root
}

// Left lists the directories of the cgroups of this process that are there.
func Left() []string {
	var found []string
	for _, mount := range Hierarchies() {
		dirs, _ := filepath.Glob(filepath.Join(mount, Name("")+"*")) // the pattern is well formed
		found = append(found, dirs...)
	}
	return found
}

var sweepOnce = sync.OnceFunc(Sweep)

// Sweep removes cgroups that runs which were killed have left. Those with processes in them stay: nobody knows what they still do.
func Sweep() {
	for _, mount := range Hierarchies() {
		dirs, _ := filepath.Glob(filepath.Join(mount, prefix+"*"))
		for _, dir := range dirs {
			if pid := ownerOf(filepath.Base(dir)); pid > 0 && syscall.Kill(pid, 0) == syscall.ESRCH {
				_ = removeOnce(dir, false) // or the next one does
			}
		}
	}
}

// ownerOf is the process whose cgroup this is, or 0 when it is none of this namespace.
func ownerOf(name string) int {
	rest, ok := strings.CutPrefix(name, prefix)
	who, _, named := strings.Cut(rest, "-")
	number, namespace, _ := strings.Cut(who, ".")
	if _, ours, _ := strings.Cut(owner(), "."); !ok || !named || namespace != ours {
		return 0
	}
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return 0
	}
	return pid
}
