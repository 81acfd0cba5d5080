package zkconf_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

const (
	identity = "digest:super:s3cr3t"
	nodePath = "/cgrouparch/arch_conf"
)

func follow(addr string) *zkconf.ZooKeeper {
	return &zkconf.ZooKeeper{
		Hosts: addr, Prefix: "/cgrouparch", SessionTimeout: 2 * time.Second,
		Auth: []zkconf.AuthData{{Scheme: "digest", Auth: "super:s3cr3t"}},
	}
}

func TestZooKeeperEdits(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create("/app"+nodePath, numbered(10), identity)
	z := follow(server.Addr() + "/app")
	r := record(t, z)
	if u := r.last(numbered(10)); u.Version != 0 || u.Doc == nil || u.Doc.Version != 0 {
		t.Errorf("first update: %+v", u)
	}
	st := r.state(zkconf.StateConnected)
	want := zkconf.SourceStatus{
		Kind: "zookeeper", State: "connected", Hosts: []string{server.Addr()}, Path: "/app" + nodePath, Server: server.Addr(),
		Since: st.Since, SessionSince: st.SessionSince, Sessions: 1,
	}
	if diff := cmp.Diff(want, st); diff != "" || st.SessionSince.IsZero() || st.Since.IsZero() {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	for i := range 50 {
		c.Put("/app"+nodePath, numbered(100+i))
	}
	if u := r.last(numbered(149)); u.Version != 50 {
		t.Errorf("version %d after the burst, want 50", u.Version)
	}
	before := len(r.all())
	c.Put("/app"+nodePath, numbered(149))
	r.until("update of the version alone", func() bool { return len(r.all()) > before })
	if u := r.last(numbered(149)); u.Version != 51 || u.Doc.Version != 51 {
		t.Errorf("version %d after equal content, want 51", u.Version)
	}

	c.Put("/app"+nodePath, "[]")
	if u := r.last("[]"); u.Doc != nil || u.Err == nil || u.Version != 52 {
		t.Errorf("a rejected version: %+v", u)
	}
	c.Put("/app"+nodePath, numbered(10))
	r.last(numbered(10))
	c.Delete("/app" + nodePath)
	r.state(zkconf.StateNoNode)
	r.unchanged(before + 3)
	c.Create("/app"+nodePath, numbered(11), identity)
	if u := r.last(numbered(11)); u.Version != 0 {
		t.Errorf("version %d of the node made anew", u.Version)
	}
	r.state(zkconf.StateConnected)
}

// A change that nobody may see must be found once it may be seen, though the
// server sends no event for it, nor for the change of the ACL.
func TestZooKeeperAccessTakenAway(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity, "digest:other:x")
	c.Create(nodePath, numbered(10), identity)
	r := record(t, follow(server.Addr()))
	r.last(numbered(10))

	c.SetACL(nodePath, "digest:other:x")
	c.Put(nodePath, numbered(11))
	r.state(zkconf.StateNoAccess)
	c.Put(nodePath, numbered(12))
	r.unchanged(1)
	c.SetACL(nodePath, identity)
	r.last(numbered(12))
	r.state(zkconf.StateConnected)
	c.Put(nodePath, numbered(13))
	r.last(numbered(13))

	// Taken, used and given back before we look: the watch is spent.
	c.SetACL(nodePath, "digest:other:x")
	c.Put(nodePath, numbered(14))
	c.SetACL(nodePath, identity)
	r.last(numbered(14))
	c.Put(nodePath, numbered(15))
	r.last(numbered(15))
}

func TestZooKeeperWrongPassword(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	server.Client(identity).Create(nodePath, numbered(10), identity)
	core, logs := observer.New(zapcore.DebugLevel)
	z := follow(server.Addr())
	z.Auth = []zkconf.AuthData{{Scheme: "digest", Auth: "super:n0t-th1s"}, {Scheme: "digest", Auth: "x:n0r-th1s"}}
	z.Log = zap.New(core)
	r := record(t, z)
	st := r.state(zkconf.StateNoAccess)
	_, fetchErr := z.Fetch(t.Context())
	if fetchErr == nil {
		t.Error("fetched with a wrong password")
	}
	if advice := "a wrong password looks the same"; !strings.Contains(st.Error, advice) || !strings.Contains(fmt.Sprint(fetchErr), advice) {
		t.Errorf("no advice in %q and %v", st.Error, fetchErr)
	}
	z3 := follow(server.Addr())
	z3.Auth = nil
	if _, err := z3.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "zk_auth_data has no identity") {
		t.Errorf("without an identity: %v", err)
	}
	z2 := follow(server.Addr())
	z2.Auth = []zkconf.AuthData{{Scheme: "nosuch", Auth: "n0t-th1s"}}
	z2.Log = z.Log
	r2 := record(t, z2)
	r2.until("error about the scheme", func() bool { return z2.Status().Error != "" })
	r2.until("advice", func() bool { return strings.Contains(z2.Status().Error, "do not know the scheme") })
	r2.unchanged(0)
	r2.stop()
	r.stop()
	status, err := json.Marshal([]zkconf.SourceStatus{st, z.Status(), z2.Status()})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s %v %+v %+v", status, fetchErr, z.Auth, z2.Auth)
	for _, e := range logs.All() {
		text += fmt.Sprint(e.Message, e.ContextMap())
	}
	if strings.Contains(text, "th1s") {
		t.Errorf("a secret shows: %s", text)
	}
}

