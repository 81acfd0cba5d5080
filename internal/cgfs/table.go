package cgfs

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Setting is one row of the settings table: what the document calls it, which
// values it takes, and which file of which cgroup version it is written to.
type Setting struct {
	Subsystem string // as in the document: "cpu"
	Key       string // as in the document: "share"
	Doc       string // one line for people
	Integer   *Integer
	// Given is the value when the document has `conf` without this key; "" for
	// none.
	Given string
	// V1 are the v1 files it may have, in order of preference: the first that this
	// kernel has is used.
	V1 []File
}

// File is a control file of a setting.
type File struct {
	Name    string
	Default string // what a new cgroup has
	// Probe is a file of the hierarchy's root that exists exactly when this kernel
	// has the file in the cgroups below (a root lacks many files of its own).
	Probe string
}

// Integer is the range of a whole-number setting.
type Integer struct {
	Min, Max int64
	// Clamp: zero and positive values outside the range are taken to its ends with
	// a warning, as the kernel does; otherwise they are document faults.
	Clamp bool
}

// settings is the whole table, one slice a controller.
var settings = slices.Concat(cpuSettings, blkioSettings)

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
	for i := range settings {
		if s := &settings[i]; s.Subsystem == subsystem && s.Key == key {
			return s, true
		}
	}
	return nil, false
}

// Defaults are the settings that a cgroup of the subsystem has whenever the
// document gives it a `conf`.
func Defaults(subsystem string) map[string]string {
	out := map[string]string{}
	for _, s := range settings {
		if s.Subsystem == subsystem && s.Given != "" {
			out[s.Key] = s.Given
		}
	}
	return out
}

// Parse turns a decoded JSON value (json.Number, string, bool, nil, []any,
// map[string]any) into the setting's canonical text. The warning is not empty
// when the value was clamped. The error says what is wrong with the value on
// every host.
func (s *Setting) Parse(value any) (text, warning string, err error) {
	n, err := wholeNumber(value)
	if err != nil {
		return "", "", err
	}
	r := s.Integer
	switch {
	case r.Clamp && n >= 0 && n < r.Min:
		return strconv.FormatInt(r.Min, 10), fmt.Sprintf("%d raised to %d, as the kernel does", n, r.Min), nil
	case r.Clamp && n > r.Max:
		return strconv.FormatInt(r.Max, 10), fmt.Sprintf("%d lowered to %d, as the kernel does", n, r.Max), nil
	case n < r.Min || n > r.Max:
		return "", "", fmt.Errorf("out of range %d to %d: %d", r.Min, r.Max, n)
	}
	return strconv.FormatInt(n, 10), "", nil
}

// wholeNumber takes what the ancestor's users write: integers, digit strings and
// integral floats, up to 2^63-1 in magnitude.
func wholeNumber(value any) (int64, error) {
	var text string
	switch v := value.(type) {
	case json.Number:
		text = v.String()
	case string:
		if !digits(v) {
			return 0, fmt.Errorf("not an integer: %q", v)
		}
		text = v
	case nil:
		return 0, fmt.Errorf("not an integer: null")
	case bool:
		return 0, fmt.Errorf("not an integer: %t", v)
	case []any:
		return 0, fmt.Errorf("not an integer: an array")
	case map[string]any:
		return 0, fmt.Errorf("not an integer: an object")
	default:
		return 0, fmt.Errorf("not an integer: %v", v)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n != math.MinInt64 {
		return n, nil
	}
	return integralFloat(text)
}

// integralFloat reads a JSON number such as 1e3, 1024.0 or a too large integer,
// exactly and without ever expanding its exponent.
func integralFloat(text string) (int64, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	sign := ""
	if rest, negative := strings.CutPrefix(mantissa, "-"); negative {
		sign, mantissa = "-", rest
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "+"), ".")
	all := strings.TrimLeft(whole+fraction, "0")
	significant := strings.TrimRight(all, "0")
	if significant == "" {
		return 0, nil
	}
	shift := len(all) - len(significant) - len(fraction)
	if exponent != "" {
		e, err := strconv.Atoi(exponent)
		if err != nil { // out of range: as far as it matters
			e = math.MaxInt32
			if exponent[0] == '-' {
				e = math.MinInt32
			}
		}
		shift += e
	}
	if shift < 0 {
		return 0, fmt.Errorf("not an integer: %s", text)
	}
	if len(significant)+shift <= len("9223372036854775807") {
		n, err := strconv.ParseInt(sign+significant+strings.Repeat("0", shift), 10, 64)
		if err == nil && n != math.MinInt64 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("beyond 2^63-1: %s", text)
}

// digits accepts an optional sign and decimal digits, at most as many as a
// 64-bit number may have with leading zeros.
func digits(s string) bool {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
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
