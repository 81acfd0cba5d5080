package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a wall clock that can be stepped while the monotonic one goes on.
type wallClock struct{ offset atomic.Int64 }

func (c *wallClock) step(d time.Duration) { c.offset.Add(int64(d)) }

func (c *wallClock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())).Round(0) }

// timed runs a sampler of one cgroup whose number is the bubble's own time in
// milliseconds, so that a slot's value says when it was sampled.
type timed struct {
	*Sampler
	clock  wallClock
	ring   *Ring
	kernel *fakeKernel
	log    bytes.Buffer
	start  time.Time
}

type stampKernel struct {
	*fakeKernel
	start time.Time
}

func (k stampKernel) pread(_ int, buf []byte) (int, error) {
	n := copy(buf, fmt.Sprintf("%d\n", time.Since(k.start).Milliseconds()))
	time.Sleep(time.Duration(k.slow.Load()))
	return n, nil
}

// runTimed calls f while the sampler runs. The bubble's clock begins at a whole
// second; f's times are counted from there.
func runTimed(t *testing.T, seconds int, f func(s *timed)) {
	synctest.Test(t, func(t *testing.T) {
		s := &timed{ring: NewRing(seconds), kernel: newFakeKernel(), start: time.Now()}
		s.kernel.set("", numberFile, "")
		s.Sampler = testSampler(stampKernel{s.kernel, s.start}, s.ring, SamplerOptions{Now: s.clock.now, Log: logTo(&s.log)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		f(s)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		checkNoFDs(t, s.kernel)
	})
}

func (s *timed) setTarget() {
	s.SetTarget(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage)}})
}

