package zkconf

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Decode turns the bytes of a configuration into a valid document. The error
// joins every document fault, sorted by place ("cpu/a/b: share: not an integer:
// \"x\""); after a syntax fault, which has a line and column instead, nothing
// further is read. Decode keeps data: the caller must not change it.
//
// It does not depend on the host: an unknown subsystem or setting is no fault
// here.
func Decode(data []byte, version int32) (*Document, error) {
	return decode(data, version, false)
}

// Check is Decode for the tools that write or check a document: an unknown
// setting is a fault, too. It is nil for a document without any.
func Check(data []byte) error {
	_, err := decode(data, 0, true)
	return err
}

func decode(data []byte, version int32, strict bool) (*Document, error) {
	d := decoder{scanner: scanner{data: data}, strict: strict}
	if reason, offset := unreadable(data); reason != "" {
		d.faults.add(syntaxFault(data, offset, reason))
		return nil, d.faults.join()
	}
	d.spans = make([]span, 0, min(bytes.Count(data, []byte("{"))/2+1, 1<<14)) // a cgroup and its conf have two
	subsystems, err := d.document()
	if syntax := (*syntaxError)(nil); errors.As(err, &syntax) {
		d.faults.list = d.faults.list[:min(len(d.faults.list), maxFaults-1)]
		d.faults.add(syntaxFault(data, syntax.offset, syntax.text))
	}
	if err := d.faults.join(); err != nil {
		return nil, err
	}
	return &Document{Version: version, Raw: data, Subsystems: subsystems, spans: d.spans, self: new(identity)}, nil
}

