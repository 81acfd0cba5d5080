package reconcile

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Values are a map that is a sorted list.
func TestValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got Values
		want := map[string]Value{}
		for i := range rapid.IntRange(0, 30).Draw(t, "many") {
			file := rapid.SampledFrom([]string{"", "a", "b", "bb", "c", "cpu.shares", "cpu.shares2", "z"}).Draw(t, "file")
			if rapid.Bool().Draw(t, "forget") {
				got.forget(file)
				delete(want, file)
			} else {
				v := Value{Text: strconv.Itoa(i), Exists: i%2 == 0}
				got.set(file, v)
				want[file] = v
			}
			if _, known := got.find(file); known != (want[file].Text != "") || got.of(file) != want[file] {
				t.Fatalf("%q: %+v in %+v", file, got.of(file), got)
			}
		}
		var list Values
		for _, file := range slices.Sorted(maps.Keys(want)) {
			list = append(list, FileValue{file, want[file]})
		}
		if diff := cmp.Diff(list, got[:len(got):len(got)]); diff != "" && len(list)+len(got) > 0 {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
