package account

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

func TestLatest(t *testing.T) {
	l, words := build([]tree{
		{Name: "blkio", Kind: cgfs.UsageDevices, Devices: []device{{Name: "8:0", Read: 1, Write: 2, Present: true}, {Name: "8:16", Read: 3}}},
		{Name: "cpu", Kind: cgfs.UsageNumber, Key: "usage", Number: 7, Present: true, Sub: []tree{
			{Name: "a", Kind: cgfs.UsageNumber, Key: "usage", Number: 5, Present: true, Sub: []tree{
				{Name: "b", Kind: cgfs.UsageNumber, Key: "usage", Number: 9}, // could not be read
			}},
		}},
		{Name: "freezer"},
	})
	r := NewRing(3)
	if slot, got := r.Latest(); slot != 0 || got != nil {
		t.Errorf("of an empty history: %d, %v", slot, got)
	}
	r.appendSlot(41, time.Now(), l, make([]uint64, l.words()))
	r.appendSlot(42, time.Now(), l, words)
	slot, got := r.Latest()
	want := []Reading{
		{Subsystem: "blkio", Devices: []DeviceReading{{"8:0", 1, 2}}},
		{Subsystem: "cpu", Key: "usage", Number: 7},
		{Subsystem: "cpu", Path: "a", Key: "usage", Number: 5},
		{Subsystem: "cpu", Path: "a/b"},
		{Subsystem: "freezer"},
	}
	if diff := cmp.Diff(want, got); slot != 42 || diff != "" {
		t.Errorf("slot %d, want 42 (-want +got):\n%s", slot, diff)
	}
}
