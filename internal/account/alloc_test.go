package account

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// busySampler has n cgroups with a number and n with two devices.
func busySampler(k *fakeKernel, r *Ring, n int) *Sampler {
	const devices = "8:0 Read 1053712384\n8:0 Write 81929383424\n8:16 Read 12288\n8:16 Write 0\nTotal 82983108096\n"
	k.set("", numberFile, "1446489231295\n")
	k.set("", bytesFile, devices)
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("test_cgroup_%03d", i)
		k.set(paths[i], numberFile, "192790540163\n")
		k.set(paths[i], bytesFile, devices)
	}
	s := testSampler(k, r, SamplerOptions{MaxOpen: 4 * n})
	s.adopt(&Target{Subsystems: []Subsystem{
		subsystemOf("blkio", summedUsage, paths...),
		subsystemOf("cpu", numberUsage, paths...),
	}})
	return s
}

// TestSteadyStateAllocations: a second of sampling, keeping, handing over to a
// subscriber and the writer, and rendering allocates nothing, however many cgroups
// there are, and whether their numbers change or not.
func TestSteadyStateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := NewRing(10)
	k := newFakeKernel()
	var meter clock.Meter
	s := busySampler(k, r, 100)
	sub := r.subscribe(1)
	defer sub.Close()
	w := &Writer{ring: r, expire: time.Hour, batch: maxBatch}
	w.encode = func() { w.sets = w.collect() }
	now := time.Unix(1700000000, 0)
	var text []byte
	numbers := [2]string{"192790540163\n", "192790999999\n"}
	second := func() {
		now = now.Add(time.Second)
		for _, c := range k.dirs {
			c.files[numberFile] = numbers[now.Unix()%2]
		}
		meter.Measure(func() { s.tick(now) })
		<-sub.Wake()
		if slot, ok := sub.Next(); !ok || slot.Number != now.Unix() {
			t.Fatalf("slot %v, %v", slot, ok)
		}
		meter.Measure(w.encode)
		if len(w.sets) != 1 || w.sets[0].slot != now.Unix() {
			t.Fatalf("handed over: %v", w.sets)
		}
		w.cursor++
		text = w.buf
	}
	for range 200 { // until every buffer exists
		second()
	}
	if n := testing.AllocsPerRun(200, second); n != 0 {
		t.Errorf("%v allocations a second, want 0", n)
	}
	if len(text) < 100*150 {
		t.Errorf("%d bytes: not what was meant to be measured", len(text))
	}
	s.close()
}

// TestQueryAllocations: an answer allocates a few small things, not per slot or
// per cgroup.
func TestQueryAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := NewRing(60)
	s := busySampler(newFakeKernel(), r, 100)
	defer s.close()
	for i := range int64(60) {
		s.tick(time.Unix(1700000000+i, 0))
	}
	svc := NewService(ServiceOptions{Ring: r})
	if n := testing.AllocsPerRun(100, func() {
		if err := svc.WriteSlots(context.Background(), Query{Start: 0, End: 1e12}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}); n > 25 {
		t.Errorf("%v allocations for 60 slots of 200 cgroups", n)
	}
}