// unreadable finds what keeps us from reading at all.
func unreadable(data []byte) (reason string, offset int) {
	switch {
	case len(data) > MaxSize:
		return "larger than 1048000 bytes", MaxSize
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "byte order mark", 0
	case !utf8.Valid(data):
		for offset < len(data) {
			r, n := utf8.DecodeRune(data[offset:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			offset += n
		}
		return "not UTF-8", offset
	}
	return "", 0
}

// decoder walks the document and notes faults. Its methods return an error only
// where reading cannot go on.
type decoder struct {
	scanner
	strict    bool // an unknown setting is a fault
	faults    faults
	place     []string // names from the subsystem down to the node being read
	subsystem subsystem
	spans     []span // of the nodes read so far
	above     int    // index of the span of the node being read; see named
}

// subsystem is what decoding needs to know about the subsystem being read.
type subsystem struct {
	name     string
	settings map[string]*setting // those met so far; nil for unknown ones
	defaults map[string]string
	singles  map[[2]string]map[string]string // key and text to a conf of nothing else
}

// setting remembers what each spelling of a value means: in a large document
// nearly all of them repeat.
type setting struct {
	*cgfs.Setting
	seen map[string]meaning // by the raw bytes
}

type meaning struct {
	text, warning string
	err           error
}

// fault notes a fault of the node being read, at the last key.
func (d *decoder) fault(text string) {
	if d.faults.full() {
		d.faults.more++
		return
	}
	parts := make([]string, len(d.place))
	for i, name := range d.place {
		parts[i] = component(name)
	}
	d.faults.add(fault{place: strings.Join(parts, "/"), text: text, offset: d.key})
}

func syntaxFault(data []byte, offset int, text string) fault {
	line, column := position(data, offset)
	return fault{text: text, offset: offset, line: fmt.Sprintf("line %d:%d", line, column)}
}

// value is the scanner's, but leaves the position of the key before it: a fault
// of the value stands there.
func (d *decoder) value() (any, error) {
	at := d.key
	v, err := d.scanner.value()
	d.key = at
	return v, err
}

func (d *decoder) document() (map[string]*Node, error) {
	if d.next() != '{' {
		d.key = d.pos
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		d.fault("not an object: " + describe(v))
		return nil, d.end()
	}
	subsystems := map[string]*Node{}
	for first := true; ; first = false {
		key, more, err := d.member(first)
		if err != nil {
			return nil, err
		}
		if !more {
			return subsystems, d.end()
		}
		name := string(key)
		d.enterSubsystem(name)
		if _, twice := subsystems[name]; twice {
			d.fault("duplicate key")
		}
		if reason := badComponent(name); reason != "" {
			d.fault(reason)
		}
		if subsystems[name], err = d.named(name); err != nil {
			return nil, err
		}
		d.place = d.place[:0]
	}
}

// end says whether nothing but blanks follows.
func (d *decoder) end() error {
	if d.next(); d.pos < len(d.data) {
		return d.unexpected("the end of the document")
	}
	return nil
}

func (d *decoder) enterSubsystem(name string) {
	d.place = append(d.place, name)
	d.subsystem = subsystem{
		name: name, settings: map[string]*setting{}, defaults: cgfs.Defaults(name), singles: map[[2]string]map[string]string{},
	}
}

// named is node for the value of a member, and notes where it lies.
func (d *decoder) named(name string) (*Node, error) {
	parent := d.above
	if len(d.spans) == 0 || len(d.place) == 1 {
		parent = -1
	}
	i := len(d.spans)
	d.next()
	d.spans = append(d.spans, span{start: d.pos, parent: parent, name: name})
	d.above = i
	n, err := d.node()
	d.above = parent
	s := &d.spans[i]
	s.end, s.size, s.node = d.pos, len(d.spans)-i, n
	return n, err
}

// node reads the value of a subsystem or of a cgroup.
func (d *decoder) node() (*Node, error) {
	n := &Node{}
	if ok, err := d.objectOrNull(""); err != nil || !ok {
		return n, err
	}
	var others keySet
	for first := true; ; first = false {
		key, more, err := d.member(first)
		if err != nil || !more {
			return n, err
		}
		switch string(key) {
		case "conf":
			if n.HasConf {
				d.fault("conf: duplicate key")
			}
			n.HasConf = true
			err = d.conf(n)
		case "sub_cgroup":
			if n.HasSub {
				d.fault("sub_cgroup: duplicate key")
			}
			n.HasSub = true
			err = d.children(n)
		default:
			d.fault("unknown member: " + quote(string(key)))
			if !others.add(string(key)) {
				d.fault("duplicate key: " + quote(string(key)))
			}
			_, err = d.value()
			d.twice("")
		}
		if err != nil {
			return nil, err
		}
	}
}

// twice notes the duplicate keys of a value that was read whole.
func (d *decoder) twice(member string) {
	for _, key := range d.duplicates {
		d.fault(member + "duplicate key " + quote(key) + " in its value")
	}
	d.duplicates = d.duplicates[:0]
}

// objectOrNull says whether an object comes next. It takes anything else: null
// is empty, what remains is a fault of the member (of the node itself when that
// is "").
func (d *decoder) objectOrNull(member string) (bool, error) {
	if d.next() == '{' {
		return true, nil
	}
	v, err := d.value()
	d.twice("")
	if err == nil && v != nil {
		text := "not an object: " + describe(v)
		if member != "" {
			text = member + ": " + text
		}
		d.fault(text)
	}
	return false, err
}

// children reads a sub_cgroup.
func (d *decoder) children(n *Node) error {
	if len(d.place) > MaxDepth { // the subsystem is the first of them
		return d.tooDeep()
	}
	if ok, err := d.objectOrNull("sub_cgroup"); err != nil || !ok {
		return err
	}
	n.Sub = map[string]*Node{}
	for first := true; ; first = false {
		key, more, err := d.member(first)
		if err != nil || !more {
			return err
		}
		name := string(key)
		d.place = append(d.place, name)
		if _, twice := n.Sub[name]; twice {
			d.fault("duplicate key")
		}
		if reason := badName(name); reason != "" {
			d.fault(reason)
		}
		if n.Sub[name], err = d.named(name); err != nil {
			return err
		}
		d.place = d.place[:len(d.place)-1]
	}
}

// tooDeep takes a sub_cgroup at the greatest depth: it must be empty.
func (d *decoder) tooDeep() error {
	v, err := d.value()
	if err != nil {
		return err
	}
	d.twice("sub_cgroup: ")
	switch m, ok := v.(map[string]any); {
	case ok && len(m) > 0:
		d.fault("more than 64 levels of cgroups")
	case !ok && v != nil:
		d.fault("sub_cgroup: not an object: " + describe(v))
	}
	return nil
}

// conf reads the settings of a node.
func (d *decoder) conf(n *Node) error {
	at := d.key
	ok, err := d.objectOrNull("conf")
	if err != nil {
		return err
	}
	if ok {
		if err := d.settings(n); err != nil {
			return err
		}
		slices.Sort(n.Unknown)
		slices.Sort(n.Warnings)
	}
	d.key = at
	if len(n.Conf) > 0 {
		for _, conflict := range cgfs.Conflicts(d.subsystem.name, n.Conf) {
			d.fault(conflict)
		}
	}
	for key, text := range d.subsystem.defaults {
		if !cgfs.Names(d.subsystem.name, n.Conf, key) {
			d.set(n, key, text)
		}
	}
	return nil
}

// set notes a setting. Most cgroups have a single one, and of few different values:
// those share a map, which nobody changes any more.
func (d *decoder) set(n *Node, key, text string) {
	switch len(n.Conf) {
	case 0:
		n.Conf = d.single(key, text)
		return
	case 1:
		n.Conf = maps.Clone(n.Conf)
	}
	n.Conf[key] = text
}

func (d *decoder) single(key, text string) map[string]string {
	pair := [2]string{key, text}
	m := d.subsystem.singles[pair]
	if m == nil {
		m = map[string]string{key: text}
		d.subsystem.singles[pair] = m
	}
	return m
}

func (d *decoder) settings(n *Node) error {
	var keys keySet
	for first := true; ; first = false {
		raw, more, err := d.member(first)
		if err != nil || !more {
			return err
		}
		key, s := d.setting(raw)
		if !keys.add(key) {
			d.fault(component(key) + ": duplicate key")
		}
		// The ancestor put the members of a cgroup into its configuration
		// under this key, and its users' documents may hold them.
		ignored := key == "pids"
		if s == nil && !ignored {
			n.Unknown = append(n.Unknown, key)
			if d.strict {
				d.fault(component(key) + ": " + whyUnknown(d.subsystem.name, key))
			}
		}
		if s == nil || ignored {
			if _, err := d.value(); err != nil {
				return err
			}
			d.twice(component(key) + ": ")
			continue
		}
		m, err := d.meaning(s)
		if err != nil {
			return err
		}
		d.twice(key + ": ")
		if m.err != nil {
			d.fault(key + ": " + m.err.Error())
		}
		if m.warning != "" {
			n.Warnings = append(n.Warnings, key+": "+m.warning)
		}
		d.set(n, key, m.text)
	}
}

// whyUnknown says why a conf cannot have a key.
func whyUnknown(subsystem, key string) string {
	if _, known := cgfs.LookupRow(subsystem, key); known {
		return "no state that a document could hold"
	}
	return "unknown setting"
}

// setting finds a setting by the bytes of its key, nil for an unknown one.
func (d *decoder) setting(raw []byte) (string, *setting) {
	if s := d.subsystem.settings[string(raw)]; s != nil {
		return s.Key, s
	}
	key := string(raw)
	row, known := cgfs.LookupSetting(d.subsystem.name, key)
	if !known {
		return key, nil
	}
	s := &setting{row, map[string]meaning{}}
	d.subsystem.settings[key] = s
	return key, s
}

// meaning reads a setting's value.
func (d *decoder) meaning(s *setting) (meaning, error) {
	d.next()
	start := d.pos
	if raw := d.scalar(); raw != nil {
		if m, ok := s.seen[string(raw)]; ok {
			d.pos += len(raw)
			return m, nil
		}
	}
	v, err := d.value()
	if err != nil {
		return meaning{}, err
	}
	var m meaning
	m.text, m.warning, m.err = s.Parse(v)
	s.seen[string(d.data[start:d.pos])] = m
	return m, nil
}

// scalar returns the bytes up to the next structural one, blanks not included,
// without taking them: the whole of a number or of a simple string.
func (s *scanner) scalar() []byte {
	rest := s.data[s.pos:]
	end := bytes.IndexAny(rest[:min(len(rest), 32)], ",}] \t\r\n")
	if end <= 0 {
		return nil
	}
	return rest[:end]
}

// keySet notices a key that comes twice in an object. Objects have a few keys,
// so a search is cheaper than a map, but nobody promises that they do.
type keySet struct {
	few  [8]string
	n    int
	many map[string]bool
}

// add says whether the key is new.
func (k *keySet) add(key string) bool {
	if slices.Contains(k.few[:k.n], key) || k.many[key] {
		return false
	}
	if k.n < len(k.few) {
		k.few[k.n] = key
		k.n++
		return true
	}
	if k.many == nil {
		k.many = map[string]bool{}
	}
	k.many[key] = true
	return true
}
