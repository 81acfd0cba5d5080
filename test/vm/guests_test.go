package vm

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/cgrouparch/cgrouparch/test/vm/job"
)

// payload is where a guest finds what we gave it; the same with and without a distribution.
const payload = "/run/vmtest"

// binary is a package whose tests run in a guest.
type binary struct {
	as      string // the job's name, where a package runs twice; empty: its last word
	pkg     string
	run     string // -test.run; empty: everything
	skip    string // -test.skip
	all     bool   // a test that skips is a fault
	full    bool   // only at level "full"
	reboot  bool   // restart the guest afterwards (see job.Job)
	seconds int    // generous: emulation is ten times slower, and the machine may be busy
}

func (b binary) name() string { return cmp.Or(b.as, path.Base(b.pkg)) }

// guest is one kernel with one cgroup layout, and what runs on it.
type guest struct {
	name     string
	machine  machine
	full     bool // only at level "full"
	binaries []binary
	jobs     []job.Job // after the binaries
}

// serversImage is systemd 252 with real ZooKeeper and Redis.
const serversImage = "servers.ext4"

// disk modules: 6.1 has neither virtio nor bfq built in.
var disk = []string{"virtio_pci", "virtio_blk", "bfq"}

// units are the packages that meet the kernel's cgroups. Tests of theirs that need servers are left out: the host runs them.
var units = []binary{
	{pkg: "internal/cgfs", seconds: 120},
	{pkg: "internal/reconcile", seconds: 240},
	{pkg: "internal/account", run: "^TestReal", seconds: 120},
}

// users are those whom the cgroups are for: the Go package, its examples, and the commands at a shell. busybox has not all the tools that the
// commands' tests take, so that some skip.
var users = []binary{
	{pkg: "cgroup", seconds: 300},
	{pkg: "cgroup/examples/grey", seconds: 120},
	{pkg: "cgroup/examples/grow", seconds: 120},
	{pkg: "test/cli", seconds: 600},
}

// commandsIfFull is the last of users, which takes longest, where another guest of the same layout has run it.
var commandsIfFull = binary{pkg: "test/cli", full: true, seconds: 600}

// processes meets the kernel too, but not its cgroups: once for each kernel is enough.
var processes = binary{pkg: "internal/pidfiles", seconds: 240}

// counters reads usage by BPF, which kernels before 6.4 refuse.
var counters = binary{pkg: "internal/bpfiter", seconds: 120}

func everything(in []binary) []binary {
	out := slices.Clone(in)
	for i := range out {
		out[i].all = true
	}
	return out
}

// without leaves out tests whose controller a kernel does not have.
func without(skip string, in []binary) []binary {
	for i := range in {
		in[i].skip = skip
	}
	return in
}

var daemon = binary{pkg: "test/vm/guest", all: true, seconds: 600}

// guests is the table: a layout, and the test binaries that must pass on it. What takes longest comes first.
var guests = []guest{
	{
		name:     "systemd-252",
		machine:  machine{kernel: "kernel-6.1", image: "systemd-252.ext4", layout: "v2", modules: []string{"bfq"}, memory: 768},
		binaries: []binary{daemon},
		jobs:     underSystemd,
	},
	{
		name:     "systemd-257",
		full:     true,
		machine:  machine{kernel: "kernel-6.12", image: "systemd-257.ext4", layout: "v2", modules: []string{"bfq"}, memory: 768},
		binaries: []binary{daemon},
		jobs:     underSystemd,
	},
	{
		name: "hybrid-systemd-252",
		full: true,
		machine: machine{
			kernel: "kernel-6.1", image: "systemd-252.ext4", layout: "hybrid", modules: []string{"bfq"}, memory: 768,
			append: "systemd.unified_cgroup_hierarchy=0",
		},
		binaries: append(slices.Clone(units[:1]), daemon),
		jobs:     underSystemd,
	},
	{
		name:     "servers",
		full:     true,
		machine:  machine{kernel: "kernel-6.1", image: serversImage, layout: "v2", memory: 1024},
		binaries: []binary{{pkg: daemon.pkg, run: "^TestServers$", all: true, seconds: 900}},
	},
	{
		name:    "v1-comounted-6.1",
		machine: machine{kernel: "kernel-6.1", layout: "v1", modules: disk, memory: 768},
		// Kernels from 5.16 to 6.4 count no I/O of a v1 cgroup without a throttle rule of its own, whatever is done (docs/operations.md),
		// so the tests of direct I/O are left to the others.
		binaries: slices.Concat(everything(units[:2]), units[2:], users, []binary{{
			pkg: daemon.pkg, all: true, seconds: daemon.seconds, skip: "^TestDirectIO$",
		}}),
	},
	{
		// This kernel has no v1 memory and no v1 cpuset, although /proc/cgroups lists them; and it counts direct I/O as kernels since 6.5 do.
		name:    "v1-comounted-6.12",
		full:    true,
		machine: machine{kernel: "kernel-6.12", layout: "v1", modules: disk, memory: 768},
		binaries: append(without("^Test(KernelUnlimited|KernelSetTakenBackOnce|RealOOMKill)$", everything(units)), binary{
			pkg: daemon.pkg, all: true, seconds: daemon.seconds,
			run: "^Test(Layout|ComountedTree|RootOfHierarchy|Drift|ForkStorm|BFQWeight|CPUUsage|DirectIO|DirectIOWithLimits|OnceAndPlan|DeviceRules)$",
		}),
	},
	{
		name:     "v2-6.1",
		machine:  machine{kernel: "kernel-6.1", layout: "v2", modules: disk, memory: 512},
		binaries: slices.Concat(units, users[:3], []binary{commandsIfFull, processes, daemon}),
	},
	{
		name:     "v2-6.12",
		machine:  machine{kernel: "kernel-6.12", layout: "v2", modules: disk, memory: 512},
		binaries: slices.Concat(units, users, []binary{processes, counters, daemon}),
	},
}

