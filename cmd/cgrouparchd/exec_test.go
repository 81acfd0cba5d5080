package main

import "testing"

// TestStrongestLast: where subsystems share a hierarchy, exec ends in the place that
// placement takes: cpu's, then memory's, then blkio's.
func TestStrongestLast(t *testing.T) {
	got := strongestLast([]configured{{"blkio", "c"}, {"cpu", "a"}, {"memory", "b"}, {"pids", "d"}})
	want := []configured{{"pids", "d"}, {"blkio", "c"}, {"memory", "b"}, {"cpu", "a"}}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
