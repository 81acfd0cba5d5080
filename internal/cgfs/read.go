package cgfs

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// gauge reads one setting where one file with one value is not enough. What it
// gives is canonical.
type gauge func(r reading, s *Setting) (string, error)

// reading is one cgroup whose settings are read.
type reading struct {
	version int
	text    func(file string) (string, error)
	has     func(file string) bool
}

func (h *Hierarchy) reading(dir string) reading {
	return reading{
		version: h.Version(),
		text:    func(file string) (string, error) { return h.Read(dir, file) },
		has:     func(file string) bool { return h.has(dir, file) },
	}
}

// files are the control files of the setting that this cgroup has, the best first.
func (r reading) files(s *Setting) []File {
	all := s.V1
	if r.version == 2 {
		all = s.V2
	}
	var out []File
	for _, f := range all {
		if r.has(either(f.From, f.Name)) {
			out = append(out, f)
		}
	}
	return out
}

// setting is the canonical text of a setting; files are those that it has, at
// least one.
func (r reading) setting(s *Setting, files []File) (string, error) {
	read := s.read1
	if r.version == 2 {
		read = s.read2
	}
	if read != nil {
		return read(r, s)
	}
	return r.canonical(files[0])
}

// canonical is what a control file says about a setting.
func (r reading) canonical(f File) (string, error) {
	text, err := r.text(either(f.From, f.Name))
	if err != nil {
		return "", err
	}
	text = f.form.Read(text)
	if f.shown != nil {
		text = f.shown(text)
	}
	return text, nil
}

// has says whether a cgroup has a control file, one of ours that stand for
// something else included.
func (h *Hierarchy) has(dir, file string) bool {
	if file == DevicesFile {
		return h.Version() == 2 && dir != "" || h.Exists(dir, "devices.list")
	}
	return h.Exists(dir, file)
}

// caps is what the table must know to write to one existing cgroup.
func (h *Hierarchy) caps(dir string) Caps {
	return Caps{Version: h.Version(), Has: func(probe string) bool { return h.has(dir, probe) }}
}

// Get reads a setting of the cgroup dir, in canonical text. A setting of the other
// version is translated back as far as there is a way. errors.Is finds
// [ErrNotSupported] where this version, kernel or cgroup does not have it; the
// error's text says in plain words why.
func (h *Hierarchy) Get(dir string, s *Setting) (string, error) {
	r := h.reading(dir)
	fail := func(err error) (string, error) {
		return "", &Error{Op: "read", Path: h.Display(dir, s.Key), Err: err}
	}
	switch why := s.Why(h.Version()); {
	case s.Access == WriteOnly || s.Access == EventSource:
		return fail(fmt.Errorf("%w: it cannot be read", ErrNotSupported))
	case why != "" && s.Always != "":
		return s.Always, nil
	case why != "":
		return fail(fmt.Errorf("%w: %s", ErrNotSupported, why))
	}
	files := r.files(s)
	if len(files) == 0 {
		return fail(h.lacks(dir, s))
	}
	text, err := r.setting(s, files)
	if err == nil {
		_, err = s.Value.Kind.Typed(text) // so that what we give can be typed
	}
	if inner := (*Error)(nil); errors.As(err, &inner) {
		return "", err // it names the file
	}
	if err != nil {
		return fail(err)
	}
	return text, nil
}

