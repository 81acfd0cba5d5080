package cgfs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

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
