// Package bench measures what cgrouparchd costs, as ratios to floors that are measured in the same run.
//
// A floor is a small C program (floor/*.c) or a bare client that asks the kernel or the server for the same work and does
// nothing else, measured around its loop only. The two take turns in every round, and medians are compared, so that a machine
// with other work on it still gives the same ratios. CPU time is that of all threads of a process, by its CPU clock.
//
// `make bench` prints the table; `go test ./test/bench` runs every row in a tiny size, so that the harness does not rot, and
// judges the shape of the results only. Times are never asserted.
package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	table = flag.Bool("table", false, "measure in full size and print the table")
	long  = flag.Bool("long", false, "with -table: the full length of rows that have a short form")
	rows  = flag.String("rows", "", "with -table: only rows whose name matches this regular expression")
)

// roleEnv makes the test binary one of the other processes of a measurement.
const roleEnv = "CGROUPARCHD_BENCH_ROLE"

// roles are those processes; the arguments are their command line.
var roles = map[string]func(args []string) error{
	"reconciler": reconcilerRole,
	"hello":      helloRole,
	"clients":    clientsRole,
	"zookeeper":  zooKeeperRole,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(roleEnv); name != "" {
		if err := roles[name](os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// size is how much is measured.
type size struct {
	small, large, middle int // cgroups: 1,000, 9,900 and 5,000
	build                int // cgroups: 10,000
	rounds               int // of short measurements
	seconds              int // of measurements that go by the second
	clients, many        int // websockets: 1,000 and 5,000
	procs, pidFiles      int // processes, and pid files of five processes
	slots                int // of history
	warm                 int // slots before anything is measured
	hog                  time.Duration
}

var (
	full  = size{small: 1000, middle: 5000, large: 9900, build: 10000, rounds: 15, seconds: 20, clients: 1000, many: 5000, procs: 2000, pidFiles: 200, slots: 60, warm: 3, hog: time.Minute}
	whole = size{small: 1000, middle: 5000, large: 9900, build: 10000, rounds: 41, seconds: 60, clients: 1000, many: 5000, procs: 2000, pidFiles: 200, slots: 300, warm: 5, hog: 10 * time.Minute}
	tiny  = size{small: 12, middle: 12, large: 12, build: 12, rounds: 2, seconds: 2, clients: 3, many: 3, procs: 12, pidFiles: 2, slots: 2, warm: 1, hog: 2 * time.Second}
)

// smoke says whether only the shape counts, so that one of each kind is enough.
func (s size) smoke() bool { return s == tiny }

// A row is one measurement. Its name is what -rows matches.
type row struct {
	name string
	run  func(b *bench)
}

// allRows are in the order of the table.
var allRows = []row{
	{"sampler", samplerRows},
	{"rss", rssRow},
	{"show-account", showAccountRow},
	{"edit", editRows},
	{"build", buildRows},
	{"audit", auditRow},
	{"placement", placementRows},
	{"moving", movingRow},
	{"drift", driftRows},
	{"escape", escapeRow},
	{"lateness", latenessRow},
	{"missed", missedRow},
	{"allocations", allocationsRow},
	{"quiet", quietRow},
	{"few-active", fewActiveRow},
	{"bpf-iterator", iteratorRows},
	{"samples", samplesRow},
	{"compression", compressionRow},
	{"one-cgroup", oneCgroupRow},
}

// TestBench prints the table; see `make bench`.
func TestBench(t *testing.T) {
	if !*table {
		t.Skip("only with -table, see make bench")
	}
	s := full
	if *long {
		s = whole
	}
	b := newBench(t, s)
	b.head()
	for _, r := range picked(t) {
		b.row(r)
	}
	b.foot()
}

// TestSmoke runs every row in a tiny size.
func TestSmoke(t *testing.T) {
	if testing.Short() || *table {
		t.Skip("takes a while")
	}
	b := newBench(t, tiny)
	for _, r := range allRows {
		b.row(r)
	}
	for _, r := range b.results {
		if problem := r.problem(); problem != "" {
			t.Errorf("%s: %s", r.measure, problem)
		}
	}
}

func picked(t *testing.T) []row {
	t.Helper()
	if *rows == "" {
		return allRows
	}
	pattern, err := regexp.Compile(*rows)
	if err != nil {
		t.Fatal(err)
	}
	var list []row
	var names []string
	for _, r := range allRows {
		names = append(names, r.name)
		if pattern.MatchString(r.name) {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		t.Fatalf("no row matches %q; there are %s", *rows, strings.Join(names, " "))
	}
	return list
}

// repository is the top of the module: tests run in their package's directory.
func repository() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}
