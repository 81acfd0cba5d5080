package account

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestWriterRefusals: what a server in trouble answers is said with what to do, in one
// line of the log; meanwhile memory answers, and afterwards every slot is written.
func TestWriterRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		begin, cure func(s *testserver.RedisServer)
		want        string // in the status and the log
	}{
		{"OOM",
			func(s *testserver.RedisServer) { s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *testserver.RedisServer) { s.Do("CONFIG", "SET", "maxmemory", "0") },
			"maxmemory' (raise its maxmemory, or"},
		{"READONLY",
			func(s *testserver.RedisServer) { s.Do("REPLICAOF", "127.0.0.1", "1") },
			func(s *testserver.RedisServer) { s.Do("REPLICAOF", "NO", "ONE") },
			"read only replica (it is a replica: name the master"},
		{"MISCONF", breakDisk,
			func(s *testserver.RedisServer) { s.Do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") },
			"(it cannot save to its disk"},
		{"NOPERM",
			func(s *testserver.RedisServer) { s.Do("ACL", "SETUSER", "arch", "-set") },
			func(s *testserver.RedisServer) { s.Do("ACL", "SETUSER", "arch", "+set") },
			"(the user needs ~test/* +get +mget +set +del"},
		{"WRONGPASS",
			func(s *testserver.RedisServer) {
				s.Do("ACL", "SETUSER", "arch", "resetpass", ">another")
				s.Do("CLIENT", "KILL", "USER", "arch")
			},
			func(s *testserver.RedisServer) { s.Do("ACL", "SETUSER", "arch", ">s3cret") },
			"(correct user and password in redis_url)"},
		{"LOADING", slowReload, func(*testserver.RedisServer) {}, "(it has just started; nothing to do)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t, "--enable-debug-command", "yes", "--enable-protected-configs", "yes")
			server.Do("ACL", "SETUSER", "arch", "on", ">s3cret", "~test/*", "-@all", "+get", "+set", "+mget", "+del")
			var log testhost.Output
			o := optionsFor(server)
			o.Username, o.Password, o.Log = "arch", "s3cret", newTestLog(&log)
			ring := NewRing(300)
			w, _ := runWriter(t, o, ring)
			slot := int64(0)
			add := func() {
				slot++
				ring.appendSlot(slot, time.Now(), numberLayout, number(uint64(slot)))
				w.Wake()
			}
			add()
			eventually(t, "a slot", written(w, 1))
			tc.begin(server)
			eventually(t, "the refusal", func() bool {
				if w.Status().Backlog == 0 {
					add() // the one before was still taken
				}
				return strings.HasPrefix(w.Status().Error, tc.name+" ")
			})
			add()
			s := w.Status()
			if s.Connected || s.Backlog == 0 || !strings.Contains(s.Error, tc.want) || s.LeaseError != "" {
				t.Errorf("status %+v", s)
			}
			service := NewService(ServiceOptions{Ring: ring, Writer: w, Now: at(slot)})
			if got := ask(t, service, `{"start_slot":1}`); strings.Count(got, "usage") != int(slot) {
				t.Errorf("memory answers %s", got)
			}
			tc.cure(server)
			eventually(t, "every slot", func() bool {
				w.Wake() // as each second does
				s := w.Status()
				return s.Written == uint64(slot) && s.Connected && s.Lost == 0
			})
			for n := range slot {
				if key := fmt.Sprintf("test/account/%d", n+1); server.Do("EXISTS", key) != int64(1) {
					t.Errorf("%s is missing", key)
				}
			}
			told := log.String()
			lines := strings.Count(told, "redis unavailable")
			// No answer is a line of its own: the server has cut the connection, or was
			// busy with its data.
			unanswered := tc.name == "WRONGPASS" || tc.name == "LOADING"
			if lines != 1 && !(unanswered && lines == 2) || strings.Count(told, `"`+tc.name) != 1 || strings.Count(told, "available again") != 1 ||
				strings.Contains(told, "lease key") || strings.Contains(told, "s3cret") {
				t.Errorf("log:\n%s", told)
			}
		})
	}
}

// breakDisk lets a snapshot fail, for want of its directory.
func breakDisk(s *testserver.RedisServer) {
	dir, ok := s.Do("CONFIG", "GET", "dir").([]any)
	if !ok || len(dir) != 2 {
		return
	}
	gone := filepath.Join(dir[1].(string), "gone")
	if os.Mkdir(gone, 0o700) == nil {
		s.Do("CONFIG", "SET", "dir", gone)
		_ = os.Remove(gone)
	}
	s.Do("CONFIG", "SET", "save", "3600 1")
	s.Do("BGSAVE")
}

// slowReload has the server read its data for some seconds, as after a start.
func slowReload(s *testserver.RedisServer) {
	s.Do("DEBUG", "POPULATE", "1500")
	s.Do("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
	s.Do("CONFIG", "SET", "key-load-delay", "2000") // microseconds for each key
	// Not Do, which waits for the end of it.
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		_, _ = io.WriteString(conn, "DEBUG RELOAD\r\n")
		conn.Close() // what it has read it does
	}
}

