package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNothingOutside records every path that the daemon opens for writing, makes or removes, through a life in which documents and
// pid files try to lead it astray, and finds none in the cgroup filesystems outside its root.
func TestNothingOutside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	p, foreign := shell(t, "sleep 600 & sleep 600 & wait"), sleeper(t)
	pids := p.wantSession(3)
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.mkdir("cpu", "foreign/below")
	h.write("cpu", "foreign/below", "cgroup.procs", strconv.Itoa(foreign.pid()))
	h.document(strings.ReplaceAll(sample, "test_cgroup_a", "a"))
	tr, before := underStrace(h, mutators)
	d := h.startReady(before...)
	h.wantShares("a 1024", "test_cgroup_b 100", "test_cgroup_b/test_cgroup_b_sub1 200")
	h.wantIn("cpu", "a", pids...)
	for _, c := range badDocuments {
		if c.name == "too long" {
			continue
		}
		h.document(c.document)
		eventually(t, c.name, func() error { return d.rejected(c.place) })
	}
	h.document(`{"cpu": {"sub_cgroup": {"b": {"conf": {"share": 5}}}}, "cpuset": {"sub_cgroup": {"s": {"sub_cgroup": {"s": {"conf": {}}}}}}}`)
	h.wantShares("b 5")
	h.wantTree("cpuset", "", "s", "s/s")
	h.write("cpu", "b", "cpu.shares", "77")
	h.wantShares("b 5")
	h.document(`{"cpu": {}}`)
	h.wantShares()

	strace := tracerOf(d.pid())
	d.stop()
	waitGone(t, strace)
	inside := 0
	mounts := uniqueMounts()
	for _, path := range changedPaths(tr.lines(d.pid())) {
		if !strings.HasPrefix(path, "/sys/fs/cgroup") {
			continue
		}
		if !below(path, mounts, h.root) {
			t.Errorf("changed outside our root: %s", path)
			continue
		}
		inside++
	}
	if inside < 20 {
		t.Errorf("only %d paths below our root were changed: the trace is not complete", inside)
	}
}

// below says whether the path is our root, or below it, in one of the hierarchies.
func below(path string, mounts []string, root string) bool {
	for _, mount := range mounts {
		if path == mount+root || strings.HasPrefix(path, mount+root+"/") {
			return true
		}
	}
	return false
}

// TestNothingBeforeTheWrite: between the event and the write that puts a value back is nothing that would wake another thread, and
// others get their turn before that is told. On a busy machine another goroutine may come between them, and a call that takes long
// makes the next ones ordinary; so some of five have to be so.
func TestNothingBeforeTheWrite(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/sys/kernel/sched_ext"); err == nil {
		t.Skip("a kernel to which schedulers can come: shares are put back by ordinary calls")
	}
	h := newHost(t)
	names := []string{"a", "b", "c", "d", "e"}
	h.document(`{"cpu": {"sub_cgroup": {"` + strings.Join(names, `": {"conf": {"share": 500}}, "`) + `": {"conf": {"share": 500}}}}}`)
	d := h.startReady()
	lines := attachWhile(h, d.pid(), "trace=read,pread64,openat2,write,close,futex,sched_yield", func() {
		for _, name := range names {
			time.Sleep(200 * time.Millisecond) // a rest, in which the runtime's own threads go to sleep
			h.write("cpu", name, "cpu.shares", "77")
			eventually(t, name+" put back", func() error {
				if got := h.read("cpu", name, "cpu.shares"); got != "500" {
					return fmt.Errorf("%s", got)
				}
				return nil
			})
		}
	})
	mended, prompt := 0, 0
	var others []string
	for i, line := range lines {
		if !strings.HasPrefix(line, "write(") || !strings.Contains(line, "cpu.shares>, \"500\"") {
			continue
		}
		mended++
		from, to := i, i
		for from > 0 && !strings.HasPrefix(lines[from], "read(") {
			from--
		}
		for to < len(lines)-1 && !strings.Contains(lines[to], "drift corrected") {
			to++
		}
		before, after := callNames(lines[from:i+1]), callNames(lines[i:to])
		if before == "read openat2 pread64 write" && strings.Contains(after, "sched_yield") {
			prompt++
		} else {
			others = append(others, before+" | "+after)
		}
	}
	if prompt < 2 {
		t.Errorf("%d of %d values were put back at once; the others: %q", prompt, mended, others)
	}
	if mended != len(names) {
		t.Errorf("%d of %d values were put back while strace looked:\n%s", mended, len(names), strings.Join(lines, "\n"))
	}
}

// TestConvergedWritesNothing watches a daemon that has nothing to do, with 100 cgroups and 20 pid files and a pass each second.
func TestConvergedWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	files := map[string][]string{}
	var cgroups []string
	for i := range 10 {
		var inner []string
		for j := range 9 {
			inner = append(inner, fmt.Sprintf(`"inner_%d_%d": {"conf": {"share": %d}}`, i, j, 200+j))
		}
		cgroups = append(cgroups, fmt.Sprintf(`"outer_%d": {"conf": {"share": %d}, "sub_cgroup": {%s}}`, i, 100+i, strings.Join(inner, ",")))
	}
	placed := map[string]int{}
	for i := range 20 {
		p := sleeper(t)
		cgroup := fmt.Sprintf("outer_%d/inner_%d_%d", i/2, i/2, i%2)
		files[cgroup] = []string{h.pidFile(fmt.Sprintf("%d.pid", i), p.pid())}
		placed[cgroup] = p.pid()
	}
	h.set("cgroup_pid_files", files)
	h.document(`{"cpu": {"sub_cgroup": {` + strings.Join(cgroups, ",") + `}}, "blkio": {"sub_cgroup": {"outer_0": {"conf": {"weight": 100}}}}}`)
	d := h.startReady()
	for cgroup, pid := range placed {
		h.wantIn("cpu", cgroup, pid)
		h.wantIn("cpuacct", cgroup, pid)
	}
	if n := len(strings.Split(h.tree("cpu", ""), "\n")); n != 100 {
		t.Fatalf("%d cgroups, want 100", n)
	}
	time.Sleep(2 * time.Second) // what the first passes left to a later one

	lines := attach(h, d.pid(), mutators+",read,pread64,write,pwrite64,writev,pwritev", 10*time.Second)
	looked := 0
	for _, line := range lines {
		if path := changedPath(line); path != "" && !isRead(line) {
			if !isWrite(line) || strings.HasPrefix(path, "/sys/") || strings.HasPrefix(path, h.scratch+"/state") {
				t.Errorf("written: %.300s", line)
			}
		}
		if strings.Contains(line, "cgroup.procs") && !isWrite(line) {
			looked++
		}
	}
	// Ten passes compare 20 targets each; far fewer would mean that no pass ran while we watched.
	if looked < 20 {
		t.Errorf("cgroup.procs was looked at %d times: no pass in 10 s?", looked)
	}
}

// isRead says whether the call reads an open file.
func isRead(line string) bool {
	return strings.HasPrefix(line, "read(") || strings.HasPrefix(line, "pread64(")
}

// isWrite says whether the call writes into an open file; logs, eventfds and sockets are written by right.
func isWrite(line string) bool {
	name, _, _ := strings.Cut(line, "(")
	return strings.Contains(name, "write")
}
