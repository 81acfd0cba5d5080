package zkconf_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []zkconf.Located
	}{
		{"none", `{}`, nil},
		{"not an object", "\n []", []zkconf.Located{{2, 2, "not an object: an array"}}},
		{"syntax", "{\n  \"cpu\": {\n    x", []zkconf.Located{{3, 5, `unexpected 'x', a quoted key expected`}}},
		{"not UTF-8", "{\"ä\xff\"", []zkconf.Located{{1, 4, "not UTF-8"}}},
		{"in the order of the text", `{
  "cpu": {
    "sub_cgroup": {
      "z": {"conf": {"share": "x"}},
      "a": {
        "conf": {
          "ä": 1, "share": [{"deep": {"b": 1, "b": 2}}]
        },
        "conf": 5,
        "what": {"x": 1, "x": 2}
      },
      "w": {"conf": {
        "share": 5, "weight": 5}},
      "..": {}
    }
  },
  "cpu": [{"x": 1}]
}`, []zkconf.Located{
			{4, 22, `cpu/z: share: not an integer: "x"`},
			{7, 11, `cpu/a: ä: unknown setting`},
			{7, 19, `cpu/a: share: duplicate key "b" in its value`},
			{7, 19, `cpu/a: share: not an integer: an array`},
			{9, 9, `cpu/a: conf: duplicate key`},
			{9, 9, `cpu/a: conf: not an object: 5`},
			{10, 9, `cpu/a: duplicate key "x" in its value`},
			{10, 9, `cpu/a: unknown member: "what"`},
			{12, 13, `cpu/w: share and weight are two names for one thing`},
			{14, 7, `cpu/..: name that means another directory`},
			{17, 3, `cpu: duplicate key`},
			{17, 3, `cpu: not an object: an array`},
		}},
	} {
		if diff := cmp.Diff(c.want, zkconf.Locate([]byte(c.in), zkconf.Check([]byte(c.in)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if diff := cmp.Diff([]zkconf.Located{{Text: "x"}}, zkconf.Locate(nil, errors.New("x"))); diff != "" {
		t.Errorf("an error from elsewhere (-want +got):\n%s", diff)
	}
}
