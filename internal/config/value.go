package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// sortedKeys is what every loop over a map uses, so that errors and output do
// not depend on chance.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// flagValue turns a flag's text into what the TOML file would have held.
func flagValue(k *Key, text string) (any, error) {
	switch k.Kind {
	case KindList:
		return flagLines(text, ",")
	case KindCommand:
		if strings.HasPrefix(strings.TrimSpace(text), "[") {
			return tomlList(text)
		}
		return anyList(strings.Fields(text)), nil
	case KindTable:
		return flagTable(text)
	default:
		return text, nil // numbers and truth values are accepted as strings anyway
	}
}

// flagLines splits the occurrences of a repeated flag, and each of them at
// sep unless it is a TOML list.
func flagLines(text, sep string) (any, error) {
	list := []any{}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			more, err := tomlList(line)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
			continue
		}
		for word := range strings.SplitSeq(line, sep) {
			if word = strings.TrimSpace(word); word != "" {
				list = append(list, word)
			}
		}
	}
	return list, nil
}

// flagTable reads NAME=FILE occurrences. File names are absolute, so the
// first "=/" is the border even where a name holds an equals sign.
func flagTable(text string) (any, error) {
	table := map[string]any{}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, file, ok := strings.Cut(line, "=/")
		if !ok || name == "" {
			return nil, fmt.Errorf("want NAME=FILE with an absolute file name: %q", line)
		}
		list, _ := table[name].([]any)
		table[name] = append(list, "/"+file)
	}
	return table, nil
}

// tomlList reads a TOML list given as a flag's text.
func tomlList(text string) ([]any, error) {
	var doc struct{ List []any }
	if strings.ContainsAny(text, "\n") {
		return nil, errors.New("a list in brackets stands on one line")
	}
	md, err := toml.Decode("list = "+text, &doc)
	if err != nil || len(md.Keys()) != 1 {
		return nil, fmt.Errorf("not a list such as [\"a\", \"b\"]: %s", text)
	}
	return doc.List, nil
}

func anyList(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

func asString(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("want a string in quotes, not %s", describe(v))
	}
	if i := strings.IndexFunc(s, isControl); i >= 0 {
		return "", fmt.Errorf("control character %q", s[i])
	}
	return s, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func asInt(v any, least, most int64) (int64, error) {
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case string:
		parsed, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("not a whole number: %q", v)
		}
		n = parsed
	default:
		return 0, fmt.Errorf("want a whole number, not %s", describe(v))
	}
	if n < least || n > most {
		if most == math.MaxInt64 {
			return 0, fmt.Errorf("%d is below %d", n, least)
		}
		return 0, fmt.Errorf("%d is not from %d to %d", n, least, most)
	}
	return n, nil
}

func asBool(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch v {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, fmt.Errorf("want true or false, not %q", v)
	}
	return false, fmt.Errorf("want true or false, not %s", describe(v))
}

// asList is nil for an empty list.
func asList(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		if s, isString := v.(string); isString && s == "" { // a key's default
			return nil, nil
		}
		return nil, fmt.Errorf("want a list of strings such as [\"a\", \"b\"], not %s", describe(v))
	}
	var out []string
	for i, item := range list {
		s, err := asString(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if s == "" {
			return nil, fmt.Errorf("item %d is empty", i+1)
		}
		out = append(out, s)
	}
	return out, nil
}

// asCommand is a list of strings whose first is an absolute path or a bare
// name (which the system's directories are searched for): the daemon runs as
// root, and must not depend on its working directory.
func asCommand(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		if s, isString := v.(string); isString && s == "" {
			return nil, nil
		}
		return nil, fmt.Errorf("want a list, the program and its arguments (there is no shell), not %s", describe(v))
	}
	var argv []string
	for i, item := range list {
		s, isString := item.(string)
		if !isString {
			return nil, fmt.Errorf("item %d: want a string in quotes, not %s", i+1, describe(item))
		}
		if strings.Contains(s, "\x00") {
			return nil, fmt.Errorf("item %d: a NUL byte", i+1)
		}
		argv = append(argv, s)
	}
	if len(argv) > 0 && (argv[0] == "" || !strings.HasPrefix(argv[0], "/") && strings.Contains(argv[0], "/")) {
		return nil, fmt.Errorf("the program is neither an absolute path nor a bare name: %q", argv[0])
	}
	return argv, nil
}

// describe names a TOML value's type in an error.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return "a string"
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return "a fraction"
	case bool:
		return fmt.Sprintf("%t", v)
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}
