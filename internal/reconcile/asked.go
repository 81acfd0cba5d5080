package reconcile

import (
	"errors"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// What a tree asks of the kernel's files.

// files are the control files of p that the tree speaks of.
func (t *Tree) files(p string) []string {
	var out []string
	if d, ok := t.Dir(p); ok {
		out = append(out, d.Inherit...)
		for _, s := range d.Settings {
			out = append(out, s.source())
		}
	}
	for _, i := range t.resets[p] {
		out = append(out, t.Resets[i].source())
	}
	return out
}

// armed finds the disks whose counters run already: the hierarchy's root lists a
// disk from the moment that any cgroup has a rule for it.
func (o *observer) armed(t *Tree) error {
	if len(t.Arm) == 0 {
		return nil
	}
	o.state.Armed, o.state.Ruled = map[string]bool{}, map[string][]string{}
	text, err := o.fs.Read("", cgfs.ArmedFile)
	if errors.Is(err, cgfs.ErrNotExist) { // a kernel without throttling counts elsewhere
		for _, disk := range t.Arm {
			o.state.Armed[disk] = true
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, disk := range t.Arm {
		o.state.Armed[disk] = strings.Contains("\n"+text, "\n"+disk+" ")
	}
	if !slices.ContainsFunc(t.Arm, func(disk string) bool { return !o.state.Armed[disk] }) {
		return nil
	}
	for p := range o.state.Nodes {
		rules, err := o.fs.Read(t.Full(p), cgfs.ArmFile)
		if err != nil {
			if err := o.unlessGone(p, err); err != nil {
				return err
			}
		}
		for line := range strings.Lines(rules) {
			disk, _, _ := strings.Cut(line, " ")
			o.state.Ruled[disk] = append(o.state.Ruled[disk], p)
		}
	}
	return nil
}
