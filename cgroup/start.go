package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Start starts a command that is born in the cgroup: not one instruction of its
// own runs outside. It is [exec.Cmd.Start] otherwise.
//
// On v2 the kernel makes the process in the cgroup (CLONE_INTO_CGROUP of clone(2)).
// On v1 a thread of this process joins the cgroup, starts the command, which is
// born where that thread is, and goes back; for that moment the cgroup's list of
// processes shows this one too. A cgroup that is frozen or freezing, in which the
// command would stand still before its first instruction, and Start with it, is
// refused.
func (n *Node) Start(cmd *exec.Cmd) error {
	hs, err := n.existing()
	if err != nil {
		return err
	}
	var v1 []*cgfs.Hierarchy
	for _, h := range hs {
		if h.Version() == 1 {
			v1 = append(v1, h)
			continue
		}
		dir, err := h.OpenDir(n.dir())
		if err != nil {
			return err
		}
		defer dir.Close()
		attr := syscall.SysProcAttr{}
		if cmd.SysProcAttr != nil {
			attr = *cmd.SysProcAttr
		}
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
		cmd.SysProcAttr = &attr
	}
	if still := n.still(); still != "" {
		return faultf(ErrBusy, "start in %s: it is %s; thaw it first", n, still)
	}
	if len(v1) == 0 {
		return n.explainStart(cmd.Start())
	}
	closeNull, err := openNull(cmd)
	if err != nil {
		return err
	}
	defer closeNull()
	result := make(chan error)
	go onOwnThread(func() (keep bool) {
		keep, err := startJoined(v1, n.dir(), cmd)
		result <- err
		return keep
	})
	return n.explainStart(<-result)
}

// still is "frozen" or "freezing" if whoever joins the cgroup stands still, and "" if
// not. Both versions stop them as soon as the cgroup, or one above, has been told to
// freeze, also while something in it cannot be stopped: freezer_attach in
// kernel/cgroup/legacy_freezer.c, cgroup_post_fork in kernel/cgroup/cgroup.c.
func (n *Node) still() string {
	for _, h := range n.hs {
		if h.Version() == 1 {
			if state, err := h.Read(n.dir(), "freezer.state"); err == nil && state != "THAWED" {
				return strings.ToLower(state)
			}
			continue
		}
		for dir := n.dir(); dir != ""; dir = parent(dir) {
			if told, err := h.Read(dir, "cgroup.freeze"); err == nil && told == "1" {
				return "frozen"
			}
		}
	}
	return ""
}

// explainStart says why v2 has refused a birth: clone3(2) answers EBUSY for an inner
// cgroup, of which os/exec makes a fault of the command.
func (n *Node) explainStart(err error) error {
	if errors.Is(err, syscall.EBUSY) && n.Version() != 1 {
		return faultf(ErrBusy, "start in %s: it enables controllers for the cgroups below it, so that it takes no processes on v2; name one below it (%v)", n, err)
	}
	return err
}

// onOwnThread calls f on a thread that is not the one by which the kernel knows this
// process, and that ends with f unless f says to keep it.
func onOwnThread(f func() (keep bool)) {
	runtime.LockOSThread() // a goroutine that ends locked takes its thread with it
	if !cgfs.ThreadGroupLeader() {
		if f() {
			runtime.UnlockOSThread()
		}
		return
	}
	done := make(chan struct{})
	go func() { // somewhere else, since this goroutine holds the leader
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// startJoined starts a command while the calling thread is in the cgroup. home says
// whether the thread is back where it was.
func startJoined(v1 []*cgfs.Hierarchy, dir string, cmd *exec.Cmd) (home bool, err error) {
	from, err := cgfs.Where("thread-self")
	if err != nil {
		return true, err
	}
	home = true
	for _, h := range v1 {
		back, ok := h.Dir(from)
		if err := h.JoinThread(dir); err != nil {
			return home, explainedMove(h, dir, err)
		}
		defer func() { home = ok && h.JoinThread(back) == nil && home }()
	}
	return home, cmd.Start()
}

// openNull opens what Start would open for missing streams: a cgroup of the
// devices controller may forbid it to the thread that has joined.
func openNull(cmd *exec.Cmd) (closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	null := func() *os.File {
		f, openErr := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if openErr != nil {
			err = errors.Join(err, openErr)
			return nil
		}
		files = append(files, f)
		return f
	}
	if cmd.Stdin == nil {
		cmd.Stdin = null()
	}
	if cmd.Stdout == nil {
		cmd.Stdout = null()
	}
	if cmd.Stderr == nil {
		cmd.Stderr = null()
	}
	if err != nil {
		closeAll()
	}
	return closeAll, err
}
