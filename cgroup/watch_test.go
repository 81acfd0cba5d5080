package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// recorder collects the events of a watch.
type recorder struct {
	t      *testing.T
	events <-chan Event
	seen   []Event
}

func watchNode(t *testing.T, n *Node, o WatchOptions) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	events, err := n.Watch(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range events { // it closes
		}
	})
	return &recorder{t: t, events: events}
}

// want waits for an event, and fails when it does not come.
func (r *recorder) want(kind EventKind, path string, pids ...int) Event {
	r.t.Helper()
	timeout := time.After(20 * time.Second)
	match := func(e Event) bool {
		// On v1, Start is in the cgroup itself for a moment, and a look may fall into it.
		others := slices.DeleteFunc(slices.Clone(e.PIDs), func(pid int) bool { return pid == os.Getpid() })
		return e.Kind == kind && e.Node.Path() == path && (pids == nil || cmp.Equal(others, sorted(pids)))
	}
	for {
		if i := slices.IndexFunc(r.seen, match); i >= 0 {
			e := r.seen[i]
			r.seen = slices.Delete(r.seen, i, i+1)
			return e
		}
		select {
		case e, ok := <-r.events:
			if !ok {
				r.t.Fatal("the watch has ended")
			}
			if e.Kind == EventFailed {
				r.t.Fatal(e.Err)
			}
			r.seen = append(r.seen, e)
		case <-timeout:
			r.t.Fatalf("no event %s of %s %v; there were %+v", kind, path, pids, r.seen)
		}
	}
}

func TestWatchTreeAndMembers(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := create(t, host, "cpu:/w")
	create(t, host, "cpu:/w/old")
	r := watchNode(t, n, WatchOptions{})
	a := create(t, host, "cpu:/w/a/deep")
	r.want(EventAppeared, "/w/a")
	r.want(EventAppeared, "/w/a/deep")
	pid := testhost.Sleeper(t)
	if err := a.Add(pid); err != nil {
		t.Fatal(err)
	}
	r.want(EventJoined, "/w/a/deep", pid)
	if err := must[*Node](t)(n.Find("old")).Add(pid); err != nil {
		t.Fatal(err)
	}
	r.want(EventJoined, "/w/old", pid)
	r.want(EventLeft, "/w/a/deep", pid)
	child := exec.Command("sleep", "600") // a birth, which the kernel does not report
	if err := a.Start(child); err != nil {
		t.Fatal(err)
	}
	r.want(EventJoined, "/w/a/deep", child.Process.Pid)
	_ = child.Process.Kill()
	_ = child.Wait()
	r.want(EventLeft, "/w/a/deep", child.Process.Pid)
	if err := a.Parent().Delete(t.Context(), DeleteOptions{Recursive: true}); err != nil {
		t.Fatal(err)
	}
	r.want(EventDisappeared, "/w/a/deep")
	r.want(EventDisappeared, "/w/a")
	if err := n.Delete(t.Context(), DeleteOptions{Recursive: true}); err != nil {
		t.Fatal(err)
	}
	r.want(EventDisappeared, "/w/old")
	r.want(EventDisappeared, "/w")
	create(t, host, "cpu:/w") // and it may come back
	r.want(EventAppeared, "/w")
	if slices.ContainsFunc(r.seen, func(e Event) bool { return e.Kind == EventAppeared && e.Node.Path() == "/w/old" }) {
		t.Errorf("what was there at the beginning was reported: %+v", r.seen)
	}
}

// TestWatchBeforeThere: a cgroup that is not there yet can be waited for.
func TestWatchBeforeThere(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := must[*Node](t)(host.Node("cpu:/later"))
	r := watchNode(t, n, WatchOptions{Interval: time.Hour})
	create(t, host, "cpu:/other")
	create(t, host, "cpu:/later")
	r.want(EventAppeared, "/later")
	if len(r.seen) > 0 {
		t.Errorf("others were reported: %+v", r.seen)
	}
}

