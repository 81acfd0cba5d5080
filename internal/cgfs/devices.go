package cgfs

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// devices: Documentation/admin-guide/cgroup-v1/devices.rst; cgroup-v2.rst,
// "Device controller": a program of eBPF there, and no files.
//
// devices.list of v1 says nothing about what is denied while everything else is
// allowed. So the only rules are those that can be seen to be in force: nothing
// is allowed but what is listed.

// DevicesFile stands for the device rules of a cgroup: [Hierarchy.Read] and
// [Hierarchy.Write] know it, the kernel does not. It reads as what the cgroup may
// use, sorted: "c 1:3 rwm, c 1:5 rw", [AllDevices] or [NoDevices].
const DevicesFile = "devices.rules"

// What DevicesFile reads as where there is nothing to list.
const (
	AllDevices = "a *:* rwm" // as devices.list says it
	NoDevices  = "none"
)

var (
	devices1 = []File{{Name: DevicesFile, Probe: "devices.list", Default: AllDevices, Note: "written to `devices.deny` and `devices.allow`, one rule a write, seen in `devices.list`"}}
	devices2 = []File{{Name: DevicesFile, Default: AllDevices, Note: "a program of eBPF on the cgroup"}}
)

var devicesSettings = []Setting{
	{
		Key: "deny", Thing: "rules/deny", Doc: "that it may use no device but those of `allow`", Value: plainly("`[\"a\"]`", denied), Default: TextDefault,
		V1: devices1, V2: devices2, on1: deviceRules, on2: deviceRules,
	},
	{
		Key: "allow", Thing: "rules/allow", Doc: "the devices that it may use; needs `deny`", Value: plainly("an array of rules such as `\"c 1:3 rwm\"` or `\"b 8:* r\"`", allowed), Default: TextDefault,
		V1: devices1, V2: devices2, on1: withDeny, on2: withDeny,
	},
}

// lacksDeny says that a conf has rules that nothing would keep to.
func lacksDeny(subsystem string, keys []string) bool {
	return subsystem == "devices" && slices.Contains(keys, "allow") && !slices.Contains(keys, "deny")
}

// denied takes the one form that v1 can show afterwards.
func denied(value any) (string, error) {
	list, _ := value.([]any)
	if len(list) == 1 && (list[0] == "a" || list[0] == "all" || list[0] == AllDevices) {
		return "a", nil
	}
	return "", errors.New(`must be ["a"]: the kernel does not show which single devices are denied, so deny all and list in allow what may be used`)
}

func allowed(value any) (string, error) {
	list, ok := value.([]any)
	if !ok {
		return "", fmt.Errorf("not an array of rules: %s", describe(value))
	}
	all := rules{}
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return "", fmt.Errorf("not a rule such as \"c 1:3 rwm\": %s", describe(e))
		}
		if err := all.add(s); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// deviceRules writes both settings at once: they are one state of the kernel's.
func deviceRules(t *translation, s *Setting, text string) {
	f, ok := t.pick(s)
	if !ok {
		return
	}
	w := Write{ID: s.Key, Keys: []string{"deny"}, File: f.Name, Text: f.Default}
	if text != TextDefault {
		w.Text = either(t.conf["allow"], NoDevices)
		w.Before = t.caps.Version == 1
		if t.conf["allow"] != "" {
			w.Keys = append(w.Keys, "allow")
		}
	}
	w.Want = w.Text
	t.writes = append(t.writes, w)
}

func withDeny(*translation, *Setting, string) {}

// access is what may be done with a device: a set of bits in the kernel's order.
type access uint8

// accessLetters are read, write and mknod.
const accessLetters = "rwm"

func (a access) String() string {
	var b strings.Builder
	for i, letter := range accessLetters {
		if a&(1<<i) != 0 {
			b.WriteRune(letter)
		}
	}
	return b.String()
}

// node is a device, or many where a number is -1.
type node struct {
	kind         byte // 'b' or 'c'
	major, minor int64
}

func (n node) String() string {
	return fmt.Sprintf("%c %s:%s", n.kind, starred(n.major), starred(n.minor))
}

