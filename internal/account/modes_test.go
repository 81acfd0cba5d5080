package account

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// freePort is below the ports that the kernel gives to outgoing connections.
func freePort(t *testing.T) int {
	t.Helper()
	for p := 20000 + os.Getpid()%10000; p < 32000; p += 7 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			_ = l.Close()
			return p
		}
	}
	t.Fatal("no free port")
	return 0
}

// startServer runs redis-server with these arguments until the test ends.
func startServer(t *testing.T, addr string, args ...string) {
	t.Helper()
	const program = "/usr/bin/redis-server"
	if _, err := os.Stat(program); err != nil {
		testhost.Lacks(t, "%v", err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, addr+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// command asks a server directly.
func command(t *testing.T, addr string, args ...any) string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return fmt.Sprint(c.Do(ctx, args...).Val())
}

// startCluster starts a cluster of one node, which has all hash slots.
func startCluster(t *testing.T) (addr string) {
	t.Helper()
	port := freePort(t)
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	startServer(t, addr, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(port+1))
	command(t, addr, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	eventually(t, "the cluster is up", func() bool {
		return len(command(t, addr, "SET", "x", "1")) > 0 && command(t, addr, "GET", "x") == "1"
	})
	return addr
}

// TestWriterCluster: the keys of one question may not be asked for at once, with one node
// as with many.
func TestWriterCluster(t *testing.T) {
	checkMode(t, RedisOptions{Mode: RedisCluster, Addrs: []string{startCluster(t)}})
}

// TestWriterClusterRights: who has the rights that a refusal names needs no others.
func TestWriterClusterRights(t *testing.T) {
	addr := startCluster(t)
	command(t, addr, "ACL", "SETUSER", "arch", "on", ">s3cret", "~test/*", "-@all", "+get", "+mget", "+set", "+del")
	o := RedisOptions{Mode: RedisCluster, Addrs: []string{addr}, Username: "arch", Password: "s3cret", Expire: 300 * time.Second}
	w, stop := runWriter(t, o, historyOf(300, 1))
	const begin, end = "(the user needs ", ")"
	var rights string
	eventually(t, "advice", func() bool {
		_, rest, _ := strings.Cut(w.Status().Error, begin)
		advice, _, found := strings.Cut(rest, end)
		rights = advice
		return found
	})
	stop()
	change := []any{"ACL", "SETUSER", "arch", "resetkeys", "-@all"}
	for right := range strings.FieldsSeq(rights) {
		change = append(change, right)
	}
	if got := command(t, addr, change...); got != "OK" {
		t.Fatalf("%q: %s", rights, got)
	}
	checkMode(t, o)
}

// TestWriterSentinel: the master is asked for, not named.
func TestWriterSentinel(t *testing.T) {
	server := testserver.Redis(t)
	_, masterPort, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor themaster 127.0.0.1 %s 1\n", port, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, addr, conf, "--sentinel")
	checkMode(t, RedisOptions{Mode: RedisSentinel, Addrs: []string{addr}, Master: "themaster"})
	if got := server.Do("GET", "test/account/2"); got == nil {
		t.Error("the master does not have slot 2")
	}
}

// TestWriterSentinelFailover: the master dies, the sentinel makes another one, and what
// is sampled is written there. The clients are told no new address.
func TestWriterSentinelFailover(t *testing.T) {
	t.Parallel()
	master, replica := testserver.Redis(t), testserver.Redis(t)
	_, masterPort, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica.Do("REPLICAOF", "127.0.0.1", masterPort)
	replicates := func() bool {
		return strings.Contains(replica.Do("INFO", "replication").(string), "master_link_status:up")
	}
	eventually(t, "a replica", replicates)
	port := freePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor themaster 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds themaster 1000\nsentinel failover-timeout themaster 3000\n", port, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, addr, conf, "--sentinel")
	eventually(t, "a sentinel that knows the replica", func() bool {
		return strings.Contains(command(t, addr, "SENTINEL", "REPLICAS", "themaster"), "127.0.0.1")
	})

	ring := historyOf(300, 1)
	w, stop := runWriter(t, RedisOptions{Mode: RedisSentinel, Addrs: []string{addr}, Master: "themaster", Expire: 300 * time.Second}, ring)
	eventually(t, "a slot", written(w, 1))
	eventually(t, "a slot at the replica", func() bool { return replica.Do("EXISTS", "test/account/1") == int64(1) })
	master.Kill()
	for slot := int64(2); slot <= 3; slot++ {
		ring.appendSlot(slot, time.Now(), numberLayout, number(uint64(slot)))
		w.Wake()
	}
	eventually(t, "an outage", func() bool { return w.Status().Error != "" }) // it may end with the next
	eventually(t, "a new master", func() bool { return strings.Contains(replica.Do("INFO", "replication").(string), "role:master") })
	eventually(t, "every slot at the new master", func() bool {
		w.Wake()
		return replica.Do("EXISTS", "test/account/1", "test/account/2", "test/account/3") == int64(3)
	})
	eventually(t, "the end of the outage", func() bool {
		s := w.Status()
		return s.Connected && s.Written == 3 && s.Lost == 0
	})
	stop()
}

// checkMode writes three slots and reads them back.
func checkMode(t *testing.T, o RedisOptions) {
	t.Helper()
	o.Expire = 300 * time.Second
	w, stop := runWriter(t, o, historyOf(300, 1, 2, 3))
	eventually(t, "three slots", written(w, 3))
	s := NewService(ServiceOptions{Ring: NewRing(300), Writer: w, Now: at(4)})
	want := `{"1":{"cpu":{"value":{"usage":1}}},"2":{"cpu":{"value":{"usage":2}}},"3":{"cpu":{"value":{"usage":3}}}}`
	if got := ask(t, s, `{}`); got != want {
		t.Errorf("reply %s, want %s", got, want)
	}
	if st := w.Status(); !st.Connected || st.Error != "" || st.OtherWriter != "" {
		t.Errorf("status %+v", st)
	}
	stop()
}
