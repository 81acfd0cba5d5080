package cgfs

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Value says how the JSON value of a setting is read into its canonical text:
//
//   - whole numbers in decimal; sizes in bytes; "max" for no limit
//   - flags "0" or "1"; words as the table spells them
//   - sets of CPUs or memory nodes as the kernel prints them: "0-2,7"
//   - values by device or interface as sorted lines: "8:0 1048576"
type Value struct {
	Kind Kind
	// Words describe what is accepted, for people: "2 to 262144".
	Words string
	parse func(value any) (text, warning string, err error)
}

// Unlimited is the canonical text of "no limit".
const Unlimited = "max"

// plainly wraps a parser that never clamps.
func plainly(kind Kind, words string, parse func(value any) (string, error)) Value {
	return Value{kind, words, func(value any) (string, string, error) {
		text, err := parse(value)
		return text, "", err
	}}
}

// integer takes a whole number of a range; outside of it is a fault.
func integer(low, high int64) Value {
	return plainly(KindInteger, fmt.Sprintf("%d to %d", low, high), func(value any) (string, error) {
		n, err := wholeNumber(value)
		if err != nil {
			return "", err
		}
		return inRange(n, low, high)
	})
}

func inRange(n, low, high int64) (string, error) {
	if n < low || n > high {
		return "", fmt.Errorf("out of range %d to %d: %d", low, high, n)
	}
	return strconv.FormatInt(n, 10), nil
}

// clamped takes zero and positive numbers outside the range to its ends with a
// warning, as the kernel does.
func clamped(low, high int64) Value {
	exact := integer(low, high)
	return Value{KindInteger, exact.Words, func(value any) (text, warning string, err error) {
		n, err := wholeNumber(value)
		switch {
		case err != nil:
			return "", "", err
		case n >= 0 && n < low:
			return strconv.FormatInt(low, 10), fmt.Sprintf("%d raised to %d, as the kernel does", n, low), nil
		case n > high:
			return strconv.FormatInt(high, 10), fmt.Sprintf("%d lowered to %d, as the kernel does", n, high), nil
		}
		return exact.parse(value)
	}}
}

// limit takes a whole number of a range, or "max" or -1 for no limit.
func limit(low, high int64) Value {
	return plainly(KindAmount, fmt.Sprintf("%d to %d, or `\"max\"` or -1: no limit", low, high), func(value any) (string, error) {
		if value == Unlimited {
			return Unlimited, nil
		}
		n, err := wholeNumber(value)
		if err != nil {
			return "", err
		}
		if n == -1 {
			return Unlimited, nil
		}
		return inRange(n, low, high)
	})
}

// hugeBytes is where the kernel's "no limit" begins: it counts in pages, so what
// it prints is 2^63 rounded down to a page, of 64 KiB at most.
const hugeBytes = math.MaxInt64 - (1<<16 - 1)

// size takes a number of bytes, with a suffix as the kernel's memparse() takes
// it, or "max" or -1 for no limit.
func size() Value {
	return plainly(KindAmount, "bytes, such as `1048576`, `\"64M\"`, `\"1G\"`, or `\"max\"` or -1: no limit", parseSize)
}

func parseSize(value any) (string, error) {
	if value == Unlimited {
		return Unlimited, nil
	}
	n, suffixed, err := suffixedSize(value)
	if err == nil && !suffixed {
		n, err = wholeNumber(value)
	}
	switch {
	case err != nil:
		return "", err
	case n == -1, n >= hugeBytes:
		return Unlimited, nil
	case n < 0:
		return "", fmt.Errorf("negative size: %d", n)
	}
	return strconv.FormatInt(n, 10), nil
}

// suffixedSize reads "64M".
func suffixedSize(value any) (n int64, ok bool, err error) {
	s, isString := value.(string)
	if !isString || s == "" {
		return 0, false, nil
	}
	power := strings.IndexByte("kmgtpe", s[len(s)-1]|0x20)
	number := s[:len(s)-1]
	if power < 0 || !digits(number) || number[0] == '-' || number[0] == '+' {
		if !digits(s) {
			return 0, false, fmt.Errorf("not a size such as 1048576, 64M or 1G: %q", s)
		}
		return 0, false, nil
	}
	shift := 10 * (power + 1)
	n, err = strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, false, fmt.Errorf("beyond 2^63-1: %q", s)
	}
	return n << shift, true, nil
}

