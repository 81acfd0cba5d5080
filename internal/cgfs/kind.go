package cgfs

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a setting's value. It says how canonical text becomes a Go
// value ([Kind.Typed]); that value encodes to the JSON of a document, and
// [Setting.Parse] takes it back.
type Kind int

// The kinds, with the Go type of each.
const (
	KindText     Kind = iota // string: as the kernel prints it
	KindInteger              // int64
	KindAmount               // Amount: a number or no limit; bytes where the setting is about memory
	KindPercent              // Percent: a number or no limit
	KindFlag                 // bool
	KindSet                  // Set: CPUs or memory nodes
	KindQuota                // Bandwidth: quota and period
	KindList                 // []int64
	KindTable                // map[string]int64: by what is counted
	KindTables               // map[string]map[string]int64: by device or kind, then by what is counted
	KindAmounts              // map[string]Amount: by device or network interface
	KindRates                // map[string]map[string]Amount: by device, then rbps, wbps, riops, wiops
	KindRules                // []Rule: of devices
	KindPressure             // map[string]map[string]float64: "some" and "full", then avg10, avg60, avg300 (percent), total (µs)
)

// Amount is a number of something, or [Infinite].
type Amount int64

// Infinite is the [Amount] or [Percent] that is no limit: what the kernel spells
// "max", -1, or as a huge number.
const Infinite = -1

// String is the amount in decimal, or "max".
func (a Amount) String() string {
	if a == Infinite {
		return Unlimited
	}
	return strconv.FormatInt(int64(a), 10)
}

// MarshalJSON gives a number, or "max".
func (a Amount) MarshalJSON() ([]byte, error) {
	if a == Infinite {
		return []byte(`"` + Unlimited + `"`), nil
	}
	return strconv.AppendInt(nil, int64(a), 10), nil
}

// UnmarshalJSON takes what a document may write for an amount: 1024, "64M", "max",
// -1.
func (a *Amount) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return err
	}
	text, err := parseSize(value)
	if err != nil {
		return err
	}
	*a, err = parseAmount(text)
	return err
}

func parseAmount(text string) (Amount, error) {
	if text == Unlimited || text == "-1" {
		return Infinite, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("not an amount: %q", clip(text))
	}
	return Amount(n), nil
}

// Percent is a part of something in percent, or [Infinite].
type Percent float64

// String is the percentage in decimal, or "max".
func (p Percent) String() string {
	if p == Infinite {
		return Unlimited
	}
	return formatPercent(float64(p))
}

// MarshalJSON gives a number, or "max".
func (p Percent) MarshalJSON() ([]byte, error) {
	if p == Infinite {
		return []byte(`"` + Unlimited + `"`), nil
	}
	return []byte(p.String()), nil
}

// Quota is CPU time that may be used in each period, both in µs. To be set, a Period
// of 0 is the default, 100000.
type Quota struct {
	Time   Amount
	Period int64
}

// String is the quota as cpu.max has it: "50000 100000".
func (q Quota) String() string {
	return q.Time.String() + " " + strconv.FormatInt(q.Period, 10)
}

// MarshalText gives String.
func (q Quota) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// MarshalText gives the set in the kernel's list format.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Typed turns canonical text into the Go value of the kind. It takes what the
// kernel prints as well, where that needs no translation.
func (k Kind) Typed(text string) (any, error) {
	switch k {
	case KindInteger:
		return parseInt(text)
	case KindAmount:
		return parseAmount(text)
	case KindPercent:
		if text == Unlimited {
			return Percent(Infinite), nil
		}
		f, err := parseFloat(text)
		return Percent(f), err
	case KindFlag:
		switch text {
		case "0":
			return false, nil
		case "1":
			return true, nil
		}
		return nil, fmt.Errorf("not 0 or 1: %q", clip(text))
	case KindSet:
		return ParseSet(text)
	case KindQuota:
		return parseQuota(text)
	case KindList:
		return parseList(text)
	case KindTable:
		return byName(text, parseInt)
	case KindTables:
		return parseTables(text)
	case KindAmounts:
		return byName(text, parseAmount)
	case KindRates:
		return byName(text, func(pairs string) (map[string]Amount, error) { return byField(pairs, parseAmount) })
	case KindRules:
		return ParseRules(text)
	case KindPressure:
		return byName(text, func(pairs string) (map[string]float64, error) { return byField(pairs, parseFloat) })
	}
	return text, nil
}