// lacks says why a cgroup has no control file of a setting.
func (h *Hierarchy) lacks(dir string, s *Setting) error {
	if _, err := h.Stat(dir); err != nil {
		return err
	}
	files := s.V1
	if h.Version() == 2 {
		files = s.V2
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return fmt.Errorf("%w: this cgroup has no control file for it (looked for %s)", ErrNotSupported, strings.Join(names, ", "))
}

// FileOf is the control file in which the cgroup dir has a setting; where there
// are several, the first. [ErrNotSupported]: it has none.
func (h *Hierarchy) FileOf(dir string, s *Setting) (string, error) {
	why := s.Why(h.Version())
	files := h.reading(dir).files(s)
	switch {
	case why != "":
		return "", &Error{Op: "find", Path: h.Display(dir, s.Key), Err: fmt.Errorf("%w: %s", ErrNotSupported, why)}
	case len(files) == 0:
		return "", &Error{Op: "find", Path: h.Display(dir, s.Key), Err: h.lacks(dir, s)}
	}
	return files[0].Name, nil
}

// Offers lists the rows of a subsystem whose control files the cgroup dir has,
// sorted by key.
func (h *Hierarchy) Offers(subsystem, dir string) []*Setting {
	return slices.DeleteFunc(Rows(subsystem), func(s *Setting) bool {
		return s.Why(h.Version()) != "" || len(h.reading(dir).files(s)) == 0
	})
}

// Set writes settings of the cgroup dir, given by key in canonical text: several
// at once in the order that the kernel needs, one value a write, and nothing that
// holds already. What cannot be written does not keep the rest from it; the error
// joins all that went wrong. Controllers are not enabled.
//
// What shares a control file with something that is not given leaves that as it
// is. Device rules are added to those in force: `deny` first, then `allow`.
func (h *Hierarchy) Set(dir, subsystem string, conf map[string]string) error {
	conf = maps.Clone(conf)
	var faults []error
	if subsystem == "devices" {
		faults = append(faults, h.setRules(dir, conf))
	}
	faults = append(faults, h.complete(dir, subsystem, conf), h.put(dir, translate(subsystem, conf, h.caps(dir), LookupRow)))
	return errors.Join(faults...)
}

// complete adds what a setting is written or translated together with, as it is
// now.
func (h *Hierarchy) complete(dir, subsystem string, conf map[string]string) error {
	add := func(key string, given ...string) error {
		s, ok := LookupRow(subsystem, key)
		if !ok || slices.ContainsFunc(given, func(key string) bool { return conf[key] != "" }) {
			return nil
		}
		text, err := h.Get(dir, s)
		if err == nil {
			conf[key] = text
		}
		return err
	}
	limits := []string{"limit_in_bytes", "max", "memory_limit"}
	unified := h.Version() == 2
	switch {
	case subsystem == "cpu" && unified && conf["cfs_quota_us"] != "":
		return add("cfs_period_us", "cfs_period_us")
	case subsystem == "cpu" && unified && conf["cfs_period_us"] != "":
		return add("cfs_quota_us", "cfs_quota_us")
	case subsystem == "memory" && conf["memsw_limit_in_bytes"] != "" && conf["memsw_limit_in_bytes"] != Unlimited:
		return add("limit_in_bytes", limits...)
	case subsystem == "memory" && !unified && conf["swap_max"] != "" && conf["swap_max"] != Unlimited:
		return add("limit_in_bytes", limits...)
	}
	return nil
}

// setRules changes device rules and takes them out of conf.
func (h *Hierarchy) setRules(dir string, conf map[string]string) error {
	var faults []error
	for _, c := range []struct {
		key    string
		change func(string, Rule) error
	}{{"deny", h.DenyDevice}, {"allow", h.AllowDevice}} {
		text, given := conf[c.key]
		delete(conf, c.key)
		if text == TextDefault {
			faults = append(faults, h.Write(dir, DevicesFile, AllDevices))
			continue
		}
		if !given {
			continue
		}
		rules, err := ParseRules(text)
		faults = append(faults, err)
		for _, r := range rules {
			faults = append(faults, c.change(dir, r))
		}
	}
	return errors.Join(faults...)
}

// put carries out a translation on one cgroup.
func (h *Hierarchy) put(dir string, t *translation) error {
	var faults []error
	for _, f := range t.faults {
		faults = append(faults, &Error{Op: "write", Path: h.Display(dir, f.Key), Err: fmt.Errorf("%w: %s", ErrNotSupported, f.Reason)})
	}
	return errors.Join(append(faults, h.apply(dir, t.writes)...)...)
}

// apply writes what reads otherwise: what gives less first and inner limits before
// outer ones, then what gives more the other way round.
func (h *Hierarchy) apply(dir string, writes []Write) []error {
	var faults []error
	var tighter, looser []Write
	for _, w := range writes {
		if w.FromParent {
			text, err := h.Read(parentOf(dir), w.File)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			w.Text, w.Want = text, text
		}
		now, err := h.now(dir, w)
		switch {
		case err != nil:
			faults = append(faults, err)
		case w.Action:
			looser = append(looser, w)
		case now == w.Want:
		case Tightens(w, now, w.Want):
			tighter = append(tighter, w)
		default:
			looser = append(looser, w)
		}
	}
	slices.SortStableFunc(tighter, func(a, b Write) int { return b.Level - a.Level })
	slices.SortStableFunc(looser, func(a, b Write) int { return a.Level - b.Level })
	for _, w := range slices.Concat(tighter, looser) {
		if err := h.Write(dir, w.File, w.Text); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// now is what the file of a write says before it.
func (h *Hierarchy) now(dir string, w Write) (string, error) {
	if w.Action {
		return "", nil
	}
	text, err := h.Read(dir, either(w.From, w.File))
	if errors.Is(err, ErrNotExist) {
		if _, gone := h.Stat(dir); gone == nil && w.Controller != "" {
			return "", &Error{Op: "write", Path: h.Display(dir, w.File), Err: fmt.Errorf("%w: the controller %s is not enabled for this cgroup", ErrNotSupported, w.Controller)}
		}
	}
	return w.Form.Read(text), err
}

// parentOf is the cgroup above dir; that of the root is the root.
func parentOf(dir string) string {
	if dir = path.Dir(dir); dir == "." {
		return ""
	}
	return dir
}

// Reset takes settings back to what a new cgroup has; those by device or
// interface for each that has a value.
func (h *Hierarchy) Reset(dir, subsystem string, keys ...string) error {
	conf := map[string]string{}
	for _, key := range keys {
		s, ok := LookupSetting(subsystem, key)
		if !ok {
			return fmt.Errorf("take back %s: %s has no such setting", key, subsystem)
		}
		conf[s.Key] = s.Default
		if !s.Value.Kind.byName() {
			continue
		}
		text, err := h.Get(dir, s)
		if err != nil {
			return err
		}
		lines := map[string]string{}
		for _, l := range cutLines(text) {
			lines[l.name] = s.Default
		}
		conf[s.Key] = joinLines(lines)
	}
	return h.Set(dir, subsystem, conf)
}

// byName says whether canonical text has a line for each of several names.
func (k Kind) byName() bool { return k == KindTable || k == KindAmounts || k == KindRates }
