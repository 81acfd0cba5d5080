package account

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/bpfiter"
	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// TestFastPathsEqualPlain compares, on the real kernel, the samplers that leave out
// what cannot have changed, keep few files open, or read no files, with one that
// reads everything, while cgroups come and go and processes run in them.
func TestFastPathsEqualPlain(t *testing.T) {
	for _, c := range []struct {
		name, mount string
		samplers    []string
	}{
		{"v1", "cpuacct", []string{"descending", "descending, few kept open", "few kept open", "counted"}},
		{"v2", "unified", []string{"few kept open", "counted"}},
	} {
		t.Run(c.name, func(t *testing.T) { comparePaths(t, c.mount, c.samplers) })
	}
}

func comparePaths(t *testing.T, mount string, others []string) {
	h, root := testCgroup(t, mount)
	dirs := []string{"a", "a/b", "a/b/c", "a/b/d", "a/e", "a-b", "a-b/c", "f", "f/g", "f/g/h"}
	layout, err := cgfs.Discover(h.Mount())
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Close()
	_, usage := layout.Usage("cpuacct")
	if usage.Exact != (h.Version() == 1) || !usage.CPUTime {
		t.Fatalf("usage %+v", usage)
	}
	plain := usage
	plain.Exact = false
	target := func(u cgfs.Usage, dirs ...string) *Target {
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
	if probe, err := bpfiter.Open(h.Version(), 1); err == nil {
		probe.Close()
	} else if os.Getenv("CGROUPARCHD_TEST_ALL") != "1" {
		t.Logf("not counted: %v", err)
		others = slices.DeleteFunc(others, func(name string) bool { return name == "counted" })
	}
	samplers := map[string]*Sampler{}
	usages := map[string]cgfs.Usage{}
	for _, name := range append(others, "everything") {
		o := SamplerOptions{Ring: NewRing(5), MaxOpen: 100}
		u := plain
		switch {
		case name == "counted":
			o.Counters = realCounters(t, h.Version())
		case strings.HasSuffix(name, "few kept open"):
			o.MaxOpen = 4
		}
		if strings.HasPrefix(name, "descending") || name == "counted" {
			u = usage
		}
		s := NewSampler(o)
		defer s.close()
		samplers[name], usages[name] = s, u
		s.adopt(target(u, dirs...))
		sub := s.subs[0]
		if counted := name == "counted"; (sub.counters != nil) != counted || (sub.descent != nil) != (u.Exact && !counted) {
			t.Fatalf("%s: counters %v, descent %v", name, sub.counters, sub.descent)
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
		switch op := random.IntN(5); {
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
		case op == 4:
			n := 1 + random.IntN(len(dirs))
			what = fmt.Sprintf("a document of %d", n)
			for _, name := range names {
				samplers[name].adopt(target(usages[name], dirs[:n]...))
			}
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
	if s := samplers["counted"]; s != nil && (s.subs[0].counters == nil || s.meters.refused != nil) {
		t.Errorf("not counted any more: %v", s.meters.refused)
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
