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
	place  string // "cpu/a/b", "" for the document as a whole
	text   string
	offset int    // of the key or the byte that is at fault
	line   string // "line 3:5" where there is no better place: the syntax is at fault
}

func (f fault) Error() string {
	if f.line != "" {
		return f.line + ": " + f.text
	}
	return f.placed()
}

// placed is the text without the line.
func (f fault) placed() string {
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

func (f *faults) add(one fault) {
	if len(f.list) >= maxFaults {
		f.more++
		return
	}
	if len(one.text) > maxFaultText {
		one.text = strings.ToValidUTF8(one.text[:maxFaultText], "") + "..."
	}
	f.list = append(f.list, one)
}

func (f *faults) full() bool { return len(f.list) >= maxFaults }

// join returns all of them as one error, sorted by place, nil when there are
// none.
func (f *faults) join() error {
	slices.SortStableFunc(f.list, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.line+a.place, b.line+b.place), cmp.Compare(a.text, b.text))
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
	var texts []string
	for _, e := range split(err) {
		texts = append(texts, e.Error())
	}
	return texts
}

// split undoes errors.Join.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Located is a fault of a document and where it stands in the text, as editors
// count: lines and characters from 1. A line of 0 means that it stands nowhere.
type Located struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"` // with the place in the document, if it has one
}

// Locate lists the faults that Decode or Check reported together for the data,
// in the order of the text.
func Locate(data []byte, err error) []Located {
	if err == nil {
		return nil
	}
	var list []Located
	for _, e := range split(err) {
		var f fault
		if !errors.As(e, &f) {
			list = append(list, Located{Text: e.Error()})
			continue
		}
		line, column := position(data, f.offset)
		list = append(list, Located{line, column, f.placed()})
	}
	slices.SortStableFunc(list, func(a, b Located) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return list
}

// position says where an offset lies, as editors count: lines and characters
// from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	line = bytes.Count(before, []byte("\n")) + 1
	column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return line, column
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
