package account

import (
	"context"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// TestSamplerRealAlarm: with the kernel's alarm a target is taken up at once, slots
// come, each near the start of its second, and a stop is prompt.
func TestSamplerRealAlarm(t *testing.T) {
	alarm, err := clock.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alarm.Close() }()
	k := newFakeKernel()
	k.set("", numberFile, "7\n")
	var cpu clock.Meter
	r := NewRing(10)
	s := testSampler(k, r, SamplerOptions{Alarm: alarm, CPU: &cpu})
	sub := r.subscribe(10)
	defer sub.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	s.SetTarget(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage)}})
	for range 2 {
		select {
		case <-sub.Wake():
		case <-time.After(10 * time.Second):
			t.Fatal("no slot")
		}
	}
	if late := s.Status().LateMicroseconds; late < 0 || late > maxLate.Microseconds() {
		t.Errorf("%d us late", late)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
	if cpu.Used() <= 0 {
		t.Error("sampling cost nothing")
	}
	_ = alarm.Close()
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run without its alarm")
	}
}
