package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// forwarded are the signals that people send to a command, and that would
// otherwise end us and not it.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT, syscall.SIGWINCH,
}

// fromTerminal are those that a terminal sends to all processes in its foreground,
// so to the command as well. Who has sent one would be in si_code of sigaction(2),
// which sudo looks at and Go's os/signal does not show; in the foreground one that
// somebody sends to us alone is therefore lost, rather than each ^C being two.
var fromTerminal = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGWINCH}

// ignoredAtStart are those that we were started to ignore, as nohup and a shell's
// background jobs do; listening to them has changed that.
var ignoredAtStart = slices.DeleteFunc(slices.Clone(forwarded), func(s os.Signal) bool { return !signal.Ignored(s) })

// restoreIgnored ignores again what was ignored at the start.
func restoreIgnored() {
	if len(ignoredAtStart) > 0 {
		signal.Ignore(ignoredAtStart...)
	}
}

// attend starts a command and lives as long as it does: what signals us signals
// it, and it ends us as it ended.
func attend(child *exec.Cmd, start func(*exec.Cmd) error) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, slices.DeleteFunc(slices.Clone(forwarded), func(s os.Signal) bool { return slices.Contains(ignoredAtStart, s) })...)
	restoreIgnored()
	if err := start(child); err != nil {
		if errors.Is(err, cgroup.ErrNotExist) || errors.Is(err, cgroup.ErrBusy) {
			return failed(err)
		}
		return &exitError{notStarted(err), fmt.Errorf("run %s: %w", child.Path, err)}
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			if !slices.Contains(fromTerminal, s) || !inForeground() {
				_ = child.Process.Signal(s) // it may have ended
			}
		case err := <-done:
			if child.ProcessState == nil {
				return failed(fmt.Errorf("wait for %s: %w", child.Path, err))
			}
			return endAs(child.ProcessState)
		}
	}
}

// inForeground says whether this process belongs to those that its terminal
// signals: proc_pid_stat(5), fields pgrp, tty_nr and tpgid.
func inForeground() bool {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	return len(fields) > 5 && fields[4] != "0" && fields[2] == fields[5]
}

// endAs ends this process as another has ended.
func endAs(state *os.ProcessState) error {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return ended(state.ExitCode())
	}
	switch s := status.Signal(); s {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGKILL, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM:
		signal.Reset(s)
		_ = syscall.Kill(os.Getpid(), s)
		select {} // it is on its way
	default: // these would make Go's runtime print its stacks
		return ended(128 + int(s))
	}
}

func ended(status int) error {
	if status == exitDone {
		return nil
	}
	return &exitError{status: status}
}

// passedOn says whether a descriptor stays open in a command that we become.
func passedOn(fd int) bool {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	return errno == 0 && flags&syscall.FD_CLOEXEC == 0
}

// passOn undoes keepDescriptors.
func passOn(fds []int) {
	for _, fd := range fds {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0)
	}
}
