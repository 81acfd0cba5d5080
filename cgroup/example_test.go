package cgroup_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// The examples work below a cgroup of their own, so that they can be tried anywhere.
// With cgroup.Options{} they work on the whole host.
var demo = cgroup.Options{Root: fmt.Sprintf("cgatest-example-%d", os.Getpid())}

// clean removes what an example has made, and closes the host.
func clean(host *cgroup.Host) {
	defer host.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	whole, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer whole.Close()
	root, err := whole.Node(demo.Root)
	if err == nil && root.Exists() {
		if err := root.Kill(ctx); err != nil {
			log.Fatal(err)
		}
		err = root.Delete(ctx, cgroup.DeleteOptions{Recursive: true})
	}
	if err != nil {
		log.Fatal(err)
	}
}

// check ends an example that went wrong.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A few workers that together have half of what others get of the CPU, and 500 MB of
// memory.
func Example() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)

	charlie, err := host.Node("cpu,memory:/charlie")
	check(err)
	check(charlie.Create())
	check(charlie.CPU().CPULimit.Set(50))
	check(charlie.Memory().MemoryLimit.Set(500 << 20))

	var workers []*exec.Cmd
	for range 3 {
		worker := exec.Command("sleep", "600")
		check(charlie.Start(worker)) // born in the cgroup
		workers = append(workers, worker)
	}
	pids, err := charlie.Procs()
	check(err)
	fmt.Println(len(pids), "workers")

	check(charlie.CPU().CPULimit.Set(80)) // while they run
	limit, err := charlie.CPU().CPULimit.Get()
	check(err)
	memory, err := charlie.Memory().MemoryLimit.Get()
	check(err)
	fmt.Println(limit, "percent,", memory, "bytes")

	check(charlie.Kill(context.Background()))
	for _, w := range workers {
		_ = w.Wait()
	}
	// Output:
	// 3 workers
	// 80 percent, 524288000 bytes
}

// A CPU set changed.
func ExampleCPUSet() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)

	test, err := host.Node("cpuset:/test")
	check(err)
	check(test.Create())
	first, err := cgroup.NewCPUs(0)
	check(err)
	check(test.CPUSet().CPUs.Set(first))
	cpus, err := test.CPUSet().CPUs.Get()
	check(err)
	fmt.Println(cpus, cpus.Members())
	// Output: 0 [0]
}

// A guest's virtual processor pinned, whatever libvirt calls its cgroups.
func ExampleHost_Guest() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)
	for _, part := range []string{"emulator", "vcpu0", "vcpu1"} { // libvirt has done this
		n, err := host.Node(`cpu,cpuset:/machine.slice/machine-qemu\x2d1\x2dvm1.scope/libvirt/` + part)
		check(err)
		check(n.Create())
	}

	vm, err := host.Guest("vm1")
	check(err)
	vcpus, err := vm.VCPUs()
	check(err)
	pin, err := cgroup.ParseCPUs("0")
	check(err)
	check(vcpus[1].CPUSet().CPUs.Set(pin))

	cpus, err := vcpus[1].CPUSet().CPUs.Get()
	check(err)
	shares, err := vm.CPU().Shares.Get()
	check(err)
	fmt.Println(vm.Name, "has", len(vcpus), "vcpus;", vcpus[1].Name(), "runs on", cpus, "and its shares are", shares)
	// Output: vm1 has 2 vcpus; vcpu1 runs on 0 and its shares are 1024
}

// At most half of one CPU.
func ExampleCPU() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)

	half, err := host.Node("cpu:/half")
	check(err)
	check(half.Create())
	check(half.CPU().CPUQuotaPercent.Set(50))
	quota, err := half.CPU().Max.Get()
	check(err)
	fmt.Println(quota)
	check(half.CPU().CPUQuotaPercent.Reset())
	percent, err := half.CPU().CPUQuotaPercent.Get()
	check(err)
	fmt.Println(percent, percent == cgroup.NoLimit)
	// Output:
	// 50000 100000
	// max true
}

// A limit of memory, and what the memory is used for.
func ExampleMemory() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)

	small, err := host.Node("memory:/small")
	check(err)
	check(small.Create())
	check(small.Memory().LimitInBytes.Set(64 << 20))
	limit, err := small.Memory().LimitInBytes.Get()
	check(err)
	stat, err := small.Memory().Stat.Get()
	check(err)
	_, known := stat["active_anon"]
	fmt.Println(limit, known)
	// Output: 67108864 true
}

// All devices denied, but two.
func ExampleDevices_Allow() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)

	box, err := host.Node("devices:/box")
	check(err)
	check(box.Create())
	everything, err := cgroup.ParseRule("a")
	check(err)
	null, err := cgroup.ParseRule("c 1:3 rwm")
	check(err)
	check(box.Devices().Deny(everything))
	check(box.Devices().Allow(null, cgroup.Rule{Type: 'c', Major: 1, Minor: 5, Access: "r"}))
	rules, err := box.Devices().List.Get()
	check(err)
	for _, r := range rules {
		fmt.Println(r, "may write:", r.CanWrite())
	}
	// Output:
	// c 1:3 rwm may write: true
	// c 1:5 r may write: false
}

// The tree, as it is mounted and grouped.
func ExampleNode_Walk() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)
	for _, name := range []string{"/a/b", "/c.slice/d.scope"} {
		n, err := host.Node("cpu,memory:" + name)
		check(err)
		check(n.Create())
	}

	for n, err := range host.Root().Walk() {
		check(err)
		fmt.Println(n.Path(), n.Kind())
	}
	// Output:
	// / root
	// /a cgroup
	// /a/b cgroup
	// /c.slice slice
	// /c.slice/d.scope scope
}

// Processes that join a cgroup, as events.
func ExampleNode_Watch() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)
	job, err := host.Node("cpu:/job")
	check(err)
	check(job.Create())

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, err := job.Watch(ctx, cgroup.WatchOptions{})
	check(err)
	cmd := exec.Command("sleep", "600")
	check(job.Start(cmd))
	for e := range events {
		if e.Kind == cgroup.EventJoined {
			fmt.Println(e.Kind, e.Node.Path())
			cancel()
		}
	}
	check(job.Kill(context.Background()))
	_ = cmd.Wait()
	// Output: joined /job
}

// What one version of cgroups cannot do says so.
func ExampleSetting_Set() {
	host, err := cgroup.Open(demo)
	check(err)
	defer clean(host)
	n, err := host.Node("memory:/a")
	check(err)
	check(n.Create())

	if n.Version() == 1 {
		err = n.Memory().High.Set(1 << 30)
	} else {
		err = n.Memory().Swappiness.Set(10)
	}
	fmt.Println(errors.Is(err, cgroup.ErrNotSupported))
	// Output: true
}
