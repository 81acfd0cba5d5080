package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestMetrics: what Prometheus scrapes is the usage that the kernel counts, and
// the state of the daemon.
func TestMetrics(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"busy": {"conf": {}}, "idle": {"conf": {}}}}}`)
	burner := startProc(t, nil, "sh", "-c", "while :; do :; done")
	h.set("cgroup_pid_files", map[string][]string{"busy": {h.pidFile("busy.pid", burner.pid())}, "idle": {h.path("none.pid")}})
	d := h.startReady()
	eventually(t, "CPU time of the busy cgroup", func() error {
		m := d.metrics()
		busy, idle := m[`cgroup_cpu_usage_seconds_total{cgroup="/busy",subsystem="cpu"}`], m[`cgroup_cpu_usage_seconds_total{cgroup="/idle",subsystem="cpu"}`]
		if total := m[`cgroup_cpu_usage_seconds_total{cgroup="/",subsystem="cpu"}`]; busy <= 0 || busy > 600 || idle != 0 || total < busy {
			return fmt.Errorf("busy %v, idle %v, all %v", busy, idle, total)
		}
		return nil
	})
	for name, want := range map[string]float64{
		`cgrouparchd_ready`:                          1,
		`cgrouparchd_document_version_in_force`:      0,
		`cgrouparchd_document_rejected`:              0,
		`cgrouparchd_host_faults`:                    0,
		`cgrouparchd_pid_files{state="ok"}`:          1,
		`cgrouparchd_pid_files{state="missing"}`:     1,
		`cgrouparchd_pid_files{state="refused"}`:     0,
		`cgrouparchd_cgroups{subsystem="cpu"}`:       3,
		`cgrouparchd_cgroups_shown{subsystem="cpu"}`: 3,
	} {
		if got, ok := d.metrics()[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	h.document(`{"cpu": []}`)
	eventually(t, "the rejected document", func() error {
		if m := d.metrics(); m["cgrouparchd_document_rejected"] != 1 || m["cgrouparchd_document_version_seen"] != 1 {
			return fmt.Errorf("rejected %v, seen %v", m["cgrouparchd_document_rejected"], m["cgrouparchd_document_version_seen"])
		}
		return nil
	})
}

// metrics are the values of one scrape, by name and labels.
func (d *daemon) metrics() map[string]float64 {
	d.t.Helper()
	status, text := d.get("/metrics")
	if status != 200 {
		d.t.Fatalf("/metrics: status %d: %s", status, text)
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if value != "" {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values
}
