package cgfs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Plain words: the settings of the Python library cgroups, in percent and with
// units by name.

// percent takes a number more than low and at most high percent; null is 100.
func percent(low, high float64) Value {
	return plainly(KindPercent, fmt.Sprintf("more than %g, up to %g; null: 100", low, high), func(value any) (string, error) {
		if value == nil {
			return "100", nil
		}
		f, err := decimal(value)
		if err != nil {
			return "", err
		}
		if f <= low || f > high {
			return "", fmt.Errorf("out of range %g to %g percent: %s", low, high, describe(value))
		}
		return formatPercent(f), nil
	})
}

// percentOrMax takes percent of one CPU, of at least the kernel's least quota.
func percentOrMax() Value {
	const least = 1 // 1000 µs, the least quota, of the default period
	exact := percent(0, maxQuota/1000)
	return plainly(KindPercent, fmt.Sprintf("at least %d; `\"max\"`, -1 or null: no limit", least), func(value any) (string, error) {
		if value == nil || value == Unlimited {
			return Unlimited, nil
		}
		if f, err := decimal(value); err == nil && f == -1 {
			return Unlimited, nil
		} else if err == nil && f < least {
			return "", fmt.Errorf("below %d percent: %s", least, describe(value))
		}
		text, _, err := exact.parse(value)
		return text, err
	})
}

// decimal reads a number of JSON, or a string of one.
func decimal(value any) (float64, error) {
	var text string
	switch v := value.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	default:
		return 0, fmt.Errorf("not a number: %s", describe(value))
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(text, "xX_pP") {
		return 0, fmt.Errorf("not a number: %s", describe(value))
	}
	return f, nil
}

// formatPercent keeps two digits, which is finer than the kernel's units.
func formatPercent(f float64) string {
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

func percentOf(text string) float64 {
	f, _ := strconv.ParseFloat(text, 64) // canonical
	return f
}

func sharesOf(percent string) uint64 {
	return min(max(uint64(math.Round(percentOf(percent)*1024/100)), 2), 262144)
}

func percentToShares(text string, _ Caps) (string, string) {
	shares := strconv.FormatUint(sharesOf(text), 10)
	return shares, shares
}

// sharesToPercent gives a whole percentage where that is what the shares were made
// from: 80 of 819.
func sharesToPercent(text string) string {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return text
	}
	exact := float64(n) * 100 / 1024
	if whole := formatPercent(math.Round(exact)); sharesOf(whole) == n {
		return whole
	}
	return formatPercent(exact)
}

// percentToQuota is a part of a CPU in the default period, in µs.
func percentToQuota(text string) string {
	if text == Unlimited {
		return Unlimited
	}
	return strconv.FormatInt(max(int64(math.Round(percentOf(text)*1000)), minQuota), 10)
}

// units are what memory_limit takes behind a number, in any case.
var units = map[string]int64{
	"bytes": 1, "byte": 1, "kilobytes": 1 << 10, "kilobyte": 1 << 10, "megabytes": 1 << 20, "megabyte": 1 << 20, "gigabytes": 1 << 30, "gigabyte": 1 << 30,
}

// sizeInWords is a size that may have its unit as a word: "500 megabytes". null is
// no limit.
func sizeInWords() Value {
	return plainly(KindAmount, "`\"500 megabytes\"` (bytes, kilobytes, megabytes, gigabytes: powers of 1024), or as `limit_in_bytes`; null: no limit", func(value any) (string, error) {
		if value == nil {
			return Unlimited, nil
		}
		s, _ := value.(string)
		number, unit, spaced := strings.Cut(s, " ")
		if !spaced {
			return parseSize(value)
		}
		factor, known := units[strings.ToLower(unit)]
		if !known {
			return "", fmt.Errorf("not a size in bytes, kilobytes, megabytes or gigabytes: %q", clip(s))
		}
		n, err := wholeNumber(number)
		if err != nil {
			return "", err
		}
		if n < 0 || n > math.MaxInt64/factor {
			return "", fmt.Errorf("out of range: %q", clip(s))
		}
		return parseSize(json.Number(strconv.FormatInt(n*factor, 10)))
	})
}