// boolean takes true, false, 0 and 1.
func boolean() Value {
	return plainly(KindFlag, "0 or 1, false or true", func(value any) (string, error) {
		switch v := value.(type) {
		case bool:
			if v {
				return "1", nil
			}
			return "0", nil
		case nil:
			return "", fmt.Errorf("not 0 or 1: null")
		}
		n, err := wholeNumber(value)
		if err != nil {
			return "", err
		}
		return inRange(n, 0, 1)
	})
}

// word takes one of some words, in any case.
func word(words ...string) Value {
	return plainly(KindText, "`\""+strings.Join(words, "\"` or `\"")+"\"`", func(value any) (string, error) {
		s, ok := value.(string)
		i := slices.IndexFunc(words, func(w string) bool { return ok && strings.EqualFold(w, s) })
		if i < 0 {
			return "", fmt.Errorf("not one of %s: %s", strings.Join(words, ", "), describe(value))
		}
		return words[i], nil
	})
}

// describe shows a value in a fault.
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(v)
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	case json.Number:
		return v.String()
	}
	return fmt.Sprint(value)
}

// numbers takes a set of CPUs or memory nodes: "0-2,7", 3, or [0, 1]. The empty
// one means what the parent has.
func numbers() Value {
	return plainly(KindSet, "a set such as `\"0-2,7\"`; `\"\"`: the parent's", func(value any) (string, error) {
		switch v := value.(type) {
		case string:
			set, err := ParseSet(v)
			return set.String(), err
		case []any:
			var set Set
			for _, e := range v {
				one, err := single(e)
				if err != nil {
					return "", err
				}
				set = append(set, one...)
			}
			return set.normal().String(), nil
		}
		set, err := single(value)
		return set.String(), err
	})
}

func single(value any) (Set, error) {
	n, err := wholeNumber(value)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > maxMember {
		return nil, fmt.Errorf("out of range 0 to %d: %d", maxMember, n)
	}
	return Set{{uint32(n), uint32(n)}}, nil
}

// perDevice takes an object from "MAJ:MIN" to a value of its own.
func perDevice(of Value) Value { return perName("device such as `\"8:0\"`", device, of) }

// perName takes an object from names to values.
func perName(what string, check func(name string) (string, error), of Value) Value {
	kind := map[Kind]Kind{KindInteger: KindTable, KindAmount: KindAmounts, KindRates: KindRates}[of.Kind]
	return plainly(kind, fmt.Sprintf("an object from %s to %s", what, of.Words), func(value any) (string, error) {
		m, ok := value.(map[string]any)
		if !ok {
			return "", fmt.Errorf("not an object: %s", describe(value))
		}
		lines := map[string]string{}
		for _, key := range sortedKeys(m) {
			name, err := check(key)
			if err != nil {
				return "", err
			}
			if _, twice := lines[name]; twice {
				return "", fmt.Errorf("%s: named twice", name)
			}
			text, _, err := of.parse(m[key])
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			lines[name] = text
		}
		return joinLines(lines), nil
	})
}

// device checks and normalises the name of a block device.
func device(name string) (string, error) {
	major, minor, ok := strings.Cut(name, ":")
	a, err1 := strconv.ParseUint(major, 10, 12) // MKDEV: 12 and 20 bits
	b, err2 := strconv.ParseUint(minor, 10, 20)
	if !ok || err1 != nil || err2 != nil {
		return "", fmt.Errorf("not a device's MAJ:MIN: %q", name)
	}
	return fmt.Sprintf("%d:%d", a, b), nil
}

// joinLines is the canonical text of values by name.
func joinLines(lines map[string]string) string {
	var out []string
	for _, name := range sortedKeys(lines) {
		out = append(out, name+" "+lines[name])
	}
	return strings.Join(out, "\n")
}

// line is one of the values by name in a canonical text.
type line struct{ name, text string }

// cutLines takes a canonical text apart.
func cutLines(text string) []line {
	var out []line
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		out = append(out, line{name, value})
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
