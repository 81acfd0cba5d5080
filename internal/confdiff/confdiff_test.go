package confdiff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func decode(t *testing.T, text string) *zkconf.Document {
	t.Helper()
	if text == "" {
		return nil
	}
	doc, err := zkconf.Decode([]byte(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestText(t *testing.T) {
	const rich = `{"cpu": {"sub_cgroup": {
		"a": {"conf": {"share": 100}, "sub_cgroup": {"x": {"conf": {}}, "y": {"sub_cgroup": {"z": {}}}}},
		"b": {"conf": {"cfs_quota_us": 5000}}, "c": {}, "d\u202e": {}}},
		"memory": {"sub_cgroup": {"a": {"conf": {"limit_in_bytes": "1G"}}}}}`
	for _, c := range []struct {
		name, older, newer string
		destroys           bool
		short, verbose     string // verbose "" is as short
	}{
		{"nothing", rich, rich, false, "", ""},
		{"spelling only", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 1024}}}}}`, `{"cpu": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {}}}}}`, false, "", ""},
		{"one share", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`, `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 50}}}}}`, false,
			"changes 1 setting\n~ cpu:/a share 5 -> 50\n", ""},
		{"the first document", "", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`, true,
			"takes over 1 subsystem, adds 1 cgroup\n! cpu: named for the first time: cgroups there that the document does not have will be removed\n+ cpu:/a share 5\n", ""},
		{"all of it", rich, `{}`, true, `removes 8 cgroups, leaves 2 subsystems
- cpu:/a and 3 below it
- cpu:/b
- cpu:/c
- "cpu:/d\u202e"
- memory:/a
~ cpu: named no more: what others make there is left alone
~ memory: named no more: what others make there is left alone
`, `removes 8 cgroups, leaves 2 subsystems
- cpu:/a
- cpu:/a/x
- cpu:/a/y
- cpu:/a/y/z
- cpu:/b
- cpu:/c
- "cpu:/d\u202e"
- memory:/a
~ cpu: named no more: what others make there is left alone
~ memory: named no more: what others make there is left alone
`},
		{"of everything something", rich, `{"cpu": {"conf": {"share": 7}, "sub_cgroup": {
			"a": {"sub_cgroup": {"x": {"conf": {"cfs_quota_us": 7000}}}},
			"b": {"conf": {"share": 3}}, "c": {"conf": {}, "sub_cgroup": {"new": {"conf": {"share": 9, "cfs_quota_us": 5000}, "sub_cgroup": {"below": {}}}}}, "d\u202e": {}}},
			"memory": {"sub_cgroup": {"a": {"conf": {"limit_in_bytes": "1024M", "nosuch": 5}}}}}`, true, `removes 2 cgroups, changes 10 settings, adds 2 cgroups
- cpu:/a/y and 1 below it
~ cpu:/ conf: none -> present
~ cpu:/ share unset -> 7
~ cpu:/a conf: present -> none, so no settings and no processes of its own
~ cpu:/a share 100 -> the kernel's default
~ cpu:/a/x cfs_quota_us unset -> 7000
~ cpu:/b cfs_quota_us 5000 -> the kernel's default
~ cpu:/b share 1024 -> 3
~ cpu:/c conf: none -> present
~ cpu:/c share unset -> 1024
~ memory:/a nosuch: unknown setting added
+ cpu:/c/new cfs_quota_us 5000 share 9 and 1 below it
`, ""},
	} {
		d := confdiff.Compare(decode(t, c.older), decode(t, c.newer))
		if diff := cmp.Diff(c.short, d.Text(false)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.verbose, d.Text(true)); c.verbose != "" && diff != "" {
			t.Errorf("%s, verbose (-want +got):\n%s", c.name, diff)
		}
		if d.Destroys() != c.destroys {
			t.Errorf("%s: destroys: %v", c.name, d.Destroys())
		}
	}
}

// wide is a document of n cgroups.
func wide(t *testing.T, n int, share func(i int) int) *zkconf.Document {
	var b strings.Builder
	for i := range n {
		if s := share(i); s > 0 {
			fmt.Fprintf(&b, `,"cgroup_%05d": {"conf": {"share": %d}}`, i, s)
		}
	}
	return decode(t, `{"cpu": {"sub_cgroup": {`+strings.TrimPrefix(b.String(), ",")+`}}}`)
}

// What an operator sees does not grow with the document.
func TestShort(t *testing.T) {
	base := wide(t, 10_000, func(int) int { return 500 })
	for _, c := range []struct {
		name  string
		share func(i int) int
		lines int
	}{
		{"one changed", func(i int) int {
			if i == 7777 {
				return 501
			}
			return 500
		}, 2},
		{"all changed", func(int) int { return 501 }, 12},
		{"all gone", func(int) int { return 0 }, 12},
		{"half gone, half changed", func(i int) int { return i % 2 * 400 }, 23},
	} {
		d := confdiff.Compare(base, wide(t, 10_000, c.share))
		if n := strings.Count(d.Text(false), "\n"); n != c.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", c.name, n, c.lines, d.Text(false))
		}
	}
	d := confdiff.Compare(base, wide(t, 10_000, func(int) int { return 501 }))
	if n := strings.Count(d.Text(true), "\n"); n != 10_001 {
		t.Errorf("verbose: %d lines, want 10001", n)
	}
}

func TestLongValue(t *testing.T) {
	list := strings.Repeat(`"c 1:3 r", `, 50) + `"c 1:5 r"`
	d := confdiff.Compare(decode(t, `{"devices": {"sub_cgroup": {"a": {"conf": {"deny": ["a"]}}}}}`), decode(t, `{"devices": {"sub_cgroup": {"a": {"conf": {"deny": ["a"], "allow": [`+list+`]}}}}}`))
	if text := d.Text(false); len(text) > 200 || strings.Count(text, "\n") != 2 {
		t.Errorf("short: %q", text)
	}
	if text := d.Text(true); !strings.Contains(text, "c 1:5 r") {
		t.Errorf("verbose: %q", text)
	}
}
