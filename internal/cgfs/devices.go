package cgfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// devices: Documentation/admin-guide/cgroup-v1/devices.rst; cgroup-v2.rst,
// "Device controller": a program of eBPF there, and no files.
//
// devices.list of v1 says nothing about what is denied while everything else is
// allowed. So the rules that a document asks for are kept with the cgroup, in an
// extended attribute: that record is what is compared where the kernel shows
// nothing.

// DevicesFile stands for the device rules of a cgroup: [Hierarchy.Read] and
// [Hierarchy.Write] know it, the kernel does not. It reads as what the cgroup may
// use, sorted: "c 1:3 rwm, c 1:5 rw", [AllDevices], [NoDevices], or "all but c 1:7 rwm".
const DevicesFile = "devices.rules"

// What DevicesFile reads as where there is nothing to list, and how a list of what
// is denied begins.
const (
	AllDevices = "a *:* rwm" // as devices.list says it
	NoDevices  = "none"
	allBut     = "all but "
)

var (
	devices1 = []File{{Name: DevicesFile, Probe: "devices.list", Default: AllDevices, Note: "written to `devices.deny` and `devices.allow`, one rule a write"}}
	devices2 = []File{{Name: DevicesFile, Default: AllDevices, Note: "a program of eBPF on the cgroup"}}
)

var devicesSettings = []Setting{
	{
		Key: "deny", Thing: "rules/deny", Doc: "the devices that it may not use; `[\"a\"]`: none but those of `allow`", Default: TextDefault,
		Value: plainly(KindRules, "`[\"a\"]`, or an array of rules such as `\"c 1:3 rwm\"`", denied),
		V1:    devices1, V2: devices2, on1: deviceRules, on2: deviceRules, read1: readDenied, read2: readDenied,
	},
	{
		Key: "allow", Thing: "rules/allow", Doc: "the devices that it may use; needs `deny`: `[\"a\"]`", Default: TextDefault,
		Value: plainly(KindRules, "an array of rules such as `\"c 1:3 rwm\"` or `\"b 8:* r\"`", listed),
		V1:    devices1, V2: devices2, on1: withDeny, on2: withDeny, read1: readAllowed, read2: readAllowed,
	},
}

var devicesFigures = []Setting{func() Setting {
	s := figure(KindRules, "list", "the devices that it may use, as the kernel lists them", files("devices.list"), files(DevicesFile))
	s.read1, s.read2 = readAllowed, readAllowed
	return s
}()}

// ruleConflicts says what device rules of a conf make no sense together.
func ruleConflicts(subsystem string, conf map[string]string) []string {
	if _, given := conf["allow"]; subsystem == "devices" && given && conf["deny"] != denyAll {
		return []string{`allow needs deny: ["a"] in the same conf: everything else is allowed already`}
	}
	return nil
}

// denyAll is the canonical text of denying everything.
const denyAll = "a"

// denied takes a list of rules, or all.
func denied(value any) (string, error) {
	list, _ := value.([]any)
	if len(list) == 1 && (list[0] == "a" || list[0] == "all" || list[0] == AllDevices) {
		return denyAll, nil
	}
	text, err := listed(value)
	switch {
	case err != nil:
		return "", err
	case text == AllDevices:
		return denyAll, nil
	}
	return text, nil
}

func listed(value any) (string, error) {
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
		r, err := ParseRule(s)
		if err != nil {
			return "", err
		}
		all.take(r)
	}
	return all.String(), nil
}

// deviceRules writes both settings at once: they are one state of the kernel's.
func deviceRules(t *translation, s *Setting, text string) {
	f, ok := t.pick(s)
	if !ok {
		return
	}
	w := Write{ID: s.Key, Keys: []string{"deny"}, File: f.Name}
	switch text {
	case TextDefault, NoDevices: // nothing is denied
		w.Text = AllDevices
	case denyAll:
		w.Text = either(t.conf["allow"], NoDevices)
		w.Before = t.caps.Version == 1
		if t.conf["allow"] != "" {
			w.Keys = append(w.Keys, "allow")
		}
	default:
		w.Text = allBut + text
	}
	w.Want = w.Text
	t.writes = append(t.writes, w)
}

func withDeny(*translation, *Setting, string) {}

