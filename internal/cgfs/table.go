package cgfs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Setting is one row of the settings table: what the document calls it, which
// values it takes, and which file of either cgroup version it becomes.
type Setting struct {
	Subsystem string // as in the document: "cpu"; "" for what every cgroup has
	Key       string // as in the document: "share"
	// Thing is what the setting sets. Settings with the same thing are names for
	// one thing; "throttle/rbps" is a part of "throttle".
	Thing string
	Doc   string // one line for people
	Value Value
	// Access says what may be done with it; only a [State] can stand in a document.
	Access Access
	// Given is the value when the document has `conf` without this thing; "" for
	// none.
	Given string
	// Default is the value that takes the setting back: what a new cgroup has.
	// TextDefault where each file has its own.
	Default string
	// V1 and V2 are the files it may have, in order of preference: the first that
	// this kernel has is used.
	V1, V2 []File
	// NoV1 and NoV2 say in plain words why it cannot be done there; "" where it can.
	NoV1, NoV2 string
	// Always is the value that every cgroup has on the version that has no such
	// setting: asking for it there is no fault.
	Always string

	// on1 and on2 write the setting where one file with one value is not enough,
	// read1 and read2 read it.
	on1, on2     recipe
	read1, read2 gauge
}

// Access says what may be done with a setting.
type Access int

// The kinds of access.
const (
	State       Access = iota // read and written, and a document may hold it
	Adjustable                // read and written, but it names processes or takes counts back: never in a document
	ReadOnly                  // the kernel's own figures
	WriteOnly                 // an action
	EventSource               // neither: programs wait for what it reports
)

// String is the access as the documentation has it.
func (a Access) String() string {
	return [...]string{"state", "read and write", "read", "write", "events"}[a]
}

// File is a control file of a setting.
type File struct {
	Name string
	// Probe is a file of a v1 hierarchy's root that exists exactly when this kernel
	// has the file in the cgroups below (a root lacks many files of its own); "":
	// every kernel with the controller has it.
	Probe string
	// From is the file that shows the value, "" for Name.
	From string
	// Default is what a new cgroup has, where the setting's own is TextDefault.
	Default string
	// Note says in a few words how the value is converted; "": as it is.
	Note string

	form  Form
	limit Limit
	level int
	// kept: what it reads does not tell what was written, so our own record does.
	kept bool
	// alone: see Write.Alone. Only of v1: on v2 a file comes with its controller.
	alone bool
	// spell turns the canonical text into what is written and what is read back;
	// nil: as it is. shown turns what form reads into canonical text; nil: as it is.
	spell func(text string, caps Caps) (text1, want string)
	shown func(text string) string
	// weigh gives the weight of a canonical text; nil: not a weight that is scaled.
	weigh func(text string) *Weight
}

// file is a control file that every root has which has it below.
func file(name string) File { return File{Name: name, Probe: name} }

// TextDefault is the canonical text that stands for "what a new cgroup has".
const TextDefault = "default"

// settings is the whole table.
var settings = slices.Concat(states, figures, rawSettings)

// states are the rows that a document may have, one slice a controller.
var states = slices.Concat(
	of("blkio", blkioSettings),
	of("cpu", cpuSettings),
	of("cpuset", cpusetSettings),
	of("devices", devicesSettings),
	of("freezer", freezerSettings),
	of("hugetlb", hugetlbSettings),
	of("memory", memorySettings),
	of("net_cls", netClsSettings),
	of("net_prio", netPrioSettings),
	of("pids", pidsSettings),
	of("", commonSettings),
)

// figures are the rows that no document may have.
var figures = slices.Concat(
	of("blkio", blkioFigures),
	of("cpu", cpuFigures),
	of("cpuacct", cpuacctFigures),
	of("cpuset", cpusetFigures),
	of("devices", devicesFigures),
	of("freezer", freezerFigures),
	of("hugetlb", hugetlbFigures),
	of("memory", memoryFigures),
	of("misc", miscFigures),
	of("net_prio", netPrioFigures),
	of("pids", pidsFigures),
	of("rdma", rdmaFigures),
	of("", commonFigures),
)

func of(subsystem string, rows []Setting) []Setting {
	for i := range rows {
		rows[i].Subsystem = subsystem
	}
	return rows
}

type settingName struct{ subsystem, key string }

// index finds rows by name; the table never changes.
var index = func() map[settingName]*Setting {
	m := make(map[settingName]*Setting, len(settings))
	for i := range settings {
		m[settingName{settings[i].Subsystem, settings[i].Key}] = &settings[i]
	}
	return m
}()

// Settings lists what a document may set, sorted by subsystem and key.
func Settings() []*Setting {
	return rows(func(s *Setting) bool { return s.Access == State })
}

// Rows lists all that is known of a subsystem, or of any other controller's or
// named hierarchy, sorted by key. What every cgroup has is among it.
func Rows(subsystem string) []*Setting {
	return rows(func(s *Setting) bool { return s.Subsystem == subsystem || s.Subsystem == "" })
}

func rows(want func(*Setting) bool) []*Setting {
	var out []*Setting
	for i := range settings {
		if want(&settings[i]) {
			out = append(out, &settings[i])
		}
	}
	slices.SortFunc(out, func(a, b *Setting) int {
		return cmp.Or(strings.Compare(a.Subsystem, b.Subsystem), strings.Compare(a.Key, b.Key))
	})
	return out
}

