// Package scale runs many daemons, as far as ZooKeeper sees them, in one process against an ensemble of three servers.
package scale

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

const (
	// daemonsEnv is how many there are; few unless it says so.
	daemonsEnv = "CGROUPARCHD_TEST_DAEMONS"
	fewDaemons = 50
	patience   = 2 * time.Minute
	prefix     = "/scale"
)

// Nothing outlives its Run.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is the daemons and what they have read.
type cluster struct {
	t     *testing.T
	hosts string

	mu   sync.Mutex
	got  []time.Time // when each read the version that is waited for
	want int32
	left int           // who has not
	all  chan struct{} // closed when left is 0
}

// TestCluster: an edit reaches every daemon, also while a server dies, and the daemons say so.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("not short: it starts three servers")
	}
	n := fewDaemons
	if text := os.Getenv(daemonsEnv); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	e := testserver.ZooKeeperEnsemble(t, 3)
	c := &cluster{t: t, hosts: e.Hosts(), got: make([]time.Time, n)}
	c.write(0)
	start := c.expect(0)
	stop := c.start(n)
	defer stop()
	c.report("start of all daemons", start)

	version := int32(0)
	edit := func(what string, meanwhile func()) []time.Duration {
		t.Helper()
		version++
		start := c.expect(version)
		c.write(int(version))
		meanwhile()
		return c.report(what, start)
	}
	var took []time.Duration
	for i := range 5 {
		took = edit(fmt.Sprintf("edit %d", i+1), func() {})
	}
	if n >= 500 && took[n/4] < 50*time.Millisecond {
		t.Errorf("a quarter of %d daemons had read within %v: not spread", n, took[n/4])
	}
	follower := e.Follower()
	edit("edit, a server is killed", follower.Kill)
	edit("edit, without that server", func() {})
	follower.Start()
	leader := e.Leader()
	edit("edit, the leader is killed", leader.Kill)
	leader.Start()
	edit("edit, all servers are back", func() {})
}

// source is one daemon's way to ZooKeeper.
func (c *cluster) source() *zkconf.ZooKeeper {
	return &zkconf.ZooKeeper{Hosts: c.hosts, Prefix: prefix}
}

// text is the document of an edit.
func text(edit int) string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `,"cgroup_%03d": {"conf": {"share": %d}}`, i, 100+edit)
	}
	return `{"cpu": {"sub_cgroup": {` + b.String()[1:] + `}}}`
}

// write does what conf set does, again when a server has just died.
func (c *cluster) write(edit int) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		z := c.source()
		cur, err := z.Read(c.t.Context())
		if err == nil && cur.Exists && string(cur.Raw) == text(edit) {
			return
		}
		if err == nil {
			_, err = z.Write(c.t.Context(), zkconf.Write{Over: cur, Raw: []byte(text(edit)), Author: "test", Keep: 3})
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

// start starts the daemons, as many at once as a rolling update would.
func (c *cluster) start(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range n {
		z := c.source()
		p := &zkconf.Publisher{Source: z, Host: fmt.Sprintf("host%04d", i), ID: strconv.Itoa(i)}
		running.Go(func() {
			if err := z.Run(ctx, func(u zkconf.Update) { c.read(i, u, p) }); err != nil {
				c.t.Error(err)
			}
		})
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				c.t.Error(err)
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

// read is what a daemon does with a version: it has no kernel, so it is in force.
func (c *cluster) read(i int, u zkconf.Update, p *zkconf.Publisher) {
	p.Publish(fleet.Agent{Host: p.Host, ID: p.ID, Seen: u.Version, InForce: u.Version, Sum: zkconf.Sum(u.Raw)}.Encode())
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.Version != c.want || !c.got[i].IsZero() {
		return
	}
	c.got[i] = time.Now()
	if c.left--; c.left == 0 {
		close(c.all)
	}
}

// expect begins to wait for a version.
func (c *cluster) expect(version int32) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.got)
	c.want, c.left, c.all = version, len(c.got), make(chan struct{})
	return time.Now()
}

// report waits until all have the version and have said so, and tells how long that
// took.
func (c *cluster) report(what string, start time.Time) []time.Duration {
	c.t.Helper()
	select {
	case <-c.all:
	case <-time.After(patience):
		c.t.Fatalf("%s: %d daemons have not read version %d", what, c.left, c.want)
	}
	var verdict fleet.Verdict
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	err := c.source().FollowPublished(ctx, 100*time.Millisecond, func(p zkconf.Published) bool {
		verdict = fleet.Judge(fleet.Question{
			Version: p.Document.Version, Sum: zkconf.Sum(p.Document.Raw), Agents: p.Agents, Known: p.Known, Expect: len(c.got),
		})
		return verdict.Everywhere && verdict.Version == c.want
	})
	if err != nil || !verdict.Everywhere {
		c.t.Fatalf("%s: %v, not everywhere: %d of %d hosts", what, err, verdict.There, verdict.Known)
	}
	known := time.Since(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	var took []time.Duration
	for _, at := range c.got {
		took = append(took, at.Sub(start))
	}
	slices.Sort(took)
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	c.t.Logf("%s: half of %d daemons have it after %v, the last after %v, and status knows after %v",
		what, len(took), ms(took[len(took)/2]), ms(took[len(took)-1]), ms(known))
	return took
}
