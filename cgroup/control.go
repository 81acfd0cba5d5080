package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Freeze makes all processes of the cgroup, and of those below it, stand still,
// and returns once they do. On v1 the node needs the freezer controller. A cgroup
// that this process is in is refused: it could not thaw itself.
func (n *Node) Freeze(ctx context.Context) error { return n.freeze(ctx, true) }

// Thaw lets the processes go on.
func (n *Node) Thaw(ctx context.Context) error { return n.freeze(ctx, false) }

// Frozen says whether the processes stand still, be it for the cgroup's own sake
// or for that of one above.
func (n *Node) Frozen() (bool, error) {
	h, err := n.freezer()
	if err != nil {
		return false, err
	}
	return frozen(h, n.dir())
}

// freezer is the node's hierarchy that can freeze.
func (n *Node) freezer() (*cgfs.Hierarchy, error) {
	for _, h := range n.hs {
		if h.Version() == 2 || slices.Contains(h.Subsystems(), "freezer") {
			if n.path == "" {
				return nil, faultf(ErrNotSupported, "freeze %s: it is the root", n)
			}
			if _, err := h.Stat(n.dir()); err != nil {
				return nil, err
			}
			return h, nil
		}
	}
	return nil, faultf(ErrNotSupported, "freeze %s: the freezer controller is not among its hierarchies", n)
}

func (n *Node) freeze(ctx context.Context, yes bool) error {
	h, err := n.freezer()
	if err != nil {
		return err
	}
	if yes {
		if inside, err := contains(h, n.dir(), "self"); err != nil || inside {
			return errors.Join(err, faultf(ErrBusy, "freeze %s: this process is in it", h.Display(n.dir())))
		}
	}
	if err := writeFreezer(h, n.dir(), yes); err != nil {
		return err
	}
	if !yes {
		return nil // one above may keep it frozen
	}
	return faultOf(ctx, poll(ctx, func() (bool, error) {
		done, err := frozen(h, n.dir())
		if err == nil && !done && h.Version() == 1 {
			// v1 may get stuck in FREEZING; writing again makes it look again
			// (freezer-subsystem.rst).
			err = writeFreezer(h, n.dir(), true)
		}
		return done, err
	}), func() string {
		return "freeze " + h.Display(n.dir()) + ": its processes do not all stand still yet; they go on once it is thawed"
	})
}

func writeFreezer(h *cgfs.Hierarchy, dir string, yes bool) error {
	file, text := "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[yes]
	if h.Version() == 2 {
		file, text = "cgroup.freeze", map[bool]string{true: "1", false: "0"}[yes]
	}
	return h.Write(dir, file, text)
}

func frozen(h *cgfs.Hierarchy, dir string) (bool, error) {
	if h.Version() == 1 {
		state, err := h.Read(dir, "freezer.state")
		return state == "FROZEN", err
	}
	events, err := h.Read(dir, "cgroup.events")
	return strings.Contains(events+"\n", "frozen 1\n"), err
}

// poll calls f until it is true.
func poll(ctx context.Context, f func() (bool, error)) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		done, err := f()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Kill ends all processes of the cgroup, and of those below it, by SIGKILL, and
// returns once there are none left or ctx ends. What they fork meanwhile is killed
// too; a process of which only threads are in it (v1) is not: it is another's. A
// cgroup that this process is in, and a root, is refused. When ctx has ended,
// the error is that of ctx, in words on who is left: such as what another cgroup of
// v1 keeps frozen, which ends once that is thawed.
func (n *Node) Kill(ctx context.Context) error {
	if n.path == "" {
		return faultf(ErrNotSupported, "kill %s: it is the root", n)
	}
	hs, err := n.existing()
	if err != nil {
		return err
	}
	for _, h := range hs {
		if inside, err := contains(h, n.dir(), "self"); err != nil || inside {
			return errors.Join(err, faultf(ErrBusy, "kill %s: this process is in it", h.Display(n.dir())))
		}
	}
	for _, h := range hs {
		if h.Version() == 2 && h.Exists(n.dir(), "cgroup.kill") { // not before Linux 5.14
			if err := h.Write(n.dir(), "cgroup.kill", "1"); err != nil {
				return explainThreaded(h, n.dir(), err)
			}
		}
	}
	return faultOf(ctx, poll(ctx, func() (bool, error) {
		alive := false
		for _, h := range hs {
			more, err := n.killIn(h)
			if err != nil {
				return false, err
			}
			alive = alive || more
		}
		return !alive, nil
	}), func() string { return "kill " + n.String() + ": " + n.survivors() })
}

