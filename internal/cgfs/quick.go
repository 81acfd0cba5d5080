package cgfs

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quick says whether the kernel takes a value of a control file, and gives it, without
// waiting for anything but locks that it holds for microseconds. Of any other file
// that is not known: memory limits reclaim, sets of CPUs and freezers take
// cgroup_mutex, and with it wait for grace periods, CPU quotas for CPUs that come and
// go, throttles for the disk's queue to be empty.
func quick(file string) bool {
	switch file {
	case "cpu.shares", "cpu.weight": // shares_mutex, then each CPU's queue (sched_group_set_shares in the kernel's kernel/sched/fair.c)
		return !schedulersCome()
	case "blkio.bfq.weight": // a spin lock and a list of disks (bfq_io_set_weight_legacy in block/bfq-cgroup.c)
		return true
	case "pids.max": // one number (pids_max_write in kernel/cgroup/pids.c)
		return true
	}
	return false
}

// schedulersCome says whether schedulers can be loaded into this kernel: a share waits
// while one comes or goes (scx_group_set_weight in kernel/sched/ext.c).
var schedulersCome = sync.OnceValue(func() bool {
	_, err := os.Stat("/sys/kernel/sched_ext")
	return err == nil
})

// calls are system calls on one control file, of which Go's runtime is told as usual,
// or not (quiet). After a rest of the whole process, the first call that it is told of
// wakes its monitor thread, on another CPU or on this one, which takes longer than to
// put a value back. But a call that it does not know of keeps it from stopping the
// world, and its P from other goroutines, as long as the call lasts: only for what is
// [quick].
//
// Whatever a quiet call cannot do is left to the usual one.
type calls struct{ quiet bool }

func (c calls) open(at int, dir, file string) (int, error) {
	if !c.quiet || noOpenat2.Load() || !stays(dir) || !stays(file) {
		return openBeneath(at, dir, file, unix.O_RDWR)
	}
	var room spelling
	spelled := room.spell(dir, file)
	how := unix.OpenHow{Flags: unix.O_RDWR | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: beneath}
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT2, uintptr(at), uintptr(unsafe.Pointer(spelled)), uintptr(unsafe.Pointer(&how)), unix.SizeofOpenHow, 0, 0)
	if errno != 0 {
		return openBeneath(at, dir, file, unix.O_RDWR)
	}
	return int(fd), nil
}

// read is [readBack].
func (c calls) read(fd int, text string) (string, error) {
	if c.quiet {
		var room [sameRoom]byte
		n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(&room)), sameRoom, 0, 0, 0)
		if errno == 0 && n < sameRoom {
			return cutNewline(room[:n], text), nil
		}
	}
	return readBack(fd, text)
}

func (c calls) write(fd int, text string) error {
	if c.quiet && text != "" {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR: // nothing was written
		default:
			return errno
		}
	}
	return write(fd, text)
}

func (c calls) close(fd int) {
	if !c.quiet {
		_ = unix.Close(fd)
		return
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// doubt ends quiet calls for a while, once they have taken longer than they should: a
// lock whose holder does not get the CPU, memory that has to be reclaimed first.
type doubt struct{ until atomic.Int64 } // of the wall clock, in ns

const (
	quickMost = 100 * time.Millisecond // a busy host takes the CPU away for tens of them
	doubtRest = time.Minute
)

func (d *doubt) calls(file string, now time.Time) calls {
	return calls{quiet: quick(file) && now.UnixNano() >= d.until.Load()}
}

func (d *doubt) took(began, ended time.Time) {
	if ended.Sub(began) > quickMost {
		d.until.Store(ended.Add(doubtRest).UnixNano())
	}
}

// GiveWay lets others run first that wait for this CPU (sched_yield(2)). Whoever is
// woken by a value that was written has often its turn on the CPU of the writer, when
// that has nothing more to do: for them, what else there is to do can wait.
func GiveWay() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
