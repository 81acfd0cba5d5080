package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The reference file and the manual page are made from Keys:
// go test ./internal/config -update
var update = flag.Bool("update", false, "rewrite the reference file and the manual page")

const (
	referenceFile = "../../deploy/cgrouparchd.toml"
	manualFile    = "../../docs/configuration.md"
)

func TestReferenceIsCurrent(t *testing.T) { checkGenerated(t, referenceFile, reference()) }
func TestManualIsCurrent(t *testing.T)    { checkGenerated(t, manualFile, manual()) }

func checkGenerated(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the table of keys says; run go test ./internal/config -update (-want +got):\n%s", name, diff)
	}
}

// TestReference: the reference file is accepted as it is, and with every key
// commented in it means the defaults; no key is left out.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^#([a-z_]+ = .*)$`)
	for name, text := range map[string][]byte{"as it is": text, "commented in": setting.ReplaceAll(text, []byte("$1"))} {
		d, err := parse(referenceFile, text, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(defaults(), &d.Config, compareConfig); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, k := range Keys {
		if n := len(regexp.MustCompile(`(?m)^#`+k.Name+` = `).FindAll(text, -1)); n != 1 {
			t.Errorf("%s: %d times", k.Name, n)
		}
	}
}

// literal is a default as TOML spells it.
func literal(k *Key) string {
	switch k.Kind {
	case KindInt, KindSeconds, KindBool:
		return k.Default
	case KindList, KindCommand, KindAuth:
		return "[]"
	case KindTable:
		return "{}"
	default:
		return fmt.Sprintf("%q", k.Default)
	}
}

// sentence is the whole description of a key.
func sentence(k *Key) string {
	text := strings.ToUpper(k.Help[:1]) + k.Help[1:] + "."
	if k.Detail != "" {
		text += " " + k.Detail
	}
	return text
}

func reference() string {
	var b bytes.Buffer
	b.WriteString(`# /etc/cgrouparchd/cgrouparchd.toml: the configuration of cgrouparchd.
#
# Every key with its default. Take the "#" before a key away to change it.
# Exactly one of zk_host, get_zk_host and conf_file has to be given. Every key
# except zk_auth_data is also a flag (zk_prefix: --zk-prefix), and a flag wins.
# A file that holds a password must not be readable by others (chmod 600).
`)
	for i := range Keys {
		k := &Keys[i]
		b.WriteString("\n")
		for _, line := range wrap(sentence(k), 76) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		if k.Example != "" {
			fmt.Fprintf(&b, "# Example: %s = %s\n", k.Name, k.Example)
		}
		fmt.Fprintf(&b, "#%s = %s\n", k.Name, literal(k))
	}
	return b.String()
}

func manual() string {
	var b bytes.Buffer
	b.WriteString(`# Configuration of cgrouparchd

<!-- Made from internal/config/keys.go by go test ./internal/config -update -->

` + "`cgrouparchd` reads one TOML file, `" + DefaultPath + "`, or the one that `--config FILE` names.\n" +
		"Every key is optional; `deploy/cgrouparchd.toml` shows all of them with their defaults.\n" + `
- Every key without a secret is also a flag, with dashes instead of underscores. A flag wins over the file. One of
  ` + "`zk_host`, `get_zk_host` and `conf_file` given as a flag replaces the others in the file; likewise `redis_ip` and\n  `redis_url`, `zk_auth_data` and `zk_auth_file`." + `
- Exactly one of ` + "`zk_host`, `get_zk_host` and `conf_file`" + ` has to be given, except for commands that read no document.
- Numbers, ` + "`true` and `false`" + ` may also be written as strings. An empty string or list means "not given" where
  the key has no default.
- Unknown keys, wrong types and impossible values are errors that name file, line and key, all at once; exit status 2.
- A list as a flag is repeated or separated by commas, or one TOML list in brackets. A command as a flag is separated by
  blanks, or a TOML list. There is no shell.
- In TOML everything after a line ` + "`[cgroup_pid_files]`" + ` belongs to that table: put it at the end of the file.
- A file that others can write is refused, and so is one with a secret (` + "`zk_auth_data`, a password in `redis_url`, the file\n  that `zk_auth_file` names" + `) that others can read. Others are everybody, and any group except root's and the daemon's
  own. ` + "`chmod 600`" + ` is always right.

| key | type | default | flag |
|---|---|---|---|
`)
	for i := range Keys {
		k := &Keys[i]
		name := "none (a secret)"
		if k.Flag {
			name = "`--" + k.FlagName() + "`"
		}
		shown := "none"
		if k.Default != "" {
			shown = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", k.Name, k.Name, k.TypeName(), shown, name)
	}
	for i := range Keys {
		k := &Keys[i]
		fmt.Fprintf(&b, "\n## %s\n\n", k.Name)
		for _, line := range wrap(sentence(k), 110) {
			fmt.Fprintln(&b, escapeMarkdown(line))
		}
		if k.Example != "" {
			fmt.Fprintf(&b, "\n```toml\n%s = %s\n```\n", k.Name, k.Example)
		}
	}
	return b.String()
}

// escapeMarkdown keeps stars and brackets of patterns and URLs as they are.
func escapeMarkdown(s string) string {
	return strings.NewReplacer("*", `\*`, "[", `\[`, "]", `\]`, "_", `\_`).Replace(s)
}

// wrap breaks a text into lines of at most width bytes where it has blanks.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
