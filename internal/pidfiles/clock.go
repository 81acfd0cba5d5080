package pidfiles

import (
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the kernel's USER_HZ, the unit of times in /proc/PID/stat: 100 on every architecture that Go's
// Linux port knows.
const ticksPerSecond = 100

// staleSlack is by how much a process may be younger than its pid file. A parent may write the file just before the
// child runs, and file times and start times are each rounded by up to 10 ms.
const staleSlack = 2 * time.Second

// Ticks returns the time since boot in the unit of [Proc.Start]. A process that starts from now on has at least this
// value.
func Ticks() uint64 { return uint64(sinceBoot() / (time.Second / ticksPerSecond)) }

// sinceBoot reads the clock in which the kernel notes when a process started: it counts while the machine sleeps, and
// nobody can set it.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	// Cannot fail: the clock exists since Linux 2.6.39, the pointer is good.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// bootTime returns when the machine was started by the present wall clock. Setting the clock changes it: it belongs to
// comparisons made now. (btime of /proc/stat is the same in whole seconds.)
func bootTime() time.Time { return time.Now().Add(-sinceBoot()) }

// isStale reports whether a process that started so many ticks after boot is too young to be meant by a file that was
// last written at modified.
func isStale(start uint64, boot, modified time.Time) bool {
	const tick = time.Second / ticksPerSecond
	return boot.Add(time.Duration(start)*tick).Sub(modified) > staleSlack
}
