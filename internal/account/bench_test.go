package account

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// BenchmarkSample1000 samples 1000 real cgroups, and in the same run reads the
// same descriptors and does nothing else with them: "x-floor" is the ratio.
func BenchmarkSample1000(b *testing.B) {
	h, root := testCgroup(b, "cpuacct")
	const n = 1000
	paths := make([]string, n)
	sub := Subsystem{Name: "cpu", Hierarchy: h, Usage: numberUsage, Root: Cgroup{Dir: root, HasSub: true}}
	for i := range paths {
		paths[i] = fmt.Sprintf("c%04d", i)
		makeCgroup(b, h, root+"/"+paths[i])
		sub.Root.Sub = append(sub.Root.Sub, Cgroup{Name: paths[i], Dir: root + "/" + paths[i]})
	}
	r := NewRing(300)
	s := NewSampler(SamplerOptions{Ring: r, MaxOpen: 2 * n})
	defer s.close()
	s.adopt(&Target{Subsystems: []Subsystem{sub}})
	now := time.Unix(1700000000, 0)
	for range 400 {
		now = now.Add(time.Second)
		s.tick(now)
	}
	if s.meters.open != n+1 || s.status.Unread != 0 {
		b.Fatalf("%d open, %d unread", s.meters.open, s.status.Unread)
	}
	var sample, floor time.Duration
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		for i := range s.subs[0].dirs {
			if _, err := cgfs.Pread(s.subs[0].dirs[i].fd, buf); err != nil {
				b.Fatal(err)
			}
		}
		middle := time.Now()
		now = now.Add(time.Second)
		s.tick(now)
		sample += time.Since(middle)
		floor += middle.Sub(begin)
	}
	b.ReportMetric(float64(sample)/float64(floor), "x-floor")
	b.ReportMetric(float64(sample.Nanoseconds())/float64(b.N), "ns/sample")
}

func benchmarkHistory(b *testing.B, n int) (*Ring, *Service) {
	b.Helper()
	r := NewRing(300)
	s := busySampler(newFakeKernel(), r, n)
	b.Cleanup(s.close)
	for i := range int64(300) {
		s.tick(time.Unix(1700000000+i, 0))
	}
	return r, NewService(ServiceOptions{Ring: r})
}

// BenchmarkRender renders one slot of 1000 cgroups in cpu and blkio.
func BenchmarkRender(b *testing.B) {
	r, _ := benchmarkHistory(b, 1000)
	var snap snapshot
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		r.load(1700000100, Filter{}, &snap)
		buf = snap.layout.full.append(buf[:0], snap.words, snap.extra())
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(8*len(snap.words)), "B/slot-kept")
}

// BenchmarkShowAccount answers the customary query, two slots.
func BenchmarkShowAccount(b *testing.B) {
	_, svc := benchmarkHistory(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := svc.WriteSlots(context.Background(), Query{Start: 1700000298, End: 1700000299}, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShowAccountOne answers five minutes of one cgroup.
func BenchmarkShowAccountOne(b *testing.B) {
	_, svc := benchmarkHistory(b, 1000)
	q := Query{Start: 0, End: 1e12, View: View{Filter: Filter{Subsystem: "cpu", Cgroup: "test_cgroup_500"}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := svc.WriteSlots(context.Background(), q, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