func TestZooKeeperKilled(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	z := follow(server.Addr())
	z.SessionTimeout = 20 * time.Second // the session outlives the breaks
	r := record(t, z)
	r.last(numbered(10))
	for i := range 2 {
		server.Kill()
		r.state(zkconf.StateDisconnected)
		if st := z.Status(); st.Error == "" || !st.SessionSince.IsZero() {
			t.Errorf("status while down: %+v", st)
		}
		server.Start()
		c.Put(nodePath, numbered(11+i))
		r.last(numbered(11 + i))
		r.state(zkconf.StateConnected)
	}
	// One session, unless the machine is so slow that a break outlasts our patience.
	if st := z.Status(); st.Sessions < 1 || st.Sessions > 3 || st.SessionSince.IsZero() {
		t.Errorf("status after the breaks: %+v", st)
	}
	r.unchanged(3)
}

func TestZooKeeperFrozen(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	z := follow(server.Addr())
	z.SessionTimeout = time.Second
	r := record(t, z)
	r.last(numbered(10))
	server.Freeze()
	r.state(zkconf.StateDisconnected)
	// Long enough for a handshake with the hung server, and for a new client.
	r.until("attempt that was given up", func() bool { return strings.Contains(z.Status().Error, "no session") })
	r.unchanged(1)
	server.Thaw()
	r.state(zkconf.StateConnected)
	c.Put(nodePath, numbered(11))
	r.last(numbered(11))
	server.Freeze()
	r.stop() // within its limit, though the server does not answer
	server.Thaw()
}

// A server that has lost its data refuses for ever a client that has seen more.
func TestZooKeeperWiped(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	for i := range 20 {
		c.Put(nodePath, numbered(11+i))
	}
	z := follow(server.Addr())
	z.SessionTimeout = 10 * time.Second // the default, so with the promised 20 s
	r := record(t, z)
	r.last(numbered(30))
	before := len(r.all())
	server.Stop()
	server.Wipe()
	server.Start()
	start := time.Now()
	r.until("use of the wiped server", func() bool {
		s := z.Status()
		return s.Sessions >= 2 && s.State == zkconf.StateNoNode
	})
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("used again after %v", d)
	}
	r.unchanged(before)
	c.Create(nodePath, numbered(12), identity)
	if u := r.last(numbered(12)); u.Version != 0 {
		t.Errorf("version %d in the wiped server", u.Version)
	}
}

func TestZooKeeperSessionExpired(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	proxy := server.Proxy()
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	z := follow("")
	var asked atomic.Int32
	z.GetHosts = func(context.Context) (string, error) {
		if asked.Add(1) == 1 {
			return "", errors.New("exit status 1")
		}
		return proxy.Addr() + "\n", nil
	}
	if o := z.Origin(); len(o.Hosts) != 0 || o.Path != nodePath {
		t.Errorf("origin before the command: %v", o)
	}
	r := record(t, z)
	r.last(numbered(10))
	if diff := cmp.Diff([]string{proxy.Addr()}, z.Origin().Hosts); diff != "" {
		t.Errorf("hosts of the origin (-want +got):\n%s", diff)
	}
	for i := range 3 {
		before := z.Status().Sessions
		proxy.ExpireSessions()
		r.until("new session", func() bool { return z.Status().Sessions > before })
		c.Put(nodePath, numbered(11+i))
		r.last(numbered(11 + i))
	}
	// Once more than there were sessions: it failed. On a busy machine some may not have come about.
	if n, sessions := int(asked.Load()), z.Status().Sessions; n < sessions+1 || sessions < 4 {
		t.Errorf("the command for the hosts ran %d times for %d sessions", n, sessions)
	}
	r.unchanged(4)
}

// TestZooKeeperHostsCommandFails: when the command for the hosts fails later, the
// servers that it has named are used for new sessions.
func TestZooKeeperHostsCommandFails(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	proxy := server.Proxy()
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	z := follow("")
	type answer struct {
		hosts string
		err   error
	}
	var now atomic.Pointer[answer]
	var asked atomic.Int32
	z.GetHosts = func(context.Context) (string, error) {
		asked.Add(1)
		return now.Load().hosts, now.Load().err
	}
	now.Store(&answer{proxy.Addr(), nil})
	r := record(t, z)
	r.last(numbered(10))
	for i, a := range []answer{{"", errors.New("exit status 1")}, {"not a host", nil}, {proxy.Addr(), nil}, {"not a host", nil}} {
		now.Store(&a)
		sessions, times := z.Status().Sessions, asked.Load()
		proxy.ExpireSessions()
		r.until("new session", func() bool { return z.Status().Sessions > sessions && asked.Load() > times })
		c.Put(nodePath, numbered(11+i))
		r.last(numbered(11 + i))
	}
	r.unchanged(5)
}

