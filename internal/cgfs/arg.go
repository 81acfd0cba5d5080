package cgfs

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ParseArg is [Setting.Parse] of a value as a person types it on a command line:
// JSON, or
//
//	64M, max, true, 0-2,7         what a document has without its quotes
//	8:0=1M,8:16=max               values by device or interface; a blank does for =
//	8:0 rbps=1M wiops=max         rates, several disks separated by commas
//	c 1:3 rwm,b 8:* r             device rules
func (s *Setting) ParseArg(arg string) (text, warning string, err error) {
	value, err := s.argument(strings.TrimSpace(arg))
	if err != nil {
		return "", "", err
	}
	return s.Parse(value)
}

func (s *Setting) argument(arg string) (any, error) {
	if strings.HasPrefix(arg, "{") || strings.HasPrefix(arg, "[") {
		var value any
		d := json.NewDecoder(strings.NewReader(arg))
		d.UseNumber()
		if err := d.Decode(&value); err != nil || d.More() {
			return nil, fmt.Errorf("not JSON: %q", clip(arg))
		}
		return value, nil
	}
	switch s.Value.Kind {
	case KindFlag:
		if arg == "true" || arg == "false" {
			return arg == "true", nil
		}
	case KindRules:
		var rules []any
		for rule := range strings.SplitSeq(arg, ",") {
			rules = append(rules, strings.TrimSpace(rule))
		}
		return rules, nil
	case KindList:
		var list []any
		for one := range strings.FieldsFuncSeq(arg, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
			list = append(list, one)
		}
		return list, nil
	case KindTable, KindAmounts, KindRates:
		return s.pairs(arg)
	}
	if arg == "null" {
		return nil, nil
	}
	return arg, nil
}

// pairs reads values by name.
func (s *Setting) pairs(arg string) (any, error) {
	out := map[string]any{}
	for pair := range strings.SplitSeq(arg, ",") {
		pair = strings.TrimSpace(pair)
		i := strings.IndexAny(pair, " =")
		if i < 0 {
			return nil, fmt.Errorf("not a name and its value: %q", clip(pair))
		}
		name, value := pair[:i], any(strings.TrimSpace(pair[i+1:]))
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s: named twice", name)
		}
		if s.Value.Kind == KindRates {
			fields := map[string]any{}
			for field := range strings.FieldsSeq(pair[i+1:]) {
				f, v, _ := strings.Cut(field, "=")
				fields[f] = v
			}
			value = fields
		}
		out[name] = value
	}
	return out, nil
}
