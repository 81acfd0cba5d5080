package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A block is a piece of code in a document.
type block struct {
	file     string
	line     int    // of its first line of code
	language string // "" when the fence names none
	text     string
	marker   string // what the HTML comment before it says; "" without
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var fence = regexp.MustCompile("^( *)```([a-z]*)$")

// blocks finds the fenced blocks of a document in Markdown. Indented blocks are
// not used for code here (TestBlocks says so), for they have no language.
func blocks(file, text string) (all []block, err error) {
	lines := strings.Split(text, "\n")
	marker := ""
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		m := fence.FindStringSubmatch(line)
		if m == nil {
			if c, ok := strings.CutPrefix(strings.TrimSpace(line), "<!-- "); ok && strings.HasSuffix(c, " -->") {
				marker = strings.TrimSuffix(c, " -->")
			} else if strings.TrimSpace(line) != "" {
				marker = ""
			}
			continue
		}
		b := block{file: file, line: i + 2, language: m[2], marker: marker}
		end := slices.Index(lines[i+1:], m[1]+"```")
		if end < 0 {
			return nil, fmt.Errorf("%v: the block has no end", b)
		}
		for _, l := range lines[i+1 : i+1+end] {
			b.text += strings.TrimPrefix(l, m[1]) + "\n"
		}
		all = append(all, b)
		i += end + 1
		marker = ""
	}
	return all, nil
}

func TestBlocksParse(t *testing.T) {
	got, err := blocks("f", "text\n\n<!-- run -->\n```sh\na\n\nb\n```\n<!-- gone -->\nx\n   ```json\n   {\n   ```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []block{{"f", 5, "sh", "a\n\nb\n", "run"}, {"f", 12, "json", "{\n", ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(block{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := blocks("f", "```sh\n"); err == nil {
		t.Error("a block without an end is accepted")
	}
}

// documents are all documents for users.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{filepath.Join(top, "README.md")}, files...)
}

func blocksOf(t *testing.T, file string) []block {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(top, file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := blocks(name, string(data))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// runnable languages are those whose blocks are commands or programs.
var runnable = []string{"sh", "console", "python", "go", "js", "javascript"}

var runBy = regexp.MustCompile(`^run by (Test\w+|Example\w*) in ([\w/.]+)$`)

// TestBlocks: every block of commands is run by a test, or says why it is not;
// and JSON is JSON.
func TestBlocks(t *testing.T) {
	for _, file := range documents(t) {
		for _, b := range blocksOf(t, file) {
			switch {
			case slices.Contains(runnable, b.language):
				checkMarker(t, b)
			case b.language == "json" && !json.Valid([]byte(b.text)):
				t.Errorf("%v: this is not JSON", b)
			case b.language == "":
				checkOutput(t, b)
			}
		}
		checkIndented(t, file)
	}
}

func checkMarker(t *testing.T, b block) {
	t.Helper()
	if why, ok := strings.CutPrefix(b.marker, "not run: "); ok && len(why) > 5 {
		return
	}
	if m := runBy.FindStringSubmatch(b.marker); m != nil {
		tests, err := filepath.Glob(filepath.Join(top, m[2], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range tests {
			if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), "func "+m[1]+"(") {
				return
			}
		}
		t.Errorf("%v: there is no %s in %s", b, m[1], m[2])
		return
	}
	if _, err := parseRun(b.marker); err != nil {
		t.Errorf("%v: a block of commands begins with <!-- run -->, <!-- run by TestX in DIR --> or <!-- not run: WHY --> before it: %v", b, err)
	}
}

// checkOutput: what a fence without a language holds is output or a sketch; a
// prompt would be commands that nobody runs.
func checkOutput(t *testing.T, b block) {
	t.Helper()
	for line := range strings.Lines(b.text) {
		if strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# cgrouparchd") {
			t.Errorf("%v: commands, but no language: %s", b, line)
		}
	}
}

// checkIndented finds commands in the old style of Markdown.
func checkIndented(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fenced, last := false, ""
	for i, line := range strings.Split(string(data), "\n") {
		if fence.MatchString(line) {
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "    ") && last == "" && !strings.HasPrefix(strings.TrimSpace(line), "-") {
			t.Errorf("%s:%d: an indented block: use a fence with a language", file, i+1)
		}
		last = strings.TrimSpace(line)
	}
}