// underSystemd installs the unit of deploy/systemd, restarts, kills and stalls it, and starts the machine again.
var underSystemd = []job.Job{
	{Name: "unit", Argv: []string{"/bin/bash", unitScript, payload + "/cgrouparchd", payload + "/deploy/systemd"}, Seconds: 900, Reboot: true},
	{Name: "after-reboot", Argv: []string{"/bin/bash", unitScript, "after-reboot"}, Seconds: 300},
}

const unitScript = payload + "/test/systemd/guest.sh"

// TestReports: whatever becomes of a job, the host hears the truth about it, also when the whole guest goes down.
func TestReports(t *testing.T) {
	needVM(t)
	t.Parallel()
	sh := func(name, command string) job.Job {
		return job.Job{Name: name, Argv: []string{"/bin/sh", "-c", command}, Dir: "/root", Seconds: 60}
	}
	late := sh("late", "sleep 1000")
	late.Seconds = 2
	m := machine{kernel: "kernel-6.1", layout: "v2", memory: 256, modules: disk, jobs: []job.Job{
		sh("fine", "echo out; echo err >&2; pwd"), sh("fails", "exit 7"), sh("killed", "kill -KILL $$"), late,
		{Name: "absent", Argv: []string{"/nosuch"}, Dir: "/"},
		sh("panic", "echo c >/proc/sysrq-trigger; sleep 60"), sh("behind", "true"),
	}}
	r := m.run(t, newBuilder(t))
	want := map[string]int{"fine": 0, "fails": 7, "killed": 128 + 9, "late": job.StatusTimeout, "absent": job.StatusNotFound}
	if diff := gocmp.Diff(want, r.ended); diff != "" {
		t.Errorf("statuses (-want +got)\n%s", diff)
	}
	if text := r.text["fine"]; strings.TrimSpace(text) != "out\nerr\n/root" {
		t.Errorf("output %q", text)
	}
	if r.boots != 1 || r.fault != nil || !strings.Contains(r.tail, "sysrq") {
		t.Errorf("%d boots, %v, console:\n%s", r.boots, r.fault, r.tail)
	}
}

// TestGuests boots each guest and reports each of its jobs as a subtest. A guest keeps one processor busy, so as many run at a time as there
// are processors; those that take longest begin.
func TestGuests(t *testing.T) {
	needVM(t)
	t.Parallel() // with TestReports
	b := newBuilder(t)
	var running errgroup.Group
	running.SetLimit(runtime.GOMAXPROCS(0))
	if *logFlag {
		running.SetLimit(1) // one story at a time
	}
	for _, g := range guests {
		running.Go(func() error {
			t.Run(g.name, func(t *testing.T) {
				if g.full && os.Getenv(levelEnv) != "full" {
					t.Skipf("takes minutes: %s=full", levelEnv)
				}
				g.test(t, b)
			})
			return nil
		})
	}
	_ = running.Wait() // the subtests tell
}

func (g guest) test(t *testing.T, b *builder) {
	m := g.machine
	m.files = map[string]string{}
	for _, bin := range g.binaries {
		if bin.full && os.Getenv(levelEnv) != "full" {
			continue
		}
		if j := g.testJob(t, b, bin, m.files); wanted(t, j.Name) {
			m.jobs = append(m.jobs, j)
		}
	}
	for _, j := range g.jobs {
		if wanted(t, j.Name) {
			j.Dir = "/root"
			m.jobs = append(m.jobs, j)
		}
	}
	if *shFlag != "" {
		*logFlag = true
		m.jobs = []job.Job{{Name: "sh", Argv: []string{"/bin/sh", "-c", *shFlag}, Env: g.env(), Dir: payload, Seconds: 1200}}
	}
	if len(m.jobs) == 0 {
		t.Skip("no job matches -vm.jobs")
	}
	m.files["cgrouparchd"] = b.program(t, "cmd/cgrouparchd")
	for _, pattern := range []string{"deploy/*.toml", "deploy/systemd/*", "test/systemd/*"} {
		found, _ := filepath.Glob(filepath.Join("..", "..", pattern))
		for _, file := range found {
			m.files[path.Join(path.Dir(pattern), filepath.Base(file))] = file
		}
	}
	r := m.run(t, b)
	t.Logf("%v, %d boots", r.took.Round(100_000_000), r.boots)
	if r.fault != nil {
		t.Error(r.fault)
	}
	restarts := 0
	for _, j := range m.jobs {
		t.Run(j.Name, func(t *testing.T) { r.judge(t, j) })
		if j.Reboot {
			restarts++
		}
	}
	if want := 1 + restarts; r.boots != want {
		t.Errorf("the guest booted %d times, not %d", r.boots, want)
	}
	if text := strings.TrimSpace(r.text[""]); text != "" {
		t.Logf("outside of jobs:\n%s", lastLines(text, 40))
	}
	if t.Failed() || *logFlag {
		t.Logf("end of the console:\n%s", r.tail)
	}
}

