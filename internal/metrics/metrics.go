// Package metrics shows the daemon's state and every cgroup's usage to
// Prometheus, on demand: nothing is counted twice and nothing is kept.
//
// Names and units follow https://prometheus.io/docs/practices/naming: base
// units (seconds, bytes), _total for what only grows. Metrics of cgroups begin
// with "cgroup_", those of the daemon with "cgrouparchd_".
package metrics

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Usage is what the newest slot says of one cgroup in one subsystem. What could
// not be read is absent.
type Usage struct {
	Subsystem string
	// Path is relative to our root, without a leading slash; "" is our root.
	Path string
	// Key names the Number: "usage" (of cpu and cpuacct in nanoseconds, of memory
	// in bytes) or "current" (processes and threads, of pids); "" is none.
	Key    string
	Number uint64
	// Devices are bytes read and written since the cgroup was made.
	Devices []DeviceBytes
}

// DeviceBytes are the bytes of one block device.
type DeviceBytes struct {
	Device      string // "8:0"
	Read, Write uint64
}

// State is the daemon's own, at one moment.
type State struct {
	Ready            bool
	SourceConnected  bool
	VersionSeen      int32 // -1: none yet
	VersionInForce   int32
	Rejected         bool
	HostFaults       int
	Passes           int
	LastPass         time.Time // zero: none yet
	LastPassDuration time.Duration
	DriftCorrections int
	PidFiles         map[string]int // by state
	Slot             int64          // newest; 0: none yet
	MissedSlots      uint64
	Redis            *Redis // nil: there is none
	OOMKills         []OOMKills
	// TaskCPU is what the parts of the daemon have cost.
	TaskCPU map[string]time.Duration
}

// Redis is the state of the writer.
type Redis struct {
	Connected bool
	Backlog   int
	Lost      uint64
}

// OOMKills counts processes killed in one cgroup for want of memory.
type OOMKills struct {
	Path  string
	Count uint64
}

// Source is where the numbers come from. Both functions are called once for
// each scrape, from any goroutine.
type Source struct {
	State func() State
	Usage func() []Usage
	// MaxCgroups bounds how many cgroups of a subsystem are shown: those nearest
	// to the root, whose counters include the others'.
	MaxCgroups int
	Version    string
	Commit     string
}

// Handler serves the metrics.
func Handler(s Source, log *zap.Logger) (http.Handler, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s},
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	errorLog, err := zap.NewStdLogAt(log, zapcore.WarnLevel)
	if err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorLog: errorLog, MaxRequestsInFlight: 4}), nil
}

// collector makes the metrics of one scrape.
type collector struct{ source Source }

// Describe sends every description.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// Collect sends every value.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	e.gauge(buildInfo, 1, c.source.Version, c.source.Commit)
	e.state(c.source.State())
	e.usage(c.source.Usage(), c.source.MaxCgroups)
}

// emitter turns values into metrics.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (e emitter) flag(d *prometheus.Desc, v bool, labels ...string) {
	if v {
		e.gauge(d, 1, labels...)
		return
	}
	e.gauge(d, 0, labels...)
}

func (e emitter) state(s State) {
	e.flag(ready, s.Ready)
	e.flag(sourceConnected, s.SourceConnected)
	if s.VersionSeen >= 0 {
		e.gauge(versionSeen, float64(s.VersionSeen))
	}
	if s.VersionInForce >= 0 {
		e.gauge(versionInForce, float64(s.VersionInForce))
	}
	e.flag(rejected, s.Rejected)
	e.gauge(hostFaults, float64(s.HostFaults))
	e.counter(passes, float64(s.Passes))
	if !s.LastPass.IsZero() {
		e.gauge(lastPass, seconds(s.LastPass))
		e.gauge(lastPassDuration, s.LastPassDuration.Seconds())
	}
	e.counter(driftCorrections, float64(s.DriftCorrections))
	for state, n := range s.PidFiles {
		e.gauge(pidFiles, float64(n), state)
	}
	if s.Slot != 0 {
		e.gauge(newestSlot, float64(s.Slot))
	}
	e.counter(missedSlots, float64(s.MissedSlots))
	if s.Redis != nil {
		e.flag(redisConnected, s.Redis.Connected)
		e.gauge(redisBacklog, float64(s.Redis.Backlog))
		e.counter(redisLost, float64(s.Redis.Lost))
	}
	for _, k := range s.OOMKills {
		e.counter(oomKills, float64(k.Count), label(k.Path))
	}
	for task, d := range s.TaskCPU {
		e.counter(taskCPU, d.Seconds(), task)
	}
}

// usage shows at most limit cgroups of each subsystem.
func (e emitter) usage(all []Usage, limit int) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, nearestFirst)
	known, shown := map[string]int{}, map[string]int{}
	for _, u := range all {
		known[u.Subsystem]++
		if known[u.Subsystem] > limit {
			continue
		}
		shown[u.Subsystem]++
		e.cgroup(u)
	}
	for subsystem, n := range known {
		e.gauge(cgroups, float64(n), subsystem)
		e.gauge(cgroupsShown, float64(shown[subsystem]), subsystem)
	}
}

func (e emitter) cgroup(u Usage) {
	path := label(u.Path)
	for _, d := range u.Devices {
		e.counter(ioRead, float64(d.Read), u.Subsystem, path, d.Device)
		e.counter(ioWritten, float64(d.Write), u.Subsystem, path, d.Device)
	}
	switch {
	case u.Key == "usage" && u.Subsystem == "memory":
		e.gauge(memoryUsage, float64(u.Number), path)
	case u.Key == "usage":
		e.counter(cpuUsage, float64(u.Number)/float64(time.Second), u.Subsystem, path)
	case u.Key == "current":
		e.gauge(pidsCurrent, float64(u.Number), path)
	}
}

// label is a path as people type it; our root is "/".
func label(path string) string { return "/" + path }

func nearestFirst(a, b Usage) int {
	if d := depth(a.Path) - depth(b.Path); d != 0 {
		return d
	}
	return strings.Compare(a.Path, b.Path)
}

func depth(path string) int {
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, "/")
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
