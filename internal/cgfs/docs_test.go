package cgfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettingsDocument compares the tables of docs/settings.md, which stand
// between "<!-- settings SUBSYSTEM -->" or "<!-- figures SUBSYSTEM -->" and
// "<!-- end -->", with the table of settings. -update rewrites them.
func TestSettingsDocument(t *testing.T) {
	const file = "../../docs/settings.md"
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CGROUPARCHD_GUEST") != "" {
		t.Skip("the documents are not in the guest")
	}
	if err != nil {
		t.Fatal(err)
	}
	got, documented := withTables(string(data))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(data), got); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", file, diff)
	}
	for i := range settings {
		s := &settings[i]
		name := tableOf(s)
		if s.Key != rawKey && !documented[name] {
			t.Errorf("%s has no table of %s", file, name)
			documented[name] = true
		}
	}
}

// tableOf names the table that a row is in.
func tableOf(s *Setting) string {
	of := either(s.Subsystem, "common")
	if s.Access == State {
		return "settings " + of
	}
	return "figures " + of
}

// withTables is the document with each table made anew.
func withTables(text string) (out string, documented map[string]bool) {
	const end = "<!-- end -->"
	var b strings.Builder
	documented = map[string]bool{}
	begin := regexp.MustCompile("<!-- (settings|figures) [a-z_]+ -->\n")
	for {
		at := begin.FindStringIndex(text)
		if at == nil {
			b.WriteString(text)
			return b.String(), documented
		}
		b.WriteString(text[:at[1]])
		name := strings.TrimSuffix(strings.TrimPrefix(text[at[0]:at[1]], "<!-- "), " -->\n")
		documented[name] = true
		_, text, _ = strings.Cut(text[at[1]:], end)
		b.WriteString(table(name) + end)
	}
}

func table(name string) string {
	var b strings.Builder
	if strings.HasPrefix(name, "settings") {
		b.WriteString("| setting | what it sets | values | taken back to | v1 | v2 |\n|---|---|---|---|---|---|\n")
	} else {
		b.WriteString("| name | what it is | | type | v1 | v2 |\n|---|---|---|---|---|---|\n")
	}
	for _, s := range rows(func(s *Setting) bool { return tableOf(s) == name && s.Key != rawKey }) {
		if s.Subsystem == "hugetlb" && !strings.HasPrefix(s.Key, "2MB_") {
			continue
		}
		third, fourth := s.Value.Words, takenBackTo(s)
		if s.Access != State {
			third, fourth = s.Access.String(), s.Value.Words
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", s.Key, s.Doc, third, fourth, cell(s, s.V1, s.NoV1), cell(s, s.V2, s.NoV2))
		if s.Subsystem == "hugetlb" {
			row = strings.ReplaceAll(strings.ReplaceAll(row, "2MB", "SIZE"), "2097152", "the size")
		}
		b.WriteString(row)
	}
	return b.String()
}

func takenBackTo(s *Setting) string {
	switch s.Default {
	case "":
		return "the parent's"
	case TextDefault:
		return "the kernel's"
	}
	return "`" + s.Default + "`"
}

// cell says what a setting is on one version.
func cell(s *Setting, files []File, no string) string {
	if no != "" {
		if s.Always != "" {
			no += " (`" + s.Always + "` is no fault)"
		}
		return "no: " + no
	}
	var parts []string
	seen := map[string]bool{}
	for _, f := range files {
		part := "`" + f.Name + "`"
		if f.Note != "" {
			part += " (" + f.Note + ")"
		}
		if f.Default != "" {
			part += ", " + f.Default + " when taken back"
		}
		if !seen[part] {
			parts = append(parts, part)
		}
		seen[part] = true
	}
	joint := ", else "
	if s.on1 != nil && len(files) > 1 && s.Default != TextDefault && s.Access == State {
		joint = " and "
	}
	return strings.Join(parts, joint)
}
