package cgroup

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

func TestSplitName(t *testing.T) {
	for _, tt := range []struct {
		name        string
		controllers []string
		path        string
		invalid     bool
	}{
		{name: "/a/b", path: "a/b"},
		{name: "a/b/", path: "a/b"},
		{name: "", path: ""},
		{name: "/", path: ""},
		{name: "cpu:/a", controllers: []string{"cpu"}, path: "a"},
		{name: "cpu,memory:a/b", controllers: []string{"cpu", "memory"}, path: "a/b"},
		{name: "cpu:/", controllers: []string{"cpu"}},
		{name: "*:/a", path: "a"},
		{name: "/a:b", path: "a:b"},
		{name: "io:/a", controllers: []string{"blkio"}, path: "a"},
		{name: "cpu:/a:b", controllers: []string{"cpu"}, path: "a:b"},
		{name: ":/a", invalid: true},
		{name: "cpu,:/a", invalid: true},
		{name: "/a/../b", invalid: true},
		{name: "cpu:..", invalid: true},
		{name: "./a", invalid: true},
		{name: "a\x00b", invalid: true},
	} {
		controllers, p, err := splitName(tt.name)
		if tt.invalid {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: accepted, or another error: %v", tt.name, err)
			}
			continue
		}
		if err != nil || p != tt.path || !cmp.Equal(controllers, tt.controllers) {
			t.Errorf("%q: %q %q %v", tt.name, controllers, p, err)
		}
	}
}

func FuzzSplitName(f *testing.F) {
	for _, seed := range []string{"/a/b", "cpu,memory:/a", "*:x", "a:b:c", "..", "//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		controllers, p, err := splitName(name)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(p, "/") {
			if part == "" && p != "" || part == "." || part == ".." || strings.HasPrefix(p, "/") {
				t.Errorf("%q gives the path %q", name, p)
			}
		}
		again := "/" + p
		if controllers != nil {
			again = strings.Join(controllers, ",") + ":" + again
		}
		if c, p2, err := splitName(again); err != nil || p2 != p || !cmp.Equal(c, controllers) {
			t.Errorf("%q, as %q: %q %q %v", name, again, c, p2, err)
		}
	})
}

func TestGuestName(t *testing.T) {
	for _, tt := range []struct {
		path, name string
		id         int
	}{
		{`machine.slice/machine-qemu\x2d1\x2dvm1.scope`, "vm1", 1},
		{`machine.slice/machine-qemu\x2d12\x2dweb\x2dfront.scope`, "web-front", 12},
		{`machine.slice/machine-qemu\x2dvm1.scope`, "vm1", 0},
		{`machine/qemu-3-vm1.libvirt-qemu`, "vm1", 3},
		{`machine/production.partition/vm1.libvirt-qemu`, "vm1", 0},
		{`machine/grey/1ce10f47-fb4e-4b6a-8ee6-ba34940cdda7.libvirt-qemu`, "1ce10f47-fb4e-4b6a-8ee6-ba34940cdda7", 0},
		{`libvirt/qemu/vm1`, "vm1", 0},
		{`sysdefault/libvirt/qemu/vm1`, "vm1", 0},
	} {
		if name, id, ok := guestName(tt.path); !ok || name != tt.name || id != tt.id {
			t.Errorf("%s: %q %d %t", tt.path, name, id, ok)
		}
	}
	for _, p := range []string{
		"", "vm1", "machine.slice", `machine.slice/machine-lxc\x2d1\x2dc1.scope`, "machine/c1.libvirt-lxc", "libvirt/qemu", "libvirt/qemu/vm1/vcpu0",
		`machine.slice/machine-qemu\x2d1\x2dvm1.scope/libvirt`, "qemu/vm1", ".libvirt-qemu",
	} {
		if name, _, ok := guestName(p); ok {
			t.Errorf("%s is taken for the guest %q", p, name)
		}
	}
}

func FuzzGuestName(f *testing.F) {
	f.Add(`machine.slice/machine-qemu\x2d1\x2dvm1.scope`)
	f.Add(`a/b\x`)
	f.Fuzz(func(t *testing.T, p string) {
		if name, id, ok := guestName(p); ok && (name == "" || id < 0) {
			t.Errorf("%q: %q %d", p, name, id)
		}
	})
}

// TestFieldsAgreeWithTheTable: each row of the table of settings has a field of the
// right type, but for what has another name already, and each field has a row.
func TestFieldsAgreeWithTheTable(t *testing.T) {
	n := &Node{host: &Host{}}
	structs := map[string]any{
		"cpu": n.CPU(), "cpuacct": n.CPUAcct(), "cpuset": n.CPUSet(), "memory": n.Memory(), "blkio": n.BlkIO(), "devices": n.Devices(),
		"freezer": n.Freezer(), "pids": n.PIDs(), "net_cls": n.NetCls(), "net_prio": n.NetPrio(),
	}
	elsewhere := map[string]string{
		"cpu.share": "Shares", "cpuacct.acct_stat": "Stat", "devices.allow": "Devices.Allow", "devices.deny": "Devices.Deny",
		"net_cls.classid": "ClassID", "memory.pressure_level": "Node.Watch",
	}
	for controller, s := range structs {
		fields := map[string]reflect.Type{}
		collect(reflect.ValueOf(s), fields)
		for _, row := range cgfs.Rows(controller) {
			field, ok := fields[row.Key]
			delete(fields, row.Key)
			name := controller + "." + row.Key
			alias := strings.HasPrefix(row.Doc, "the same as `") || row.Key == "files" || elsewhere[name] != ""
			if !ok {
				if !alias {
					t.Errorf("%s has no field", name)
				}
				continue
			}
			want := kindTypes[row.Value.Kind]
			if method := map[cgfs.Access]string{cgfs.ReadOnly: "Figure", cgfs.WriteOnly: "Action"}[row.Access]; method == "" {
				want = "Setting[" + want + "]"
			} else {
				want = method + "[" + want + "]"
			}
			if got := short.Replace(field.Name()); got != want {
				t.Errorf("%s: its field is a %s, not %s", name, got, want)
			}
		}
		for key := range fields {
			t.Errorf("%s: the table has no row %s", controller, key)
		}
	}
	for _, row := range cgfs.Rows("hugetlb") {
		if key, ok := strings.CutPrefix(row.Key, "2MB_"); ok && !strings.HasPrefix(row.Doc, "the same as `") {
			fields := map[string]reflect.Type{}
			collect(reflect.ValueOf(n.HugeTLB("2MB")), fields)
			if fields[key] == nil {
				t.Errorf("hugetlb: %s has no field", row.Key)
			}
		}
	}
}

var short = strings.NewReplacer("github.com/cgrouparch/cgrouparch/internal/cgfs.", "")

var kindTypes = map[cgfs.Kind]string{
	cgfs.KindText: "string", cgfs.KindInteger: "int64", cgfs.KindAmount: "Amount", cgfs.KindPercent: "Percent", cgfs.KindFlag: "bool",
	cgfs.KindSet: "Set", cgfs.KindQuota: "Quota", cgfs.KindList: "[]int64", cgfs.KindTable: "map[string]int64",
	cgfs.KindTables: "map[string]map[string]int64", cgfs.KindAmounts: "map[string]Amount",
	cgfs.KindRates: "map[string]map[string]Amount", cgfs.KindRules: "[]Rule", cgfs.KindPressure: "map[string]map[string]float64",
}

func collect(v reflect.Value, fields map[string]reflect.Type) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key := f.Tag.Get("row"); key != "" {
			fields[key] = f.Type
		} else {
			collect(v.Field(i), fields)
		}
	}
}
