// Package job is what a virtual machine and the test that started it tell each other: the list of programs to run, and the marks in the
// output between which each program's own output stands.
package job

import (
	"fmt"
	"strconv"
	"strings"
)

// File is the list of jobs, a JSON array of [Job], in the guest's payload.
const File = "jobs.json"

// Job is one program that the guest runs.
type Job struct {
	// Name is one word; marks carry it.
	Name string
	// Argv is the program, by an absolute path in the guest, and its arguments.
	Argv []string
	// Env is added to the guest's environment.
	Env []string
	// Dir is the working directory; it is made when absent.
	Dir string
	// Seconds is how long it may run before it gets SIGQUIT, with which a Go program shows its goroutines, and then SIGKILL.
	Seconds int
	// Reboot restarts the machine after the program; the jobs behind it run in the next boot. Only guests with a disk of their own
	// remember how far they came.
	Reboot bool
}

// Statuses of a job that has none of its own.
const (
	StatusTimeout  = 124 // as timeout(1)
	StatusNotFound = 127 // it could not be started, as in sh(1)
)

const mark = "@@vm "

// Event is a mark in the guest's output.
type Event struct {
	// Kind is "boot" (the guest's user space is up), "begin", "end" (of the job named) or "note" (from init itself).
	Kind string
	// Name is the job, or a note's text.
	Name string
	// Status is how the job ended: its exit status, or 128 and the signal's number.
	Status int
	// Uptime is what the guest's clock said, in milliseconds since its kernel started.
	Uptime int64
}

// String is the line that stands for the event.
func (e Event) String() string {
	return fmt.Sprintf("%s%s %d %d %s", mark, e.Kind, e.Status, e.Uptime, e.Name)
}

// ParseEvent says whether a line of the guest's output is a mark.
func ParseEvent(line string) (Event, bool) {
	rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), mark)
	if !ok {
		return Event{}, false
	}
	kind, rest, ok1 := strings.Cut(rest, " ")
	status, rest, ok2 := strings.Cut(rest, " ")
	uptime, name, ok3 := strings.Cut(rest, " ")
	n, err1 := strconv.Atoi(status)
	ms, err2 := strconv.ParseInt(uptime, 10, 64)
	return Event{kind, name, n, ms}, ok1 && ok2 && ok3 && err1 == nil && err2 == nil
}
