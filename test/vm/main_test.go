// Package vm boots real kernels under QEMU and runs the project's test binaries and its daemon inside: the same tests on cgroup layouts
// that the machine at hand does not have. See README.md.
package vm

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

const (
	// levelEnv chooses what to boot: nothing when empty, so that `go test ./...` stays cheap; "1" the guests for every push; "full"
	// also those that take minutes.
	levelEnv = "CGROUPARCHD_TEST_VM"
	// allEnv turns skips for want of a tool into failures (testhost.Lacks), in a guest too.
	allEnv   = "CGROUPARCHD_TEST_ALL"
	cacheEnv = "CGROUPARCHD_VM_CACHE"
)

var (
	jobsFlag = flag.String("vm.jobs", "", "run only the jobs whose names match this `regexp`")
	runFlag  = flag.String("vm.run", "", "given to the test binaries in the guest as -test.run, in place of their own")
	shFlag   = flag.String("vm.sh", "", "run this shell `command` in the guest instead of the jobs, beside their binaries")
	logFlag  = flag.Bool("vm.log", false, "show the whole output of the guest, and its console's, also of jobs that pass")
)

// needVM skips the test unless virtual machines are asked for.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv(levelEnv) == "" {
		t.Skipf("boots virtual machines: set %s=1 or =full (make test-vm)", levelEnv)
	}
}

// tool finds a program, also where only root's PATH leads.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/sbin", "/usr/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	testhost.Lacks(t, "%s is not installed (see fetch.sh)", name)
	return ""
}

// cached names a file or directory that fetch.sh or image.sh made.
func cached(t *testing.T, name, how string) string {
	t.Helper()
	dir := os.Getenv(cacheEnv)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			testhost.Lacks(t, "no cache directory: %v", err)
		}
		dir = filepath.Join(base, "cgrouparchd-vm")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		testhost.Lacks(t, "%v (run %s)", err, how)
	}
	return path
}

// builder compiles what goes into guests, each thing once. Guests share one.
type builder struct {
	dir  string
	mu   sync.Mutex
	made map[string]string // output by package and kind
}

func newBuilder(t *testing.T) *builder { return &builder{dir: t.TempDir(), made: map[string]string{}} }

// program compiles a command; tests compiles a package's tests. Both are static: a guest has no C library.
func (b *builder) program(t *testing.T, pkg string) string { return b.build(t, pkg, "build") }
func (b *builder) tests(t *testing.T, pkg string) string   { return b.build(t, pkg, "test", "-c") }

func (b *builder) build(t *testing.T, pkg string, verb ...string) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.Join(append(verb, pkg), " ")
	if out, ok := b.made[key]; ok {
		return out
	}
	out := filepath.Join(b.dir, strings.Join(append(slices.Clone(verb), strings.ReplaceAll(pkg, "/", "-")), ""))
	args := append(slices.Clone(verb), "-ldflags=-s -w", "-o", out, "./"+pkg)
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	b.made[key] = out
	return out
}

// wanted says whether -vm.jobs lets a job run.
func wanted(t *testing.T, name string) bool {
	t.Helper()
	re, err := regexp.Compile(*jobsFlag)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(name)
}
