package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// example is the only block of a language in docs/websocket.md that says to be run here, speaking to d.
func example(t *testing.T, language string, d *daemon) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/websocket.md")
	must(t, err)
	block := regexp.MustCompile("(?s)<!-- run by TestExamples in test/e2e -->\n```" + language + "\n(.*?)```\n")
	found := block.FindAllStringSubmatch(string(text), -1)
	if len(found) != 1 {
		t.Fatalf("%d examples in %s", len(found), language)
	}
	const address = "127.0.0.1:43409"
	if !strings.Contains(found[0][1], address) {
		t.Fatalf("the example in %s does not speak to %s", language, address)
	}
	return strings.ReplaceAll(found[0][1], address, d.addr)
}

// TestExamples runs the programs of docs/websocket.md that are neither shell nor Python.
func TestExamples(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	d.slots(1)
	t.Run("go", func(t *testing.T) {
		file := h.file("main.go", example(t, "go", d), 0o600)
		ctx, cancel := context.WithTimeout(context.Background(), 4*patience) // it is compiled first
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "run", file)
		cmd.Dir, _ = filepath.Abs("../..")
		out, err := cmd.CombinedOutput()
		if err != nil || !regexp.MustCompile(`^(\d+: \d+\.\d\d CPUs\n){3}$`).Match(out) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("js", func(t *testing.T) {
		h.browser(t, "example.mjs", d, nil, h.file("example.js", example(t, "js", d), 0o600))
	})
}
