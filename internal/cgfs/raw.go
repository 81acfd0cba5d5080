package cgfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The raw way: `"files": {"cpu.uclamp.max": "50"}` in a document writes a control
// file that the table lacks.
//
// Nobody knows what such a file reads after a write ("50.00") or what a new cgroup
// has in it. So what it read before our first write, what we wrote and what it
// read then are kept with the cgroup, in an extended attribute: that is what a
// changed value is told from and what is taken back to.

// RawPrefix marks a control file whose text is kept account of: [Hierarchy.Read]
// and [Hierarchy.Write] know "raw:cpu.uclamp.max". It reads as what was written
// while nothing else was since.
const RawPrefix = "raw:"

// keptPrefix marks what tells whether a raw file is ours: it reads "1", or
// TextDefault.
const keptPrefix = "kept:"

// ShownFile is a file name as people know it.
func ShownFile(name string) string { return strings.TrimPrefix(name, RawPrefix) }

// rawName is the extended attribute of a file.
func rawName(file string) string { return MarkName + ".file." + file }

// longestRaw bounds a file's name: an attribute's may have 255 bytes (xattr(7)).
const longestRaw = 200

// longestText bounds what is written to a control file: a page.
const longestText = 4095

// rawKey is the setting's name.
const rawKey = "files"

// rawConflicts finds raw files that a setting of the same conf has a name for.
func rawConflicts(subsystem string, keys []string, raw string) []string {
	var out []string
	for _, l := range cutLines(raw) {
		for _, key := range keys {
			s, ok := LookupSetting(subsystem, key)
			if ok && key != rawKey && s.has(l.name) {
				out = append(out, fmt.Sprintf("%s and %s of files are two names for one thing", key, l.name))
			}
		}
	}
	return out
}

// rawSettings is the row `files` of each subsystem.
var rawSettings = func() []Setting {
	var out []Setting
	for _, subsystem := range []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"} {
		out = append(out, Setting{
			Subsystem: subsystem, Key: rawKey, Thing: rawKey, Doc: "control files that have no name here, as they are", Default: TextDefault,
			Value: perName("control file such as `\""+prefixes(subsystem)[0]+"x\"`", rawFile(subsystem), anyText()),
			V1:    []File{{Name: prefixes(subsystem)[0] + "*"}}, V2: []File{{Name: prefixes(subsystem)[len(prefixes(subsystem))-1] + "*"}},
			on1: rawWrites, on2: rawWrites, read1: noRaw, read2: noRaw,
		})
	}
	return out
}()

// prefixes are how the names of a subsystem's control files begin: on v1, and on v2.
func prefixes(subsystem string) []string {
	if c := Controller(subsystem); c != "" && c != subsystem {
		return []string{subsystem + ".", c + "."}
	}
	return []string{subsystem + "."}
}

// rawFile checks the name of a control file: one of the subsystem's own, that is
// there, and that holds state.
func rawFile(subsystem string) func(name string) (string, error) {
	return func(name string) (string, error) {
		own := slices.ContainsFunc(prefixes(subsystem), func(p string) bool { return strings.HasPrefix(name, p) && len(name) > len(p) })
		switch {
		case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r > '~' }) || len(name) > longestRaw:
			return "", fmt.Errorf("not the name of a control file: %q", clip(name))
		case !own:
			return "", fmt.Errorf("not a control file of %s: %q", subsystem, name)
		}
		if slices.Contains(noState, name) || isFigure(name) {
			return "", fmt.Errorf("no state that a document could hold: %q", name)
		}
		return name, nil
	}
}

// isFigure says whether a control file has rows, but none that a document may have.
func isFigure(name string) bool {
	has := func(s Setting) bool { return s.has(name) }
	return slices.ContainsFunc(figures, has) && !slices.ContainsFunc(states, has)
}

// noState are the files of the rows of devices, which stand for something else,
// and those that report or act without being in the table.
var noState = []string{"devices.allow", "devices.deny", "devices.list", DevicesFile, "memory.kmem.slabinfo"}

func anyText() Value {
	return plainly(KindText, "the text to be written", func(value any) (string, error) {
		if _, isNumber := value.(json.Number); isNumber {
			n, err := wholeNumber(value)
			return fmt.Sprint(n), err
		}
		text, err := oneLine(value)
		if err == nil && text == TextDefault {
			return "", fmt.Errorf("%q has a meaning of its own here", text)
		}
		return text, err
	})
}

// oneLine takes text that reaches the kernel as one value.
func oneLine(value any) (string, error) {
	s, ok := value.(string)
	switch {
	case !ok:
		return "", fmt.Errorf("not a text: %s", describe(value))
	case strings.TrimSpace(s) != s || s == "" || len(s) > longestText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("not one line of text: %q", clip(s))
	}
	return s, nil
}

