package clock

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProcessCPU is the CPU time that all threads of this process have used.
func ProcessCPU() time.Duration { return read(unix.CLOCK_PROCESS_CPUTIME_ID) }

// ThreadCPU is the CPU time that the calling thread has used.
func ThreadCPU() time.Duration { return read(unix.CLOCK_THREAD_CPUTIME_ID) }

// read reads a clock that cannot fail. The call never waits, so the runtime need not
// know of it: telling it costs more, and after a rest wakes its monitor thread.
func read(clock uintptr) time.Duration {
	var t unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}

// Meter adds up the CPU time of pieces of work. The zero Meter is ready, a nil one
// counts nothing. It may be used by several goroutines.
type Meter struct {
	total    atomic.Int64
	skipped  atomic.Int64
	underWay atomic.Int32
}

const (
	// sampleEvery and maxSampled bound what [Meter.Sample] costs: two system calls
	// for each piece that it measures, and a thread while that lasts.
	sampleEvery = 16
	maxSampled  = 4
)

// Used is the CPU time so far.
func (m *Meter) Used() time.Duration { return time.Duration(m.total.Load()) }

// Measure runs f and counts the CPU time of its thread meanwhile. f keeps the
// thread for itself, so it should not wait for long.
func (m *Meter) Measure(f func()) {
	if m == nil {
		f()
		return
	}
	m.total.Add(int64(measure(f)))
}

// Sample runs f and counts an estimate: one piece in 16 is measured and stands for
// the others, and none while four are under way. For work that is frequent, or
// that may wait.
func (m *Meter) Sample(f func()) {
	if m == nil {
		f()
		return
	}
	if n := m.skipped.Add(1); n < sampleEvery || m.underWay.Add(1) > maxSampled {
		if n >= sampleEvery {
			m.underWay.Add(-1)
		}
		f()
		return
	}
	stands := m.skipped.Swap(0)
	used := measure(f)
	m.underWay.Add(-1)
	m.total.Add(stands * int64(used))
}

func measure(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := ThreadCPU()
	f()
	return ThreadCPU() - before
}