// faultOf says in words of ours what has not happened when ctx ended.
func faultOf(ctx context.Context, err error, text func() string) error {
	if err == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	return faultf(err, "%s", text())
}

// survivors says who is left after a Kill, and why as far as that can be seen.
func (n *Node) survivors() string {
	pids, err := n.AllProcs()
	if err != nil || len(pids) == 0 {
		return "not all processes had ended in time"
	}
	left := func(pid int, why string) string {
		return fmt.Sprintf("%d of its processes have not ended, such as %d, %s", len(pids), pid, why)
	}
	for _, pid := range pids {
		if by := n.host.frozenBy(pid); by != "" {
			return left(pid, "which is frozen and ends once "+by+" is thawed")
		}
		if home := n.homeOf(pid); home != "" {
			return left(pid, "of which only threads are in it and the first one is in "+home)
		}
	}
	return left(pids[0], "which the kernel holds")
}

// homeOf is where the first thread of a process is, if that is not in or below n.
func (n *Node) homeOf(pid int) string {
	at, err := cgfs.Where(strconv.Itoa(pid))
	if err != nil {
		return ""
	}
	for _, h := range n.hs {
		if dir, ok := h.Dir(at); ok && below(dir, n.dir()) {
			return ""
		}
	}
	dir, _ := n.hs[0].Dir(at)
	return n.hs[0].Display(dir)
}

// frozenBy is the cgroup of v1 for which a process stands still, and would not die:
// the nearest one that was told to freeze; "" if there is none. v2 kills what is
// frozen.
func (h *Host) frozenBy(pid int) string {
	at, err := cgfs.Where(strconv.Itoa(pid))
	freezer := h.layout.Hierarchy("freezer")
	if err != nil || freezer == nil || freezer.Version() != 1 {
		return ""
	}
	dir, ok := freezer.Dir(at)
	for ; ok && dir != ""; dir = parent(dir) {
		if self, err := freezer.Read(dir, "freezer.self_freezing"); err == nil && self == "1" {
			return freezer.Display(dir)
		}
	}
	return ""
}

// killIn signals what is in the cgroup and below it in one hierarchy, and says
// whether there was anything. What is frozen on v1 would not die, so it is thawed.
func (n *Node) killIn(h *cgfs.Hierarchy) (alive bool, err error) {
	one := n.at(n.path, []*cgfs.Hierarchy{h})
	for node, err := range one.Walk() {
		if vanished(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		pids, err := h.Procs(node.dir(), nil)
		threaded := errors.Is(err, ErrNotSupported) && node.path != n.path // its processes are listed above it
		if err != nil && !vanished(err) && !threaded {
			return false, err
		}
		for _, pid := range pids {
			alive = true
			if err := killOne(h, n.dir(), pid); err != nil {
				return false, err
			}
		}
	}
	if alive && h.Version() == 1 && slices.Contains(h.Subsystems(), "freezer") {
		for node, err := range one.Walk() {
			if err == nil {
				err = writeFreezer(h, node.dir(), false)
			}
			if err != nil && !vanished(err) {
				return false, err
			}
		}
	}
	return alive, nil
}

// killOne signals one process that is still in the cgroup. The handle is taken
// first, so that another process of the same number is never hit.
func killOne(h *cgfs.Hierarchy, dir string, pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil // it has ended
	}
	defer func() { _ = p.Release() }()
	if inside, err := contains(h, dir, strconv.Itoa(pid)); err != nil || !inside {
		if errors.Is(err, ErrGone) {
			return nil
		}
		return err
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return faultf(err, "kill process %d in %s: %v", pid, h.Display(dir), err)
	}
	return nil
}

// contains says whether a process is in dir or below it.
func contains(h *cgfs.Hierarchy, dir, pid string) (bool, error) {
	at, err := cgfs.Where(pid)
	if err != nil {
		return false, err
	}
	own, ok := h.Dir(at)
	return ok && below(own, dir), nil
}