// slots shows every slot, relative to the start, with the time of sampling.
func (s *timed) slots() string {
	var b bytes.Buffer
	slots, _ := s.ring.slots(math.MinInt64, math.MaxInt64)
	for _, slot := range slots {
		var snap snapshot
		s.ring.load(slot, Filter{}, &snap)
		fmt.Fprintf(&b, "%d@%d ", slot-s.start.Unix(), snap.words[0])
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

func TestSamplerClock(t *testing.T) {
	for _, tc := range []struct {
		name   string
		run    func(s *timed)
		want   string
		missed uint64
		log    string
	}{
		{
			name: "each second from the next one on",
			run: func(s *timed) {
				time.Sleep(300 * time.Millisecond)
				s.setTarget()
				time.Sleep(3 * time.Second)
			},
			want: "1@1000 2@2000 3@3000",
		},
		{
			name: "nothing before the first target, and that is not missed",
			run: func(s *timed) {
				time.Sleep(5500 * time.Millisecond)
				s.setTarget()
				time.Sleep(2 * time.Second)
			},
			want: "6@6000 7@7000",
		},
		{
			name: "an overrun misses the seconds that began meanwhile",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(1500 * time.Millisecond)
				s.kernel.setSlow(2700 * time.Millisecond)
				time.Sleep(time.Second) // slot 2 begins and takes until 4.7
				s.kernel.setSlow(0)
				time.Sleep(4 * time.Second)
			},
			want: "1@1000 2@2000 5@5000 6@6000", missed: 2,
			log: `warn slots missed {"last_slot": 946684802, "slot": 946684805, "missed": 2, "clock_step": "0s"}` + "\n",
		},
		{
			name: "a little late is in time",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(1500 * time.Millisecond)
				s.kernel.setSlow(1300 * time.Millisecond)
				time.Sleep(time.Second) // slot 2 begins and takes until 3.3
				s.kernel.setSlow(0)
				time.Sleep(2 * time.Second)
			},
			want: "1@1000 2@2000 3@3300 4@4000",
		},
		{
			name: "a step forward skips",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(2500 * time.Millisecond)
				s.clock.step(10 * time.Second)
				time.Sleep(2 * time.Second)
			},
			want: "1@1000 2@2000 13@3000 14@4000", missed: 10,
			log: `warn slots missed {"last_slot": 946684802, "slot": 946684813, "missed": 10, "clock_step": "10s"}` + "\n",
		},
		{
			name: "a step forward by a fraction does not sample in the middle of a second",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(2500 * time.Millisecond)
				s.clock.step(700 * time.Millisecond)
				time.Sleep(2 * time.Second) // wakes at 3.7, too late for 3
			},
			want: "1@1000 2@2000 4@3300 5@4300", missed: 1,
			log: `warn slots missed {"last_slot": 946684802, "slot": 946684804, "missed": 1, "clock_step": "1s"}` + "\n",
		},
		{
			name: "a small step back does not sample a second twice",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(5500 * time.Millisecond)
				s.clock.step(-3 * time.Second)
				time.Sleep(5 * time.Second) // the clock shows 3 to 7
			},
			want: "1@1000 2@2000 3@3000 4@4000 5@5000 6@9000 7@10000",
			log:  `warn clock stepped back {"slot": 946684803, "last_slot": 946684805}` + "\n",
		},
		{
			name: "a step back fills seconds that were missed",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(1500 * time.Millisecond)
				s.clock.step(3 * time.Second)
				time.Sleep(time.Second) // slot 5
				s.clock.step(-3 * time.Second)
				time.Sleep(4 * time.Second) // 3 and 4, not 5, 6
			},
			want: "1@1000 3@3000 4@4000 5@2000 6@6000", missed: 3,
			log: `warn slots missed {"last_slot": 946684801, "slot": 946684805, "missed": 3, "clock_step": "3s"}` + "\n" +
				`warn clock stepped back {"slot": 946684803, "last_slot": 946684805}` + "\n",
		},
		{
			name: "a large step back goes on at once",
			run: func(s *timed) {
				s.setTarget()
				time.Sleep(2500 * time.Millisecond)
				s.clock.step(-time.Hour)
				time.Sleep(2 * time.Second)
			},
			want: "-3597@3000 -3596@4000 1@1000 2@2000",
			log:  `warn clock stepped back {"slot": 946681203, "last_slot": 946684802}` + "\n",
		},
		{
			name: "a clock that is slowed down gives one slot a second",
			run: func(s *timed) {
				s.setTarget()
				for range 40 {
					time.Sleep(97 * time.Millisecond)
					s.clock.step(-10 * time.Millisecond)
				}
			},
			want: "1@1110 2@2220 3@3340",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			runTimed(t, 1000, func(s *timed) {
				tc.run(s)
				synctest.Wait()
				if diff := cmp.Diff(tc.want, s.slots()); diff != "" {
					t.Errorf("slot@milliseconds (-want +got):\n%s", diff)
				}
				if got := s.Status().MissedSlots; got != tc.missed {
					t.Errorf("missed %d, want %d", got, tc.missed)
				}
				if diff := cmp.Diff(tc.log, s.log.String()); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSamplerStepBackForgets: when a step back exceeds the history, new slots
// push the old ones out in the order of sampling and are not refused.
func TestSamplerStepBackForgets(t *testing.T) {
	runTimed(t, 3, func(s *timed) {
		s.setTarget()
		time.Sleep(3500 * time.Millisecond)
		s.clock.step(-100 * time.Second)
		time.Sleep(3 * time.Second)
		if diff := cmp.Diff("-96@4000 -95@5000 -94@6000", s.slots()); diff != "" {
			t.Errorf("slot@milliseconds (-want +got):\n%s", diff)
		}
	})
}

func TestSamplerSlotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, r := newFakeKernel(), NewRing(10)
		done := 0
		s := testSampler(k, r, SamplerOptions{SlotDone: func() { done++ }})
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		s.SetTarget(&Target{})
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if newest, _ := r.Newest(); done != 3 || slotText(r, newest) != "{}" {
			t.Errorf("%d slots, the newest is %q; want 3 and {}", done, slotText(r, newest))
		}
	})
}

// TestSamplerBeat: the sampler shows that it lives before there is anything to
// sample, too.
func TestSamplerBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		s := testSampler(newFakeKernel(), NewRing(10), SamplerOptions{Beat: func() { beats++ }})
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if beats != 4 {
			t.Errorf("%d beats in 3.5 s, want one at the start and one each second", beats)
		}
	})
}