// rawWrites writes each file.
func rawWrites(t *translation, s *Setting, text string) {
	own := prefixes(s.Subsystem)
	for _, l := range cutLines(text) {
		if of := slices.IndexFunc(own, func(p string) bool { return strings.HasPrefix(l.name, p) }); len(own) == 2 && of != t.caps.Version-1 {
			t.fault(s.Key, fmt.Sprintf("%s is a control file of v%d", l.name, of+1))
			continue
		}
		w := Write{ID: s.Key + " " + l.name, Keys: []string{s.Key}, File: RawPrefix + l.name, Text: l.text, Want: l.text}
		if l.text == TextDefault {
			w.From = keptPrefix + l.name
		}
		t.writes = append(t.writes, w)
	}
}

func noRaw(reading, *Setting) (string, error) {
	return "", fmt.Errorf("%w: control files without a name here are read as they are", ErrNotSupported)
}

// rawRecord is what is kept of a raw file.
type rawRecord struct {
	Was   string `json:"was"`   // before our first write
	Wrote string `json:"wrote"` // by us
	Reads string `json:"reads"` // after it
}

// readRaw is [Hierarchy.Read] of "raw:FILE".
func (h *Hierarchy) readRaw(dir, file string) (string, error) {
	now, err := h.Read(dir, file)
	if err != nil {
		return "", err
	}
	if r, ours, err := h.rawRecord(dir, file); err != nil {
		return "", err
	} else if ours && r.Reads == now {
		return r.Wrote, nil
	}
	return now, nil
}

// readKept is [Hierarchy.Read] of "kept:FILE".
func (h *Hierarchy) readKept(dir, file string) (string, error) {
	if _, err := h.Stat(dir); err != nil {
		return "", err
	}
	_, ours, err := h.rawRecord(dir, file)
	if ours {
		return "1", err
	}
	return TextDefault, err
}

// writeKept is [Hierarchy.Write] of "raw:FILE".
func (h *Hierarchy) writeKept(dir, file, text string) error {
	r, ours, err := h.rawRecord(dir, file)
	if err != nil {
		return err
	}
	if text == TextDefault {
		if !ours {
			return nil
		}
		if err := h.Write(dir, file, either(r.Was, "\n")); err != nil {
			return err
		}
		return h.forgetRaw(dir, file)
	}
	now, err := h.Read(dir, file)
	if err != nil {
		return err
	}
	if !ours {
		r.Was = now
	}
	r.Wrote, r.Reads = text, text
	// First the record, so that a kill in between leaves what to go back to.
	if err := h.saveRaw(dir, file, r); err != nil {
		return err
	}
	if err := h.Write(dir, file, text); err != nil {
		if !ours {
			err = errors.Join(err, h.forgetRaw(dir, file))
		}
		return err
	}
	if r.Reads, err = h.Read(dir, file); err != nil || r.Reads == text {
		return err
	}
	return h.saveRaw(dir, file, r)
}

func (h *Hierarchy) rawRecord(dir, file string) (r rawRecord, ours bool, err error) {
	value, err := h.attribute(dir, rawName(file))
	if err != nil || value == nil {
		return r, false, err
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return rawRecord{}, false, nil // not of our making
	}
	return r, true, nil
}

func (h *Hierarchy) saveRaw(dir, file string, r rawRecord) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return h.setAttribute(dir, rawName(file), value)
}

func (h *Hierarchy) forgetRaw(dir, file string) error {
	return h.setAttribute(dir, rawName(file), nil)
}

// longestAttribute is the kernel's limit of an attribute's value.
const longestAttribute = 64 << 10

// attribute reads an extended attribute of a cgroup's directory; nil: it has none.
func (h *Hierarchy) attribute(dir, name string) ([]byte, error) {
	rel, err := relative(dir)
	if err != nil {
		return nil, &Error{Op: "read " + name + " of", Path: h.Display(dir), Err: err}
	}
	size, err := unix.Lgetxattr(h.absolute(rel), name, nil)
	for err == nil && size > 0 {
		value := make([]byte, size)
		if size, err = unix.Lgetxattr(h.absolute(rel), name, value); err == nil {
			return value[:size], nil
		}
		if errors.Is(err, unix.ERANGE) { // it has grown
			size, err = longestAttribute, nil
		}
	}
	if err == nil || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return nil, &Error{Op: "read " + name + " of", Path: h.Display(dir), Err: err}
}

// setAttribute sets an extended attribute of a cgroup's directory; nil removes it.
func (h *Hierarchy) setAttribute(dir, name string, value []byte) error {
	rel, err := relative(dir)
	switch {
	case err != nil:
	case value == nil:
		if err = unix.Lremovexattr(h.absolute(rel), name); errors.Is(err, unix.ENODATA) {
			err = nil
		}
	default:
		err = unix.Lsetxattr(h.absolute(rel), name, value, 0)
	}
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // an old kernel: then it is only compared as it reads
		return &Error{Op: "keep " + name + " of", Path: h.Display(dir), Err: err}
	}
	return nil
}
