package main

import (
	"os"
	"regexp"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

func TestAutoRoot(t *testing.T) {
	const unit = "system.slice/cgrouparchd.service"
	only := func(want string) func(string) bool { return func(dir string) bool { return dir == want } }
	nobody := func(string) bool { return false }
	everybody := func(string) bool { return true }
	for _, c := range []struct {
		name  string
		facts rootFacts
		want  string
	}{
		{"v1", rootFacts{}, "/"},
		{"v1, another life's tree", rootFacts{published: "/cgrouparch"}, "/"},
		{"systemd 254: in a subgroup", rootFacts{true, unit + "/daemon", only(unit), ""}, "/" + unit + "/cgrouparch"},
		{"systemd 254: in another slice", rootFacts{true, "a.slice/a-b.slice/x.service/daemon", only("a.slice/a-b.slice/x.service"), ""}, "/a.slice/a-b.slice/x.service/cgrouparch"},
		{"systemd 254: in the root slice", rootFacts{true, "x.service/daemon", only("x.service"), ""}, "/x.service/cgrouparch"},
		{"systemd 254: the unit wins over what is published", rootFacts{true, unit + "/daemon", only(unit), "/cgrouparch"}, "/" + unit + "/cgrouparch"},
		{"systemd 252: delegated, without a subgroup", rootFacts{true, unit, only(unit), ""}, "/cgrouparch"},
		{"a subgroup of that name by chance", rootFacts{true, unit + "/daemon", nobody, ""}, "/cgrouparch"},
		{"a subgroup of another name", rootFacts{true, "machine.slice/machine-x.scope/payload", only("machine.slice/machine-x.scope"), ""}, "/cgrouparch"},
		{"a service called daemon", rootFacts{true, "system.slice/daemon", nobody, ""}, "/cgrouparch"},
		{"directly below the mount", rootFacts{true, "daemon", everybody, ""}, "/cgrouparch"},
		{"in the mount's own cgroup", rootFacts{true, "", everybody, ""}, "/cgrouparch"},
		{"by hand", rootFacts{true, "user.slice/user-0.slice/session-1.scope", nobody, ""}, "/cgrouparch"},
		{"by hand, while a unit has a tree", rootFacts{true, "user.slice/user-0.slice/session-1.scope", nobody, "/" + unit + "/cgrouparch"}, "/" + unit + "/cgrouparch"},
		{"published when v1 was mounted", rootFacts{true, "user.slice", nobody, "/"}, "/cgrouparch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := autoRoot(c.facts); got != c.want {
				t.Errorf("autoRoot: %s, want %s", got, c.want)
			}
		})
	}
}

// TestSubgroupIsTheUnits: the daemon knows its subgroup by the name that the unit
// gives it.
func TestSubgroupIsTheUnits(t *testing.T) {
	data, err := os.ReadFile("../../deploy/systemd/cgrouparchd.service")
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`(?m)^(DelegateSubgroup=.*|Delegate=.*|KillMode=.*|Type=.*)$`).FindAllString(string(data), -1)
	want := []string{"Type=notify", "Delegate=yes", "DelegateSubgroup=" + delegateSubgroup, "KillMode=process"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines of the unit (-want +got):\n%s", diff)
	}
}

// TestDelegated reads real extended attributes; user.* ones need no rights, but a
// filesystem that has them.
func TestDelegated(t *testing.T) {
	dir := t.TempDir()
	if delegated(dir) {
		t.Fatal("a directory without attributes is delegated")
	}
	set := func(value string) {
		if err := syscall.Setxattr(dir, "user.delegate", []byte(value), 0); err != nil {
			t.Skipf("no extended attributes here: %v", err)
		}
	}
	set("0")
	if delegated(dir) {
		t.Error("delegated with the value 0")
	}
	set("1")
	if !delegated(dir) {
		t.Error("not delegated with the value 1")
	}
	if delegated(dir + "/absent") {
		t.Error("what does not exist is delegated")
	}
}

// TestUnified: where resources are managed decides, not what else is mounted.
func TestUnified(t *testing.T) {
	l, err := cgfs.Discover("/sys/fs/cgroup")
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	defer l.Close()
	cpu := l.Hierarchy("cpu") // nil: not on v1
	h := unified(l)
	if cpu != nil && l.Hierarchy("memory") != nil && l.Hierarchy("pids") != nil && h != nil {
		t.Errorf("unified: %s, although resources are managed on v1", h.Name())
	}
	if cpu == nil && l.OnV2("cpu") && h == nil {
		t.Error("unified: nil, although cpu is on v2")
	}
}
