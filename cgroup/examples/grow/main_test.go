package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/cgroup"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

const childEnv = "CGATEST_GROW_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		hungry()
		return
	}
	os.Exit(m.Run())
}

// hungry takes 128 MiB, bit by bit.
func hungry() {
	var all [][]byte
	for range 64 {
		chunk := make([]byte, 2<<20)
		for i := range chunk {
			chunk[i] = 1
		}
		all = append(all, chunk)
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("took", len(all), "chunks")
}

// TestGrow: with the program's help a process gets what it needs; without, it is
// killed.
func TestGrow(t *testing.T) {
	host := open(t)
	for _, helped := range []bool{false, true} {
		n, err := host.Node(fmt.Sprintf("memory:/helped-%t", helped))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Create(); err != nil {
			t.Fatal(err)
		}
		if err := n.Memory().LimitInBytes.Set(64 << 20); err != nil {
			t.Fatal(err)
		}
		// Swap must not stand in for memory; where there is none there is nothing to limit. On v1 the limit of memory
		// can never exceed this one, which therefore leaves room for what grow may give.
		both := cgroup.Amount(64 << 20)
		if helped && n.Version() == 1 {
			both = 1 << 30
		}
		if err := n.Memory().MemswLimitInBytes.Set(both); err != nil {
			t.Log(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		done := make(chan error)
		go func() {
			if helped {
				done <- run(ctx, host, n.String(), 48<<20, 512<<20, &log)
				return
			}
			<-ctx.Done()
			done <- nil
		}()
		var out bytes.Buffer
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{childEnv + "=1", "GOGC=off"}
		cmd.Stdout = &out
		if err := n.Start(cmd); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		switch {
		case helped && (err != nil || out.String() != "took 64 chunks\n"):
			t.Errorf("the process has ended with %v and said %q; grow said:\n%s", err, out.String(), log.String())
		case helped && !strings.Contains(log.String(), "limit raised to"):
			t.Errorf("grow said %q", log.String())
		case !helped && (err == nil || err.Error() != "signal: killed"):
			t.Errorf("without help it has ended with %v", err)
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
	if whole.Version("memory") == 0 {
		t.Skip("this host does not have the controller memory")
	}
	root := testhost.Root(t)
	n, err := whole.Node("memory:/" + root)
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
