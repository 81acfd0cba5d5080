package bench

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// TestDocuments: what is measured has as many cgroups as the row says, and is valid.
func TestDocuments(t *testing.T) {
	for _, paths := range [][]string{flat(1), flat(1000), nested(1), nested(12), nested(101), nested(1000)} {
		text := document(paths, someShare, "cpu", "blkio")
		if _, err := zkconf.Decode([]byte(text), 0); err != nil {
			t.Fatalf("%d cgroups: %v", len(paths), err)
		}
		if got := strings.Count(text, `"conf"`); got != 2*len(paths) {
			t.Errorf("%d cgroups in two subsystems have conf %d times", len(paths), got)
		}
	}
	paths := nested(1000)
	seen := map[string]bool{}
	deepest := 0
	for _, p := range paths {
		if parent := p[:max(0, strings.LastIndexByte(p, '/'))]; parent != "" && !seen[parent] {
			t.Errorf("%s stands before its parent", p)
		}
		seen[p] = true
		deepest = max(deepest, strings.Count(p, "/")+1)
	}
	if len(seen) != 1000 || deepest != 3 {
		t.Errorf("%d different cgroups, %d deep", len(seen), deepest)
	}
}

func TestVerdict(t *testing.T) {
	tests := map[string]struct {
		result
		verdict, wanted string
		sense           bool
	}{
		"ratio met":     {result{measure: "x", against: "y", floor: 2, ours: 2.4, goal: 1.2}, "met", "≤ 1.20", true},
		"ratio missed":  {result{measure: "x", against: "y", floor: 2, ours: 2.6, goal: 1.2}, "MISSED", "≤ 1.20", true},
		"count met":     {result{measure: "x"}, "met", "0", true},
		"count missed":  {result{measure: "x", ours: 1}, "MISSED", "0", true},
		"number missed": {result{measure: "x", ours: 2000, goal: 1000}, "MISSED", "≤ 1000", true},
		"rate met":      {result{measure: "x", against: "y", floor: 100, ours: 99, goal: 0.98, atLeast: true}, "met", "≥ 0.98", true},
		"rate missed":   {result{measure: "x", against: "y", floor: 100, ours: 97, goal: 0.98, atLeast: true}, "MISSED", "≥ 0.98", true},
		"no goal":       {result{measure: "x", against: "y", floor: 1, ours: 9, no: true}, "", "-", true},
		"no floor":      {result{measure: "x", against: "y", ours: 9, goal: 1}, "MISSED", "≤ 1", false},
		"nothing":       {result{measure: "x", against: "y", goal: 1}, "MISSED", "≤ 1", false},
		"negative":      {result{measure: "x", against: "y", floor: 1, ours: -1, goal: 1}, "met", "≤ 1", false},
		"not a number":  {result{measure: "x", ours: math.NaN()}, "MISSED", "0", false},
		"no name":       {result{}, "met", "0", false},
	}
	for name, tt := range tests {
		got := []any{tt.result.verdict(), tt.result.wanted(), tt.result.problem() == ""}
		if diff := cmp.Diff([]any{tt.verdict, tt.wanted, tt.sense}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []int{5, 1, 4, 2, 3}
	got := []int{quantile(values, 0), median(values), quantile(values, 0.99), median([]int{7}), median([]int(nil))}
	if diff := cmp.Diff([]int{1, 3, 5, 7, 0}, got); diff != "" {
		t.Errorf("quantiles (-want +got):\n%s", diff)
	}
	if values[0] != 5 {
		t.Error("quantile sorted its argument in place")
	}
}
