package cgfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchedulers(t *testing.T) {
	dir := t.TempDir()
	for name, files := range map[string][3]string{
		"sda":   {"2048\n", "8:0\n", "none [mq-deadline] kyber bfq\n"},
		"sdb":   {"2048\n", "8:16\n", "none mq-deadline kyber [bfq]\n"},
		"loop0": {"0\n", "7:0\n", "[none] bfq\n"},
		"nvme0": {"2048\n", "259:0\n", "none\n"},
	} {
		if err := os.MkdirAll(filepath.Join(dir, name, "queue"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i, file := range []string{"size", "dev", "queue/scheduler"} {
			if err := os.WriteFile(filepath.Join(dir, name, file), []byte(files[i]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dm-0"), 0o755); err != nil { // without files of its own
		t.Fatal(err)
	}
	want := map[string]string{"8:0": "mq-deadline", "8:16": "bfq", "259:0": "none"}
	if diff := cmp.Diff(want, schedulers(dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := schedulers(filepath.Join(dir, "none")); got != nil {
		t.Errorf("what is not known is %v", got)
	}
	qos := "8:0 enable=0 ctrl=auto rpct=0.00\n8:16 enable=1 ctrl=user rpct=95.00\n"
	if diff := cmp.Diff([]string{"8:16"}, parseCostQoS(qos)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeafWeights(t *testing.T) {
	v1, v2 := Caps{Version: 1, Has: func(f string) bool { return f != "blkio.leaf_weight" }}, Caps{Version: 2, Has: func(string) bool { return true }}
	cost := Caps{Version: 2, Has: func(f string) bool { return f != "io.bfq.weight" }}
	const bfqOnly = "has no effect: only the I/O scheduler bfq follows it (8:0 has none; /sys/block/DISK/queue/scheduler)"
	for _, c := range []struct {
		name       string
		caps       Caps
		conf       map[string]string
		schedulers Schedulers
		want       string
	}{
		{"v1, nobody follows", v1, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{"8:0": "none"}}, bfqOnly},
		{"v1, one disk does", v1, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{"8:0": "none", "8:16": "bfq"}}, ""},
		{"v2, nobody follows", v2, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{"8:0": "none"}}, bfqOnly},
		{"v2, not known", v2, map[string]string{"weight": "300"}, Schedulers{}, ""},
		{"another disk does", v1, map[string]string{"weight_device": "8:0 300"}, Schedulers{Of: map[string]string{"8:0": "none", "8:16": "bfq"}}, bfqOnly},
		{"that disk does", v1, map[string]string{"weight_device": "8:16 300"}, Schedulers{Of: map[string]string{"8:0": "none", "8:16": "bfq"}}, ""},
		{"no disk", v2, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{}}, "has no effect: only the I/O scheduler bfq follows it (none has any; /sys/block/DISK/queue/scheduler)"},
		{"no cost controller", cost, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{"8:0": "bfq"}}, "has no effect: the cost controller is enabled for no disk (io.cost.qos in the root of the unified hierarchy, enable=1)"},
		{"a cost controller", cost, map[string]string{"weight": "300"}, Schedulers{Of: map[string]string{"8:0": "none"}, Cost: []string{"8:0"}}, ""},
		{"no weight", v1, map[string]string{"throttle_read_bps_device": "8:0 300"}, Schedulers{Of: map[string]string{"8:0": "none"}}, ""},
	} {
		writes, faults := Translate("blkio", c.conf, c.caps)
		if len(writes) != 1 || len(faults) > 0 {
			t.Fatalf("%s: %v %v", c.name, writes, faults)
		}
		if got := c.schedulers.Deaf(writes[0]); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
