package zkconf

import (
	"maps"
	"testing"
)

func TestDecodeThings(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       map[string]string
		err        string
	}{
		{"another name for the default", `{"cpu":{"sub_cgroup":{"a":{"conf":{"weight":50}}}}}`, map[string]string{"weight": "50"}, ""},
		{"something else", `{"cpu":{"sub_cgroup":{"a":{"conf":{"cfs_quota_us":5000}}}}}`, map[string]string{"cfs_quota_us": "5000", "share": "1024"}, ""},
		{"two names", `{"cpu":{"sub_cgroup":{"a":{"conf":{"weight":50,"share":5}}}}}`, nil, "cpu/a: share and weight are two names for one thing"},
	} {
		doc, err := Decode([]byte(c.data), 1)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.err {
			t.Errorf("%s: %q", c.name, got)
		}
		if err == nil && !maps.Equal(doc.Subsystems["cpu"].Sub["a"].Conf, c.want) {
			t.Errorf("%s: %v", c.name, doc.Subsystems["cpu"].Sub["a"].Conf)
		}
	}
}
