package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/cgrouparch/cgrouparch/test/vm/job"
)

// runAll runs the jobs listed in dir. With a state directory, on a disk, it knows which ran before a reboot.
func runAll(out *os.File, dir, state string) {
	say(out, job.Event{Kind: "boot"})
	var jobs []job.Job
	data, err := os.ReadFile(filepath.Join(dir, job.File))
	if err == nil {
		err = json.Unmarshal(data, &jobs)
	}
	var first int
	if err == nil {
		first, err = resume(state)
	}
	if err != nil {
		note(out, err)
		return
	}
	for i, j := range jobs {
		if i < first {
			continue
		}
		say(out, job.Event{Kind: "begin", Name: j.Name})
		status := run(j, out)
		say(out, job.Event{Kind: "end", Name: j.Name, Status: status})
		if j.Reboot {
			note(out, reboot(out, state, i+1))
			return
		}
	}
}

// resume returns the number of the job to go on with. The state is taken away: a guest that restarts without having been asked to
// begins anew, which the host notices.
func resume(state string) (int, error) {
	if state == "" {
		return 0, nil
	}
	file := filepath.Join(state, "next")
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// reboot restarts the machine in good order and returns an error or not at all.
func reboot(out *os.File, state string, next int) error {
	if state == "" {
		return errors.New("a guest without a disk cannot reboot")
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(state, "next"), []byte(strconv.Itoa(next)), 0o644); err != nil {
		return err
	}
	drain(out)
	if err := exec.Command("systemctl", "--no-block", "reboot").Run(); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	select {} // ended by systemd, like everybody
}

// run runs one job and returns its status. As process 1 it also reaps whatever is left to it, which os/exec would not.
func run(j job.Job, out *os.File) int {
	if err := os.MkdirAll(j.Dir, 0o755); err != nil {
		note(out, err)
		return job.StatusNotFound
	}
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, j.Dir
	cmd.Env = append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root", "TMPDIR=/tmp", "LANG=C",
	}, j.Env...)
	if err := cmd.Start(); err != nil {
		note(out, fmt.Errorf("job %s: %w", j.Name, err))
		return job.StatusNotFound
	}
	late := make(chan bool, 1)
	timer := time.AfterFunc(time.Duration(j.Seconds)*time.Second, func() {
		late <- true
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		time.Sleep(5 * time.Second)
		_ = cmd.Process.Kill()
	})
	status := wait(cmd.Process.Pid)
	timer.Stop()
	select {
	case <-late:
		return job.StatusTimeout
	default:
		return status
	}
}

func wait(child int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return job.StatusNotFound
		case pid == child && status.Exited():
			return status.ExitStatus()
		case pid == child && status.Signaled():
			return 128 + int(status.Signal())
		}
	}
}