// readDenied and readAllowed are the two settings of what is in force.
func readDenied(r reading, _ *Setting) (string, error) {
	text, err := r.text(DevicesFile)
	if rest, open := strings.CutPrefix(text, allBut); open {
		return rest, err
	}
	if text == AllDevices {
		return NoDevices, err
	}
	return denyAll, err
}

func readAllowed(r reading, _ *Setting) (string, error) {
	text, err := r.text(DevicesFile)
	if strings.HasPrefix(text, allBut) {
		return AllDevices, err
	}
	return text, err
}

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

// take adds a valid rule.
func (r rules) take(one Rule) {
	nodes := []node{{one.Type, one.Major, one.Minor}}
	if one.Type == 'a' {
		nodes = allNodes
	}
	for _, n := range nodes {
		for _, letter := range one.Access {
			r[n] |= 1 << strings.IndexRune(accessLetters, letter)
		}
	}
}

func deviceNumber(text string, bits int) (int64, bool) {
	if text == "*" {
		return -1, true
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return int64(n), err == nil
}

// policy is what a cgroup may use: nothing but the rules, or, open, everything
// but the rules.
type policy struct {
	open  bool
	rules rules
}

// everyDevice is the policy of a cgroup without rules.
var everyDevice = policy{open: true}

// String is what DevicesFile reads as.
func (p policy) String() string {
	switch {
	case !p.open:
		return p.rules.String()
	case len(p.rules) == 0:
		return AllDevices
	case p.rules.all():
		return NoDevices
	}
	return allBut + p.rules.String()
}

// parsePolicy reads what String writes, or the lines of devices.list, which may
// spell in several ways that everything is allowed.
func parsePolicy(text string) (policy, error) {
	denied, open := strings.CutPrefix(text, allBut)
	p := policy{open: open}
	switch {
	case text == NoDevices:
		p.rules = rules{}
		return p, nil
	case strings.TrimSpace(text) == AllDevices:
		return everyDevice, nil
	}
	var err error
	if p.rules, err = parseRuleList(denied); err != nil {
		return policy{}, err
	}
	if p.rules.all() { // which v1 reports where a cgroup with children cannot leave its mode
		return policy{open: !open}, nil
	}
	return p, nil
}

// parseRuleList reads rules by lines or commas.
func parseRuleList(text string) (rules, error) {
	list, err := ParseRules(text)
	out := rules{}
	for _, r := range list {
		out.take(r)
	}
	return out, err
}

// all says whether the rules are about every use of every device.
func (r rules) all() bool {
	return r[allNodes[0]] == 7 && r[allNodes[1]] == 7
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

// ruleChanges are the writes that turn one policy into another of the same mode:
// what gives more first, so that nothing that both allow is denied in between.
func ruleChanges(now, want policy) []ruleWrite {
	var add, remove []ruleWrite
	more, less := "devices.allow", "devices.deny"
	if now.open {
		more, less = less, more
	}
	for _, n := range want.rules.sorted() {
		if bits := want.rules[n] &^ now.rules[n]; bits != 0 {
			add = append(add, ruleWrite{more, n.String() + " " + bits.String()})
		}
	}
	for _, n := range now.rules.sorted() {
		if bits := now.rules[n] &^ want.rules[n]; bits != 0 {
			remove = append(remove, ruleWrite{less, n.String() + " " + bits.String()})
		}
	}
	if now.open {
		add, remove = remove, add
	}
	return append(add, remove...)
}

// readDevices is [Hierarchy.Read] of DevicesFile.
func (h *Hierarchy) readDevices(dir string) (string, error) {
	if h.Version() == 2 {
		return h.readDeviceProgram(dir)
	}
	p, err := h.devicePolicy(dir)
	return p.String(), err
}

// writeDevices is [Hierarchy.Write] of DevicesFile.
func (h *Hierarchy) writeDevices(dir, text string) error {
	fail := func(err error) error {
		return &Error{Op: "write", Path: h.Display(dir, DevicesFile), Text: text, Err: err}
	}
	want, err := parsePolicy(text)
	switch {
	case err != nil:
		return fail(err)
	case dir == "":
		return fail(errors.New("the root of a hierarchy is left as it is: rules there would bind the whole host"))
	case h.Version() == 2:
		err = h.writeDeviceProgram(dir, want)
	default:
		err = h.writeDeviceRules(dir, want)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
