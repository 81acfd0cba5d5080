package cgfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Caps is what the table must know of a host.
type Caps struct {
	// Version is that of the hierarchy where the subsystem is: 1 or 2.
	Version int
	// Has says whether this kernel has a control file: in the hierarchy's root
	// (v1, see [File].Probe), or in the cgroups below (v2).
	Has func(probe string) bool
	// PageSize is what limits of memory are rounded down to, in bytes; 0: this
	// host's.
	PageSize int
}

func (c Caps) page() int64 {
	if c.PageSize == 0 {
		return int64(os.Getpagesize())
	}
	return int64(c.PageSize)
}

// Write is one control file, or a part of one, that should read something.
type Write struct {
	// ID is what [ResetConf] takes: the setting's key, for values by device with
	// the device, "throttle_read_bps_device 8:0". Two writes that serve one value
	// share it.
	ID string
	// Keys are the settings that it serves; faults name the first.
	Keys []string
	File string
	// From is the file that shows the value, "" for File.
	From string
	Text string // what is written, one value a write
	Want string // what Form makes of the file once it holds
	Form Form   // how the file is read back
	// Level orders the writes of one cgroup: loosening ascending, tightening
	// descending, and all tightening before any loosening.
	Level int
	Limit Limit
	// Controller is the one that must be enabled for the cgroup on v2; "" for none.
	Controller string
	// Weight is not nil where Text is to be computed from all siblings; Text is
	// what siblings with the kernel's default weight ask for.
	Weight *Weight
	// Before: a new cgroup gets it before it has children, because the kernel
	// refuses it afterwards.
	Before bool
	// Alone: the kernel takes every value of it whatever any other cgroup or setting
	// has, so that a new cgroup can get it at once.
	Alone bool
	// FromParent: what should be read is what the parent reads. Text is empty.
	FromParent bool
	// Action: it is written whatever the file says. Never of a document.
	Action bool
}

// Part names what the write is about: writes with the same part overwrite each
// other.
func (w Write) Part() string {
	return strings.TrimRight(w.File+" "+w.Form.Line+" "+w.Form.Field, " ")
}

// Asked is what the conf that a write comes from says about it.
func (w Write) Asked(conf map[string]string) string {
	_, name, named := strings.Cut(w.ID, " ")
	if !named {
		return conf[w.Keys[0]]
	}
	return Form{Line: name}.Read(conf[w.Keys[0]])
}

// Weight is a proportional setting of the unified hierarchy.
type Weight struct {
	// Share is the document's value; only its ratio to that of siblings counts.
	// DefaultShare is that of a sibling without one.
	Share, DefaultShare uint64
	// Min, Max and Default are those of the control file.
	Min, Max, Default uint64
}

// Linear is the file's value that keeps the ratio to siblings that have the
// file's default.
func (w Weight) Linear() uint64 {
	return min(max((w.Share*w.Default+w.DefaultShare/2)/w.DefaultShare, w.Min), w.Max)
}

// KeyFault is a setting that this host cannot honour.
type KeyFault struct {
	Key    string
	Reason string // in plain words
}

// recipe writes one setting on one cgroup version.
type recipe func(t *translation, s *Setting, text string)

type translation struct {
	conf   map[string]string
	caps   Caps
	done   map[string]bool // files that are settled
	writes []Write
	faults []KeyFault
}

// Translate says which control files of a host a conf becomes, and which of its
// settings the host cannot honour. conf has canonical texts. The result is sorted
// by setting.
func Translate(subsystem string, conf map[string]string, caps Caps) (writes []Write, faults []KeyFault) {
	t := translate(subsystem, conf, caps, LookupSetting)
	return t.writes, t.faults
}

func translate(subsystem string, conf map[string]string, caps Caps, lookup func(subsystem, key string) (*Setting, bool)) *translation {
	t := &translation{conf: conf, caps: caps, done: map[string]bool{}}
	for _, key := range sortedKeys(conf) {
		s, ok := lookup(subsystem, key)
		if !ok {
			t.fault(key, "unknown setting; ignored")
			continue
		}
		t.setting(s, conf[key])
	}
	if caps.Version == 2 {
		for i := range t.writes {
			if !strings.HasPrefix(t.writes[i].File, "cgroup.") {
				t.writes[i].Controller = Controller(subsystem)
			}
		}
	}
	return t
}

