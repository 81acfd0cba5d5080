package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// otherHost is a host without a kernel of its own: it says what it is told to say.
func otherHost(t *testing.T, addr, name string) (says func(fleet.Agent), vanish func()) {
	t.Helper()
	z := &zkconf.ZooKeeper{Hosts: addr, Prefix: prefix, SessionTimeout: 2 * time.Second, Auth: []zkconf.AuthData{{Scheme: "digest", Auth: "super:123456"}}}
	p := &zkconf.Publisher{Source: z, Host: name, ID: name}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- z.Run(ctx, func(zkconf.Update) {}) }()
	go func() { ended <- p.Run(ctx) }()
	vanish = func() {
		cancel()
		for range 2 {
			err := <-ended
			ended <- nil
			if err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(vanish)
	return func(a fleet.Agent) {
		a.Host, a.ID, a.Daemon = name, name, "1.0"
		p.Publish(a.Encode())
	}, vanish
}

// TestStatusCommand: is this version everywhere? The answer is for scripts, and never optimistic.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	client := zk.Client(identity)
	h.useZooKeeper(zk.Addr())
	h.unhurried()
	me, err := os.Hostname()
	must(t, err)
	want := func(code int, words string, args ...string) result {
		t.Helper()
		r := h.cli(append([]string{"status"}, args...)...).wantExit(t, code)
		if !strings.Contains(strings.Join(strings.Fields(r.stdout+r.stderr), " "), words) {
			t.Errorf("%v: no %q: %v", args, words, r)
		}
		return r
	}
	want(3, "there is no document")
	client.Create(node, sampleFor(0), identity)
	want(3, "version 0: no host has ever said that it has it")
	want(3, "version 0: no host", "--wait", "0", "--timeout", "1s")

	d := h.startReady()
	want(0, "version 0 is in force on 1 of 1 hosts HOST STATE IN FORCE SEEN FAULTS DAEMON WHY "+me+" ok 0 0 0", "--wait", "0")
	want(3, "1 hosts are known, 2 expected", "--expect", "2")
	want(0, "", "--expect", "1")
	want(3, "version 0 is in ZooKeeper, not 7", "--wait", "7", "--timeout", "1s")

	// A document that the kernel has, and one that it gets while somebody waits.
	waiting := make(chan result, 1)
	go func() { waiting <- h.cli("status", "--wait", "2", "--json") }()
	client.Put(node, sampleFor(1))
	h.wantShares(sharesFor(1)...)
	want(3, "version 1 is in ZooKeeper, not 0", "--wait", "0")
	client.Put(node, sampleFor(2))
	var verdict fleet.Verdict
	r := (<-waiting).wantExit(t, 0)
	if err := json.Unmarshal([]byte(r.stdout), &verdict); err != nil || !verdict.Everywhere || verdict.Version != 2 || len(verdict.Hosts) != 1 || verdict.Hosts[0].Layout == "" {
		t.Errorf("--json: %v: %v", err, r)
	}

	// Another host: behind, with another text, there, vanished.
	says, vanish := otherHost(t, zk.Addr(), "other")
	said := func(words string) {
		t.Helper()
		eventually(t, words, func() error {
			if r := h.cli("status"); !strings.Contains(r.stdout, words) {
				return fmt.Errorf("%v", r)
			}
			return nil
		})
	}
	text, _ := client.Get(node)
	good := fleet.Agent{Seen: 2, InForce: 2, Sum: zkconf.Sum([]byte(text))}
	says(fleet.Agent{Seen: 1, InForce: 1})
	said("version 1 is in force\n")
	want(3, "version 2 is in force on 1 of 2 hosts HOST STATE IN FORCE SEEN FAULTS DAEMON WHY other behind 1 1 0 1.0 version 1 is in force "+me)
	says(fleet.Agent{Seen: 2, InForce: 2, Sum: "another"})
	said("version 2 is in force, but of another text")
	want(3, "of another text", "--wait", "2", "--timeout", "1s")
	good.HostFaults, good.HostFault = 1, "cpu/a: \x1b[31mno\x1b[0m"
	says(good)
	said("host fault: cpu/a: ?[31mno?[0m")
	want(0, "version 2 is in force on 2 of 2 hosts, 1 of them with host faults", "--wait", "2")
	want(3, "", "--strict")
	vanish()
	said("no daemon speaks for it now, the last one began at 20")
	want(3, "version 2 is in force on 1 of 2 hosts", "--wait", "2", "--timeout", "1s")
	want(1, me+" is not silent", "--forget", me)
	want(1, "", "--forget", "nobody")
	want(0, "other", "--forget", "*") // and nobody who speaks
	want(0, "version 2 is in force on 1 of 1 hosts")

	// The daemon itself tells, too.
	eventually(t, "agents in /status", func() error {
		var status struct {
			Agents struct {
				fleet.Verdict
				AsOf       *time.Time `json:"as_of"`
				Publishing string     `json:"publishing"`
			} `json:"agents"`
		}
		if err := json.Unmarshal([]byte(d.status()), &status); err != nil {
			return err
		}
		if a := status.Agents; !a.Everywhere || a.Version != 2 || a.AsOf == nil || a.Publishing != me || len(a.Hosts) != 1 {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})

	// A rejected version is not waited for.
	client.Put(node, `{"cpu": 5}`)
	start := time.Now()
	want(3, me+": version 3 is rejected: cpu: not an object: 5", "--wait", "3", "--timeout", "30s")
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("waited %v for a rejected version", d)
	}

	// Killed: silent when its session has timed out. Started again, it speaks again, under its name.
	d.kill9()
	said("no daemon speaks for it now")
	client.Put(node, sampleFor(4))
	d = h.startReady()
	want(0, "version 4 is in force on 1 of 1 hosts", "--wait", "4")
	d.kill9()
	d = h.startReady()
	want(0, "version 4 is in force on 1 of 1 hosts", "--wait", "4")
	if r := h.cli("status"); strings.Contains(r.stdout, "~") {
		t.Errorf("a killed daemon's node was taken for another daemon's: %v", r)
	}
	// What the killed one said stands until this one speaks: only then does its end tell.
	eventually(t, "the new daemon speaks", func() error {
		var status struct{ Agents struct{ Publishing string } }
		if err := json.Unmarshal([]byte(d.status()), &status); err != nil || status.Agents.Publishing != me {
			return fmt.Errorf("%+v: %w", status, err)
		}
		return nil
	})
	d.stop()
	want(3, me+" gone")

	zk.Stop()
	want(1, "", "--wait", "4", "--timeout", "2s")
	want(2, "not a version", "--wait", "x")
	h.set("zk_host", nil)
	h.document(sample)
	h.set("conf_file", h.path("document.json"))
	want(2, "not in ZooKeeper")
}

// TestProgress: whoever waits for more than a second at a terminal is told for what.
func TestProgress(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	zk.Freeze()
	newScreen(t, binary, "conf", "get", "--config", h.config()).want("waiting for the document ...", "no session", "left with 1")
	newScreen(t, binary, "status", "--timeout", "2s", "--config", h.config()).want("waiting for ZooKeeper ...", "left with 1")
	zk.Thaw()
	newScreen(t, binary, "status", "--wait", "0", "--timeout", "2s", "--config", h.config()).want("no host has ever said", "left with 3")
}