// TestWriterKinds: one outage with two causes has two lines in the log, however often
// they take turns.
func TestWriterKinds(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "arch", "on", ">right", "~test/*", "-@all", "+get", "+mget")
	var log testhost.Output
	o := optionsFor(server)
	o.Username, o.Password, o.Log = "arch", "right", newTestLog(&log)
	w, _ := runWriter(t, o, historyOf(300, 1))
	for range 3 {
		eventually(t, "the refusal", func() bool { w.Wake(); return strings.HasPrefix(w.Status().Error, "NOPERM") })
		server.Freeze()
		eventually(t, "no answer", func() bool { w.Wake(); return !strings.HasPrefix(w.Status().Error, "NOPERM") })
		server.Thaw()
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "NOPERM") != 1 {
		t.Errorf("log:\n%s", got)
	}
}

// TestWriterLeaseRefused: a server that takes slots but not the lease is said so, once.
func TestWriterLeaseRefused(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "arch", "on", ">right", "~test/account/*", "-@all", "+get", "+set", "+mget")
	var log testhost.Output
	o := optionsFor(server)
	o.Username, o.Password, o.Log = "arch", "right", newTestLog(&log)
	r := historyOf(300, 1)
	w, _ := runWriter(t, o, r)
	eventually(t, "a slot", written(w, 1))
	eventually(t, "the refusal", func() bool { return strings.HasPrefix(w.Status().LeaseError, "NOPERM") })
	if s := w.Status(); !s.Connected || s.Error != "" {
		t.Errorf("status %+v", s)
	}
	w.turn.Lock()
	w.leaseAt = time.Now().Add(-leaseRenew)
	w.turn.Unlock()
	r.appendSlot(2, time.Now(), numberLayout, number(2))
	w.Wake()
	eventually(t, "another slot", written(w, 2))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "redis refuses the lease key") {
		t.Errorf("log:\n%s", got)
	}
	server.Do("ACL", "SETUSER", "arch", "~test/*")
	eventually(t, "the lease", func() bool {
		w.turn.Lock()
		w.leaseAt = time.Now().Add(-leaseRenew)
		w.turn.Unlock()
		w.Wake()
		return w.Status().LeaseError == "" && server.Do("GET", "test/writer") == "me"
	})
}

// TestWriterLeaseOfAnother: a lease that was refused, and may be looked at now, is no fault
// any more, even while it is another writer's.
func TestWriterLeaseOfAnother(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "arch", "on", ">right", "~test/account/*", "-@all", "+get", "+set", "+mget")
	server.Do("SET", "test/writer", "another")
	o := optionsFor(server)
	o.Username, o.Password = "arch", "right"
	w, _ := runWriter(t, o, historyOf(300, 1))
	eventually(t, "the refusal", func() bool { return strings.HasPrefix(w.Status().LeaseError, "NOPERM") })
	server.Do("ACL", "SETUSER", "arch", "~test/*")
	eventually(t, "the other writer and no refusal", func() bool {
		w.turn.Lock()
		w.leaseAt = time.Now().Add(-leaseRenew)
		w.turn.Unlock()
		w.Wake()
		s := w.Status()
		return s.OtherWriter == "another" && s.LeaseError == "" && s.Connected
	})
}

// relay passes connections on to a server that may become another one.
type relay struct {
	listener net.Listener
	to       atomic.Value // string
	running  sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l}
	r.to.Store(to)
	r.running.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", r.to.Load().(string))
			if err != nil {
				from.Close()
				continue
			}
			pipe := func(a, b net.Conn) {
				_, _ = io.Copy(a, b) // an end for any reason is an end
				a.Close()
				b.Close()
			}
			r.running.Go(func() { pipe(from, to) })
			r.running.Go(func() { pipe(to, from) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); r.running.Wait() })
	return r
}

// TestWriterFailover: the address leads to a new master, while the old one, a replica
// now, keeps the connection open.
func TestWriterFailover(t *testing.T) {
	t.Parallel()
	one, two := testserver.Redis(t), testserver.Redis(t)
	r := newRelay(t, one.Addr())
	ring := historyOf(300, 1)
	w, stop := runWriter(t, RedisOptions{Addrs: []string{r.listener.Addr().String()}, Expire: 300 * time.Second}, ring)
	eventually(t, "a slot", written(w, 1))
	host, port, _ := net.SplitHostPort(two.Addr())
	r.to.Store(two.Addr())
	one.Do("REPLICAOF", host, port)
	ring.appendSlot(2, time.Now(), numberLayout, number(2))
	eventually(t, "a slot at the new master", func() bool {
		w.Wake()
		return two.Do("EXISTS", "test/account/2") == int64(1)
	})
	if s := w.Status(); s.Lost != 0 {
		t.Errorf("status %+v", s)
	}
	stop()
}