// TestWatchReplaced: a cgroup of the same name is another one.
func TestWatchReplaced(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := create(t, host, "cpu:/w/a")
	r := watchNode(t, n.Parent(), WatchOptions{Interval: time.Hour})
	for range 20 {
		if err := n.Delete(t.Context(), DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := n.Create(); err != nil {
			t.Fatal(err)
		}
	}
	create(t, host, "cpu:/w/last")
	r.want(EventAppeared, "/w/last")
	there := 1
	for _, e := range r.seen {
		switch {
		case e.Node.Path() != "/w/a":
		case e.Kind == EventAppeared:
			there++
		case e.Kind == EventDisappeared:
			there--
		}
		if there < 0 || there > 1 {
			t.Fatalf("appeared and disappeared do not alternate: %+v", r.seen)
		}
	}
	if there != 1 {
		t.Error("at the end it is not there")
	}
	pid := testhost.Sleeper(t)
	if err := n.Add(pid); err != nil { // it is the new one that is watched
		t.Fatal(err)
	}
	r.want(EventJoined, "/w/a", pid)
}

// hungry is a shell that takes more and more memory, slowly.
const hungry = `s=0123456789012345678901234567890123456789012345678901234567890123; i=0; while [ $i -lt 30 ]; do s=$s$s; i=$((i+1)); done`

func TestWatchOOMAndPressure(t *testing.T) {
	has(t, "memory")
	host := open(t, "memory")
	n := create(t, host, "memory:/w/hungry")
	if err := n.Memory().LimitInBytes.Set(8 << 20); err != nil {
		t.Fatal(err)
	}
	_ = n.Memory().MemswLimitInBytes.Set(8 << 20) // where there is swap, it must not help
	r := watchNode(t, n.Parent(), WatchOptions{Pressure: []string{"memory"}, Stall: time.Millisecond, Window: 500 * time.Millisecond})
	cmd := exec.Command("sh", "-c", hungry)
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the hungry one has ended with %v", err)
	}
	if e := r.want(EventOOMKill, "/w/hungry"); e.Kills != 1 {
		t.Errorf("%d kills", e.Kills)
	}
	reader := exec.Command("sh", "-c", thrash(t, n))
	if err := n.Start(reader); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Kill(context.Background()); _ = reader.Wait() }()
	if e := r.want(EventPressure, "/w/hungry"); e.Resource != "memory" {
		t.Errorf("pressure of %q", e.Resource)
	}
}

// thrash is a command that makes pressure on the memory of a cgroup, and ends in no kill.
func thrash(t *testing.T, n *Node) string {
	t.Helper()
	if n.Version() == 2 {
		// Who is over memory.high has to wait, whatever the memory is of. Where files are in memory themselves, as in a
		// machine without a disk, nothing that is read can be taken back.
		if err := n.Memory().LimitInBytes.Set(256 << 20); err != nil {
			t.Fatal(err)
		}
		if err := n.Memory().High.Set(4 << 20); err != nil {
			t.Fatal(err)
		}
		return "while :; do head -c 16777216 /dev/zero | tail -c 16777216 >/dev/null; done"
	}
	file := filepath.Join(t.TempDir(), "big")
	if err := exec.Command("dd", "if=/dev/zero", "of="+file, "bs=1M", "count=64", "status=none").Run(); err != nil {
		t.Fatal(err)
	}
	return "while :; do cat " + file + " >/dev/null; dd if=/dev/zero of=" + file + ".2 bs=1M count=32 status=none; done"
}

// TestWatchNoPressure: pressure of which nothing would ever be heard is refused.
func TestWatchNoPressure(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := create(t, host, "cpu:/w")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // should it be taken
	if _, err := n.Watch(ctx, WatchOptions{Pressure: []string{"memory", "memry"}}); !isKind(err, ErrInvalid) {
		t.Errorf("pressure on nothing that there is: %v", err)
	}
	if n.Version() == 1 {
		if _, err := n.Watch(ctx, WatchOptions{Pressure: []string{"cpu", "memory"}}); !isKind(err, ErrNotSupported) {
			t.Errorf("pressure in a hierarchy that does not tell: %v", err)
		}
	}
}

func TestWatchEnds(t *testing.T) {
	has(t, "cpu")
	host := open(t, "cpu")
	n := create(t, host, "cpu:/w")
	ctx, cancel := context.WithCancel(t.Context())
	events, err := n.Watch(ctx, WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	create(t, host, "cpu:/w/a") // nobody reads it
	cancel()
	eventually(t, "the channel is closed", func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	})
	if _, err := host.Tree().Watch(t.Context(), WatchOptions{}); !isKind(err, ErrNotSupported) {
		t.Errorf("watch of the tree: %v", err)
	}
}