// TestZooKeeperHostsCommandFailsElsewhere: when the servers have moved, what matters is
// that the command for them fails, and why.
func TestZooKeeperHostsCommandFailsElsewhere(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	z := follow("")
	z.SessionTimeout = 400 * time.Millisecond // so that a session is given up after 1.2 s, and the pauses stay short
	z.Log = zap.New(core)
	var fault atomic.Pointer[error] // nil: the command works
	z.GetHosts = func(context.Context) (string, error) {
		if err := fault.Load(); err != nil {
			return "", *err
		}
		return "127.0.0.1:1", nil // where nobody listens
	}
	r := record(t, z)
	for _, words := range []string{"", "exit status 1", "name of the registry is unknown", "exit status 1", "", "name of the registry is unknown"} {
		want := "; the servers that were named last are used: get zookeeper hosts: " + words
		fault.Store(nil)
		if err := errors.New(words); words != "" {
			fault.Store(&err)
		} else {
			want = "connection refused"
		}
		r.until("error "+want, func() bool {
			st := z.Status()
			return st.State == zkconf.StateDisconnected && strings.Contains(st.Error, "connection refused") && strings.HasSuffix(st.Error, want)
		})
	}
	r.stop()
	var got []string
	for _, e := range logs.FilterMessage("zookeeper hosts not known anew, the last are used").All() {
		got = append(got, fmt.Sprint(e.ContextMap()["error"]))
	}
	const unknown, exit = "get zookeeper hosts: name of the registry is unknown", "get zookeeper hosts: exit status 1"
	if diff := cmp.Diff([]string{exit, unknown, unknown}, got); diff != "" { // each once until it works
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestZooKeeperLate(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeperStopped(t)
	z := follow("no-such-host.invalid:1," + server.Addr())
	if _, err := (&zkconf.ZooKeeper{Hosts: server.Addr(), SessionTimeout: 500 * time.Millisecond}).Fetch(t.Context()); err == nil {
		t.Error("fetched from a server that is down")
	}
	r := record(t, z)
	r.state(zkconf.StateDisconnected)
	server.Start()
	r.state(zkconf.StateNoNode)
	server.Client(identity).Create(nodePath, numbered(10), identity)
	r.last(numbered(10))
}

func TestZooKeeperFetch(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := follow("no-such-host.invalid:1," + server.Addr())
	if _, err := z.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), nodePath) {
		t.Errorf("absent node: %v", err)
	}
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity)
	c.Put(nodePath, numbered(11))
	if u, err := z.Fetch(t.Context()); err != nil || u.Version != 1 || string(u.Raw) != numbered(11) || u.Doc == nil {
		t.Errorf("fetched %+v, %v", u, err)
	}
	c.Put(nodePath, `{"cpu": 5}`)
	if u, err := z.Fetch(t.Context()); err != nil || u.Doc != nil || u.Err == nil {
		t.Errorf("fetched a bad document: %+v, %v", u, err)
	}
	if st := z.Status(); st.State != zkconf.StateStarting {
		t.Errorf("a fetch changed the status: %+v", st)
	}
}

// One hung server of an ensemble must cost no more than a session timeout: the
// library would wait 6.67 times as long for its handshake.
func TestZooKeeperOneServerHung(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	server := testserver.ZooKeeper(t)
	server.Client(identity).Create(nodePath, numbered(10), identity)
	z := follow(hung.Addr().String() + "," + server.Addr())
	z.SessionTimeout = 3 * time.Second // so that Fetch has 9 s, and the handshake would have 20
	for range 4 {                      // the first server is taken at random
		if _, err := z.Fetch(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A listener that answers nothing is a hung server without Java.
func TestZooKeeperFetchIsBounded(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := follow(l.Addr().String()).Fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	z := follow(l.Addr().String())
	z.SessionTimeout = 200 * time.Millisecond
	if _, err := z.Fetch(context.Background()); err == nil {
		t.Error("fetched from a listener")
	}
	for _, bad := range []*zkconf.ZooKeeper{
		{}, {Hosts: "a:x"}, {Hosts: "a", Prefix: ".."},
		{GetHosts: func(context.Context) (string, error) { return "", errors.New("no") }},
	} {
		if _, err := bad.Fetch(t.Context()); err == nil {
			t.Errorf("fetched from %q", bad.Hosts)
		}
	}
}