func starred(n int64) string {
	if n < 0 {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

func compareNodes(a, b node) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
}

// rules are what a cgroup that is denied everything else may use. The kernel
// keeps a pattern and a device that it covers apart, as they are here.
type rules map[node]access

// everything allowed, by listing it.
var allNodes = []node{{'b', -1, -1}, {'c', -1, -1}}

// add takes a rule as devices.allow does: "c 1:3 rwm".
func (r rules) add(text string) error {
	fault := fmt.Errorf("not a rule such as \"c 1:3 rwm\", of b or c, numbers or *, and r, w, m: %q", text)
	part := strings.Split(text, " ")
	if len(part) != 3 || part[0] != "b" && part[0] != "c" || part[2] == "" {
		return fault
	}
	major, minor, ok := strings.Cut(part[1], ":")
	a, ok1 := deviceNumber(major, 12) // MKDEV: 12 and 20 bits
	b, ok2 := deviceNumber(minor, 20)
	var bits access
	for _, letter := range part[2] {
		i := strings.IndexRune(accessLetters, letter)
		if i < 0 {
			return fault
		}
		bits |= 1 << i
	}
	if !ok || !ok1 || !ok2 {
		return fault
	}
	r[node{part[0][0], a, b}] |= bits
	return nil
}

func deviceNumber(text string, bits int) (int64, bool) {
	if text == "*" {
		return -1, true
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return int64(n), err == nil
}

// parseRules reads what String writes, or the lines of devices.list. all: there
// is no restriction, however it is spelled.
func parseRules(text string) (r rules, all bool, err error) {
	r = rules{}
	if text == NoDevices {
		return r, false, nil
	}
	for one := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '\n' || c == ',' }) {
		one = strings.TrimSpace(one)
		if one == AllDevices {
			return r, true, nil
		}
		if err := r.add(one); err != nil {
			return nil, false, err
		}
	}
	return r, r.all(), nil
}

// all says whether the rules allow everything, which v1 reports in this way too
// where a cgroup has children and cannot leave its mode.
func (r rules) all() bool {
	return len(r) == 2 && r[allNodes[0]] == 7 && r[allNodes[1]] == 7
}

func (r rules) sorted() []node {
	out := make([]node, 0, len(r))
	for n := range r {
		out = append(out, n)
	}
	slices.SortFunc(out, compareNodes)
	return out
}

// String is what DevicesFile reads as.
func (r rules) String() string {
	switch {
	case r.all():
		return AllDevices
	case len(r) == 0:
		return NoDevices
	}
	var out []string
	for _, n := range r.sorted() {
		out = append(out, n.String()+" "+r[n].String())
	}
	return strings.Join(out, ", ")
}

// ruleWrite is one rule for devices.allow or devices.deny.
type ruleWrite struct{ file, text string }

// ruleChanges are the writes that turn the rules of a denying cgroup into others:
// what is missing first, so that nothing that both allow is denied in between.
func ruleChanges(now, want rules) []ruleWrite {
	var out []ruleWrite
	for _, n := range want.sorted() {
		if more := want[n] &^ now[n]; more != 0 {
			out = append(out, ruleWrite{"devices.allow", n.String() + " " + more.String()})
		}
	}
	for _, n := range now.sorted() {
		if less := now[n] &^ want[n]; less != 0 {
			out = append(out, ruleWrite{"devices.deny", n.String() + " " + less.String()})
		}
	}
	return out
}

// readDevices is [Hierarchy.Read] of DevicesFile.
func (h *Hierarchy) readDevices(dir string) (string, error) {
	if h.Version() == 2 {
		return h.readDeviceProgram(dir)
	}
	list, err := h.Read(dir, "devices.list")
	if err != nil {
		return "", err
	}
	r, all, err := parseRules(list)
	switch {
	case err != nil:
		return "", &Error{Op: "read", Path: h.Display(dir, "devices.list"), Err: err}
	case all:
		return AllDevices, nil
	}
	return r.String(), nil
}

// writeDevices is [Hierarchy.Write] of DevicesFile.
func (h *Hierarchy) writeDevices(dir, text string) error {
	fail := func(err error) error {
		return &Error{Op: "write", Path: h.Display(dir, DevicesFile), Text: text, Err: err}
	}
	want, all, err := parseRules(text)
	switch {
	case err != nil:
		return fail(err)
	case dir == "":
		return fail(errors.New("the root of a hierarchy is left as it is: rules there would bind the whole host"))
	case h.Version() == 2:
		err = h.writeDeviceProgram(dir, want, all)
	default:
		err = h.writeDeviceRules(dir, want, all)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func (h *Hierarchy) writeDeviceRules(dir string, want rules, all bool) error {
	list, err := h.Read(dir, "devices.list")
	if err != nil {
		return err
	}
	now, _, err := parseRules(list)
	if err != nil {
		return err
	}
	switch open := strings.TrimSpace(list) == AllDevices; {
	case all && h.writeRaw(path.Join(dir, "devices.allow"), "a") == nil:
		return nil
	case all:
		// It has children, or a parent that is denied something: list everything.
		want = rules{allNodes[0]: 7, allNodes[1]: 7}
	case open:
		err := h.writeRaw(path.Join(dir, "devices.deny"), "a")
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("the kernel begins to deny devices only in a cgroup that has no child cgroups: remove those, or give this one its rules before them (%w)", err)
		}
		if err != nil {
			return err
		}
		now = rules{}
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

// writeRaw writes to a control file and gives the kernel's bare answer.
func (h *Hierarchy) writeRaw(file, text string) error {
	fd, err := h.openat(file, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return write(fd, text)
}
