package cgfs

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Device rules on v1 (security/device_cgroup.c of the kernel): a cgroup either
// allows all devices but its exceptions, which devices.list does not show, or
// none but those. The mode changes only while it has no cgroups below, exceptions
// at any time. What is newly denied is denied below as well; what is newly allowed
// is not allowed below, because a new cgroup begins with a copy of its parent's
// exceptions. On v2 it would be, so the cgroups below that are ours and have no
// rules of their own are given the same.

// devicePolicy reads what is in force: what devices.list shows, and else our record
// of what is denied.
func (h *Hierarchy) devicePolicy(dir string) (policy, error) {
	list, err := h.Read(dir, "devices.list")
	if err != nil {
		return policy{}, err
	}
	p, err := parsePolicy(list)
	if err != nil {
		return policy{}, &Error{Op: "read", Path: h.Display(dir, "devices.list"), Err: err}
	}
	if strings.TrimSpace(list) != AllDevices {
		return p, nil
	}
	record, err := h.attribute(dir, devicesName)
	if err != nil {
		return policy{}, err
	}
	if kept, err := parsePolicy(string(record)); err == nil && kept.open && strings.HasPrefix(string(record), allBut) {
		return kept, nil
	}
	return everyDevice, nil
}

func (h *Hierarchy) writeDeviceRules(dir string, want policy) error {
	now, err := h.devicePolicy(dir)
	if err != nil {
		return err
	}
	if err := h.changeDevices(dir, want); err != nil {
		return err
	}
	var record []byte
	if want.String() != AllDevices {
		record = []byte(want.String())
	}
	if err := h.setAttribute(dir, devicesName, record); err != nil {
		return err
	}
	return h.followDevices(dir, now, want, nil)
}

// followDevices gives the cgroups below that are ours what is newly allowed: while
// exceptions are listed, unless rules of their own (keep: or of one between) deny
// it; while all is denied, to those without rules of their own.
func (h *Hierarchy) followDevices(dir string, before, want policy, keep rules) error {
	children, err := h.Children(dir)
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range children {
		child := path.Join(dir, name)
		if err := h.followInto(child, before, want, keep); err != nil && !errors.Is(err, ErrNotExist) { // it may be removed meanwhile
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (h *Hierarchy) followInto(dir string, before, want policy, keep rules) error {
	ours, err := h.Marked(dir)
	if err != nil || !ours {
		return err
	}
	record, err := h.attribute(dir, devicesName)
	if err != nil {
		return err
	}
	if !before.open || !want.open {
		if record != nil {
			return nil // and what is below follows those rules
		}
		return errors.Join(h.changeDevices(dir, want), h.followDevices(dir, before, want, keep))
	}
	if record != nil {
		own, err := parsePolicy(string(record))
		if err != nil || !own.open {
			return nil // not of our making, or a list of what it may use, which the kernel keeps
		}
		keep = keep.with(own.rules)
	}
	for _, n := range before.rules.sorted() {
		if bits := before.rules[n] &^ want.rules[n] &^ keep[n]; bits != 0 {
			err := h.writeRaw(path.Join(dir, "devices.allow"), n.String()+" "+bits.String())
			if err != nil && !errors.Is(err, unix.EPERM) { // a foreign cgroup between still denies it
				return err
			}
		}
	}
	return h.followDevices(dir, before, want, keep)
}

// with is the union of rules.
func (r rules) with(more rules) rules {
	out := maps.Clone(r)
	if out == nil {
		out = rules{}
	}
	for n, bits := range more {
		out[n] |= bits
	}
	return out
}

// changeDevices makes the kernel's rules those of a policy.
func (h *Hierarchy) changeDevices(dir string, want policy) error {
	list, err := h.Read(dir, "devices.list")
	if err != nil {
		return err
	}
	// The kernel's mode: while all is denied, everything may be listed.
	var now policy
	listing := strings.TrimSpace(list) != AllDevices
	if listing {
		now.rules, err = parseRuleList(list)
	} else {
		now, err = h.devicePolicy(dir)
	}
	if err != nil {
		return err
	}
	switch {
	case want.open && listing:
		if now, want, err = h.openDevices(dir, now, want); err != nil {
			return err
		}
	case !want.open && !listing:
		err := h.changeMode(dir, "devices.deny")
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("the kernel begins to deny all devices only in a cgroup that has no child cgroups: remove those, or give this one its rules before them (%w)", err)
		}
		if err != nil {
			return err
		}
		now = policy{rules: rules{}}
	}
	for _, w := range ruleChanges(now, want) {
		err := h.writeRaw(path.Join(dir, w.file), w.text)
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%s is not allowed to the cgroup above: %w", w.text, err)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", w.file, w.text, err)
		}
	}
	return nil
}

