package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	here := zkconf.Origin{Kind: zkconf.KindZooKeeper, Hosts: []string{"a:2181", "b:2181"}, Path: "/p/arch_conf"}
	fresh, err := loadRecord(dir, here, "r")
	if err != nil || len(fresh.Settings) > 0 {
		t.Fatalf("nothing on disk: %v %v", fresh, err)
	}
	d := Compile(document(t, example), apart, Options{Root: "r"})
	r := fresh.before(d.Trees, Plan{{Op: OpMkdir, Tree: d.Trees[0], Dir: "r/x"}})
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	grown := here
	grown.Hosts = []string{"b:2181", "c:2181"}
	back, err := loadRecord(dir, grown, "r")
	if err != nil {
		t.Fatal(err)
	}
	back.Origin = here
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"blkio", "cpu", "cpuacct"}, back.Hierarchies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"blkio:/r/x"}, back.Making); diff != "" {
		t.Error(diff)
	}
	other := here
	other.Hosts = []string{"z:2181"}
	if got, err := loadRecord(dir, other, "r"); err == nil || len(got.Settings) > 0 {
		t.Errorf("another cluster's record was used: %v", err)
	}
	if got, err := loadRecord(dir, here, "elsewhere"); err == nil || len(got.Settings) > 0 {
		t.Errorf("another root's record was used: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadRecord(dir, here, "r"); err == nil || !strings.Contains(err.Error(), recordFile) {
		t.Errorf("a torn file: %v", err)
	}
}
