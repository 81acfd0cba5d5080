package testserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where Debian's packages zookeeper and default-jre-headless put things.
const (
	javaPath  = "/usr/bin/java"
	zkJar     = "/usr/share/java/zookeeper.jar" // its manifest names what else it needs
	slf4jJar  = "/usr/share/java/slf4j-nop.jar"
	zkMain    = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	zkDataDir = "data"
)

// ZK is a ZooKeeper server. It takes session timeouts from 400 ms to 60 s, so
// that tests of expiry are quick.
type ZK struct {
	process
}

// ZooKeeper starts a server for the test and waits until it serves.
func ZooKeeper(t testing.TB) *ZK {
	t.Helper()
	z := ZooKeeperStopped(t)
	z.Start()
	return z
}

// ZooKeeperStopped prepares a server that is not running yet: its address is
// reserved and Start starts it.
func ZooKeeperStopped(t testing.TB) *ZK {
	t.Helper()
	return prepare(t, tempDir(t), "tickTime=200\nminSessionTimeout=400\nmaxSessionTimeout=60000\n")
}

// prepare writes the configuration of a server, with what is particular to it.
func prepare(t testing.TB, dir, particular string) *ZK {
	t.Helper()
	need(t, javaPath, zkJar, slf4jJar)
	z := &ZK{process{t: t, name: "zookeeper", dir: dir}}
	z.ready = z.serving
	config := filepath.Join(z.dir, "zoo.cfg")
	// Small and quick to start rather than fast; nothing of it is shared. The
	// heap must hold three copies of each of the last 500 writes: with 128 MB
	// the server died of a hundred documents of 430 kB.
	z.argv = []string{
		javaPath, "-Xms32m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-cp", zkJar + ":" + slf4jJar, zkMain, config,
	}
	port := freePort(t)
	z.addr = fmt.Sprintf("127.0.0.1:%d", port)
	text := fmt.Sprintf(`dataDir=%s
clientPort=%d
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr,wchs,wchp,cons,dump
maxClientCnxns=0
%s`, filepath.Join(z.dir, zkDataDir), port, particular)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = z.signal(syscall.SIGKILL, true) })
	return z
}

// Wipe removes all data of a stopped server: the next start serves an empty
// tree, whose transactions count from zero again.
func (z *ZK) Wipe() {
	z.t.Helper()
	if z.Pid() != 0 {
		z.t.Fatal("wipe of a running zookeeper")
	}
	z.must(os.RemoveAll(filepath.Join(z.dir, zkDataDir)))
}

// FourLetter sends one of ZooKeeper's four letter words ("srvr", "cons", ...)
// and returns the answer.
func (z *ZK) FourLetter(word string) (string, error) {
	conn, err := net.DialTimeout("tcp", z.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// serving asks srvr and not ruok: that one says imok before the server answers
// requests.
func (z *ZK) serving() error {
	answer, err := z.FourLetter("srvr")
	if err == nil && !strings.Contains(answer, "Mode:") {
		err = fmt.Errorf("srvr answered %q", answer)
	}
	return err
}
