// Package peers measures what other programs and libraries pay for the work of cgrouparchd, beside the same floor in C.
//
// It is a module of its own: none of this belongs into the daemon's go.mod. Peers read what they read; where that is more
// than the floor's files, the note says so.
package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/google/cadvisor/cache/memory"
	cadvisor "github.com/google/cadvisor/container"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

var table = flag.Bool("table", false, "measure and print the table")

const (
	rounds = 9
	top    = "/sys/fs/cgroup"
)

var hierarchies = []string{"cpu", "cpuacct", "blkio"}

// peer is one way of sampling all the cgroups once. It returns the CPU time that it took.
type peer struct {
	name, note string
	sample     func(t *testing.T, tree *tree) time.Duration
}

// TestPeers prints the table; see `make bench-peers`.
func TestPeers(t *testing.T) {
	if !*table {
		t.Skip("only with -table, see make bench-peers")
	}
	if os.Geteuid() != 0 {
		t.Fatal("not root")
	}
	tree := newTree(t, 1000)
	peers := []peer{
		{"opencontainers/cgroups GetStats", "cpuacct and blkio", openContainers},
		{"containerd/cgroups v3 Stat", "cpuacct and blkio", containerd},
		{"os.ReadFile", "the floor's files", readFile},
		{"systemd-cgtop -b", "cpuacct, memory, blkio, pids, tasks", cgtop},
		{"cAdvisor v0.53 manager, each second", "cpu and disk I/O only", tree.cadvisor},
		{"cgrouparchd, each second", "the whole daemon, history in memory", tree.daemon},
	}
	fmt.Printf("%-40s %12s %12s %7s  %s\n", "1,000 cgroups, CPU per cgroup and sample", "C, pread", "peer", "ratio", "reads")
	for _, p := range peers {
		var floor, cost []time.Duration
		for range rounds {
			floor = append(floor, tree.floor(t, "go"))
			cost = append(cost, p.sample(t, tree))
		}
		report(p.name, p.note, floor, cost, len(tree.paths))
	}
	scans(t)
}

