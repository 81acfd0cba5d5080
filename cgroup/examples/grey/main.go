// Command grey lets a cgroup of guests that can wait, the grey ones, have what CPU
// time the clients' guests leave over, and no more: what clients begin to use, the
// grey ones give back within a fraction of a second.
//
//	grey cpu,cpuacct:/machine/clients cpu:/machine/grey
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

func main() {
	var o options
	flag.DurationVar(&o.every, "every", 200*time.Millisecond, "how often to look")
	flag.Float64Var(&o.spare, "spare", 10, "percent of one CPU that is always kept for clients")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: grey [flags] CLIENTS GREY")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	host, err := cgroup.Open(cgroup.Options{})
	if err == nil {
		defer host.Close()
		err = run(ctx, host, flag.Arg(0), flag.Arg(1), o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grey:", err)
		os.Exit(1)
	}
}

type options struct {
	every time.Duration
	spare float64
}

// run follows the clients' use of CPU time until ctx ends, and then takes back what
// it has set.
func run(ctx context.Context, host *cgroup.Host, clientsName, greyName string, o options, log io.Writer) error {
	clients, err := host.Node(clientsName)
	if err != nil {
		return err
	}
	grey, err := host.Node(greyName)
	if err != nil {
		return err
	}
	cpu := grey.CPU()
	if err := cpu.Shares.Set(2); err != nil { // what is contended is the clients' at once
		return err
	}
	defer func() { _, _ = cpu.Shares.Reset(), cpu.CPUQuotaPercent.Reset() }()
	usage := clients.CPUAcct().Usage
	before, err := usage.Get()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	for then := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		ns, err := usage.Get()
		if err != nil {
			return err
		}
		now := time.Now()
		used := 100 * float64(ns-before) / float64(now.Sub(then))
		before, then = ns, now
		left := cgroup.Percent(leftOver(used, o.spare, runtime.NumCPU()))
		if err := cpu.CPUQuotaPercent.Set(left); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(log, "clients %.0f %%, grey at most %s %%\n", used, left)
	}
}

// leftOver is what clients who use so much leave, in percent of one CPU; never
// nothing, so that the grey guests stay alive.
func leftOver(used, spare float64, cpus int) float64 {
	return max(float64(100*cpus)-used-spare, 1)
}
