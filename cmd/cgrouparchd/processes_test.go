package main

import (
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
)

func TestHindrance(t *testing.T) {
	p := placeAt{
		t: &reconcile.Tree{Subsystems: []string{"cpu"}}, subsystem: "cpu", pid: 42, is: "other", inside: true,
		assigned: &pidfiles.Assignment{PID: 42, Path: "web", Root: pidfiles.Ident{PID: 7}},
		files:    []pidfiles.FileStatus{{File: "/run/web.pid", Cgroup: "web", State: pidfiles.OK, PID: 7}},
		faults:   []reconcile.Fault{{Place: "cpu/a", Reason: "move pid 421: no"}, {Place: "cpu/web", Reason: "move pid 42: no space left on device"}},
	}
	want := "pid file /run/web.pid names process 7, from which it descends; the kernel or the configuration keeps it out: cpu/web: move pid 42: no space left on device"
	if got := p.explain(); got.OK || *got.Belongs != "web" || got.Why != want {
		t.Errorf("got %+v", got)
	}
}
