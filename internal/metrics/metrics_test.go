package metrics

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

const top = "../.."

// full has a value for every metric.
func full() Source {
	return Source{
		Version: "1.2", Commit: "abc", MaxCgroups: 3,
		State: func() State {
			return State{
				Ready: true, SourceConnected: true, VersionSeen: 8, VersionInForce: 7, Rejected: true, HostFaults: 2, Passes: 5,
				LastPass: time.UnixMilli(1_700_000_000_250), LastPassDuration: 1500 * time.Microsecond, DriftCorrections: 3,
				PidFiles: map[string]int{"ok": 4, "dead": 1}, Slot: 1_700_000_001, MissedSlots: 6,
				Redis: &Redis{Connected: true, Backlog: 9, Lost: 1}, OOMKills: []OOMKills{{"a", 2}},
				TaskCPU: map[string]time.Duration{"sampler": 2500 * time.Millisecond},
			}
		},
		Usage: func() []Usage {
			return []Usage{
				{Subsystem: "blkio", Path: "a", Devices: []DeviceBytes{{"8:0", 10, 20}}},
				{Subsystem: "cpu", Key: "usage", Number: 3_500_000_000},
				{Subsystem: "cpu", Path: "a/b/deep", Key: "usage", Number: 1}, // beyond the limit, for it is deepest
				{Subsystem: "cpu", Path: "a", Key: "usage", Number: 1_500_000_000},
				{Subsystem: "cpu", Path: "a\"\nb", Key: "usage", Number: 0},
				{Subsystem: "memory", Path: "a", Key: "usage", Number: 4096},
				{Subsystem: "memory", Path: "unread"},
				{Subsystem: "pids", Path: "a", Key: "current", Number: 12},
			}
		},
	}
}

// scrape is what Prometheus reads, without the Go runtime's and the process's.
func scrape(t *testing.T, s Source) string {
	t.Helper()
	h, err := Handler(s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var ours []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "cgroup") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

func TestScrape(t *testing.T) {
	const want = `cgroup_cpu_usage_seconds_total{cgroup="/",subsystem="cpu"} 3.5
cgroup_cpu_usage_seconds_total{cgroup="/a",subsystem="cpu"} 1.5
cgroup_cpu_usage_seconds_total{cgroup="/a\"\nb",subsystem="cpu"} 0
cgroup_io_read_bytes_total{cgroup="/a",device="8:0",subsystem="blkio"} 10
cgroup_io_written_bytes_total{cgroup="/a",device="8:0",subsystem="blkio"} 20
cgroup_memory_usage_bytes{cgroup="/a"} 4096
cgroup_oom_kills_total{cgroup="/a"} 2
cgroup_pids_current{cgroup="/a"} 12
cgrouparchd_build_info{commit="abc",version="1.2"} 1
cgrouparchd_cgroups{subsystem="blkio"} 1
cgrouparchd_cgroups{subsystem="cpu"} 4
cgrouparchd_cgroups{subsystem="memory"} 2
cgrouparchd_cgroups{subsystem="pids"} 1
cgrouparchd_cgroups_shown{subsystem="blkio"} 1
cgrouparchd_cgroups_shown{subsystem="cpu"} 3
cgrouparchd_cgroups_shown{subsystem="memory"} 2
cgrouparchd_cgroups_shown{subsystem="pids"} 1
cgrouparchd_document_rejected 1
cgrouparchd_document_version_in_force 7
cgrouparchd_document_version_seen 8
cgrouparchd_drift_corrections_total 3
cgrouparchd_host_faults 2
cgrouparchd_last_pass_duration_seconds 0.0015
cgrouparchd_last_pass_timestamp_seconds 1.70000000025e+09
cgrouparchd_missed_slots_total 6
cgrouparchd_newest_slot_timestamp_seconds 1.700000001e+09
cgrouparchd_passes_total 5
cgrouparchd_pid_files{state="dead"} 1
cgrouparchd_pid_files{state="ok"} 4
cgrouparchd_ready 1
cgrouparchd_redis_backlog_slots 9
cgrouparchd_redis_connected 1
cgrouparchd_redis_lost_slots_total 1
cgrouparchd_source_connected 1
cgrouparchd_task_cpu_seconds_total{task="sampler"} 2.5
`
	if diff := cmp.Diff(want, scrape(t, full())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScrapeAtStart(t *testing.T) {
	s := Source{State: func() State { return State{VersionSeen: -1, VersionInForce: -1} }, Usage: func() []Usage { return nil }}
	got := scrape(t, s)
	for _, absent := range []string{"version_seen", "version_in_force", "last_pass", "newest_slot", "redis"} {
		if strings.Contains(got, absent) {
			t.Errorf("%s has a value before there is one:\n%s", absent, got)
		}
	}
	if !strings.Contains(got, "cgrouparchd_ready 0\n") {
		t.Errorf("no readiness:\n%s", got)
	}
}

// names are the real names of all metrics.
func names(t *testing.T) []string {
	var all []string
	for line := range strings.Lines(scrape(t, full())) {
		all = append(all, line[:strings.IndexAny(line, "{ ")])
	}
	all = slices.Compact(all)
	if len(all) != len(descriptions) {
		t.Fatalf("%d metrics are described and %d have a value: %v", len(descriptions), len(all), all)
	}
	return all
}

var metricName = regexp.MustCompile(`\b(?:cgroup|cgrouparchd)_[a-z_]+\b`)

// TestFilesUseRealNames: dashboard, alert rules and manual name metrics that
// there are, and the manual names all of them.
func TestFilesUseRealNames(t *testing.T) {
	real := names(t)
	for _, file := range []string{"deploy/prometheus/alerts.yaml", "deploy/grafana/cgrouparchd.json", "docs/metrics.md"} {
		data, err := os.ReadFile(filepath.Join(top, file))
		if err != nil {
			t.Fatal(err)
		}
		used := metricName.FindAllString(string(data), -1)
		if len(used) == 0 {
			t.Errorf("%s uses no metric", file)
		}
		for _, name := range used {
			if !slices.Contains(real, name) && name != "cgroup_root" {
				t.Errorf("%s: %s: there is no such metric", file, name)
			}
		}
		if file != "docs/metrics.md" {
			continue
		}
		for _, name := range real {
			if !slices.Contains(used, name) {
				t.Errorf("%s does not explain %s", file, name)
			}
		}
	}
}

func BenchmarkScrape1000(b *testing.B) {
	s := full()
	s.MaxCgroups = 1000
	var all []Usage
	for i := range 1000 {
		all = append(all, Usage{Subsystem: "cpu", Path: fmt.Sprintf("g%d/c%d", i/10, i), Key: "usage", Number: uint64(i) * 1e9})
	}
	s.Usage = func() []Usage { return all }
	h, err := Handler(s, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}
}
