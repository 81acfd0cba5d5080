package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// An entry is one key of the file as decoded, with its line.
type entry struct {
	key   *Key
	value any
	line  int // from 1; 0 when unknown
}

// A fault is an error and the line that it is about, by which faults are
// sorted: 0 for none, past the last for flags.
type fault struct {
	line int
	err  error
}

// joinFaults puts faults into the order of the file.
func joinFaults(faults []fault) error {
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f.err
	}
	return errors.Join(errs...)
}

// decodeFile turns TOML into entries in the order of its lines. It reports
// unknown keys and syntax; values are checked by the keys' own functions.
func decodeFile(name string, data []byte) ([]entry, []fault) {
	var doc map[string]toml.Primitive
	md, err := toml.Decode(string(data), &doc)
	if err != nil {
		return nil, []fault{{0, syntaxError(name, err)}}
	}
	var entries []entry
	var faults []fault
	for _, key := range sortedKeys(doc) {
		line := lineOf(&md, doc[key], string(data), key)
		k, ok := LookupKey(key)
		if !ok {
			faults = append(faults, fault{line, fmt.Errorf("%s: %s: unknown key%s", place(name, line), key, suggestion(key))})
			continue
		}
		if k.Kind == KindTable {
			if members, misplaced := tableEntries(&md, k, doc[key], name, string(data)); members != nil {
				entries = append(entries, members...)
				faults = append(faults, misplaced...)
				continue
			}
		}
		var v any
		if err := md.PrimitiveDecode(doc[key], &v); err != nil {
			faults = append(faults, fault{line, fmt.Errorf("%s: %s: %w", place(name, line), key, err)})
			continue
		}
		entries = append(entries, entry{k, v, line})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.line, b.line) })
	return entries, faults
}

// tableEntries splits a table into entries of one member each, so that each
// has its own line; nil when p is no table. A member named like a key of the
// daemon is misplaced: in TOML, whatever follows a [table] belongs to it, the
// classic slip.
func tableEntries(md *toml.MetaData, k *Key, p toml.Primitive, file, text string) (entries []entry, misplaced []fault) {
	var whole any
	var members map[string]toml.Primitive
	if md.PrimitiveDecode(p, &whole) != nil || md.PrimitiveDecode(p, &members) != nil {
		return nil, nil
	}
	if _, isTable := whole.(map[string]any); !isTable { // the decoder takes a list for an empty table
		return nil, nil
	}
	entries = make([]entry, 0, len(members))
	for _, name := range sortedKeys(members) {
		line := lineOf(md, members[name], text, name)
		if _, isKey := LookupKey(name); isKey {
			misplaced = append(misplaced, fault{line, fmt.Errorf(
				"%s: %s: belongs above the line [%s], which is best put at the end of the file", place(file, line), name, k.Name)})
			continue
		}
		var v any
		if err := md.PrimitiveDecode(members[name], &v); err != nil {
			misplaced = append(misplaced, fault{line, fmt.Errorf("%s: %s: %w", place(file, line), name, err)})
			continue
		}
		entries = append(entries, entry{k, map[string]any{name: v}, line})
	}
	return entries, misplaced
}

// lineProbe refuses every value: the decoder's error then tells the line,
// which it reveals in no other way.
type lineProbe struct{}

var errProbe = errors.New("probe")

// UnmarshalTOML always fails.
func (*lineProbe) UnmarshalTOML(any) error { return errProbe }

// lineOf finds the line of a key. For a [table] the decoder names the line
// after the header, and for a dotted key none: the nearest line at or above
// that names the key is meant.
func lineOf(md *toml.MetaData, p toml.Primitive, text, key string) int {
	var probed toml.ParseError
	errors.As(md.PrimitiveDecode(p, &lineProbe{}), &probed)
	lines := strings.Split(text, "\n")
	line := probed.Position.Line
	if line == 0 || line > len(lines) {
		line = len(lines)
	}
	for i := line; i >= 1; i-- {
		if strings.Contains(lines[i-1], key) {
			return i
		}
	}
	return probed.Position.Line
}

// syntaxError gives a TOML error the file's name and line.
func syntaxError(name string, err error) error {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		key := ""
		if syntax.LastKey != "" {
			key = syntax.LastKey + ": "
		}
		return fmt.Errorf("%s: %s%s", place(name, syntax.Position.Line), key, syntax.Message)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func place(name string, line int) string {
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, line)
}

// suggestion is " (did you mean x?)" where a known key is near.
func suggestion(name string) string {
	best, distance := "", len(name)/3+1
	for i := range Keys {
		candidate := Keys[i].Name
		d := editDistance(strings.ReplaceAll(strings.ToLower(name), "-", "_"), candidate)
		if d < distance || d == distance && best == "" {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// maxFile bounds what is read of a configuration file; real ones have a few
// kilobytes.
const maxFile = 1 << 20

// readFile reads a file and describes the very file that was read.
func readFile(name string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d bytes", maxFile)}
	}
	return data, info, nil
}
