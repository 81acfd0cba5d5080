package zkconf_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

const agentsPath = "/cgrouparch/agents/"

// daemon is a source and its publisher.
type daemon struct {
	*recorder
	p *zkconf.Publisher
}

func startDaemon(t *testing.T, addr, host, id string) *daemon {
	t.Helper()
	z := follow(addr)
	return runDaemon(t, z, &zkconf.Publisher{Source: z, Host: host, ID: id})
}

func runDaemon(t *testing.T, z *zkconf.ZooKeeper, p *zkconf.Publisher) *daemon {
	t.Helper()
	d := &daemon{recorder: record(t, z), p: p}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.p.Run(ctx) }()
	stopSource := d.stop
	d.stop = func() {
		cancel()
		select {
		case err := <-done:
			done <- nil
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the publisher does not end")
		}
		stopSource()
	}
	t.Cleanup(d.stop)
	d.says(id(p.ID, "start"))
	return d
}

// says publishes.
func (d *daemon) says(text string) { d.p.Publish([]byte(text)) }

// id is what a daemon says: its own, and some text.
func id(id, text string) string { return fmt.Sprintf(`{"id":%q,"text":%q}`, id, text) }

// published reads what all say, as an outsider.
func published(t *testing.T, addr string) (agents map[string]string, known []string) {
	t.Helper()
	agents = map[string]string{}
	err := follow(addr).FollowPublished(t.Context(), 0, func(p zkconf.Published) bool {
		for name, data := range p.Agents {
			agents[name] = string(data)
		}
		known = slices.Sorted(maps.Keys(p.Known))
		return true
	})
	if err != nil {
		t.Error(err)
	}
	return agents, known
}

// wantPublished waits until exactly this is published.
func wantPublished(t *testing.T, addr string, want map[string]string, known ...string) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(slow); ; {
		agents, names := published(t, addr)
		if diff = cmp.Diff(want, agents) + cmp.Diff(known, names); diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("published (-want +got):\n%s", diff)
		}
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	d := startDaemon(t, server.Addr(), "web 1", "a")
	wantPublished(t, server.Addr(), map[string]string{"web_1": id("a", "start")}, "web_1")

	// Of a burst the last counts, and there is at most one write a second.
	start := time.Now()
	for i := range 50 {
		d.says(id("a", fmt.Sprint(i)))
		time.Sleep(20 * time.Millisecond)
	}
	wantPublished(t, server.Addr(), map[string]string{"web_1": id("a", "49")}, "web_1")
	if _, version := c.Get(agentsPath + "web_1"); time.Duration(version-1)*time.Second > time.Since(start) {
		t.Errorf("%d writes in %v", version, time.Since(start))
	}
	_, before := c.Get(agentsPath + "web_1")
	d.says(id("a", "49"))
	other := startDaemon(t, server.Addr(), "web2", "b")
	wantPublished(t, server.Addr(), map[string]string{"web_1": id("a", "49"), "web2": id("b", "start")}, "web2", "web_1")
	if _, version := c.Get(agentsPath + "web_1"); version != before {
		t.Errorf("written again: version %d, was %d", version, before)
	}

	// What is stopped is not there any more, but is missed.
	other.stop()
	wantPublished(t, server.Addr(), map[string]string{"web_1": id("a", "49")}, "web2", "web_1")
	z := follow(server.Addr())
	if err := z.Forget(t.Context(), "web2"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"web_1", "web2", "", "..", "no-such"} {
		if err := z.Forget(t.Context(), name); err == nil {
			t.Errorf("forgot %q", name)
		}
	}
	wantPublished(t, server.Addr(), map[string]string{"web_1": id("a", "49")}, "web_1")
	if st := d.p.Status(); st.Name != "web_1" || st.Error != "" {
		t.Errorf("status %+v", st)
	}
}

// A new session makes the node anew, also while the servers still keep the one of
// the session before; nobody else's is touched.
func TestPublishSessions(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	proxy := server.Proxy()
	server.Client(identity).Create(nodePath, numbered(10), identity)
	d := startDaemon(t, proxy.Addr(), "h", "a")
	wantPublished(t, server.Addr(), map[string]string{"h": id("a", "start")}, "h")
	for range 2 {
		proxy.ExpireSessions()
		wantPublished(t, server.Addr(), map[string]string{"h": id("a", "start")}, "h")
	}

	// The same daemon, started again after a kill: its old session lives on.
	again := startDaemon(t, server.Addr(), "h", "a")
	again.says(id("a", "again"))
	wantPublished(t, server.Addr(), map[string]string{"h": id("a", "again")}, "h")
	again.until("name", func() bool { return again.p.Status().Name == "h" })
	d.stop() // which must not take the node with it
	twin := startDaemon(t, server.Addr(), "h", "b")
	wantPublished(t, server.Addr(), map[string]string{"h": id("a", "again"), "h~b": id("b", "start")}, "h", "h~b")
	again.stop()
	wantPublished(t, server.Addr(), map[string]string{"h~b": id("b", "start")}, "h", "h~b")
	twin.stop()
	wantPublished(t, server.Addr(), map[string]string{}, "h", "h~b")
}

func TestPublishAfterWipe(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	server.Client(identity).Create(nodePath, numbered(10), identity)
	startDaemon(t, server.Addr(), "h", "a")
	wantPublished(t, server.Addr(), map[string]string{"h": id("a", "start")}, "h")
	server.Stop()
	server.Wipe()
	server.Start()
	wantPublished(t, server.Addr(), map[string]string{"h": id("a", "start")}, "h")
}

// Not to be allowed to publish is a warning, said once.
func TestPublishRefused(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), testserver.World)
	c.SetACL("/cgrouparch", identity)
	core, logs := observer.New(zapcore.WarnLevel)
	z := follow(server.Addr())
	z.Auth = nil
	d := runDaemon(t, z, &zkconf.Publisher{Source: z, Host: "h", ID: "a", Log: zap.New(core)})
	d.until("refusal", func() bool { return strings.Contains(d.p.Status().Error, "not authenticated") })
	d.says(id("a", "more"))
	c.Put(nodePath, numbered(11))
	d.last(numbered(11))
	d.says(id("a", "and more"))
	time.Sleep(1500 * time.Millisecond) // two more attempts
	if n := logs.FilterMessage("state not published, so that status cannot count this host").Len(); n != 1 {
		t.Errorf("%d warnings, want 1: %v", n, logs.All())
	}
	if st := d.p.Status(); st.Name != "" {
		t.Errorf("status %+v", st)
	}

	// Half of it is not all of it: the host would not be missed.
	c.Create("/half/agents", "", testserver.World)
	c.Create("/half/arch_conf", numbered(10), testserver.World)
	c.SetACL("/half", identity)
	z2 := follow(server.Addr())
	z2.Prefix, z2.Auth = "/half", nil
	d2 := runDaemon(t, z2, &zkconf.Publisher{Source: z2, Host: "h", ID: "a"})
	d2.until("half of it", func() bool { st := d2.p.Status(); return st.Name == "h" && strings.Contains(st.Error, "agents_known") })
	d2.says(id("a", "more"))
	d2.until("the second write", func() bool { _, v := c.Get("/half/agents/h"); return v == 1 })
	d2.until("half of it", func() bool { return strings.Contains(d2.p.Status().Error, "agents_known") })
	c.SetACL("/half", testserver.World)
	d2.says(id("a", "and all of it"))
	d2.until("all of it", func() bool { st := d2.p.Status(); return st.Name == "h" && st.Error == "" })
}
