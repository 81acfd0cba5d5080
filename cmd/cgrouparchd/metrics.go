package main

import (
	"net/http"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/metrics"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// metricsHandler serves /metrics.
func (d *daemon) metricsHandler() (http.Handler, error) {
	return metrics.Handler(metrics.Source{
		State: d.metricsState, Usage: d.metricsUsage, MaxCgroups: d.config.MetricsCgroups, Version: version, Commit: commit,
	}, d.log.Named("metrics"))
}

// metricsState is the part of /status that costs nothing to find out.
func (d *daemon) metricsState() metrics.State {
	v, source, sampler := d.control.versions(), d.source.Status(), d.sampler.Status()
	s := metrics.State{
		SourceConnected: source.State == zkconf.StateConnected, VersionSeen: v.Seen, VersionInForce: v.InForce, Rejected: v.Rejected != nil,
		PidFiles: pidFileStates(d.pidFiles.Files()), Slot: sampler.LastSlot, MissedSlots: sampler.MissedSlots,
		TaskCPU: d.costs.parts(),
	}
	for _, k := range d.sampler.OOMKills() {
		s.OOMKills = append(s.OOMKills, metrics.OOMKills{Path: strings.TrimPrefix(k.Cgroup, "/"), Count: k.Count})
	}
	if d.writer != nil {
		r := d.writer.Status()
		s.Redis = &metrics.Redis{Connected: r.Connected, Backlog: r.Backlog, Lost: r.Lost}
		if r.OtherWriter != "" {
			s.HostFaults++ // as in /status
		}
	}
	if snap := d.snapshot.Load(); snap != nil {
		s.Ready, s.Passes, s.DriftCorrections = true, snap.Passes, snap.Corrections
		s.HostFaults += len(snap.Faults)
		s.LastPass, s.LastPassDuration = snap.Pass.Began, snap.Pass.Duration
	}
	return s
}

// pidFileStates counts the pid files in each state, zero included: an alert
// on a state must not lose sight of it when the last file leaves it.
func pidFileStates(files []pidfiles.FileStatus) map[string]int {
	counts := map[string]int{}
	for _, state := range pidfiles.States {
		counts[string(state)] = 0
	}
	for _, f := range files {
		counts[string(f.State)]++
	}
	return counts
}

// metricsUsage is the newest slot.
func (d *daemon) metricsUsage() []metrics.Usage {
	_, readings := d.ring.Latest()
	all := make([]metrics.Usage, len(readings))
	for i, r := range readings {
		all[i] = metrics.Usage{Subsystem: r.Subsystem, Path: r.Path, Key: r.Key, Number: r.Number}
		for _, dev := range r.Devices {
			all[i].Devices = append(all[i].Devices, metrics.DeviceBytes(dev))
		}
	}
	return all
}
