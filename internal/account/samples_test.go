package account

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sampled runs a sampler as [runTimed] does, with samples in each quarter of a second.
func sampled(t *testing.T, f func(s *timed, kept *Ring)) {
	synctest.Test(t, func(t *testing.T) {
		s := &timed{ring: NewRing(50), kernel: newFakeKernel(), start: time.Now()}
		kept := NewSamples(250 * time.Millisecond)
		s.kernel.set("", numberFile, "")
		s.Sampler = testSampler(stampKernel{s.kernel, s.start}, s.ring, SamplerOptions{Now: s.clock.now, Log: logTo(&s.log), Samples: kept})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		f(s, kept)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		checkNoFDs(t, s.kernel)
	})
}

// shown are the samples, in milliseconds since the start, with the time of sampling.
func (s *timed) shown(kept *Ring) string {
	var b bytes.Buffer
	numbers, _ := kept.slots(-1<<62, 1<<62)
	for _, n := range numbers {
		var snap snapshot
		kept.load(n, Filter{}, &snap)
		fmt.Fprintf(&b, "%d@%d ", n*250-s.start.UnixMilli(), snap.words[0])
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// TestSamples: they are between the slots and with them, and change nothing about
// those.
func TestSamples(t *testing.T) {
	for _, tc := range []struct {
		name    string
		run     func(s *timed)
		samples string
		slots   string
		missed  uint64
	}{
		{
			name: "each interval",
			run: func(s *timed) {
				time.Sleep(600 * time.Millisecond)
				s.setTarget()
				time.Sleep(1500 * time.Millisecond)
			},
			samples: "750@750 1000@1000 1250@1250 1500@1500 1750@1750 2000@2000", slots: "1@1000 2@2000",
		},
		{
			name: "an overrun misses the intervals that began and ended meanwhile",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(600 * time.Millisecond)
				s.kernel.setSlow(700 * time.Millisecond)
				time.Sleep(300 * time.Millisecond) // 750 takes until 1450
				s.kernel.setSlow(0)
				time.Sleep(time.Second)
			},
			samples: "250@250 500@500 750@750 1250@1450 1500@1500 1750@1750", slots: "1@1450", missed: 1,
		},
		{
			name: "a step back fills and does not repeat",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(1100 * time.Millisecond)
				s.clock.step(-500 * time.Millisecond) // shows 600
				time.Sleep(time.Second)
			},
			samples: "250@250 500@500 750@750 1000@1000 1250@1750 1500@2000", slots: "1@1000",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sampled(t, func(s *timed, kept *Ring) {
				tc.run(s)
				synctest.Wait()
				if diff := cmp.Diff(tc.samples, s.shown(kept)); diff != "" {
					t.Errorf("samples (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.slots, s.slots()); diff != "" {
					t.Errorf("slots (-want +got):\n%s", diff)
				}
				if got := s.Status().MissedSamples; got != tc.missed {
					t.Errorf("missed %d samples, want %d", got, tc.missed)
				}
			})
		})
	}
}

// TestSamplesDeliver: Redis and the watch for kills are for whole seconds.
func TestSamplesDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.set("", numberFile, "1\n")
		delivered, slots := 0, 0
		s := testSampler(k, NewRing(10), SamplerOptions{
			Samples: NewSamples(100 * time.Millisecond), Deliver: func() { delivered++ }, SlotDone: func() { slots++ },
		})
		s.SetTarget(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage)}})
		ctx, cancel := context.WithTimeout(t.Context(), 3050*time.Millisecond)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if status := s.Status(); delivered != 3 || slots != 3 || status.Samples != 30 || status.MissedSamples != 0 {
			t.Errorf("%d deliveries, %d slots, status %+v", delivered, slots, status)
		}
	})
}

// TestShowSamples: samples are named by second and thousandth, and asked for by
// seconds.
func TestShowSamples(t *testing.T) {
	r := NewSamples(250 * time.Millisecond)
	for n := int64(4 * 100); n < 4*102; n++ {
		if n != 402 {
			r.appendSlot(n, time.Now(), numberLayout, number(uint64(n)))
		}
	}
	s := NewService(ServiceOptions{Ring: r, Now: at(101)})
	one := func(key string, n int) string { return fmt.Sprintf(`%q:{"cpu":{"value":{"usage":%d}}}`, key, n) }
	first := one("100.000", 400) + "," + one("100.250", 401) + "," + one("100.750", 403)
	second := one("101.000", 404) + "," + one("101.250", 405) + "," + one("101.500", 406) + "," + one("101.750", 407)
	for args, want := range map[string]string{
		``:                                     "{" + first + "," + second + "}",
		`{"nr_slot":1}`:                        "{" + second + "}",
		`{"start_slot":100,"end_slot":100}`:    "{" + first + "}",
		`{"nr_slot":0}`:                        "{}",
		`{"start_slot":-9e18,"end_slot":9e18}`: "{" + first + "," + second + "}",
		`{"end_slot":-9e18}`:                   "{}",
	} {
		if diff := cmp.Diff(want, ask(t, s, args)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

// TestSamplesAllocations: a second with samples allocates nothing either.
func TestSamplesAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k, r := newFakeKernel(), NewRing(10)
	s := busySampler(k, r, 100)
	defer s.close()
	s.samples.ring = NewSamples(100 * time.Millisecond)
	now := time.Unix(1700000000, 0)
	s.now = func() time.Time { return now }
	i := 0
	step := func() {
		i++
		for _, c := range k.dirs {
			c.files[numberFile] = [2]string{"192790540163\n", "192790999999\n"}[i%2]
		}
		now = now.Add(100 * time.Millisecond)
		s.look()
	}
	for range 1500 { // until the history is full
		step()
	}
	if n := testing.AllocsPerRun(500, step); n != 0 {
		t.Errorf("%v allocations a sample, want 0", n)
	}
	if st := s.Status(); st.Samples < 2000 || st.MissedSamples != 0 || st.Slots < 200 {
		t.Errorf("status %+v: not what was meant to be measured", st)
	}
}