// LookupSetting finds the row of a setting that a document may have.
func LookupSetting(subsystem, key string) (*Setting, bool) {
	s, ok := index[settingName{subsystem, key}]
	if !ok {
		s, ok = index[settingName{"", key}]
	}
	if !ok || s.Access != State {
		return nil, false
	}
	return s, true
}

// LookupRow finds a row by its key, or by the name of a control file of either
// version.
func LookupRow(subsystem, name string) (*Setting, bool) {
	for _, of := range []string{subsystem, ""} {
		if s, ok := index[settingName{of, name}]; ok {
			return s, true
		}
	}
	for _, s := range Rows(subsystem) {
		if s.has(name) {
			return s, true
		}
	}
	return nil, false
}

// has says whether a control file of this name, of either version, is the setting's.
func (s *Setting) has(name string) bool {
	is := func(f File) bool { return f.Name == name }
	return slices.ContainsFunc(s.V1, is) || slices.ContainsFunc(s.V2, is)
}

// Why says in plain words why a cgroup version cannot have the setting; "" where
// it can.
func (s *Setting) Why(version int) string {
	if version == 2 {
		return s.NoV2
	}
	return s.NoV1
}

// Defaults are the settings that a cgroup of the subsystem has whenever the
// document gives it a `conf` that does not name the same thing (see [SameThing]).
func Defaults(subsystem string) map[string]string {
	out := map[string]string{}
	for i := range settings {
		if s := &settings[i]; s.Subsystem == subsystem && s.Given != "" {
			out[s.Key] = s.Given
		}
	}
	return out
}

// Parse turns a decoded JSON value (json.Number, string, bool, nil, []any,
// map[string]any) into the setting's canonical text. The warning is not empty
// when the value was clamped. The error says what is wrong with the value on
// every host.
//
// It takes the Go values of [Kind.Typed] as well.
func (s *Setting) Parse(value any) (text, warning string, err error) {
	if s.Value.parse == nil {
		return "", "", fmt.Errorf("%s cannot be written", s.Key)
	}
	return s.Value.parse(untyped(value))
}

// SameThing says whether two settings of a subsystem set the same thing, or one
// of them a part of what the other sets: `share` and `weight`.
func SameThing(subsystem, a, b string) bool {
	x, ok1 := LookupSetting(subsystem, a)
	y, ok2 := LookupSetting(subsystem, b)
	return ok1 && ok2 && overlap(x.Thing, y.Thing)
}

// Names says whether a conf sets what key would, under this name or another.
func Names(subsystem string, conf map[string]string, key string) bool {
	if _, ok := conf[key]; ok {
		return true
	}
	for other := range conf {
		if SameThing(subsystem, key, other) {
			return true
		}
	}
	return len(rawConflicts(subsystem, []string{key}, conf[rawKey])) > 0
}

func overlap(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// Conflicts says which settings of one conf are names for the same thing, or make
// no sense without another, in words for a fault of the document. conf has
// canonical texts.
func Conflicts(subsystem string, conf map[string]string) []string {
	keys := sortedKeys(conf)
	out := ruleConflicts(subsystem, conf)
	for i, a := range keys {
		for _, b := range keys[i+1:] {
			if SameThing(subsystem, a, b) {
				out = append(out, fmt.Sprintf("%s and %s are two names for one thing", a, b))
			}
		}
	}
	return append(out, rawConflicts(subsystem, keys, conf[rawKey])...)
}

// Controller is what the unified hierarchy calls the controller of a subsystem
// of the document; "" when what it needs is in every cgroup (or nothing is).
func Controller(subsystem string) string {
	switch subsystem {
	case "blkio":
		return "io"
	case "cpuacct", "freezer", "devices", "net_cls", "net_prio", "perf_event":
		return ""
	}
	return subsystem
}

// WhyNotUnified says in plain words why a subsystem of the document cannot be
// had on the unified hierarchy of this host.
func WhyNotUnified(subsystem string) string {
	why := "the unified (v2) hierarchy does not offer " + either(Controller(subsystem), subsystem) + " on this host"
	switch subsystem {
	case "net_cls":
		why = noNetCls
	case "net_prio":
		why = noNetPrio
	}
	return "not mounted as a v1 hierarchy, and " + why
}

func either(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Controllers are the names that prefix control files ("cpu.shares").
var controllers = []string{
	"cgroup", "cpu", "cpuacct", "cpuset", "blkio", "io", "memory", "devices", "freezer", "net_cls", "net_prio",
	"perf_event", "pids", "hugetlb", "rdma", "misc", "irq", "dmem", "debug",
}

// IsControlFile says whether a cgroup of this name would collide with a control
// file, on this kernel or on another: `tasks`, `notify_on_release`,
// `release_agent`, and a controller's name followed by a dot.
func IsControlFile(name string) bool {
	switch name {
	case "tasks", "notify_on_release", "release_agent":
		return true
	}
	prefix, _, dotted := strings.Cut(name, ".")
	return dotted && slices.Contains(controllers, prefix)
}
