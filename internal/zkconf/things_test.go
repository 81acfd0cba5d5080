package zkconf

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
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
		{"single devices denied", `{"devices":{"sub_cgroup":{"a":{"conf":{"deny":["c 1:5 rwm"]}}}}}`, map[string]string{"deny": "c 1:5 rwm"}, ""},
		{"plain words", `{"cpu":{"sub_cgroup":{"a":{"conf":{"cpu_limit":50,"cpu_quota_percent":"150"}}}}}`, map[string]string{"cpu_limit": "50", "cpu_quota_percent": "150"}, ""},
		{"plain words and their twins", `{"cpu":{"sub_cgroup":{"a":{"conf":{"cpu_limit":50,"share":512}}}}}`, nil, "cpu/a: cpu_limit and share are two names for one thing"},
		{"a size in words", `{"memory":{"sub_cgroup":{"a":{"conf":{"memory_limit":"500 megabytes"}}}}}`, map[string]string{"memory_limit": "524288000"}, ""},
		{"raw", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cpu.uclamp.max":"50"}}}}}}`, map[string]string{"files": "cpu.uclamp.max 50", "share": "1024"}, ""},
		{"raw, instead of the default", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cpu.shares":"50"}}}}}}`, map[string]string{"files": "cpu.shares 50"}, ""},
		{"raw, of the other version", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cpu.weight":"50"}}}}}}`, map[string]string{"files": "cpu.weight 50"}, ""},
		{"raw, twice", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cpu.shares":"50"},"share":5}}}}}`, nil, "cpu/a: share and cpu.shares of files are two names for one thing"},
		{"raw, of another subsystem", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"memory.max":"50"}}}}}}`, nil, `cpu/a: files: not a control file of cpu: "memory.max"`},
		{"raw processes", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cgroup.procs":"50"}}}}}}`, nil, `cpu/a: files: not a control file of cpu: "cgroup.procs"`},
		{"raw tasks", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"tasks":"50"}}}}}}`, nil, `cpu/a: files: not a control file of cpu: "tasks"`},
		{"raw path", `{"cpu":{"sub_cgroup":{"a":{"conf":{"files":{"cpu.x/../../b":"50"}}}}}}`, nil, `cpu/a: files: not the name of a control file: "cpu.x/../../b"`},
		{"raw action", `{"memory":{"sub_cgroup":{"a":{"conf":{"files":{"memory.force_empty":"0"}}}}}}`, nil, `memory/a: files: no state that a document could hold: "memory.force_empty"`},
		{"raw reset of a counter", `{"memory":{"sub_cgroup":{"a":{"conf":{"files":{"memory.failcnt":"0"}}}}}}`, nil, `memory/a: files: no state that a document could hold: "memory.failcnt"`},
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

// A document may hold every state, and nothing that names processes or acts.
func TestDecodeStateOnly(t *testing.T) {
	for _, subsystem := range []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"} {
		for _, s := range cgfs.Rows(subsystem) {
			data := fmt.Appendf(nil, `{%q:{"sub_cgroup":{"a":{"conf":{%q:true}}}}}`, subsystem, s.Key)
			doc, err := Decode(data, 1) // true is a value for few, but tells the known from the unknown
			unknown := err == nil && slices.Contains(doc.Subsystems[subsystem].Sub["a"].Unknown, s.Key)
			if unknown == (s.Access == cgfs.State) {
				t.Errorf("%s.%s is %s: unknown %t, %v", subsystem, s.Key, s.Access, unknown, err)
			}
			want := fmt.Sprintf("%s/a: %s: no state that a document could hold", subsystem, s.Key)
			if err := Check(data); s.Access != cgfs.State && (err == nil || err.Error() != want) {
				t.Errorf("%s.%s: checked: %v", subsystem, s.Key, err)
			}
		}
	}
}
