package pidfiles

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// judge compares what a pass by the Lister and one by a plain scan conclude, with a history each.
type judge struct {
	m           *machine
	l           *Lister
	plain, ours History
	named       map[int]Named
	since       uint64
}

// compare lists once and compares.
func (j *judge) compare(t *testing.T, first bool) {
	t.Helper()
	got, err := j.l.List()
	if err != nil {
		t.Fatal(err)
	}
	want := j.m.plain()
	if len(got) != len(want) {
		t.Fatalf("%d processes, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if n := j.l.Threads(g.PID); first && !w.Ended() && n != w.Threads {
			t.Fatalf("threads of %d: %d, want %d", g.PID, n, w.Threads)
		}
		if w.Start < j.since { // see Lister.List
			g.PGrp, g.Session = w.PGrp, w.Session
		}
		g.Threads = w.Threads
		if g.Ended() == w.Ended() || w.Ended() && !g.Ended() {
			g.State = w.State // of those that run any will do; a zombie without children may not be known as one
		}
		if w.Ended() {
			g.PPID, g.PGrp, g.Session = w.PPID, w.PGrp, w.Session // nobody asks for those of a zombie
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	pass := Pass{Since: j.since, Self: 999}
	pass.History = j.plain
	wanted := Assign(want, j.named, pass)
	j.plain.Update(want, wanted)
	pass.History = j.ours
	assigned := Assign(got, j.named, pass)
	j.ours.Update(got, assigned)
	var living []Assignment
	for _, a := range assigned {
		// A named process without children that has ended in the middle of the pass, may be missed in it.
		if alive, _ := j.l.Alive(a.PID); alive && !j.m.procs[a.Root.PID].Ended() {
			living = append(living, a)
		}
	}
	// A zombie that is not known as one yet brings its parent forward.
	byPID := func(a, b Assignment) int { return a.PID - b.PID }
	slices.SortFunc(wanted, byPID)
	slices.SortFunc(living, byPID)
	if diff := cmp.Diff(wanted, living, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("assigned (-want +got):\n%s", diff)
	}
}

// disturb is a pass amid which things happen. Whatever it sees, it must not mislead the one after it.
func (j *judge) disturb(choose func(int) int) {
	j.m.amid = func() {
		if choose(6) == 0 {
			j.m.step(choose)
		}
	}
	defer func() { j.m.amid = nil }()
	j.l.begin(j.m.now)
	for range 1 + choose(2) {
		procs, err := j.l.List()
		if err != nil {
			return
		}
		for i := range procs {
			if choose(2) == 0 {
				j.l.Threads(procs[i].PID)
			}
		}
		if len(procs) > 0 {
			j.l.Alive(procs[choose(len(procs))].PID)
		}
	}
}

// run lets a model live, with a pass of one or more listings from time to time.
func run(t *testing.T, steps int, choose func(int) int) {
	m := newMachine()
	j := &judge{m: m, l: &Lister{source: m, limit: 6}, plain: History{}, ours: History{}}
	for range steps {
		for range choose(12) {
			m.step(choose)
		}
		if choose(3) == 0 {
			j.disturb(choose)
		}
		j.named = map[int]Named{}
		for _, p := range m.user() {
			if p.PID%7 == 0 {
				j.named[p.PID] = Named{Path: "g" + strconv.Itoa(p.PID), Start: p.Start}
			}
		}
		m.now++
		j.since = m.now
		j.l.begin(j.since)
		for listing := range 1 + choose(3) {
			for range choose(4) {
				m.step(choose)
			}
			j.compare(t, listing == 0) // threads are counted once a pass
		}
	}
}

// TestListIsScan: whatever processes do, a Lister's listings lead to what plain scans lead to.
func TestListIsScan(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			run(t, 60, rand.New(rand.NewPCG(seed, 1)).IntN)
		})
	}
}

func FuzzListIsScan(f *testing.F) {
	f.Add([]byte("processes come and go, and some are ours"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			return
		}
		at := 0
		run(t, len(data)/8, func(n int) int {
			if len(data) == 0 || n <= 1 {
				return 0
			}
			at++
			return (int(data[at%len(data)]) + at/len(data)) % n
		})
	})
}
