package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/top"
)

// TestCompareHere: what a daemon cannot compare is compared by who asks, from its documents.
func TestCompareHere(t *testing.T) {
	documents := map[int]string{
		-1: `null`,
		3:  `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`,
		4:  `{"cpu": {"sub_cgroup": {"b": {"conf": {"share": 6}}}}}`,
		5:  `{"cpu": 5}`,
	}
	inForce := 4
	ask := func(_ context.Context, cmd string, args map[string]any) ([]byte, error) {
		version, given := args["version"].(int32)
		if !given {
			version = int32(inForce)
		}
		text, ok := documents[int(version)]
		if cmd != "get_conf" || !ok {
			return nil, top.Refusal("get_conf: not kept")
		}
		return fmt.Appendf(nil, `{"version":%d,"value":%s}`, version, text), nil
	}
	for _, tt := range []struct {
		name    string
		inForce int
		args    map[string]any
		want    string // from, to, valid, summary, changes
		err     string
	}{
		{"versions", 4, map[string]any{"from": int32(3), "to": int32(4)}, "3 4 true removes 1 cgroup, adds 1 cgroup [- cpu:/a + cpu:/b share 6]", ""},
		{"an edit", 4, map[string]any{"document": documents[3], "verbose": true}, "4 - true removes 1 cgroup, adds 1 cgroup [- cpu:/b + cpu:/a share 5]", ""},
		{"the same", 4, map[string]any{"document": documents[4]}, "4 - true no difference []", ""},
		{"a fault", 4, map[string]any{"document": documents[5]}, "4 - false 1 fault []", ""},
		{"the first", -1, map[string]any{"document": documents[3]}, "-1 - true takes over 1 subsystem, adds 1 cgroup [! cpu: named for the first time: cgroups there that the document does not have will be removed + cpu:/a share 5]", ""},
		{"not kept", 4, map[string]any{"from": int32(9)}, "", "not kept"},
		{"not valid", 4, map[string]any{"from": int32(5)}, "", "version 5 is not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inForce = tt.inForce
			data, err := compareHere(t.Context(), ask, tt.args, "a reason")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want %q", err, tt.err)
				}
				return
			}
			var c struct {
				comparison
				Note string
			}
			if err != nil || json.Unmarshal(data, &c) != nil {
				t.Fatalf("%s, %v", data, err)
			}
			to, lines := "-", []string{}
			if c.To != nil {
				to = fmt.Sprint(*c.To)
			}
			for _, l := range c.Changes {
				lines = append(lines, l.Kind+" "+l.Text)
			}
			got := fmt.Sprintf("%d %s %v %s %v", c.From, to, c.Valid, c.Summary, lines)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(c.Note, "is not known: a reason") || c.HostFaults != nil {
				t.Errorf("it claims to know the host: %s", data)
			}
		})
	}
	for size, want := range map[int]bool{1000: false, largestRequest - 100: false, largestRequest: true} {
		if got := tooLarge(map[string]any{"document": strings.Repeat("x", size)}); got != want {
			t.Errorf("%d bytes: too large %v", size, got)
		}
	}
}
