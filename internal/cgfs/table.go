package cgfs

import (
	"fmt"
	"slices"
	"strings"
)

// Setting is one row of the settings table: what the document calls it, which
// values it takes, and which file of either cgroup version it becomes.
type Setting struct {
	Subsystem string // as in the document: "cpu"
	Key       string // as in the document: "share"
	// Thing is what the setting sets. Settings with the same thing are names for
	// one thing; "throttle/rbps" is a part of "throttle".
	Thing string
	Doc   string // one line for people
	Value Value
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

	// on1 and on2 write the setting where one file with one value is not enough.
	on1, on2 recipe
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
	// spell turns the canonical text into what is written and what is read back;
	// nil: as it is.
	spell func(text string, caps Caps) (text1, want string)
	// weigh gives the weight of a canonical text; nil: not a weight that is scaled.
	weigh func(text string) *Weight
}

// file is a control file that every root has which has it below.
func file(name string) File { return File{Name: name, Probe: name} }

// TextDefault is the canonical text that stands for "what a new cgroup has".
const TextDefault = "default"

// settings is the whole table, one slice a controller.
var settings = slices.Concat(
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

// Settings lists the table's rows, sorted by subsystem and key.
func Settings() []*Setting {
	var out []*Setting
	for i := range settings {
		out = append(out, &settings[i])
	}
	slices.SortFunc(out, func(a, b *Setting) int {
		return strings.Compare(a.Subsystem+"."+a.Key, b.Subsystem+"."+b.Key)
	})
	return out
}

// LookupSetting finds the row of a setting.
func LookupSetting(subsystem, key string) (*Setting, bool) {
	s, ok := index[settingName{subsystem, key}]
	return s, ok
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
func (s *Setting) Parse(value any) (text, warning string, err error) { return s.Value.parse(value) }

// SameThing says whether two settings of a subsystem set the same thing, or one
// of them a part of what the other sets: `share` and `weight`.
func SameThing(subsystem, a, b string) bool {
	x, ok1 := LookupSetting(subsystem, a)
	y, ok2 := LookupSetting(subsystem, b)
	return ok1 && ok2 && overlap(x.Thing, y.Thing)
}

func overlap(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// Conflicts says which settings of one conf are names for the same thing, or make
// no sense without another, in words for a fault of the document. keys may come
// in any order.
func Conflicts(subsystem string, keys []string) []string {
	keys = slices.Sorted(slices.Values(keys))
	var out []string
	if lacksDeny(subsystem, keys) {
		out = append(out, `allow needs deny: ["a"] in the same conf`)
	}
	for i, a := range keys {
		for _, b := range keys[i+1:] {
			if a != b && SameThing(subsystem, a, b) {
				out = append(out, fmt.Sprintf("%s and %s are two names for one thing", a, b))
			}
		}
	}
	return out
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
	switch subsystem {
	case "net_cls":
		return noNetCls
	case "net_prio":
		return noNetPrio
	}
	return fmt.Sprintf("not mounted as a v1 hierarchy, and the unified (v2) hierarchy does not offer %s on this host", either(Controller(subsystem), subsystem))
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
