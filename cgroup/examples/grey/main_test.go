package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/cgroup"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

func TestLeftOver(t *testing.T) {
	for _, tt := range []struct {
		used, spare float64
		cpus        int
		want        float64
	}{
		{0, 10, 2, 190}, {150, 10, 2, 40}, {200, 10, 2, 1}, {50, 0, 1, 50},
	} {
		if got := leftOver(tt.used, tt.spare, tt.cpus); got != tt.want {
			t.Errorf("%+v: %g", tt, got)
		}
	}
}

// TestGrey: two guests of clients and two grey ones, by libvirt's names. While the
// clients are idle the grey ones may have nearly all; when clients work, they give it
// back within a second; when the clients are idle again, they get it again.
func TestGrey(t *testing.T) {
	host := open(t)
	node := func(name string) *cgroup.Node {
		n, err := host.Node(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Create(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	client := node("cpu,cpuacct:/machine/clients.partition/qemu-1-shop.libvirt-qemu/vcpu0")
	burn(t, node("cpu,cpuacct:/machine/grey.partition/qemu-2-batch.libvirt-qemu/vcpu0"))
	grey := node("cpu:/machine/grey.partition")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- run(ctx, host, "cpu,cpuacct:/machine/clients.partition", "cpu:/machine/grey.partition", options{100 * time.Millisecond, 10}, io.Discard)
	}()
	idle := cgroup.Percent(100*runtime.NumCPU() - 15)
	within(t, time.Minute, "the grey ones get what idle clients leave", func() bool { return quota(t, grey) >= idle })

	var took time.Duration
	for range 5 { // another load on the machine may keep the clients from working
		stop := burn(t, client)
		start := time.Now()
		within(t, time.Minute, "the grey ones give it back", func() bool { return quota(t, grey) < idle-20 })
		took = time.Since(start)
		stop()
		within(t, time.Minute, "the grey ones get it again", func() bool { return quota(t, grey) >= idle })
		if took < time.Second {
			break
		}
	}
	if took >= time.Second {
		t.Errorf("giving back took %v", took)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := quota(t, grey); got != cgroup.NoLimit {
		t.Errorf("at the end the grey ones are limited to %s", got)
	}
}

// quota is what the grey guests may have.
func quota(t *testing.T, n *cgroup.Node) cgroup.Percent {
	t.Helper()
	p, err := n.CPU().CPUQuotaPercent.Get()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// burn starts a process that uses all CPU time that it can get.
func burn(t *testing.T, n *cgroup.Node) (stop func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

func within(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func open(t *testing.T) *cgroup.Host {
	t.Helper()
	whole, err := cgroup.Open(cgroup.Options{})
	if err != nil || os.Getuid() != 0 {
		testhost.Lacks(t, "needs root and cgroups: %v", err)
	}
	t.Cleanup(whole.Close)
	root := testhost.Root(t)
	n, err := whole.Node("cpu,cpuacct:/" + root)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Create(); err != nil {
		t.Fatal(err)
	}
	host, err := cgroup.Open(cgroup.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host
}
