package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

const (
	// workloadEnv makes the test binary behave as a sample process instead of running tests (see workload).
	workloadEnv = "CGATEST_WORKLOAD"
	// markerEnv is inherited by every process of a run, so that a leftover can be told from somebody else's process.
	markerEnv = "CGATEST_RUN"
)

var (
	binary   string // the daemon under test
	buildErr error  // why there is none: reported by each test that needs it
	runDir   string // logs and scratch of this run; kept when a test fails
	runID    = strconv.Itoa(os.Getpid())
)

func TestMain(m *testing.M) {
	if name := os.Getenv(workloadEnv); name != "" {
		workload(name)
		return
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	allowParallel()
	var err error
	if runDir, err = os.MkdirTemp("", "cgatest-run-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(markerEnv, runID); err != nil {
		panic(err)
	}
	if !testing.Short() {
		binary, buildErr = build(runDir)
	}
	testhost.Sweep()
	code := m.Run()
	for _, fault := range leftovers() {
		fmt.Fprintln(os.Stderr, "left behind:", fault)
		code = 1
	}
	if code == 0 {
		os.RemoveAll(runDir)
	} else {
		fmt.Fprintln(os.Stderr, "logs kept in", runDir)
	}
	return code
}

// allowParallel lets four tests run together unless the command line says otherwise: they mostly wait.
func allowParallel() {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "4"); err != nil {
			panic(err)
		}
	}
}

func build(dir string) (string, error) {
	out := filepath.Join(dir, "cgrouparchd")
	args := []string{"build", "-o", out}
	if raceBuild {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/cgrouparchd")...)
	cmd.Dir = filepath.Join("..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, text)
	}
	return out, nil
}

// leftovers names the cgroups and the processes of this run that are still there, and ends the processes.
func leftovers() []string {
	var found []string
	for _, dir := range testhost.Left() {
		found = append(found, "cgroup "+dir)
		_ = testhost.Remove(dir) // it is a failure already
	}
	deadline := time.Now().Add(2 * time.Second) // a killed process takes a moment to go
	procs := markedProcesses()
	for len(procs) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		procs = markedProcesses()
	}
	for pid, cmdline := range procs {
		found = append(found, fmt.Sprintf("process %d: %s", pid, cmdline))
		kill(pid)
	}
	return found
}

// markedProcesses returns the processes, other than this one, that inherited this run's marker.
func markedProcesses() map[int]string {
	procs := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	marker := []byte(markerEnv + "=" + runID)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil || !hasVariable(environ, marker) {
			continue
		}
		procs[pid] = commandOf(pid)
	}
	return procs
}

func hasVariable(environ, want []byte) bool {
	for _, v := range bytes.Split(environ, []byte{0}) {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// needBinary is the first line of every test.
func needBinary(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("end-to-end tests are not short")
	}
	if buildErr != nil {
		t.Fatal(buildErr)
	}
}

// needTool returns the path of a program.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testhost.Lacks(t, "%s is not installed", name)
	}
	return path
}

// needHost asks for what cgroup tests need: root and writable cgroup v1 hierarchies.
func needHost(t *testing.T) {
	t.Helper()
	needBinary(t)
	if os.Geteuid() != 0 {
		testhost.Lacks(t, "not root")
	}
	mounts := testhost.Controllers()
	for _, name := range []string{"cpu", "cpuacct", "blkio"} {
		mount, ok := mounts[name]
		if !ok {
			testhost.Lacks(t, "no cgroup v1 hierarchy for %s", name)
		}
		probe := filepath.Join(mount, testhost.Name(fmt.Sprintf("probe-%d", time.Now().UnixNano())))
		if err := os.Mkdir(probe, 0o755); err != nil {
			testhost.Lacks(t, "cgroup hierarchy is not writable: %v", err)
		}
		os.Remove(probe)
	}
}
