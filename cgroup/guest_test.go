package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGuests(t *testing.T) {
	has(t, "cpu", "cpuset")
	host := openRoot(t, Options{Controllers: []string{"cpu", "cpuset"}}, "/")
	for _, p := range []string{
		`/machine.slice/machine-qemu\x2d1\x2dnew.scope/libvirt/vcpu0`, `/machine.slice/machine-qemu\x2d1\x2dnew.scope/libvirt/vcpu10`,
		`/machine.slice/machine-qemu\x2d1\x2dnew.scope/libvirt/vcpu2`, `/machine.slice/machine-qemu\x2d1\x2dnew.scope/libvirt/emulator`,
		"/machine/grey/old.libvirt-qemu/vcpu0", "/machine/grey/old.libvirt-qemu/emulator", "/libvirt/qemu/oldest/vcpu0", "/machine/none",
	} {
		create(t, host, p)
	}
	var found []string
	for _, g := range must[[]*Guest](t)(host.Guests()) {
		found = append(found, g.Name)
	}
	if diff := cmp.Diff([]string{"oldest", "old", "new"}, found); diff != "" {
		t.Errorf("guests (-want +got):\n%s", diff)
	}
	g, err := host.Guest("new")
	if err != nil {
		t.Fatal(err)
	}
	if g.ID != 1 || g.Kind() != KindScope || g.Libvirt().Name() != "libvirt" {
		t.Errorf("%+v", g)
	}
	var vcpus []string
	for _, v := range must[[]*Node](t)(g.VCPUs()) {
		vcpus = append(vcpus, v.Name())
	}
	if diff := cmp.Diff([]string{"vcpu0", "vcpu2", "vcpu10"}, vcpus); diff != "" {
		t.Errorf("vcpus (-want +got):\n%s", diff)
	}
	old, err := host.Guest("old.libvirt-qemu")
	if err != nil {
		t.Fatal(err)
	}
	emulator := must[*Node](t)(old.Emulator())
	if emulator.Path() != "/machine/grey/old.libvirt-qemu/emulator" || old.Libvirt().Path() != old.Path() {
		t.Errorf("%s %s", emulator, old.Libvirt())
	}
	same(t, emulator.CPU().Shares, 256)
	if _, err := host.Guest("nosuch"); !isKind(err, ErrNotExist) {
		t.Errorf("a guest that is not there: %v", err)
	}
}
