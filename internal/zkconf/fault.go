package zkconf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a hostile document can make us print: it may have a fault every
// few bytes, and quote a megabyte in each.
const (
	maxFaults    = 1000
	maxFaultText = 300
	maxQuoted    = 80
)

// fault is one thing wrong with a document.
type fault struct {
	place string // "cpu/a/b", "" for the document as a whole
	text  string
}

func (f fault) Error() string {
	if f.place == "" {
		return f.text
	}
	return f.place + ": " + f.text
}

// faults collects them.
type faults struct {
	list []fault
	more int // beyond maxFaults
}

func (f *faults) add(place, text string) {
	if len(f.list) >= maxFaults {
		f.more++
		return
	}
	if len(text) > maxFaultText {
		text = strings.ToValidUTF8(text[:maxFaultText], "") + "..."
	}
	f.list = append(f.list, fault{place, text})
}

func (f *faults) full() bool { return len(f.list) >= maxFaults }

// join returns all of them as one error, sorted by place, nil when there are
// none.
func (f *faults) join() error {
	slices.SortStableFunc(f.list, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.text, b.text))
	})
	var errs []error
	for _, one := range f.list {
		errs = append(errs, one)
	}
	if f.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more faults", f.more))
	}
	return errors.Join(errs...)
}

// Faults lists the texts of the faults that Decode reported together.
func Faults(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var texts []string
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	return texts
}

// position spells where an offset lies, as editors count: lines and characters
// from 1.
func position(data []byte, offset int) string {
	before := data[:min(offset, len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d:%d", line, column)
}

// quote quotes a string that is not ours for a message, cut when it is long.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}

// component spells a name within a place: as it is, unless that could be
// misread or reach the terminal as something else.
func component(name string) string {
	odd := func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(` "\:/`, r)
	}
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, odd) {
		return quote(name)
	}
	return name
}

// describe spells a value of the wrong type.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case json.Number:
		return v.String()
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}
