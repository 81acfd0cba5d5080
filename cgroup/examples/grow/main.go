// Command grow gives a cgroup more memory when it is about to run out, step by step
// up to a limit, and so keeps the kernel from killing its processes.
//
//	grow -step 64 -max 2048 memory:/web
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

func main() {
	step := flag.Int64("step", 64, "MiB to add at a time")
	most := flag.Int64("max", 1024, "MiB that it may have in all")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: grow [flags] CG")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	host, err := cgroup.Open(cgroup.Options{})
	if err == nil {
		defer host.Close()
		err = run(ctx, host, flag.Arg(0), cgroup.Amount(*step<<20), cgroup.Amount(*most<<20), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grow:", err)
		os.Exit(1)
	}
}

// run raises the limit whenever less than a step of it is free, until ctx ends. It
// looks when the kernel reports pressure, and now and then.
func run(ctx context.Context, host *cgroup.Host, name string, step, most cgroup.Amount, log io.Writer) error {
	n, err := host.Node(name)
	if err != nil {
		return err
	}
	events, err := n.Watch(ctx, cgroup.WatchOptions{Pressure: []string{"memory"}})
	if err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case e := <-events:
			if e.Err != nil {
				return e.Err
			}
			if e.Kind == cgroup.EventOOMKill {
				_, _ = fmt.Fprintf(log, "%d killed in %s: too late\n", e.Kills, e.Node.Path())
			}
		}
		limit, err := grow(n.Memory(), step, most)
		if err != nil {
			return err
		}
		if limit > 0 {
			_, _ = fmt.Fprintf(log, "limit raised to %d MiB\n", limit>>20)
		}
	}
}

// grow raises the limit by a step if it is time, and says to what; 0: it is not.
func grow(m cgroup.Memory, step, most cgroup.Amount) (cgroup.Amount, error) {
	limit, err := m.LimitInBytes.Get()
	if err != nil || limit == cgroup.NoLimit || limit >= most {
		return 0, err
	}
	usage, err := m.UsageInBytes.Get()
	if err != nil {
		return 0, err
	}
	stat, err := m.Stat.Get()
	if err != nil {
		return 0, err
	}
	needed := cgroup.Amount(usage - stat["inactive_file"]) // page cache that nobody misses is no need
	if needed+step <= limit {
		return 0, nil
	}
	limit = min(limit+step, most)
	return limit, m.LimitInBytes.Set(limit)
}
