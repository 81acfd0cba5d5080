package reconcile

import (
	"errors"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// What the unified hierarchy has besides: which controllers a cgroup enables for its
// children, and whether processes stand in the way of that (cgroup-v2.rst, "No
// Internal Process Constraint").

// control reads what the cgroups above our root enable.
func (o *observer) control(t *Tree) error {
	o.state.Control, o.reshaped = nil, true
	if !t.Controlled || t.Root == "" {
		return nil
	}
	for dir := parent(t.Root); ; dir = parent(dir) {
		c, err := o.controlOf(dir)
		if err != nil {
			return err
		}
		o.state.Control = append(o.state.Control, c)
		if dir == "" {
			break
		}
	}
	slices.Reverse(o.state.Control)
	return nil
}

func (o *observer) controlOf(dir string) (Control, error) {
	c := Control{Dir: dir}
	if slices.Contains(o.state.Missing, dir) {
		return c, nil
	}
	if _, err := o.watched(dir); err != nil {
		return c, err
	}
	text, err := o.fs.Read(dir, ControlFile)
	if err != nil {
		return c, err
	}
	c.Enabled = strings.Fields(text)
	// Only the kernel's own root has no type.
	switch _, err := o.fs.Read(dir, typeFile); {
	case errors.Is(err, cgfs.ErrNotExist):
		return c, nil
	case err != nil:
		return c, err
	}
	c.Populated, err = o.populated(dir)
	return c, err
}

// controls reads what a cgroup of a controlled tree enables, and whether a
// configured one holds processes that stand in the way.
func (o *observer) controls(t *Tree, p string, d *Dir, n *Node) error {
	if !t.Controlled {
		return nil
	}
	if n.Enabled == nil {
		text, err := o.fs.Read(t.Full(p), ControlFile)
		if err != nil {
			return err
		}
		n.Enabled = append([]string{}, strings.Fields(text)...)
	}
	if d == nil || len(d.Enable) == 0 && len(n.Enabled) == 0 {
		n.Counted = false // nobody keeps it true any more
		n.Populated = n.Populated && n.Foreign
		return nil
	}
	if n.Counted {
		return nil
	}
	procs, err := o.fs.Procs(t.Full(p), nil)
	if err != nil && !errors.Is(err, cgfs.ErrNotSupported) {
		return err
	}
	n.Counted, n.Populated = true, len(procs) > 0
	return nil
}

// populated says whether dir itself holds processes. The list of a threaded cgroup
// cannot be had: it is taken for one that does.
func (o *observer) populated(dir string) (bool, error) {
	procs, err := o.fs.Procs(dir, nil)
	if errors.Is(err, cgfs.ErrNotSupported) {
		return true, nil
	}
	return len(procs) > 0, err
}
