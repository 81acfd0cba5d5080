package account

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// rateRing samples by hand, at given milliseconds.
type rateRing struct {
	*Ring
	epoch time.Time
}

func newRateRing() rateRing { r := NewRing(60); return rateRing{r, r.epoch} }

func (r rateRing) add(slot int64, ms int, l *layout, words []uint64) {
	r.appendSlot(slot, r.epoch.Add(time.Duration(ms)*time.Millisecond), l, words)
}

func (r rateRing) ask(t *testing.T, args string) string {
	t.Helper()
	return ask(t, NewService(ServiceOptions{Ring: r.Ring, Now: at(1 << 40)}), args)
}

const (
	rateAll = `{"start_slot":0,"rate":true}`
	valueOf = `"%d":{"cpu":{"value":{"usage":%d}}}`
)

func TestRates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		second func(r rateRing)
		want   string
	}{
		{"a second later", func(r rateRing) { r.add(101, 1000, numberLayout, number(1500)) }, fmt.Sprintf(`{`+valueOf+`}`, 101, 500)},
		{"rounded to the nearest", func(r rateRing) { r.add(101, 1001, numberLayout, number(1500)) }, fmt.Sprintf(`{`+valueOf+`}`, 101, 500)},
		{"two slots missing between", func(r rateRing) { r.add(103, 3000, numberLayout, number(1600)) }, fmt.Sprintf(`{`+valueOf+`}`, 103, 200)},
		{"the clock stepped forward", func(r rateRing) { r.add(9000, 2000, numberLayout, number(1600)) }, fmt.Sprintf(`{`+valueOf+`}`, 9000, 300)},
		{"the clock stepped back", func(r rateRing) { r.add(50, 2000, numberLayout, number(1600)) }, fmt.Sprintf(`{`+valueOf+`}`, 50, 300)},
		{"idle", func(r rateRing) { r.add(101, 1000, numberLayout, number(1000)) }, fmt.Sprintf(`{`+valueOf+`}`, 101, 0)},
		{"made again", func(r rateRing) { r.add(101, 1000, numberLayout, number(999)) }, `{"101":{"cpu":{"value":{}}}}`},
		{"not read", func(r rateRing) { r.add(101, 1000, numberLayout, make([]uint64, 2)) }, `{"101":{"cpu":{"value":{}}}}`},
		{"large", func(r rateRing) { r.add(101, 1000, numberLayout, number(math.MaxUint64)) }, fmt.Sprintf(`{"101":{"cpu":{"value":{"usage":%d}}}}`, uint64(math.MaxUint64-1000))},
		{"too large", func(r rateRing) { r.add(101, 1, numberLayout, number(math.MaxUint64)) }, fmt.Sprintf(`{"101":{"cpu":{"value":{"usage":%d}}}}`, uint64(math.MaxUint64))},
		{"nothing yet", func(rateRing) {}, `{}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRateRing()
			r.add(100, 0, numberLayout, number(1000))
			tc.second(r)
			if diff := cmp.Diff(tc.want, r.ask(t, rateAll)); diff != "" {
				t.Errorf("rates (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRatesAcrossLayouts: a cgroup, or a device, that comes makes no other lose
// its rate; gauges stay as they are.
func TestRatesAcrossLayouts(t *testing.T) {
	r := newRateRing()
	nodes := func(devices []string, gauge uint64, more ...*node) (*layout, []uint64) {
		cpu := &node{name: "cpu", kind: cgfs.UsageNumber, key: "usage", hasSub: true, sub: more}
		memory := &node{name: "memory", kind: cgfs.UsageNumber, key: "usage", gauge: true}
		blkio := &node{name: "blkio", kind: cgfs.UsageDevices, devices: devices}
		at := 0
		place := func(n *node, width int) { n.first = at; at += width }
		place(blkio, 2*len(devices))
		place(cpu, 1)
		for _, n := range more {
			place(n, 1)
		}
		place(memory, 1)
		l := newLayout([]*node{blkio, cpu, memory}, at, 0)
		words := make([]uint64, l.words())
		words[memory.first] = gauge
		for i := range l.numbers {
			setBit(words, l.numbers, i)
		}
		return l, words
	}
	one, words := nodes([]string{"8:16"}, 700)
	words[0], words[1], words[2] = 100, 200, 1000
	r.add(100, 0, one, words)
	two, words := nodes([]string{"8:0", "8:16"}, 300, &node{name: "a", path: "a", kind: cgfs.UsageNumber, key: "usage"})
	words[0], words[1], words[2], words[3], words[4], words[5] = 9, 9, 150, 260, 1700, 50
	r.add(101, 1000, two, words)
	want := `{"101":{"blkio":{"value":{"8:16":{"Read":50,"Write":60}}},` +
		`"cpu":{"sub_cgroup":{"a":{"value":{}}},"value":{"usage":700}},"memory":{"value":{"usage":300}}}}`
	if diff := cmp.Diff(want, r.ask(t, rateAll)); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	want = `{"101":{"cpu":{"sub_cgroup":{"a":{"value":{}}}}}}`
	if diff := cmp.Diff(want, r.ask(t, `{"start_slot":101,"rate":true,"cgroup":"a"}`)); diff != "" {
		t.Errorf("filtered (-want +got):\n%s", diff)
	}
}