func clip(text string) string { return text[:min(len(text), 64)] }

func parseInt(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not an integer: %q", clip(text))
	}
	return n, nil
}

func parseFloat(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("not a number: %q", clip(text))
	}
	return f, nil
}

func parseQuota(text string) (Quota, error) {
	quota, period, _ := strings.Cut(text, " ")
	t, err := parseAmount(quota)
	if err != nil {
		return Quota{}, err
	}
	p, err := parseInt(either(period, defaultPeriod))
	return Quota{t, p}, err
}

func parseList(text string) ([]int64, error) {
	out := []int64{}
	for field := range strings.FieldsSeq(text) {
		n, err := parseInt(field)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// byName reads lines of a name and a value.
func byName[T any](text string, parse func(string) (T, error)) (map[string]T, error) {
	out := map[string]T{}
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		if name == "" {
			continue
		}
		v, err := parse(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(name), err)
		}
		out[name] = v
	}
	return out, nil
}

// byField reads pairs such as "rbps=1 wbps=max".
func byField[T any](text string, parse func(string) (T, error)) (map[string]T, error) {
	out := map[string]T{}
	for pair := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(pair, "=")
		v, err := parse(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(name), err)
		}
		out[name] = v
	}
	return out, nil
}

// parseTables reads the three forms of the kernel's tables in two dimensions:
// "8:0 Read 4096" of blkio, "8:0 rbytes=1 wbytes=2" of io.stat, and
// "anon N0=1 N1=2" or "total=3 N0=1 N1=2" of numa_stat, where what stands before
// the nodes is both the row's name and its sum. A line of one number, "Total 4096"
// or "8:0 4096", is a row with the single column "".
func parseTables(text string) (map[string]map[string]int64, error) {
	out := map[string]map[string]int64{}
	for l := range strings.Lines(text) {
		fields := strings.Fields(l)
		if len(fields) == 0 {
			continue
		}
		row, sum, isSum := strings.Cut(fields[0], "=")
		cells := out[row]
		if cells == nil {
			cells = map[string]int64{}
			out[row] = cells
		}
		pairs := fields[1:]
		switch {
		case isSum:
			pairs = append([]string{"=" + sum}, pairs...)
		case len(pairs) == 1 && !strings.Contains(pairs[0], "="):
			pairs = []string{"=" + pairs[0]}
		case len(pairs) == 2 && !strings.Contains(pairs[0], "="):
			pairs = []string{pairs[0] + "=" + pairs[1]}
		}
		for _, pair := range pairs {
			column, value, ok := strings.Cut(pair, "=")
			n, err := parseInt(value)
			if !ok || err != nil {
				return nil, fmt.Errorf("not a line of a table: %q", clip(l))
			}
			cells[column] = n
		}
	}
	return out, nil
}

// untyped turns a Go value of a kind into what a document's decoder would give,
// so that Parse takes both.
func untyped(value any) any {
	switch v := value.(type) {
	case int:
		return json.Number(strconv.Itoa(v))
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case uint64:
		return json.Number(strconv.FormatUint(v, 10))
	case Amount:
		if v == Infinite {
			return Unlimited
		}
		return json.Number(strconv.FormatInt(int64(v), 10))
	case float64:
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	case Percent:
		return json.Number(formatPercent(float64(v))) // -1 is no limit
	case Set:
		return v.String()
	case Quota:
		if v.Period == 0 {
			return v.Time.String() // the default
		}
		return v.String()
	case []int64:
		return plainSlice(v)
	case []string:
		return plainSlice(v)
	case []Rule:
		return plainSlice(v)
	case Rule:
		return v.String()
	case map[string]int64:
		return plainMap(v)
	case map[string]Amount:
		return plainMap(v)
	case map[string]map[string]Amount:
		return plainMap(v)
	case map[string]string:
		return plainMap(v)
	}
	return value
}

func plainSlice[T any](in []T) []any {
	out := make([]any, 0, len(in))
	for _, v := range in {
		out = append(out, untyped(v))
	}
	return out
}

func plainMap[T any](in map[string]T) map[string]any {
	out := make(map[string]any, len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		out[key] = untyped(in[key])
	}
	return out
}
