package cgroup

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Guest is a virtual machine of libvirt's QEMU driver.
type Guest struct {
	// Node is the guest's cgroup: under systemd the scope, in which systemd's
	// settings are; libvirt's own are in the cgroup "libvirt" below it, if there is
	// one, which [Guest.Libvirt] gives.
	*Node
	// Name is the guest's name without what libvirt puts around it.
	Name string
	// ID is the number of the running guest where its cgroup's name has one, else 0.
	ID int
}

// Guests are the virtual machines whose cgroups are seen, sorted by path, by
// libvirt's names, old and new (libvirt.org/cgroups.html):
//
//	/machine.slice/machine-qemu\x2d1\x2dNAME.scope         with systemd
//	/machine/qemu-1-NAME.libvirt-qemu                      without
//	/machine/PARTITION.partition/NAME.libvirt-qemu         partitions, no number in older ones
//	/libvirt/qemu/NAME                                     before libvirt 1.0.5
func (h *Host) Guests() ([]*Guest, error) {
	var out []*Guest
	var errs []error
	for n, err := range h.Root().Walk() {
		if err != nil {
			errs = append(errs, err)
		}
		if name, id, ok := guestName(n.path); ok {
			out = append(out, &Guest{n, name, id})
		}
	}
	return out, errors.Join(errs...)
}

// Guest finds a guest by name, or by the name of its cgroup.
func (h *Host) Guest(name string) (*Guest, error) {
	guests, err := h.Guests()
	for _, g := range guests {
		if g.Name == name || g.Node.Name() == name {
			return g, nil
		}
	}
	return nil, errors.Join(faultf(ErrNotExist, "%s: no guest of that name", name), err)
}

// guestName reads the name of a guest from the path of its cgroup.
func guestName(p string) (name string, id int, ok bool) {
	base, dir := path.Base(p), path.Dir(p)
	if inner, found := strings.CutSuffix(base, ".scope"); found {
		inner, found = strings.CutPrefix(unescapeUnit(inner), "machine-qemu-")
		if found && inner != "" {
			name, id = cutID(inner)
			return name, id, true
		}
	}
	if inner, found := strings.CutSuffix(base, ".libvirt-qemu"); found && inner != "" {
		if numbered, found := strings.CutPrefix(inner, "qemu-"); found {
			if name, id = cutID(numbered); id > 0 {
				return name, id, true
			}
		}
		return inner, 0, true
	}
	if path.Base(dir) == "qemu" && path.Base(path.Dir(dir)) == "libvirt" {
		return base, 0, true
	}
	return "", 0, false
}

// cutID takes "1-NAME" apart.
func cutID(s string) (name string, id int) {
	number, rest, found := strings.Cut(s, "-")
	if n, err := strconv.Atoi(number); found && err == nil && n > 0 && rest != "" {
		return rest, n
	}
	return s, 0
}

// unescapeUnit undoes how systemd spells special characters in unit names:
// "\x2d" is a dash (systemd-escape(1)).
func unescapeUnit(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Libvirt is the cgroup in which libvirt keeps the parts of the guest, and its own
// settings: the guest's, or the one below it that newer libvirts make.
func (g *Guest) Libvirt() *Node {
	if inner, err := g.Find("libvirt"); err == nil {
		return inner
	}
	return g.Node
}

// VCPUs are the cgroups of the virtual processors, by number.
func (g *Guest) VCPUs() ([]*Node, error) {
	children, err := g.Libvirt().Children()
	if err != nil {
		return nil, err
	}
	children = slices.DeleteFunc(children, func(n *Node) bool { return vcpu(n) < 0 })
	slices.SortFunc(children, func(a, b *Node) int { return vcpu(a) - vcpu(b) })
	return children, nil
}

// vcpu is the number of a virtual processor's cgroup, -1 for another.
func vcpu(n *Node) int {
	digits, ok := strings.CutPrefix(n.Name(), "vcpu")
	number, err := strconv.Atoi(digits)
	if !ok || err != nil || number < 0 {
		return -1
	}
	return number
}

// Emulator is the cgroup of what is not a virtual processor.
func (g *Guest) Emulator() (*Node, error) { return g.Libvirt().Find("emulator") }
