package main

import (
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// TestSharedHierarchy: of several places in one hierarchy, exec and cgexec get the one
// that placement takes: cpu's, then memory's, then blkio's, but only of those that take
// processes.
func TestSharedHierarchy(t *testing.T) {
	doc, err := zkconf.Decode([]byte(`{
		"blkio": {"sub_cgroup": {"x": {"sub_cgroup": {"web": {"conf": {}}}}}},
		"cpu": {"sub_cgroup": {"bare": {}, "y": {"sub_cgroup": {"web": {"conf": {}}}}}},
		"memory": {"sub_cgroup": {"w": {"sub_cgroup": {"bare": {"conf": {}}, "low": {"conf": {}}}}, "z": {"sub_cgroup": {"web": {"conf": {}}}}}},
		"pids": {"sub_cgroup": {"low": {"conf": {}}, "y": {"sub_cgroup": {"web": {"conf": {}}}}}}
	}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	on := func(hierarchy func(subsystem string) string) homeFunc {
		return func(subsystem, path string) (string, string) { return hierarchy(subsystem), path }
	}
	v1 := on(func(subsystem string) string { return subsystem })
	v2 := on(func(string) string { return "unified" })
	for _, c := range []struct{ name, v1, v2 string }{
		{"web", "-g blkio:x/web -g cpu:y/web -g memory:z/web -g pids:y/web", "-g cpu:y/web -g pids:y/web"},
		{"low", "-g memory:w/low -g pids:low", "-g memory:w/low"},
		{"bare", "-g cpu:bare -g memory:w/bare", "-g memory:w/bare"},
		{"/z/web", "-g memory:z/web", "-g memory:z/web"},
	} {
		for home, want := range map[*homeFunc]string{&v1: c.v1, &v2: c.v2} {
			if got, err := cgexecArgument(doc, c.name, *home); got != want || err != nil {
				t.Errorf("%s: %q, %v, want %q", c.name, got, err, want)
			}
		}
	}
}
