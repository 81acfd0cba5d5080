package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestVerdictText(t *testing.T) {
	v := fleet.Verdict{Version: 42, There: 2, Known: 4, Faulty: 1, Hosts: []fleet.Row{
		{Host: "db1", State: fleet.StateGone, Why: "no daemon speaks for it now", InForce: -1, Seen: -1, Since: time.Unix(1_700_000_000, 0)},
		{Host: "web10\n", State: fleet.StateRejected, Why: "version 42 is rejected: cpu: \x1b[2J", InForce: 41, Seen: 42, Daemon: "1.0"},
		{Host: "web2", State: fleet.StateOK, InForce: 42, Seen: 42, Daemon: "1.0"},
		{Host: "web3", State: fleet.StateOK, InForce: 42, Seen: 42, HostFaults: 2, HostFault: "blkio: no", Daemon: "1.0"},
	}}
	want := `version 42 is in force on 2 of 4 hosts, 1 of them with host faults
HOST    STATE     IN FORCE  SEEN  FAULTS  DAEMON  WHY
db1     gone      -         -     -       -       no daemon speaks for it now, the last one began at 2023-11-14T22:13:20Z
web10?  rejected  41        42    0       1.0     version 42 is rejected: cpu: ?[2J
web2    ok        42        42    0       1.0
web3    ok        42        42    2       1.0     host fault: blkio: no
`
	if diff := cmp.Diff(want, verdictText(v, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Of a large cluster, those that matter.
	for i := range 1000 {
		v.Hosts = append(v.Hosts, fleet.Row{Host: fmt.Sprintf("host%d", i), State: fleet.StateOK})
	}
	short := verdictText(v, false)
	if n := strings.Count(short, "\n"); n != 6 || !strings.HasSuffix(short, "... and 1001 hosts that have it (-v lists them)\n") {
		t.Errorf("%d lines:\n%s", n, short)
	}
	if n := strings.Count(verdictText(v, true), "\n"); n != 1006 {
		t.Errorf("verbose: %d lines", n)
	}
}

// What is waited for is hopeless when something else is there, and not before.
func TestHopeless(t *testing.T) {
	ok := fleet.Agent{Seen: 5, InForce: 5, Sum: zkconf.Sum([]byte("{}"))}
	behind, rejects := ok, ok
	behind.InForce = 4
	rejects.InForce, rejects.Rejected = 4, &fleet.Rejected{Version: 5}
	for _, c := range []struct {
		name             string
		agent            fleet.Agent
		wait             string
		version          int32
		done, everywhere bool
	}{
		{"there", ok, "5", 5, true, true},
		{"one look", behind, "", 0, true, false},
		{"not yet", behind, "5", 5, false, false},
		{"to be written", ok, "6", 6, false, false},
		{"replaced", ok, "4", 4, true, false},
		{"rejected", rejects, "5", 5, true, false},
	} {
		w := waiter{app: &app{}, wait: c.wait, version: c.version}
		done := w.look(zkconf.Published{Document: zkconf.Current{Exists: true, Version: 5, Raw: []byte("{}")}, Agents: map[string][]byte{"h": c.agent.Encode()}})
		if done != c.done || w.everywhere() != c.everywhere {
			t.Errorf("%s: done %v, everywhere %v: %+v", c.name, done, w.everywhere(), w)
		}
	}
}
