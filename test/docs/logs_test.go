// Package docs checks that the documents speak of the program that there is.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const top = "../.."

// TestLogMessages: an operator finds every warning and error of the log in
// docs/operations.md, with what to do.
func TestLogMessages(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(top, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages := logMessages(t)
	if len(messages) < 20 {
		t.Fatalf("only %d messages found: this test does not see the log calls any more", len(messages))
	}
	for _, m := range slices.Sorted(maps.Keys(messages)) {
		if !strings.Contains(string(manual), "`"+m+"`") {
			t.Errorf("%s: logs `%s`, which docs/operations.md does not list", messages[m], m)
		}
	}
}

// logMessages are the constant texts of all warnings and errors, with the place
// of one call each.
func logMessages(t *testing.T) map[string]token.Position {
	t.Helper()
	messages := map[string]token.Position{}
	files := token.NewFileSet()
	visit := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != "Warn" && method.Sel.Name != "Error" {
				return true
			}
			if text, ok := call.Args[0].(*ast.BasicLit); ok && text.Kind == token.STRING {
				if s, err := strconv.Unquote(text.Value); err == nil {
					messages[s] = files.Position(call.Pos())
				}
			}
			return true
		})
		return nil
	}
	for _, dir := range []string{"cmd", "internal"} {
		if err := filepath.WalkDir(filepath.Join(top, dir), visit); err != nil {
			t.Fatal(err)
		}
	}
	return messages
}
