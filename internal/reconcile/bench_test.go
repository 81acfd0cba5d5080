package reconcile

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// BenchmarkBuild makes 1,000 cgroups with one setting each, and reports the
// ratio to bare mkdirat and write calls made in the same run.
func BenchmarkBuild(b *testing.B) {
	var ours, floor time.Duration
	for b.Loop() {
		r := onKernel(b, nil)
		h := r.layout.Hierarchy("cpu")
		began := time.Now()
		for i := range 1000 {
			dir := filepath.Join(h.Mount(), r.opt.Root, "floor"+strconv.Itoa(i))
			if err := unix.Mkdirat(unix.AT_FDCWD, dir, 0o755); err != nil {
				b.Fatal(err)
			}
			fd, err := unix.Open(filepath.Join(dir, "cpu.shares"), unix.O_WRONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := unix.Write(fd, []byte("50")); err != nil {
				b.Fatal(err)
			}
			_ = unix.Close(fd)
		}
		floor += time.Since(began)
		for i := range 1000 {
			if err := h.Rmdir(filepath.Join(r.opt.Root, "floor"+strconv.Itoa(i))); err != nil {
				b.Fatal(err)
			}
		}
		s := r.pass(b.Context(), work{doc: document(b, many(1000, "7")), full: true})
		ours += s.Pass.Duration / 2 // the mirror makes every cgroup twice
	}
	b.ReportMetric(float64(ours)/float64(floor), "x_of_bare")
}

// BenchmarkEditOneOf1000 changes one share among 1,000 cgroups, document in hand,
// and reports the ratio to one bare write of it.
func BenchmarkEditOneOf1000(b *testing.B) {
	r := onKernel(b, nil)
	r.pass(b.Context(), work{doc: document(b, many(1000, "7")), full: true})
	h := r.layout.Hierarchy("cpu")
	even, odd := document(b, many(1000, "8")), document(b, many(1000, "9"))
	var floor time.Duration
	i := 0
	for b.Loop() {
		doc := even
		if i++; i%2 == 0 {
			doc = odd
		}
		if s := r.pass(b.Context(), work{doc: doc}); s.Pass.Written != 1 {
			b.Fatalf("%+v", s.Pass)
		}
		b.StopTimer()
		began := time.Now()
		if err := h.Write(filepath.Join(r.opt.Root, "edited"), "cpu.shares", "10"); err != nil {
			b.Fatal(err)
		}
		floor += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed())/float64(floor), "x_of_write")
}

// BenchmarkConvergedPass is a full pass over many cgroups that finds nothing to
// do.
func BenchmarkConvergedPass(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := onKernel(b, nil)
			r.pass(b.Context(), work{doc: document(b, many(n, "7")), full: true})
			before, i := cpuTime(b), 0
			for b.Loop() {
				if s := r.pass(b.Context(), work{full: true}); s.Pass.Total() > 0 {
					b.Fatalf("%+v", s.Pass)
				}
				i++
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(i), "cpu-us/op")
		})
	}
}

// BenchmarkEdit changes one share among many cgroups, from the bytes of the
// document to the kernel's file and the snapshot.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			texts := [][]byte{[]byte(many(n, "8")), []byte(many(n, "9"))}
			r := onKernel(b, nil)
			doc := document(b, string(texts[0]))
			r.pass(b.Context(), work{doc: doc, full: true})
			i := 0
			before := cpuTime(b)
			for b.Loop() {
				i++
				next, err := zkconf.DecodeNext(doc, texts[i%2], int32(i))
				if err != nil {
					b.Fatal(err)
				}
				if s := r.pass(b.Context(), work{doc: next}); s.Pass.Written != 1 {
					b.Fatalf("%+v", s.Pass)
				}
				doc = next
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(i), "cpu-us/op")
		})
	}
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
