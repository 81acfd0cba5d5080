package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestStop: SIGTERM and SIGINT end the daemon cleanly within 5 s, with clients connected, and leave the cgroups as they are.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		h := newHost(t)
		redis := testserver.Redis(t)
		h.useRedis(redis, "cga")
		p := sleeper(t)
		h.set("cgroup_pid_files", map[string][]string{"test_cgroup_a": {h.pidFile("p.pid", p.pid())}})
		h.document(sample)
		d := h.startReady()
		h.wantIn("cpu", "test_cgroup_a", p.pid())
		conn := d.dial()
		redis.Freeze() // the worst moment to stop
		start := time.Now()
		d.signal(sig)
		if err := d.wait(15 * time.Second); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%v: stopped after %v", sig, took)
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%v: the client saw %v, want a clean close", sig, err)
		}
		h.wantShares(sampleShares...)
		if err := h.areIn("cpu", "test_cgroup_a", p.pid()); err != nil {
			t.Error(err)
		}
	}
}

// TestStopAtWorstMoments: neither a frozen ZooKeeper, nor a command of the operator's that hangs, nor a client that asks and never
// reads keeps the daemon from stopping within 5 s, and the command ends with it.
func TestStopAtWorstMoments(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	h.set("get_cgroup_pid_file", []string{"/bin/sh", "-c", `echo $$ > "$0"; sleep 300 & wait`, h.path("hangs.pid")})
	d := h.startReady() // a command that hangs does not keep it from being ready either
	h.wantShares(sampleShares...)
	hangs := pidIn(t, h.path("hangs.pid"))
	conn := d.dial()
	for range 2000 {
		must(t, conn.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"get_status"}`)); err != nil {
			break // it has had enough of us: fine
		}
	}
	zk.Freeze()
	start := time.Now()
	d.signal(syscall.SIGTERM)
	if err := d.wait(15 * time.Second); err != nil {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopped after %v", took)
	}
	eventually(t, "end of the command", func() error {
		if s, ok := readStat(hangs); ok && s.state != "Z" {
			return fmt.Errorf("process %d lives", hangs)
		}
		return nil
	})
}

// TestSIGHUP re-reads the document even where no event tells of a change, and does not end the daemon.
func TestSIGHUP(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(sample)
	d := h.startReady()
	h.wantShares(sampleShares...)
	for i := range 5 {
		h.document(numbered(100 + i))
		d.signal(syscall.SIGHUP)
		h.wantShares(fmt.Sprintf("a %d", 100+i), fmt.Sprintf("b%d 1024", 100+i))
	}
	if !d.alive() {
		t.Error("the daemon ended")
	}
}

// TestOnce: one full pass and the exit status that it deserves.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, document string
		code           int
	}{
		{"good", sample, 0},
		{"host fault", `{"nosuch": {}, "cpu": {"sub_cgroup": {"test_cgroup_a": {"conf": {}}}}}`, 1},
		{"document fault", `[]`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, p := newHost(t), sleeper(t)
			h.set("cgroup_pid_files", map[string][]string{"test_cgroup_a": {h.pidFile("p.pid", p.pid()), h.path("missing.pid")}})
			h.document(c.document)
			r := h.cli("run", "--once").wantExit(t, c.code)
			if r.stdout != "" {
				t.Errorf("standard output: %q", r.stdout)
			}
			switch c.name {
			case "good": // a missing pid file is a state, not a fault
				h.wantShares(sampleShares...)
				if err := h.areIn("cpu", "test_cgroup_a", p.pid()); err != nil {
					t.Error(err)
				}
				h.cli("plan").wantExit(t, 0)
			case "host fault":
				h.wantShares("test_cgroup_a 1024")
			}
		})
	}
	t.Run("last good document", func(t *testing.T) {
		t.Parallel()
		h := newHost(t)
		zk := testserver.ZooKeeper(t)
		zk.Client(identity).Create(node, sample, identity)
		h.useZooKeeper(zk.Addr())
		h.cli("run", "--once").wantExit(t, 0)
		zk.Freeze()
		h.write("cpu", "test_cgroup_b", "cpu.shares", "555")
		h.cli("run", "--once").wantExit(t, 0)
		h.wantShares(sampleShares...)
	})
	t.Run("zookeeper down", func(t *testing.T) {
		t.Parallel()
		h := newHost(t)
		h.useZooKeeper("127.0.0.1:1")
		start := time.Now()
		h.cli("run", "--once").wantExit(t, 1)
		if took := time.Since(start); took < 10*time.Second || took > 30*time.Second {
			t.Errorf("waited %v for a document, want about 15 s", took)
		}
	})
}

// TestKilledWhileEditing kills the daemon at random moments during a burst of edits, twenty times; the next start converges, and
// nothing of ours is left over, not even in a subsystem that the last document does not name.
func TestKilledWhileEditing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("tasks_update_interval", 1)
	p := sleeper(t)
	h.set("cgroup_pid_files", map[string][]string{"moving": {h.pidFile("p.pid", p.pid())}})
	edit := func(i int) string {
		blkio := ""
		if i%3 != 0 {
			blkio = fmt.Sprintf(`, "blkio": {"sub_cgroup": {"k%d": {"conf": {"weight": %d}}, "moving": {"conf": {}}}}`, i%5, 100+i%100)
		}
		return fmt.Sprintf(`{"cpu": {"sub_cgroup": {"k%d": {"conf": {"share": %d}, "sub_cgroup": {"moving": {"conf": {"share": 50}}, "x%d": {}}}}}%s}`,
			i%4, 100+i%1000, i%6, blkio)
	}
	h.document(edit(0))
	endBurst := burst(h, edit)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		d := h.start()
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		d.kill9()
	}
	endBurst()
	h.document(`{"cpu": {"sub_cgroup": {"last": {"conf": {"share": 77}, "sub_cgroup": {"moving": {"conf": {}}}}}}}`)
	d := h.startReady()
	h.wantShares("last 77", "last/moving 1024")
	h.wantTree("blkio", "")
	h.wantTree("cpuacct", "", "last", "last/moving")
	h.wantIn("cpu", "last/moving", p.pid())
	if files, _ := os.ReadDir(h.path("state")); len(files) > 4 {
		t.Errorf("state_dir collects files: %v", files)
	}
	if t.Failed() {
		t.Logf("seed %d; status: %s", seed, d.status())
	}
}

// burst edits the document every few milliseconds until the returned function is called, or the test ends.
func burst(h *host, edit func(i int) string) (end func()) {
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				h.document(edit(i))
			}
		}
	}()
	end = sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
	h.t.Cleanup(end)
	return end
}

// TestStartsOverBrokenState: files that a crash or a hand has damaged do not keep the daemon from starting.
func TestStartsOverBrokenState(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	h.wantShares(sampleShares...)
	d.stop()
	files, err := os.ReadDir(h.path("state"))
	if err != nil || len(files) == 0 {
		t.Fatalf("state_dir: %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := file.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: others can read it", file.Name(), info.Mode(), err)
		}
		must(t, os.WriteFile(h.path("state/"+file.Name()), []byte(`{"version":`), 0o600))
	}
	h.startReady()
	h.wantShares(sampleShares...)
}

// TestSecretsStayInside: nothing that the daemon says shows a secret, and a file with secrets that others can read is refused.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	zk.Client(identity).Create(node, sample, identity)
	h.useZooKeeper(zk.Addr())
	redis := testserver.Redis(t)
	h.set("redis_url", "redis://:hunter2@"+redis.Addr()+"/0")
	redis.Do("CONFIG", "SET", "requirepass", "hunter2")
	d := h.startReady()
	h.wantShares(sampleShares...)
	eventually(t, "slots in Redis", func() error { return positive(d.number("written")) })
	for what, text := range map[string]string{
		"log": d.logText(), "status": d.status(), "get_status": d.ask(`{"cmd":"get_status"}`), "arguments": commandOf(d.pid()),
	} {
		if strings.Contains(text, "123456") || strings.Contains(text, "hunter2") {
			t.Errorf("a secret is in %s: %s", what, text)
		}
	}
	must(t, os.Chmod(h.path("cgrouparchd.toml"), 0o644))
	h.exec("check", "--config", h.path("cgrouparchd.toml")).wantExit(t, 2) // others can read it
}
