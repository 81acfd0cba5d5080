package account

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// TestFastPathsEqualPlain compares, on the real kernel, the samplers that leave out
// what cannot have changed, or keep few files open, with one that reads everything,
// while cgroups come and go and processes run in them.
func TestFastPathsEqualPlain(t *testing.T) {
	h, root := testCgroup(t, "cpuacct")
	dirs := []string{"a", "a/b", "a/b/c", "a/b/d", "a/e", "a-b", "a-b/c", "f", "f/g", "f/g/h"}
	layout, err := cgfs.Discover(h.Mount())
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	_, usage := layout.Usage("cpuacct")
	if !usage.Exact {
		t.Fatalf("not exact: %+v", usage)
	}
	plain := usage
	plain.Exact = false
	target := func(u cgfs.Usage) *Target {
		s := subsystemOf("cpu", u, dirs...)
		s.Hierarchy = h
		s.Root.walk(func(c *Cgroup) { c.Dir = strings.TrimSuffix(root+"/"+c.Dir, "/") })
		return &Target{Subsystems: []Subsystem{s}}
	}
	live := map[string]bool{}
	for _, d := range dirs {
		makeCgroup(t, h, root+"/"+d)
		live[d] = true
	}
	samplers := map[string]*Sampler{}
	for name, open := range map[string]int{"descending": 100, "descending, few kept open": 4, "few kept open": 4, "everything": 100} {
		s := NewSampler(SamplerOptions{Ring: NewRing(5), MaxOpen: open})
		defer s.close()
		samplers[name] = s
		u := usage
		if !strings.HasPrefix(name, "descending") {
			u = plain
		}
		s.adopt(target(u))
		if (s.subs[0].descent != nil) != u.Exact {
			t.Fatalf("%s: descent %v", name, s.subs[0].descent)
		}
	}
	names := slices.Sorted(maps.Keys(samplers))
	random := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	compare := func() (diff string) {
		want := sampleText(samplers["everything"])
		for _, name := range names {
			if d := cmp.Diff(want, sampleText(samplers[name])); d != "" {
				diff += name + " (-everything +it):\n" + d
			}
		}
		return diff
	}
	for round := range 150 {
		d := dirs[random.IntN(len(dirs))]
		parent, _ := filepath.Split(d)
		below := slices.ContainsFunc(slices.Collect(maps.Keys(live)), func(q string) bool { return strings.HasPrefix(q, d+"/") })
		what := "nothing"
		switch op := random.IntN(4); {
		case op < 2 && live[d]:
			what = "run in " + d
			burnIn(t, filepath.Join(h.Mount(), root, d))
		case op == 2 && live[d] && !below:
			what = "remove " + d
			if err := h.Rmdir(root + "/" + d); err != nil {
				t.Fatal(err)
			}
			delete(live, d)
			if random.IntN(2) == 0 {
				what = "remake " + d
				makeCgroup(t, h, root+"/"+d)
				live[d] = true
			}
		case op == 3 && !live[d] && (parent == "" || live[strings.TrimSuffix(parent, "/")]):
			what = "make " + d
			makeCgroup(t, h, root+"/"+d)
			live[d] = true
		}
		// A process that has ended may be charged a little after we know that it has;
		// a number that was left out stays wrong.
		diff := compare()
		for range 20 {
			if diff == "" {
				break
			}
			time.Sleep(time.Millisecond)
			diff = compare()
		}
		if diff != "" {
			t.Fatalf("round %d, %s: %s", round, what, diff)
		}
	}
	if slots := sampleText(samplers["everything"]); !strings.Contains(slots, `"usage":`) {
		t.Errorf("nothing was compared: %s", slots)
	}
}

// burnIn lets a process live and end in a cgroup.
func burnIn(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", fmt.Sprintf("echo $$ >%s/cgroup.procs; i=0; while [ $i -lt 200 ]; do i=$((i+1)); done", dir)).CombinedOutput()
	if err != nil {
		t.Fatalf("run in %s: %v: %s", dir, err, out)
	}
}