func report(name, note string, floor, cost []time.Duration, n int) {
	f, c := median(floor), median(cost)
	fmt.Printf("%-40s %9.2f µs %9.2f µs %7.1f  %s\n", name, float64(f)/1e3/float64(n), float64(c)/1e3/float64(n), float64(c)/float64(f), note)
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// spent is the CPU time of all threads of this process.
func spent(t *testing.T) time.Duration { return cpuClock(t, unix.CLOCK_PROCESS_CPUTIME_ID) }

func cpuClock(t *testing.T, clock int32) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// tree is cgroups in some hierarchies and the floor's reader of them.
type tree struct {
	root  string // "/cgatest-..."
	paths []string
	files []string
	floor func(t *testing.T, order string) time.Duration
	// Started when they are first asked, since they work by themselves.
	manager manager.Manager
	process *exec.Cmd
}

func newTree(t *testing.T, n int) *tree {
	tree := &tree{root: fmt.Sprintf("/cgatest-peers-%d", os.Getpid())}
	t.Cleanup(func() {
		for _, h := range hierarchies {
			for _, p := range tree.paths {
				os.Remove(filepath.Join(top, h, p))
			}
			if err := os.Remove(filepath.Join(top, h, tree.root)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	for i := range n {
		tree.paths = append(tree.paths, filepath.Join(tree.root, fmt.Sprintf("test_cgroup_%04d", i)))
	}
	for _, h := range hierarchies {
		for _, p := range append([]string{tree.root}, tree.paths...) {
			if err := os.Mkdir(filepath.Join(top, h, p), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range tree.paths {
		tree.files = append(tree.files, filepath.Join(top, "cpuacct", p, "cpuacct.usage"), filepath.Join(top, "blkio", p, "blkio.throttle.io_service_bytes"))
	}
	list := filepath.Join(t.TempDir(), "files")
	if err := os.WriteFile(list, []byte(strings.Join(tree.files, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree.floor = floor(t, "sample", list)
	return tree
}

// floor compiles and starts one of the programs in ../floor, and gives the function that asks it.
func floor(t *testing.T, name string, args ...string) func(t *testing.T, order string) time.Duration {
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("gcc", "-O2", "-o", binary, filepath.Join("..", "floor", name+".c")).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Scan() // "ready"
	return func(t *testing.T, order string) time.Duration {
		fmt.Fprintln(in, order)
		lines.Scan()
		var cpu time.Duration
		if _, err := fmt.Sscan(lines.Text(), &cpu); err != nil {
			t.Fatalf("%s answered %q: %v", name, lines.Text(), err)
		}
		return cpu
	}
}

func openContainers(t *testing.T, tree *tree) time.Duration {
	before := spent(t)
	for _, p := range tree.paths {
		stats := cgroups.NewStats()
		if err := (&fs.CpuacctGroup{}).GetStats(filepath.Join(top, "cpuacct", p), stats); err != nil {
			t.Fatal(err)
		}
		if err := (&fs.BlkioGroup{}).GetStats(filepath.Join(top, "blkio", p), stats); err != nil {
			t.Fatal(err)
		}
	}
	return spent(t) - before
}

func containerd(t *testing.T, tree *tree) time.Duration {
	hierarchy := func() ([]cgroup1.Subsystem, error) {
		return []cgroup1.Subsystem{cgroup1.NewCpuacct(top), cgroup1.NewBlkio(top)}, nil
	}
	var list []cgroup1.Cgroup
	for _, p := range tree.paths {
		c, err := cgroup1.Load(cgroup1.StaticPath(p), cgroup1.WithHierarchy(hierarchy))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	before := spent(t)
	for _, c := range list {
		if _, err := c.Stat(); err != nil {
			t.Fatal(err)
		}
	}
	return spent(t) - before
}

func readFile(t *testing.T, tree *tree) time.Duration {
	before := spent(t)
	for _, f := range tree.files {
		if _, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return spent(t) - before
}

// cgtop takes the cost of some iterations from that of more, so that its start does not count.
func cgtop(t *testing.T, tree *tree) time.Duration {
	iterations := func(n int) time.Duration {
		cmd := exec.Command("systemd-cgtop", "-b", "-n", strconv.Itoa(n), "-d", "100ms", tree.root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("systemd-cgtop: %v\n%s", err, out)
		}
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return (iterations(6) - iterations(1)) / 5
}

// cadvisor is a manager inside this process: what the process spends in a second.
func (tree *tree) cadvisor(t *testing.T, _ *tree) time.Duration {
	if tree.manager == nil {
		second, dynamic := time.Second, false
		metrics := cadvisor.MetricSet{cadvisor.CpuUsageMetrics: struct{}{}, cadvisor.DiskIOMetrics: struct{}{}}
		m, err := manager.New(memory.New(time.Minute, nil), sysfs.NewRealSysFs(), manager.HousekeepingConfig{Interval: &second, AllowDynamic: &dynamic},
			metrics, http.DefaultClient, []string{tree.root}, nil, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		tree.manager = m
		t.Cleanup(func() { _ = m.Stop() })
	}
	before := spent(t)
	time.Sleep(2 * time.Second)
	return (spent(t) - before) / 2
}

// daemon is ours, on cgroups of its own that are as many.
func (tree *tree) daemon(t *testing.T, _ *tree) time.Duration {
	if tree.manager != nil {
		_ = tree.manager.Stop()
		tree.manager = nil
	}
	if tree.process == nil {
		tree.process = startDaemon(t, len(tree.paths))
	}
	pid := tree.process.Process.Pid
	before := cpuClock(t, int32(^pid<<3|2))
	time.Sleep(2 * time.Second)
	return (cpuClock(t, int32(^pid<<3|2)) - before) / 2
}

func startDaemon(t *testing.T, n int) *exec.Cmd {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "cgrouparchd"), "./cmd/cgrouparchd")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var doc, config bytes.Buffer
	for _, subsystem := range []string{"cpu", "blkio"} {
		fmt.Fprintf(&doc, `%q:{"sub_cgroup":{`, subsystem)
		for i := range n {
			fmt.Fprintf(&doc, `"test_cgroup_%04d":{"conf":{}},`, i)
		}
		doc.Truncate(doc.Len() - 1)
		doc.WriteString("}},")
	}
	doc.Truncate(doc.Len() - 1)
	root := fmt.Sprintf("/cgatest-peers-%d-daemon", os.Getpid())
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fmt.Fprintf(&config, "cgroup_root = %q\nconf_file = %q\nstate_dir = %q\ncommunicate_ip = \"127.0.0.1\"\ncommunicate_port = 0\n",
		root, file("document.json", "{"+doc.String()+"}"), filepath.Join(dir, "state"))
	cmd := exec.CommandContext(context.Background(), filepath.Join(dir, "cgrouparchd"), "run", "--config", file("config.toml", config.String()))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		for _, h := range hierarchies {
			for i := range n {
				os.Remove(filepath.Join(top, h, root, fmt.Sprintf("test_cgroup_%04d", i)))
			}
			os.Remove(filepath.Join(top, h, root))
		}
	})
	time.Sleep(10 * time.Second)
	return cmd
}

// scans lists the processes of the machine, as a placement pass has to.
func scans(t *testing.T) {
	scan := floor(t, "procs")
	var bare, cost []time.Duration
	n := 0
	for range rounds {
		bare = append(bare, scan(t, "scan"))
		before := spent(t)
		procs, err := procfs.AllProcs()
		if err != nil {
			t.Fatal(err)
		}
		n = 0
		for _, p := range procs {
			if _, err := p.Stat(); err == nil {
				n++
			}
		}
		cost = append(cost, spent(t)-before)
	}
	report("prometheus/procfs AllProcs, Stat", "per process of the machine, to a scan in C", bare, cost, n)
}
