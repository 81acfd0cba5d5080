package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Create makes the cgroup, and those above it that are missing, in each of the
// node's hierarchies. It is silent about what is there already.
//
// So that it can take processes at once, a new cpuset of v1 gets the CPUs and
// memory nodes of its parent. On v2 the controllers that the node was named with
// are enabled for it, unless a cgroup above has processes or belongs to somebody
// else; they and others are, or say why not, when something of theirs is set.
func (n *Node) Create() error {
	if n.view == trunk {
		return faultf(ErrNotSupported, "create %s: it is the mount", n)
	}
	for _, h := range n.hs {
		if err := n.createIn(h); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) createIn(h *cgfs.Hierarchy) error {
	dir := ""
	for part := range strings.SplitSeq(n.dir(), "/") {
		dir = path.Join(dir, part)
		if _, err := h.Stat(dir); err == nil {
			continue
		}
		if err := h.MkdirUnmarked(dir); errors.Is(err, ErrExist) {
			continue // somebody was faster, or it is a second name of a co-mounted pair
		} else if errors.Is(err, syscall.EAGAIN) { // cgroup-v2.rst, "Core Interface Files"
			return faultf(err, "%v: max_depth or max_descendants of a cgroup above it allows no more", err)
		} else if err != nil {
			return err
		}
		if err := inherit(h, dir); err != nil {
			if _, gone := h.Stat(dir); gone != nil {
				return gone // somebody has removed it meanwhile
			}
			if err = inherit(h, dir); err != nil { // or made it anew
				return err
			}
		}
	}
	if h.Version() == 2 {
		for _, c := range n.named {
			if err := n.enable(h, c); err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// inherit copies what a new cgroup of v1 cannot do without.
func inherit(h *cgfs.Hierarchy, dir string) error {
	if h.Version() != 1 {
		return nil
	}
	for _, subsystem := range h.Subsystems() {
		for _, file := range cgfs.InheritFiles(subsystem) {
			text, err := h.Read(parent(dir), file)
			if err != nil {
				return err
			}
			if own, err := h.Read(dir, file); err == nil && own != "" {
				continue // cgroup.clone_children has copied it
			}
			if err := h.Write(dir, file, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// enable makes a controller's files appear in a v2 cgroup: it must be enabled in
// the cgroup.subtree_control of all cgroups above. One that has processes is
// refused: enabling some controllers there succeeds and leaves children that can
// take no process (cgroup-v2.rst, "No Internal Process Constraint").
func (n *Node) enable(h *cgfs.Hierarchy, subsystem string) error {
	controller := cgfs.Controller(subsystem)
	if controller == "" || !slices.Contains(h.Subsystems(), controller) {
		return nil
	}
	dir := ""
	for _, part := range append(strings.Split(n.dir(), "/"), "") {
		if part == "" {
			break
		}
		if err := enableIn(h, dir, controller); err != nil {
			return err
		}
		dir = path.Join(dir, part)
	}
	return nil
}

func enableIn(h *cgfs.Hierarchy, dir, controller string) error {
	text, err := h.Read(dir, "cgroup.subtree_control")
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(text), controller) {
		return nil
	}
	if h.Exists(dir, "cgroup.type") { // all but the real root, which may have processes
		pids, err := h.Procs(dir, nil)
		if err != nil {
			return err
		}
		if len(pids) > 0 {
			return faultf(ErrBusy, "enable %s in %s: it has processes of its own; move them into a cgroup below it first", controller, h.Display(dir))
		}
	}
	return h.Write(dir, "cgroup.subtree_control", "+"+controller)
}

// DeleteOptions say how a cgroup is removed. The zero value moves its processes to
// its parent, and refuses to remove what has cgroups below.
type DeleteOptions struct {
	// To takes the processes; nil: the parent. An inner cgroup of v2 takes none;
	// then it is the nearest cgroup above that does. Threads of a threaded cgroup of
	// v2 go to the parent, since they cannot leave their process.
	To *Node
	// Recursive: with all cgroups below.
	Recursive bool
}

// Delete moves the processes out of the cgroup and removes it. New ones that are
// born meanwhile are moved too, until the cgroup is gone or ctx ends. It is silent
// about a cgroup that is not there. Recursive finds also what lies too deep for a
// path (see [Node.Walk]).
func (n *Node) Delete(ctx context.Context, o DeleteOptions) error {
	if n.path == "" {
		return faultf(ErrNotSupported, "delete %s: it is the root", n)
	}
	if o.To != nil && below(o.To.dir(), n.dir()) {
		return faultf(ErrInvalid, "delete %s: its processes cannot go to %s, which is removed with it", n, o.To)
	}
	hs := slices.DeleteFunc(slices.Clone(n.hs), func(h *cgfs.Hierarchy) bool {
		_, err := h.Stat(n.dir())
		return vanished(err)
	})
	if !o.Recursive {
		for _, h := range hs {
			children, err := h.Children(n.dir())
			if errors.Is(err, ErrTooLong) {
				return err
			}
			if err == nil && len(children) > 0 {
				return faultf(ErrBusy, "delete %s: it has cgroups below it, such as %s", h.Display(n.dir()), children[0])
			}
		}
	}
	for _, h := range hs {
		to := parent(n.dir())
		if o.To != nil {
			to = o.To.dir()
		}
		if err := deleteIn(ctx, h, n.dir(), to); err != nil {
			return err
		}
	}
	return nil
}

// deleteIn removes dir and all below it. What has no path, or no file with a path, is
// removed without.
func deleteIn(ctx context.Context, h *cgfs.Hierarchy, dir, to string) error {
	err := deleteByPath(ctx, h, dir, to)
	if errors.Is(err, ErrTooLong) {
		err = h.RemoveTree(ctx, dir, cgfs.Removal{Leave: func(up *cgfs.Hierarchy, name string) error { return moveOut(up, name, h, to) }})
	}
	return err
}

func deleteByPath(ctx context.Context, h *cgfs.Hierarchy, dir, to string) error {
	children, err := h.Children(dir)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := deleteIn(ctx, h, path.Join(dir, c), to); err != nil {
			return err
		}
	}
	return retry(ctx, func() error {
		err := moveOut(h, dir, h, to)
		if err == nil {
			err = h.Rmdir(dir)
		}
		if !vanished(err) {
			return err
		}
		if _, missing := h.Stat(to); vanished(missing) { // what has vanished may be this
			if _, gone := h.Stat(dir); gone == nil {
				return missing
			}
		}
		return nil
	})
}

// moveOut moves what is in dir of h to another cgroup of the same hierarchy, which
// is called target where h is seen from another place: processes, but of those that
// have threads elsewhere as well only the threads that are here.
func moveOut(h *cgfs.Hierarchy, dir string, target *cgfs.Hierarchy, to string) error {
	pids, err := h.Procs(dir, nil)
	if h.Version() == 2 && errors.Is(err, ErrNotSupported) { // threaded: cgroup-v2.rst, "Threads"
		tids, err := h.Tasks(dir, nil)
		return errors.Join(err, moveThreads(h, parent(dir), tids))
	}
	if err != nil {
		return err
	}
	return leave(h, dir, slices.DeleteFunc(pids, func(pid int) bool { return isVisiting(h, dir, pid) }), target, to)
}

// leave is moveOut of some of the processes that are listed in dir.
func leave(h *cgfs.Hierarchy, dir string, pids []int, target *cgfs.Hierarchy, to string) error {
	whole, threads, err := h.Split(dir, pids)
	if err != nil {
		return err
	}
	if err := moveThreads(target, to, threads); err != nil || len(whole) == 0 {
		return err
	}
	return moveUp(target, to, whole)
}

func moveThreads(h *cgfs.Hierarchy, to string, tids []int) error {
	for _, tid := range tids {
		if err := h.MoveThread(to, tid); err != nil && !errors.Is(err, ErrGone) {
			return err
		}
	}
	return nil
}

// retry calls f until it answers something else than ErrBusy.
func retry(ctx context.Context, f func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := f()
		if !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// moveUp moves processes to dir, or to the nearest cgroup above that takes them.
func moveUp(h *cgfs.Hierarchy, dir string, pids []int) error {
	for {
		var errs []error
		err := h.Move(dir, pids, func(_ int, err error) {
			if !errors.Is(err, ErrGone) {
				errs = append(errs, err)
			}
		})
		err = errors.Join(append(errs, err)...)
		if !errors.Is(err, ErrBusy) || h.Version() != 2 || dir == "" {
			return err
		}
		dir = parent(dir)
	}
}

// deepPatience is how long DeleteEmpty looks into what is too deep for a path, where
// others may make cgroups as fast as they are removed.
const deepPatience = 10 * time.Second

// DeleteEmpty removes all cgroups below the node, and at last the node, that have
// neither processes nor cgroups below them. It gives those that it removed, but of
// what lies too deep for a path (see [Node.Walk]) only the topmost.
func (n *Node) DeleteEmpty() ([]*Node, error) {
	var removed []*Node
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), deepPatience)
	defer cancel()
	for node, err := range n.WalkUp() {
		remove := func(h *cgfs.Hierarchy, dir string) error { return h.Rmdir(dir) }
		if errors.Is(err, ErrTooLong) {
			remove = func(h *cgfs.Hierarchy, dir string) error { return h.RemoveTree(ctx, dir, cgfs.Removal{}) }
		} else if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, one := range node.Split() {
			if one.path == "" {
				continue
			}
			err := remove(one.hs[0], one.dir())
			switch {
			case err == nil:
				removed = append(removed, one)
			case !errors.Is(err, ErrBusy) && !vanished(err):
				errs = append(errs, err)
			}
		}
	}
	return removed, errors.Join(errs...)
}

// Delegate makes the cgroup, if need be, and gives it to a user, by the numbers of
// the user and the group: they can make cgroups below it and move their own
// processes about among them, but cannot change the limits of the cgroup itself,
// nor touch anything else.
//
// On v2 the first process has to be moved in for them (see [Node.Add]): the kernel
// asks for a right on the cgroup above both places. On v1 they can fetch their own
// from anywhere.
func (n *Node) Delegate(uid, gid int) error {
	if n.path == "" {
		return faultf(ErrNotSupported, "delegate %s: it is the root", n)
	}
	if err := n.Create(); err != nil {
		return err
	}
	for _, h := range n.hs {
		if err := h.Delegate(n.dir(), uid, gid); err != nil {
			return err
		}
	}
	return nil
}
