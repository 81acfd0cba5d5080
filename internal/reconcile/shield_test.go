package reconcile

import "testing"

func TestShield(t *testing.T) {
	cpu := []string{"cpu", "cpuacct"}
	for _, c := range []struct {
		entry      string
		path       string
		subsystems []string
		want       bool
	}{
		{"name", "name", cpu, true},
		{"name", "deep/er/name", cpu, true},
		{"name", "deep/name/below", cpu, true},
		{"name", "names", cpu, false},
		{"na*", "x/names", cpu, true},
		{"na?e", "name", cpu, true},
		{"/a/b", "a/b", cpu, true},
		{"/a/b", "a/b/c", cpu, true},
		{"/a/b", "x/a/b", cpu, false},
		{"a/b", "a/b", cpu, true},
		{"/a/*", "a/z", cpu, true},
		{"/top", "top", cpu, true},
		{"/top", "x/top", cpu, false},
		{"cpu:/a/b", "a/b", cpu, true},
		{"cpu:/a/b", "a/b", []string{"blkio"}, false},
		{"cpuacct:/a", "a/x", cpu, true},
		{"cpu:a/b", "a/b", cpu, true},
		{"cpu:a/b", "a/b", []string{"blkio"}, false},
		{"blkio,cpu:/a", "a", cpu, true},
		{"blkio,memory:/a", "a", cpu, false},
		{"odd:name", "x/odd:name", cpu, true},
	} {
		s, err := NewShield([]string{c.entry}, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Named(c.subsystems, c.path); got != c.want {
			t.Errorf("%q on %q: %t, want %t", c.entry, c.path, got, c.want)
		}
		if c.want {
			if none := (Shield{}); none.Named(c.subsystems, c.path) {
				t.Errorf("%q is shielded without an entry", c.path)
			}
		}
	}
	for _, bad := range []string{"", "/", "[", "cpu:/", "cpu:", "/a/../b"} {
		if _, err := NewShield([]string{bad}, false); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestSystemShield(t *testing.T) {
	on, _ := NewShield(nil, true)
	off, _ := NewShield(nil, false)
	for _, p := range []string{"system.slice", "x/docker/abc", "kubepods.slice", "kubepods", "lxc.payload.x", "libvirt-qemu"} {
		if !on.Kept(nil, p) || off.Kept(nil, p) {
			t.Errorf("%q: kept %t with protect_system_cgroups and %t without", p, on.Kept(nil, p), off.Kept(nil, p))
		}
		if on.Named(nil, p) {
			t.Errorf("%q: protect_system_cgroups must not stop the document from naming it", p)
		}
	}
	if on.Kept(nil, "my-docker") {
		t.Error("my-docker is no system cgroup")
	}
}
