package main

import (
	"runtime/metrics"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// costs counts the CPU time of the daemon's parts.
type costs struct {
	sampler    clock.Meter
	encoder    clock.Meter
	redis      clock.Meter // an estimate, as is server: see clock.Meter.Sample
	reconciler clock.Meter
	server     clock.Meter
	sending    clock.Meter // part of the server's, apart because its pieces are so much smaller
}

// costStatus is the part of /status that says what the daemon itself costs, in
// seconds of CPU time since the start.
type costStatus struct {
	CPU        float64 `json:"cpu_seconds"`
	Sampler    float64 `json:"sampler_seconds"`
	Encoder    float64 `json:"encoder_seconds"`
	Redis      float64 `json:"redis_seconds"`
	Reconciler float64 `json:"reconciler_seconds"`
	Server     float64 `json:"server_seconds"`
	// GC is the runtime's own estimate, as of the last collection.
	GC float64 `json:"gc_seconds"`
	// Other is the rest: connections, ZooKeeper, pid files, the runtime.
	Other float64 `json:"other_seconds"`
}

// parts are the counts by name.
func (c *costs) parts() map[string]time.Duration {
	return map[string]time.Duration{
		"sampler": c.sampler.Used(), "encoder": c.encoder.Used(), "redis": c.redis.Used(),
		"reconciler": c.reconciler.Used(), "server": c.server.Used() + c.sending.Used(),
	}
}

func (c *costs) status() costStatus {
	p := c.parts()
	s := costStatus{
		CPU:     clock.ProcessCPU().Seconds(),
		Sampler: p["sampler"].Seconds(), Encoder: p["encoder"].Seconds(), Redis: p["redis"].Seconds(),
		Reconciler: p["reconciler"].Seconds(), Server: p["server"].Seconds(), GC: gcSeconds(),
	}
	s.Other = max(s.CPU-s.Sampler-s.Encoder-s.Redis-s.Reconciler-s.Server-s.GC, 0)
	return s
}

// gcSeconds leaves out what collectors did with time that nobody else wanted.
func gcSeconds() float64 {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	metrics.Read(samples)
	if samples[0].Value.Kind() != metrics.KindFloat64 || samples[1].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return samples[0].Value.Float64() - samples[1].Value.Float64()
}
