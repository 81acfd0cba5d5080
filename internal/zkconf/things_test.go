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
		{"devices", `{"devices":{"sub_cgroup":{"a":{"conf":{"deny":["a"],"allow":["c 1:3 r"]}}}}}`, map[string]string{"deny": "a", "allow": "c 1:3 r"}, ""},
		{"devices allowed and none denied", `{"devices":{"sub_cgroup":{"a":{"conf":{"allow":["c 1:3 r"]}}}}}`, nil, `devices/a: allow needs deny: ["a"] in the same conf: everything else is allowed already`},
	} {
		doc, err := Decode([]byte(c.data), 1)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.err {
			t.Errorf("%s: %q", c.name, got)
		}
		if err != nil {
			continue
		}
		for name, subsystem := range doc.Subsystems {
			if conf := subsystem.Sub["a"].Conf; !maps.Equal(conf, c.want) {
				t.Errorf("%s: %s: %v", c.name, name, conf)
			}
		}
	}
}
