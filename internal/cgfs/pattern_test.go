package cgfs

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePattern(t *testing.T) {
	for _, c := range []struct {
		text string
		want Pattern
	}{
		{"name", Pattern{Glob: "name"}},
		{"na*", Pattern{Glob: "na*"}},
		{"/name", Pattern{Glob: "name", Whole: true}},
		{"/a/b/", Pattern{Glob: "a/b", Whole: true}},
		{"a/b", Pattern{Glob: "a/b", Whole: true}},
		{"cpu:/a/b", Pattern{Subsystems: []string{"cpu"}, Glob: "a/b", Whole: true}},
		{"cpu:a/b", Pattern{Subsystems: []string{"cpu"}, Glob: "a/b", Whole: true}},
		{"io:/a", Pattern{Subsystems: []string{"blkio"}, Glob: "a", Whole: true}},
		{"cpu:a*", Pattern{Subsystems: []string{"cpu"}, Glob: "a*", Whole: true}},
		{"cpu,memory:/a", Pattern{Subsystems: []string{"cpu", "memory"}, Glob: "a", Whole: true}},
		{"cpu,memory:a", Pattern{Subsystems: []string{"cpu", "memory"}, Glob: "a", Whole: true}},
		{"later:/a", Pattern{Subsystems: []string{"later"}, Glob: "a", Whole: true}}, // a controller that we do not know
		{"later:a", Pattern{Glob: "later:a"}},
		{"cpu,later:a", Pattern{Glob: "cpu,later:a"}},
		{"x.slice:cri-containerd:1f", Pattern{Glob: "x.slice:cri-containerd:1f"}},
		{"x/cpu:a", Pattern{Glob: "x/cpu:a", Whole: true}},
		{"..a", Pattern{Glob: "..a"}},
	} {
		got, err := ParsePattern(c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", c.text, err, diff)
		}
	}
	for _, bad := range []string{"", "/", "//", "cpu:", "cpu:/", "[", "a//b", ".", "..", "../a", "/a/../b", "/a/./b", "cpu:..", "cpu,:/a", ",cpu:/a"} {
		if got, err := ParsePattern(bad); err == nil {
			t.Errorf("%q was accepted as %+v", bad, got)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"a", "/a/b", "cpu:a/*", "cpu,memory:/[a-c]", "a:b", "..", "[/]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if _, err := path.Match(p.Glob, "x"); err != nil {
			t.Errorf("%q: its glob %q cannot be matched: %v", s, p.Glob, err)
		}
		if p.Glob == "" || strings.Trim(p.Glob, "/") != p.Glob || strings.Contains(p.Glob, "/") && !p.Whole {
			t.Errorf("%q: %+v", s, p)
		}
		if again, err := ParsePattern(p.String()); err != nil || !cmp.Equal(again, p) {
			t.Errorf("%q, written as %q: %+v, %v", s, p.String(), again, err)
		}
	})
}
