package zkconf_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestLastGood(t *testing.T) {
	dir := t.TempDir()
	here := zkconf.Origin{Kind: zkconf.KindZooKeeper, Hosts: []string{"a:1", "b:1"}, Path: "/x/arch_conf"}
	if _, err := zkconf.LoadLastGood(dir, here); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing kept: %v", err)
	}
	// U+2028 and < are what JSON encoders like to change.
	want := zkconf.LastGood{Origin: here, Version: 41, Raw: "{\"cpu\": {\"sub_cgroup\": {\"<\u2028ä\": {}}}}\n"}
	if err := zkconf.SaveLastGood(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := zkconf.LoadLastGood(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	elsewhere := zkconf.Origin{Kind: zkconf.KindZooKeeper, Hosts: []string{"c:1"}, Path: "/x/arch_conf"}
	if _, err := zkconf.LoadLastGood(dir, elsewhere); !errors.Is(err, zkconf.ErrOtherCluster) {
		t.Errorf("another cluster's state: %v", err)
	}
}