// TestSamplerTargets: a new target takes over what is open, and closes the rest.
func TestSamplerTargets(t *testing.T) {
	k := newFakeKernel()
	for i, dir := range []string{"", "a", "a/b", "c"} {
		k.set(dir, numberFile, fmt.Sprintf("%d\n", i+1))
	}
	s := testSampler(k, NewRing(10), SamplerOptions{})
	step := func(want string, opens, open int, t1 *Target) {
		t.Helper()
		before := k.opens
		s.adopt(t1)
		if diff := cmp.Diff(want, sampleText(s)); diff != "" {
			t.Errorf("slot (-want +got):\n%s", diff)
		}
		if k.opens-before != opens || k.openFDs() != open || s.meters.open != open {
			t.Errorf("%d opened, %d open, %d counted; want %d and %d", k.opens-before, k.openFDs(), s.meters.open, opens, open)
		}
	}
	step(`{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"b":{"value":{"usage":3}}},"value":{"usage":2}}},"value":{"usage":1}}}`, 3, 3,
		&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage, "a", "a/b")}})
	step(`{"cpu":{"sub_cgroup":{"a":{"value":{"usage":2}},"c":{"value":{"usage":4}}},"value":{"usage":1}}}`, 1, 3,
		&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage, "a", "c")}})
	nothing := subsystemOf("net_cls", numberUsage, "x")
	nothing.Hierarchy = nil
	step(`{"net_cls":{"sub_cgroup":{"x":{"value":{}}},"value":{}}}`, 0, 0, &Target{Subsystems: []Subsystem{nothing}})
	step(`{}`, 0, 0, &Target{})
	s.close()
	checkNoFDs(t, k)
}

// TestSamplerVanishing: a cgroup that cannot be read costs its own value only,
// and one that is made again is read again.
func TestSamplerVanishing(t *testing.T) {
	k := newFakeKernel()
	for _, dir := range []string{"", "a", "b"} {
		k.set(dir, numberFile, "7\n")
	}
	s := testSampler(k, NewRing(10), SamplerOptions{})
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage, "a", "b")}})
	whole := `{"cpu":{"sub_cgroup":{"a":{"value":{"usage":7}},"b":{"value":{"usage":7}}},"value":{"usage":7}}}`
	without := `{"cpu":{"sub_cgroup":{"a":{"value":{}},"b":{"value":{"usage":7}}},"value":{"usage":7}}}`
	check := func(when, want string) {
		t.Helper()
		if diff := cmp.Diff(want, sampleText(s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before", whole)
	k.remove("a")
	opens := k.opens
	check("removed", without)
	if k.opens != opens+1 {
		t.Errorf("%d tries to open it again in one slot, want 1", k.opens-opens)
	}
	k.set("a", numberFile, "3\n")
	check("made again", `{"cpu":{"sub_cgroup":{"a":{"value":{"usage":3}},"b":{"value":{"usage":7}}},"value":{"usage":7}}}`)
	k.remove("a")
	k.set("a", numberFile, "7\n")
	check("replaced between two slots", whole)
	k.breakReads("a", errors.New("input/output error"))
	check("unreadable", without)
	k.breakReads("a", nil)
	check("readable", whole)
	k.set("a", numberFile, "a lot\n")
	check("malformed", without)
	s.close()
	checkNoFDs(t, k)
}

// TestSamplerMaxOpen: beyond the limit files are opened for each read.
func TestSamplerMaxOpen(t *testing.T) {
	k := newFakeKernel()
	for i, dir := range []string{"", "a", "b"} {
		k.set(dir, numberFile, fmt.Sprintf("%d\n", i))
	}
	s := testSampler(k, NewRing(10), SamplerOptions{MaxOpen: 2})
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("cpu", numberUsage, "a", "b")}})
	for range 3 {
		want := `{"cpu":{"sub_cgroup":{"a":{"value":{"usage":1}},"b":{"value":{"usage":2}}},"value":{"usage":0}}}`
		if diff := cmp.Diff(want, sampleText(s)); diff != "" {
			t.Errorf("slot (-want +got):\n%s", diff)
		}
		if n := k.openFDs(); n != 2 {
			t.Errorf("%d kept open, want 2", n)
		}
	}
	s.close()
	checkNoFDs(t, k)
}

// TestSamplerLargeFile: a usage file larger than the buffer is read whole.
func TestSamplerLargeFile(t *testing.T) {
	k := newFakeKernel()
	var b bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&b, "8:%d Read %d\n", i, i)
	}
	k.set("", bytesFile, b.String())
	s := testSampler(k, NewRing(10), SamplerOptions{})
	s.adopt(&Target{Subsystems: []Subsystem{subsystemOf("blkio", summedUsage)}})
	if got := sampleText(s); !bytes.Contains([]byte(got), []byte(`"8:2999":{"Read":2999,"Write":0}`)) {
		t.Errorf("the last device is not there: %.100s... of %d bytes", got, len(got))
	}
	s.close()
}
