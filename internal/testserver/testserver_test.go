package testserver_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// checkLeaks fails the test if goroutines remain after its servers and clients
// are gone. Call it first: cleanups run last in, first out.
func checkLeaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

func TestZooKeeper(t *testing.T) {
	checkLeaks(t)
	z := testserver.ZooKeeper(t)
	super := z.Client("digest:super:123456")
	super.Create("/a/b", "one", "digest:super:123456")
	if v := super.Put("/a/b", "two"); v != 1 {
		t.Errorf("version after the first change is %d, want 1", v)
	}
	super.SetACL("/a/b", testserver.World)
	other := z.Client()
	if data, v := other.Get("/a/b"); data != "two" || v != 1 {
		t.Errorf("read %q, version %d", data, v)
	}

	z.Kill()
	if z.Pid() != 0 {
		t.Error("a killed server has a pid")
	}
	z.Start()
	if data, _ := other.Get("/a/b"); data != "two" {
		t.Errorf("read %q after kill and start", data)
	}

	z.Freeze()
	if _, err := z.FourLetter("srvr"); err == nil {
		t.Error("a frozen server answered")
	}
	z.Thaw()
	if _, err := z.FourLetter("srvr"); err != nil {
		t.Error(err)
	}

	z.Stop()
	z.Wipe()
	z.Start()
	if v := super.Put("/a/b", "three"); v != 0 {
		t.Errorf("version in a wiped server is %d, want 0", v)
	}
}

// TestZKProxy: a client that comes back as fast as it can learns each time that its
// session is over.
func TestZKProxy(t *testing.T) {
	checkLeaks(t)
	z := testserver.ZooKeeper(t)
	p := z.Proxy()
	conn, events, err := zk.Connect([]string{p.Addr()}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetLogger(discard{})
	t.Cleanup(conn.Close)
	wait := func(want zk.State) {
		t.Helper()
		limit := time.After(time.Minute)
		for {
			select {
			case e := <-events:
				if e.State == want {
					return
				}
			case <-limit:
				t.Fatalf("no %v", want)
			}
		}
	}
	for range 5 {
		wait(zk.StateHasSession)
		if n := p.ExpireSessions(); n != 1 {
			t.Errorf("%d sessions expired", n)
		}
		wait(zk.StateExpired)
	}
	if _, err := z.FourLetter("srvr"); err != nil {
		t.Fatal(err)
	}
}

// discard drops the client library's log lines.
type discard struct{}

func (discard) Printf(string, ...any) {}

func TestRedis(t *testing.T) {
	checkLeaks(t)
	r := testserver.Redis(t)
	r.Do("SET", "k", "v", "EX", "100")
	got := []any{r.Do("GET", "k"), r.Do("GET", "none"), r.Do("DEL", "k"), r.Do("KEYS", "*"), r.Do("ECHO", "a\r\nb")}
	want := []any{"v", nil, int64(1), []any{}, "a\r\nb"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("replies (-want +got):\n%s", diff)
	}
	r.Freeze()
	r.Thaw()
	r.Kill()
	r.Start()
	if got := r.Do("DBSIZE"); got != int64(0) {
		t.Errorf("%v keys after kill and start, want 0", got)
	}
}

func TestNothingIsLeft(t *testing.T) {
	var pid int
	t.Run("user", func(t *testing.T) {
		r := testserver.Redis(t)
		pid = r.Pid()
		r.Freeze()
	})
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !strings.Contains(string(stat), "redis") {
			break // reused
		}
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlived its test", pid)
		}
		time.Sleep(time.Millisecond)
	}
}
