package pidfiles

import (
	"bufio"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// processes reads a table of processes: "PID PPID" and, in any order, start= pgrp= session= (PID when not given)
// state= threads= and the word kernel. Starts default to the pid, so that parents are older when their pid is less.
func processes(t *testing.T, text string) []Proc {
	t.Helper()
	var procs []Proc
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		pid, err := strconv.Atoi(words[0])
		must(t, err)
		ppid, err := strconv.Atoi(words[1])
		must(t, err)
		p := Proc{PID: pid, PPID: ppid, PGrp: pid, Session: pid, Threads: 1, Start: uint64(pid), State: 'S'}
		for _, word := range words[2:] {
			key, value, _ := strings.Cut(word, "=")
			n, _ := strconv.Atoi(value)
			switch key {
			case "kernel":
				p.Kernel = true
			case "state":
				p.State = value[0]
			case "start":
				p.Start = uint64(n)
			case "pgrp":
				p.PGrp = n
			case "session":
				p.Session = n
			case "threads":
				p.Threads = n
			default:
				t.Fatalf("unknown word %q", word)
			}
		}
		procs = append(procs, p)
	}
	slices.SortFunc(procs, func(a, b Proc) int { return a.PID - b.PID })
	return procs
}

// show prints assignments, one "PID PATH" a line, with the root when that is another process.
func show(assigned []Assignment) string {
	var b strings.Builder
	for _, a := range assigned {
		fmt.Fprintf(&b, "%d %s", a.PID, a.Path)
		if a.Root.PID != a.PID {
			fmt.Fprintf(&b, " by %d", a.Root.PID)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func lines(words ...string) string {
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, "\n") + "\n"
}

func TestAssign(t *testing.T) {
	const never = math.MaxUint64 // no process is an orphan of this pass
	const small = `
		1 0
		10 1
		11 10
		12 11
		13 10
		20 1
		21 20`

	for _, test := range []struct {
		name  string
		procs string
		named map[int]Named
		pass  Pass
		want  string
	}{
		{"nothing named", small, nil, Pass{Since: never}, ""},
		{
			"descendants", small, map[int]Named{10: {"a", 10}}, Pass{Since: never},
			lines("10 a", "11 a by 10", "12 a by 10", "13 a by 10"),
		},
		{
			"nearest wins", small, map[int]Named{10: {"a", 10}, 11: {"b", 11}}, Pass{Since: never},
			lines("10 a", "11 b", "12 b by 11", "13 a by 10"),
		},
		{
			"leaf", small, map[int]Named{12: {"b", 12}}, Pass{Since: never},
			lines("12 b"),
		},
		{
			"same cgroup twice", small, map[int]Named{10: {"a", 10}, 12: {"a", 12}}, Pass{Since: never},
			lines("10 a", "11 a by 10", "12 a", "13 a by 10"),
		},
		{
			"two trees", small, map[int]Named{20: {"b", 20}, 13: {"a", 13}}, Pass{Since: never},
			lines("13 a", "20 b", "21 b by 20"),
		},
		{"named pid was given again", small, map[int]Named{10: {"a", 9}}, Pass{Since: never}, ""},
		{"named process is gone", small, map[int]Named{99: {"a", 99}}, Pass{Since: never}, ""},
		{"pid 1 named", small, map[int]Named{1: {"a", 1}}, Pass{Since: never}, ""},
		{
			"parents first, although the pid is greater",
			"30 1 start=1\n5 30 start=2\n40 5 start=3\n4 40 start=4",
			map[int]Named{30: {"a", 1}}, Pass{Since: never},
			lines("30 a", "5 a by 30", "40 a by 30", "4 a by 30"),
		},
		{
			"zombies", "10 1\n11 10 state=Z\n12 10 state=Z threads=3\n13 10 state=X threads=0",
			map[int]Named{10: {"a", 10}, 13: {"b", 13}}, Pass{Since: never},
			lines("10 a", "12 a by 10"),
		},
		{
			"kernel threads", "2 0 kernel\n10 2 kernel\n11 10",
			map[int]Named{2: {"a", 2}, 10: {"b", 10}}, Pass{Since: never}, "",
		},
		{
			"pid 2 of a pid namespace", "1 0\n2 1\n3 2", map[int]Named{2: {"a", 2}}, Pass{Since: never},
			lines("2 a", "3 a by 2"),
		},
		{
			"the daemon and what it starts", "10 1\n11 10\n12 11\n13 11",
			map[int]Named{10: {"a", 10}, 11: {"b", 11}, 13: {"c", 13}}, Pass{Since: never, Self: 11},
			lines("10 a", "13 c"),
		},
		{
			"parent's pid was given again", "10 1 start=50\n11 10 start=20",
			map[int]Named{10: {"a", 50}}, Pass{Since: never}, lines("10 a"),
		},
		{
			"ring in a torn scan", "10 12 start=5\n11 10 start=5\n12 11 start=5\n13 12 start=5",
			map[int]Named{13: {"a", 5}}, Pass{Since: never}, lines("13 a"),
		},
		{
			"ring with a name in it", "10 12 start=5\n11 10 start=5\n12 11 start=5",
			map[int]Named{11: {"a", 5}}, Pass{Since: never},
			// In which order is not important; that it ends, and each once.
			lines("11 a", "12 a by 11", "10 a by 11"),
		},

		{
			"re-parented", "10 1\n12 1", map[int]Named{10: {"a", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 a", "12 a by 10"),
		},
		{
			"re-parented, with children", "1 0\n10 1\n12 1\n14 12", map[int]Named{10: {"a", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 a", "12 a by 10", "14 a by 10"),
		},
		{
			"re-parented to another cgroup's reaper", "5 1\n10 5\n12 5", map[int]Named{5: {"r", 5}, 10: {"a", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("5 r", "10 a", "12 a by 10"),
		},
		{
			"not re-parented: a nearer one was named since", "10 1\n11 10\n12 11", map[int]Named{10: {"a", 10}, 11: {"b", 11}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 a", "11 b", "12 b by 11"),
		},
		{
			"re-parented below its root, where a nearer one is named", "10 1\n11 10\n13 11", map[int]Named{10: {"a", 10}, 11: {"b", 11}},
			Pass{Since: never, History: History{{13, 13}: {Root: Ident{10, 10}, Parent: Ident{12, 12}}}},
			lines("10 a", "11 b", "13 b by 11"),
		},
		{
			"child of a re-parented process, which is named since", "10 1\n12 1\n14 12", map[int]Named{10: {"a", 10}, 12: {"b", 12}},
			Pass{Since: never, History: History{
				{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}},
				{14, 14}: {Root: Ident{10, 10}, Parent: Ident{12, 12}},
			}},
			lines("10 a", "12 b", "14 b by 12"),
		},
		{
			"re-parented, root not named any more", "10 1\n12 1", nil,
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}}, "",
		},
		{
			"re-parented, root named for another cgroup now", "10 1\n12 1", map[int]Named{10: {"b", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 b", "12 b by 10"),
		},
		{
			"re-parented, root's pid was given again", "10 1 start=60\n12 1", map[int]Named{10: {"a", 60}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 a"),
		},
		{
			"history of an earlier process with the pid", "10 1\n12 1 start=70", map[int]Named{10: {"a", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}},
			lines("10 a"),
		},
		{
			"re-parented, root is a zombie", "10 1 state=Z\n12 1", map[int]Named{10: {"a", 10}},
			Pass{Since: never, History: History{{12, 12}: {Root: Ident{10, 10}, Parent: Ident{11, 11}}}}, "",
		},

		{
			"orphan by process group", "1 0\n10 1\n30 1 pgrp=10 session=10", map[int]Named{10: {"a", 10}}, Pass{Since: 25},
			lines("10 a", "30 a by 10"),
		},
		{
			"orphan by session", "1 0\n10 1\n30 1 pgrp=29 session=10", map[int]Named{10: {"a", 10}}, Pass{Since: 25},
			lines("10 a", "30 a by 10"),
		},
		{
			"orphan by a leader that is a descendant", "1 0\n10 1\n11 10\n30 1 pgrp=11 session=5", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a", "11 a by 10", "30 a by 10"),
		},
		{
			"orphan's child", "1 0\n10 1\n30 1 pgrp=10 session=10\n31 30 pgrp=31 session=31", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a", "30 a by 10", "31 a by 10"),
		},
		{
			"orphan in the group of an orphan's child", "1 0\n10 1\n30 1 pgrp=10 session=10\n31 30 session=10\n40 1 pgrp=31 session=5",
			map[int]Named{10: {"a", 10}}, Pass{Since: 25},
			lines("10 a", "30 a by 10", "31 a by 10", "40 a by 10"),
		},
		{
			"orphan at a reaper of another session", "1 0\n4 1\n10 4\n30 4 pgrp=10 session=10", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a", "30 a by 10"),
		},
		{
			"orphan whose reaper was not seen", "10 1\n30 28 pgrp=10 session=10", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a", "30 a by 10"),
		},
		{
			"orphan from before the pass", "1 0\n10 1\n30 1 pgrp=10 session=10", map[int]Named{10: {"a", 10}}, Pass{Since: 31},
			lines("10 a"),
		},
		{
			"orphan of a leader that is not ours", "1 0\n10 1\n15 1\n30 1 pgrp=15 session=15", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a"),
		},
		{
			"the group's number, but not its leader", "1 0\n10 1 pgrp=9 session=9\n30 1 pgrp=10 session=10", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a"),
		},
		{
			"pipeline of a shell", "5 1\n10 5 pgrp=10 session=5\n30 5 pgrp=10 session=5", map[int]Named{10: {"a", 10}},
			Pass{Since: 25}, lines("10 a"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Assign(processes(t, test.procs), test.named, test.pass)
			if diff := cmp.Diff(test.want, show(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHistory follows one family through several passes.
func TestHistory(t *testing.T) {
	history := make(History)
	named := map[int]Named{10: {"a", 10}}
	for i, step := range []struct {
		what  string
		procs string
		named map[int]Named
		since uint64
		want  string
	}{
		{"all are placed", "1 0\n10 1\n11 10\n12 11", named, 100, lines("10 a", "11 a by 10", "12 a by 10")},
		{"the middle one ended", "1 0\n10 1\n12 1", named, 100, lines("10 a", "12 a by 10")},
		{"still ended", "1 0\n10 1\n12 1", named, 100, lines("10 a", "12 a by 10")},
		{"has a child", "1 0\n10 1\n12 1\n15 12", named, 100, lines("10 a", "12 a by 10", "15 a by 10")},
		{"the pid file cannot be read", "1 0\n10 1\n12 1\n15 12", nil, 100, ""},
		{"it can be again", "1 0\n10 1\n12 1\n15 12", named, 100, lines("10 a", "12 a by 10", "15 a by 10")},
		{"an orphan", "1 0\n10 1\n12 1\n30 1 pgrp=10", named, 25, lines("10 a", "12 a by 10", "30 a by 10")},
		{"is no news in the next pass", "1 0\n10 1\n12 1\n30 1 pgrp=10", named, 100, lines("10 a", "12 a by 10", "30 a by 10")},
		{"the root ended", "1 0\n12 1\n30 1 pgrp=10", named, 100, ""},
		{"its pid was given again", "1 0\n10 1 start=90\n12 1\n30 1 pgrp=10", map[int]Named{10: {"a", 90}}, 100, lines("10 a")},
	} {
		procs := processes(t, step.procs)
		got := Assign(procs, step.named, Pass{History: history, Since: step.since})
		if diff := cmp.Diff(step.want, show(got)); diff != "" {
			t.Fatalf("step %d, %s (-want +got):\n%s", i, step.what, diff)
		}
		history.Update(procs, got)
	}
	history.Update(nil, nil)
	if len(history) != 0 {
		t.Errorf("history of processes that have ended: %v", history)
	}
}

// drawProcs draws a machine: a forest in which parents are not younger than children, with pids in any order.
func drawProcs(t *rapid.T) []Proc {
	n := rapid.IntRange(1, 30).Draw(t, "n")
	pids := rapid.Permutation(func() []int {
		pids := make([]int, n)
		for i := range pids {
			pids[i] = i + 1
		}
		return pids
	}()).Draw(t, "pids")
	procs := make([]Proc, n)
	for i := range procs {
		p := Proc{PID: pids[i], Start: uint64(i / 3), State: 'S', Threads: 1}
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "child") > 0 {
			p.PPID = pids[rapid.IntRange(0, i-1).Draw(t, "parent")]
		}
		p.PGrp = rapid.IntRange(0, n+1).Draw(t, "pgrp")
		p.Session = rapid.IntRange(0, n+1).Draw(t, "session")
		p.Kernel = rapid.IntRange(0, 9).Draw(t, "kernel") == 0
		if rapid.IntRange(0, 9).Draw(t, "zombie") == 0 {
			p.State = 'Z'
		}
		procs[i] = p
	}
	slices.SortFunc(procs, func(a, b Proc) int { return a.PID - b.PID })
	return procs
}

func drawNamed(t *rapid.T, procs []Proc) map[int]Named {
	named := map[int]Named{}
	for _, p := range procs {
		if rapid.IntRange(0, 3).Draw(t, "named") == 0 {
			named[p.PID] = Named{Path: rapid.SampledFrom([]string{"a", "b", "a/c"}).Draw(t, "path"), Start: p.Start}
		}
	}
	return named
}

// TestAssignProperties compares with the definition, word for word, where there is neither history nor orphans; and
// checks what must hold with them.
func TestAssignProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		procs := drawProcs(t)
		named := drawNamed(t, procs)
		self := rapid.IntRange(0, len(procs)).Draw(t, "self")
		usable := func(p *Proc) bool { return p != nil && p.PID != 1 && p.PID != self && !p.Kernel && p.State != 'Z' }

		want := map[int]string{}
		for i := range procs {
			for p := &procs[i]; usable(p); p = find(procs, p.PPID) {
				if name, ok := named[p.PID]; ok {
					want[procs[i].PID] = name.Path
					break
				}
			}
		}
		plain := Assign(procs, named, Pass{Since: math.MaxUint64, Self: self})
		got := map[int]string{}
		for _, a := range plain {
			got[a.PID] = a.Path
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("nearest named ancestor (-want +got):\n%s", diff)
		}

		history := History{}
		for i := range procs {
			if rapid.IntRange(0, 2).Draw(t, "remembered") == 0 {
				root := procs[rapid.IntRange(0, len(procs)-1).Draw(t, "root")]
				history[procs[i].Ident()] = Placed{Root: root.Ident(), Parent: Ident{PID: 1000}}
			}
		}
		pass := Pass{History: history, Since: uint64(rapid.IntRange(0, 10).Draw(t, "since")), Self: self}
		assigned := Assign(procs, named, pass)
		if diff := cmp.Diff(assigned, Assign(procs, named, pass)); diff != "" {
			t.Fatalf("not deterministic:\n%s", diff)
		}
		all := map[int]bool{}
		for _, a := range assigned {
			all[a.PID] = true
		}
		seen := map[int]bool{}
		for _, a := range assigned {
			p := find(procs, a.PID)
			if !usable(p) || p.Start != a.Start || seen[a.PID] {
				t.Fatalf("assigned %+v: %+v", a, p)
			}
			if name := named[a.Root.PID]; !all[a.Root.PID] || name.Start != a.Root.Start || name.Path != a.Path {
				t.Fatalf("root of %+v: %+v", a, name)
			}
			if name, ok := named[a.PID]; ok && (a.Path != name.Path || a.Root.PID != a.PID) {
				t.Fatalf("%+v is named %+v", a, name)
			}
			if all[p.PPID] && !seen[p.PPID] {
				t.Fatalf("%d comes before its parent %d", a.PID, p.PPID)
			}
			seen[a.PID] = true
		}
		for _, a := range plain {
			if !all[a.PID] {
				t.Fatalf("%d is not assigned any more because of the past", a.PID)
			}
		}
		history.Update(procs, assigned)
	})
}

// TestAssignReal: a real family, of which the middle generation ends.
func TestAssignReal(t *testing.T) {
	// The shell is the named process; its child starts a grandchild and ends when it is told to.
	cmd := exec.Command("/bin/sh", "-c", `sh -c 'sleep 1000 & echo $$ $!; read -r _; exit 0' & wait; echo waited; read -r _`)
	// Descriptor 0 of a background process is /dev/null in a shell without job control: so it takes another one.
	cmd.Args[2] = strings.Replace(cmd.Args[2], "read -r _; exit 0' &", "read -r _ <&3; exit 0' &", 1)
	cmd.Args[2] = "exec 3<&0; " + cmd.Args[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	grandchild := 0
	t.Cleanup(func() {
		if grandchild > 1 {
			_ = syscall.Kill(grandchild, syscall.SIGKILL)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	output := bufio.NewReader(stdout)
	line, err := output.ReadString('\n')
	must(t, err)
	var child int
	if _, err := fmt.Sscan(line, &child, &grandchild); err != nil {
		t.Fatal(err)
	}

	claim := read(t, writePID(t, cmd.Process.Pid), false)
	named := map[int]Named{claim.PID: {"a", claim.Start}}
	scanner, history := newScanner(t), make(History)
	pass := func() []int {
		procs := scan(t, scanner)
		assigned := Assign(procs, named, Pass{History: history, Since: math.MaxUint64})
		history.Update(procs, assigned)
		var pids []int
		for _, a := range assigned {
			pids = append(pids, a.PID)
		}
		return pids
	}
	if diff := cmp.Diff([]int{cmd.Process.Pid, child, grandchild}, pass()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = stdin.Write([]byte("\n"))
	must(t, err)
	if line, err := output.ReadString('\n'); err != nil || line != "waited\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if diff := cmp.Diff([]int{cmd.Process.Pid, grandchild}, pass()); diff != "" {
		t.Errorf("after the child ended (-want +got):\n%s", diff)
	}
	if p := find(scan(t, scanner), grandchild); p == nil || p.PPID == cmd.Process.Pid {
		t.Errorf("grandchild %+v was not re-parented: the test proves nothing", p)
	}
}

func TestNamedIn(t *testing.T) {
	cgroups := []Cgroup{
		{"a", []string{"cpu"}}, {"b", []string{"blkio", "cpu"}}, {"b/c", []string{"blkio"}},
	}
	claims := []Claim{
		{File: "/1", Cgroup: "a", State: OK, PID: 10, Start: 1},
		{File: "/2", Cgroup: "a", State: Stale, PID: 11},
		{File: "/3", Cgroup: "a", State: OK, PID: 10, Start: 1},
		{File: "/1", Cgroup: "b", State: OK, PID: 10, Start: 1},
		{File: "/4", Cgroup: "b", State: OK, PID: 12, Start: 2},
		{File: "/1", Cgroup: "b/c", State: OK, PID: 10, Start: 1},
		{File: "/5", Cgroup: "gone", State: OK, PID: 13, Start: 3},
	}
	for _, test := range []struct {
		subsystem string
		want      map[int]Named
		conflicts []string
	}{
		{
			"cpu", map[int]Named{10: {"a", 1}, 12: {"b", 2}},
			[]string{"b: pid file /1: pid 10 belongs to a, which /1 names first"},
		},
		{
			"blkio", map[int]Named{10: {"b", 1}, 12: {"b", 2}},
			[]string{"b/c: pid file /1: pid 10 belongs to b, which /1 names first"},
		},
		{"memory", map[int]Named{}, nil},
	} {
		named, conflicts := NamedIn(test.subsystem, claims, cgroups)
		if diff := cmp.Diff(test.want, named); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.subsystem, diff)
		}
		var texts []string
		for _, c := range conflicts {
			texts = append(texts, c.Cgroup+": "+c.Error())
		}
		if diff := cmp.Diff(test.conflicts, texts); diff != "" {
			t.Errorf("%s: conflicts (-want +got):\n%s", test.subsystem, diff)
		}
	}
}

func BenchmarkAssign(b *testing.B) {
	const n = 10000
	procs := make([]Proc, n)
	for i := range procs {
		procs[i] = Proc{PID: i + 1, PPID: i / 4, PGrp: i + 1, Session: i + 1, Start: uint64(i), State: 'S', Threads: 1}
	}
	named := map[int]Named{}
	for pid := 10; pid <= 2000; pid += 10 {
		named[pid] = Named{Path: "a", Start: uint64(pid - 1)}
	}
	history := make(History)
	for b.Loop() {
		history.Update(procs, Assign(procs, named, Pass{History: history, Since: n}))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/process")
}