// testJob compiles a package's tests and says how the guest runs them.
func (g guest) testJob(t *testing.T, b *builder, bin binary, files map[string]string) job.Job {
	t.Helper()
	name := bin.name()
	if wanted(t, name) {
		files[name+".test"] = b.tests(t, bin.pkg)
		addTestdata(t, bin, files)
	}
	argv := []string{path.Join(payload, name+".test"), "-test.v", "-test.timeout=0"}
	if run := cmp.Or(*runFlag, bin.run); run != "" {
		argv = append(argv, "-test.run="+run)
	}
	if bin.skip != "" {
		argv = append(argv, "-test.skip="+bin.skip)
	}
	env := g.env()
	if bin.all {
		env = append(env, allEnv+"=1")
	}
	return job.Job{Name: name, Argv: argv, Env: env, Dir: path.Join(payload, "pkg", name), Seconds: bin.seconds, Reboot: bin.reboot}
}

// env tells tests where they are.
func (g guest) env() []string {
	env := []string{"CGROUPARCHD_GUEST=" + g.machine.layout, "CGROUPARCHD_BINARY=" + payload + "/cgrouparchd"}
	if g.machine.image != "" {
		env = append(env, "CGROUPARCHD_GUEST_SYSTEMD=1")
	}
	if g.machine.image == serversImage {
		env = append(env, "CGROUPARCHD_GUEST_SERVERS=1")
	}
	return env
}

// addTestdata gives the guest a package's testdata, where the test binary is run as `go test` would run it.
func addTestdata(t *testing.T, bin binary, files map[string]string) {
	t.Helper()
	root := filepath.Join("..", "..", filepath.FromSlash(bin.pkg))
	found, err := filepath.Glob(filepath.Join(root, "testdata", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			files[path.Join("pkg", bin.name(), "testdata", filepath.Base(file))] = file
		}
	}
}

// judge reports one job.
func (r result) judge(t *testing.T, j job.Job) {
	t.Helper()
	status, ended := r.ended[j.Name]
	text := r.text[j.Name]
	took := r.spent[j.Name]
	switch {
	case !ended:
		t.Errorf("it did not end; the last it said:\n%s", lastLines(text, 60))
	case status == job.StatusTimeout:
		t.Errorf("not done after %v; the last it said:\n%s", took, lastLines(text, 150))
	case status != 0:
		t.Errorf("status %d after %v: %s\n%s", status, took, strings.Join(failed.FindAllString(text, -1), ", "), lastLines(faults(text), 200))
	default:
		t.Logf("%v: %s%s", took, summary(text), skips(text))
	}
}

var (
	// passed is a test, or a check of unitScript.
	passed = regexp.MustCompile(`(?m)^(--- PASS: |ok {6})`)
	// timed is a test and its seconds.
	timed = regexp.MustCompile(`(?m)^--- PASS: (\S+) \((.*)s\)`)
	// skipped is a skip and the line before it, which says why.
	skipped = regexp.MustCompile(`(?m)^.*\n *--- SKIP: .*`)
	// failed is a test that failed.
	failed = regexp.MustCompile(`(?m)^ *--- FAIL: \S+`)
	// wellDone are the lines about tests and checks that pass.
	wellDone = regexp.MustCompile(`(?m)^(=== .*| *--- (PASS|SKIP): .*|PASS|ok {6}.*)\n`)
)

// summary counts what passed and names what took long.
func summary(text string) string {
	note := fmt.Sprintf("%d tests passed", len(passed.FindAllString(text, -1)))
	const long = 3 // seconds
	for _, m := range timed.FindAllStringSubmatch(text, -1) {
		if seconds, _ := strconv.ParseFloat(m[2], 64); seconds >= long {
			note += fmt.Sprintf(", %s %.0f s", m[1], seconds)
		}
	}
	return note
}

// skips names what was skipped and why, but for tests of other layouts.
func skips(text string) string {
	var note string
	for _, skip := range skipped.FindAllString(text, -1) {
		if !strings.Contains(skip, ": this guest has ") {
			note += "\n" + skip
		}
	}
	return note
}

// faults leaves out what passed.
func faults(text string) string { return wellDone.ReplaceAllString(text, "") }

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
