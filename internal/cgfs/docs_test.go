package cgfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSettingsDocument compares the tables of docs/settings.md, which stand
// between "<!-- settings SUBSYSTEM -->" and "<!-- end -->", with the table of
// settings. -update rewrites them.
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
	for _, s := range Settings() {
		if !documented[s.Subsystem] {
			t.Errorf("%s has no table of %s", file, s.Subsystem)
			documented[s.Subsystem] = true
		}
	}
}

// withTables is the document with each table made anew.
func withTables(text string) (out string, documented map[string]bool) {
	const begin, end = "<!-- settings ", "<!-- end -->"
	var b strings.Builder
	documented = map[string]bool{}
	for {
		before, after, found := strings.Cut(text, begin)
		b.WriteString(before)
		if !found {
			return b.String(), documented
		}
		subsystem, after, _ := strings.Cut(after, " -->")
		documented[subsystem] = true
		_, text, _ = strings.Cut(after, end)
		b.WriteString(begin + subsystem + " -->\n" + settingsTable(subsystem) + end)
	}
}

func settingsTable(subsystem string) string {
	var b strings.Builder
	b.WriteString("| setting | what it sets | values | taken back to | v1 | v2 |\n|---|---|---|---|---|---|\n")
	for _, s := range Settings() {
		if s.Subsystem == subsystem && (subsystem != "hugetlb" || strings.HasPrefix(s.Key, "2MB_")) {
			row := fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", s.Key, s.Doc, s.Value.Words, takenBackTo(s), cell(s, s.V1, s.NoV1), cell(s, s.V2, s.NoV2))
			if subsystem == "hugetlb" {
				row = strings.ReplaceAll(strings.ReplaceAll(row, "2MB", "SIZE"), "2097152", "the size")
			}
			b.WriteString(row)
		}
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
	if s.on1 != nil && len(files) > 1 && s.Default != TextDefault {
		joint = " and "
	}
	return strings.Join(parts, joint)
}