func (t *translation) setting(s *Setting, text string) {
	why, how := s.NoV1, s.on1
	if t.caps.Version == 2 {
		why, how = s.NoV2, s.on2
	}
	switch {
	case why != "" && text == s.Always:
	case why != "":
		t.fault(s.Key, why)
	case s.Access == ReadOnly || s.Access == EventSource:
		t.fault(s.Key, "it cannot be written")
	case how != nil:
		how(t, s, text)
	default:
		plain(t, s, text)
	}
}

func (t *translation) fault(key, reason string) {
	t.faults = append(t.faults, KeyFault{key, reason})
}

// pick finds the file that this kernel has for a setting, and says so when it has
// none.
func (t *translation) pick(s *Setting) (File, bool) {
	files := s.V1
	if t.caps.Version == 2 {
		files = s.V2
	}
	var names []string
	for _, f := range files {
		if t.has(f) {
			return f, true
		}
		names = append(names, f.Name)
	}
	t.fault(s.Key, fmt.Sprintf("this kernel has no control file for it (looked for %s)", strings.Join(names, ", ")))
	return File{}, false
}

func (t *translation) has(f File) bool {
	if t.caps.Version == 2 {
		return t.caps.Has(f.Name)
	}
	return f.Probe == "" || t.caps.Has(f.Probe)
}

// plain writes one value to one file.
func plain(t *translation, s *Setting, text string) {
	if f, ok := t.pick(s); ok {
		t.write(s, f, text)
	}
}

func (t *translation) write(s *Setting, f File, text string) {
	if text == TextDefault && f.Default != "" {
		text = f.Default
	}
	w := Write{ID: s.Key, Keys: []string{s.Key}, File: f.Name, From: f.From, Text: text, Want: text, Form: f.form, Level: f.level, Limit: f.limit, Alone: f.alone}
	if f.spell != nil {
		w.Text, w.Want = f.spell(text, t.caps)
	}
	w.Action = s.Access != State
	if f.kept && !w.Action {
		w.File, w.Form = RawPrefix+w.File, Form{}
		w.Want = w.Text
	}
	if f.weigh != nil {
		w.Weight = f.weigh(text)
		w.Text = strconv.FormatUint(w.Weight.Linear(), 10)
		w.Want = w.Text
	}
	t.writes = append(t.writes, w)
}

// byLine writes a value by device or interface, one line at a time.
func byLine(t *translation, s *Setting, text string) {
	f, ok := t.pick(s)
	if !ok {
		return
	}
	for _, l := range cutLines(text) {
		value, want := l.text, l.text
		if f.spell != nil {
			value, want = f.spell(value, t.caps)
		}
		form := f.form
		form.Line = l.name
		t.writes = append(t.writes, Write{
			ID: s.Key + " " + l.name, Keys: []string{s.Key}, File: f.Name, Text: l.name + " " + value, Want: want, Form: form,
			Level: f.level, Limit: f.limit,
		})
	}
}

// once says whether a file that several settings share is still to be written.
func (t *translation) once(file string) bool {
	first := !t.done[file]
	t.done[file] = true
	return first
}

// minusOne spells "no limit" as -1, which is also what is read back.
func minusOne(text string, _ Caps) (string, string) {
	if text == Unlimited {
		return "-1", "-1"
	}
	return text, text
}

// ResetConf is the conf that takes back what a [Write] with this ID did. ok is
// false when the ID is none of this table's.
func ResetConf(subsystem, id string) (conf map[string]string, ok bool) {
	key, name, named := strings.Cut(id, " ")
	s, ok := LookupSetting(subsystem, key)
	if !ok || s.Default == "" && named {
		return nil, false
	}
	text := s.Default
	if named {
		text = name + " " + s.Default
	}
	return map[string]string{key: text}, true
}

// CutID takes apart a text that ends in a blank and the ID of a setting of the
// subsystem: what comes before may have blanks.
func CutID(subsystem, text string) (before, id string, ok bool) {
	for end := len(text); ; {
		i := strings.LastIndexByte(text[:end], ' ')
		if i < 0 {
			return "", "", false
		}
		key, _, _ := strings.Cut(text[i+1:], " ")
		if _, known := LookupSetting(subsystem, key); known {
			return text[:i], text[i+1:], true
		}
		if end < len(text) {
			return "", "", false // an ID has two words at most
		}
		end = i
	}
}
