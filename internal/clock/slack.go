package clock

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// SetSlack lets the kernel delay the timed waits of this process's threads by up to
// slack, so that they can be joined (PR_SET_TIMERSLACK(2const)); an [Alarm] stays
// exact. Without it the runtime's own watchman, which wakes up every 20 µs while
// anything runs, costs a quarter of what sampling a thousand cgroups does.
//
// Threads that come later inherit the slack. An error says that some threads,
// which others of the process are only with the right to (CAP_SYS_NICE), stay as
// they were.
func SetSlack(slack time.Duration) error {
	n := strconv.FormatInt(slack.Nanoseconds(), 10)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	// Of the calling thread first: without the right this is all that is possible.
	err = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0)
	for _, t := range threads {
		// proc(5): only the process's directory lists the file, but a thread's has it
		// when it is named as a process.
		one := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(n), 0)
		if !errors.Is(one, os.ErrNotExist) { // it has ended
			err = errors.Join(err, one)
		}
	}
	if err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	return nil
}
