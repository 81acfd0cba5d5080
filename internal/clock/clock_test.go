package clock

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

func newAlarm(t *testing.T) *Alarm {
	t.Helper()
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestAlarm(t *testing.T) {
	a := newAlarm(t)
	for _, in := range []time.Duration{30 * time.Millisecond, 0, -time.Hour} {
		until := time.Now().Add(in).Round(0)
		if due, err := a.Wait(until); !due || err != nil {
			t.Errorf("in %v: due %v, %v", in, due, err)
		}
		if now := time.Now().Round(0); now.Before(until) {
			t.Errorf("in %v: %v early", in, until.Sub(now))
		}
	}
	if due, err := a.Wait(time.Unix(0, 0)); !due || err != nil {
		t.Errorf("at 0: due %v, %v", due, err)
	}
}

func TestAlarmWake(t *testing.T) {
	a := newAlarm(t)
	for _, when := range []string{"before", "meanwhile", "before", "meanwhile"} {
		var wakers sync.WaitGroup
		if when == "before" {
			a.Wake()
		} else {
			wakers.Go(a.Wake)
		}
		if due, err := a.Wait(time.Now().Add(time.Hour)); due || err != nil {
			t.Errorf("%s: due %v, %v", when, due, err)
		}
		wakers.Wait()
	}
	// One call ends one Wait.
	if due, err := a.Wait(time.Now().Add(10 * time.Millisecond)); !due || err != nil {
		t.Errorf("after all: due %v, %v", due, err)
	}
}

func TestAlarmClosed(t *testing.T) {
	a := newAlarm(t)
	_ = a.Close()
	if due, err := a.Wait(time.Now()); due || err == nil {
		t.Errorf("closed: due %v, %v", due, err)
	}
}

// spin uses so much CPU time of the calling thread.
func spin(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for until := ThreadCPU() + d; ThreadCPU() < until; {
	}
}

func TestMeter(t *testing.T) {
	const work = 20 * time.Millisecond
	var m Meter
	m.Measure(func() { spin(work) })
	m.Measure(func() { <-time.After(work) })
	// Others' work does not count.
	var others sync.WaitGroup
	others.Go(func() { spin(2 * work) })
	m.Measure(func() { spin(work) })
	others.Wait()
	if used := m.Used(); used < 2*work || used > 3*work {
		t.Errorf("%v used, want %v and a little", used, 2*work)
	}
	if used := ProcessCPU(); used < 4*work {
		t.Errorf("the process used %v, want at least %v", used, 4*work)
	}
}

func TestMeterSample(t *testing.T) {
	const work = time.Millisecond
	var m Meter
	calls := 0
	for range 4 * sampleEvery {
		m.Sample(func() { calls++; spin(work) })
	}
	if want := time.Duration(4*sampleEvery) * work; calls != 4*sampleEvery || m.Used() < want || m.Used() > 2*want {
		t.Errorf("%d calls, %v used, want %v and a little", calls, m.Used(), want)
	}
	// What is under way for long is not sampled more than four times at once, and
	// nothing is lost by that.
	var busy Meter
	busy.underWay.Store(maxSampled)
	for range 10 * sampleEvery {
		busy.Sample(func() {})
	}
	busy.underWay.Store(0)
	busy.Sample(func() { spin(work) })
	if want := (10*sampleEvery + 1) * work; busy.Used() < want {
		t.Errorf("%v used, want %v", busy.Used(), want)
	}
}

func TestNilMeter(t *testing.T) {
	var m *Meter
	ran := 0
	m.Measure(func() { ran++ })
	m.Sample(func() { ran++ })
	if ran != 2 {
		t.Errorf("ran %d times", ran)
	}
}