// dyingPatience is how long a cgroup that was removed may count as a child still.
const dyingPatience = 500 * time.Millisecond

// changeMode allows or denies all devices. The kernel refuses that to a cgroup with
// cgroups below it, and one that was just removed is one until a worker of the kernel
// has taken it offline (css_has_online_children): that is waited for.
func (h *Hierarchy) changeMode(dir, file string) error {
	for deadline := time.Now().Add(dyingPatience); ; time.Sleep(time.Millisecond) {
		err := h.writeRaw(path.Join(dir, file), "a")
		if !errors.Is(err, unix.EINVAL) || time.Now().After(deadline) {
			return err
		}
		if children, listErr := h.Children(dir); listErr != nil || len(children) > 0 {
			return err
		}
	}
}

// openDevices ends the mode in which all is denied but what is listed. Where the
// kernel refuses that, everything is listed, which is the same if nothing is denied.
func (h *Hierarchy) openDevices(dir string, now, want policy) (policy, policy, error) {
	err := h.changeMode(dir, "devices.allow")
	switch {
	case err == nil:
		return everyDevice, want, nil // but for what the cgroup above denies, which the kernel copies
	case len(want.rules) == 0:
		return now, policy{rules: rules{allNodes[0]: 7, allNodes[1]: 7}}, nil
	case errors.Is(err, unix.EINVAL):
		return now, want, fmt.Errorf("the kernel ends the denial of all devices only in a cgroup that has no child cgroups: remove those, or list in allow what may be used (%w)", err)
	case errors.Is(err, unix.EPERM):
		return now, want, fmt.Errorf("the cgroup above is denied all devices but those that it lists: list in allow what may be used (%w)", err)
	}
	return now, want, err
}

// AllowDevice lets a cgroup use a device, in addition to what it may use already.
func (h *Hierarchy) AllowDevice(dir string, r Rule) error { return h.changeRule(dir, r, true) }

// DenyDevice takes the use of a device from a cgroup. As in the kernel, a rule takes
// away what was allowed in the same words; where everything is allowed it is an
// exception to that.
func (h *Hierarchy) DenyDevice(dir string, r Rule) error { return h.changeRule(dir, r, false) }

func (h *Hierarchy) changeRule(dir string, r Rule, allow bool) error {
	text, err := h.Read(dir, DevicesFile)
	if err != nil {
		return err
	}
	p, err := parsePolicy(text)
	if err != nil {
		return err
	}
	if r.Type == 'a' {
		return h.Write(dir, DevicesFile, policy{open: allow, rules: rules{}}.String())
	}
	if p.rules == nil {
		p.rules = rules{}
	}
	change := rules{}
	if err := change.add(r.String()); err != nil {
		return &Error{Op: "change the rules of", Path: h.Display(dir), Err: err}
	}
	for n, bits := range change {
		if allow != p.open {
			p.rules[n] |= bits
		} else if p.rules[n] &^= bits; p.rules[n] == 0 {
			delete(p.rules, n)
		}
	}
	return h.Write(dir, DevicesFile, p.String())
}

// writeRaw writes to a control file and gives the kernel's bare answer.
func (h *Hierarchy) writeRaw(file, text string) error {
	fd, err := h.openat(file, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return write(fd, text)
}
