package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestReport(t *testing.T) {
	at := func(slot int64) string { return time.Unix(slot, 0).Format(time.TimeOnly) }
	for _, c := range []struct{ name, slots, want string }{
		{"rates",
			`{"100": {}, "101": {
				"cpu": {"value": {"usage": 0}, "sub_cgroup": {"a": {"value": {"usage": 1000000000}, "sub_cgroup": {"b": {"value": {"usage": 5}}}}}},
				"blkio": {"value": {}, "sub_cgroup": {"w": {"value": {"8:0": {"Read": 1, "Write": 1048576}}}}}},
			"102": {
				"cpu": {"value": {"usage": 0}, "sub_cgroup": {"a": {"value": {"usage": 1836000000}, "sub_cgroup": {"b": {"value": {"usage": 160000005}}}}}},
				"blkio": {"value": {}, "sub_cgroup": {"w": {"value": {"8:0": {"Read": 1, "Write": 2621440}, "8:16": {"Read": 0, "Write": 524288}}}}}}}`,
			at(102) + "   blkio:w   2.0 MiB/s   cpu:a  83.6 %   cpu:a/b  16.0 %"},
		{"new cgroup", `{"1": {"cpu": {"value": {}}}, "2": {"cpu": {"value": {}, "sub_cgroup": {"a": {"value": {"usage": 1}}}}}}`, at(2)},
	} {
		got, err := report(strings.NewReader(c.slots))
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", c.name, err, diff)
		}
	}
}

func TestReportTooEarly(t *testing.T) {
	for _, slots := range []string{`{}`, `{"5": {}}`, `{"5": {}, "7": {}}`} {
		if _, err := report(strings.NewReader(slots)); !errors.Is(err, errTooFew) {
			t.Errorf("%s: %v", slots, err)
		}
	}
	if _, err := report(strings.NewReader(`{"error"`)); err == nil || errors.Is(err, errTooFew) {
		t.Errorf("broken JSON: %v", err)
	}
}

// TestDocument keeps the demonstration's document valid.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("arch_conf.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zkconf.Decode(data, 0); err != nil {
		t.Error(err)
	}
}
