package testserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Ensemble is some ZooKeeper servers that are one: it serves while more than half
// of them do.
type Ensemble []*ZK

// ZooKeeperEnsemble starts n servers for the test and waits until all serve. They
// take session timeouts from 1 s to 60 s, and wait for each other for 5 s.
func ZooKeeperEnsemble(t testing.TB, n int) Ensemble {
	t.Helper()
	var members strings.Builder
	for id := 1; id <= n; id++ {
		fmt.Fprintf(&members, "server.%d=127.0.0.1:%d:%d\n", id, freePort(t), freePort(t))
	}
	var e Ensemble
	for id := 1; id <= n; id++ {
		z := prepare(t, tempDir(t), "tickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=60000\ninitLimit=20\nsyncLimit=10\nstandaloneEnabled=false\n"+members.String())
		data := filepath.Join(z.dir, zkDataDir)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, "myid"), []byte(strconv.Itoa(id)), 0o600); err != nil {
			t.Fatal(err)
		}
		e = append(e, z)
	}
	// One of them alone does not serve, and Start waits until it does.
	started := make(chan error, n)
	for _, z := range e {
		go func() { started <- z.start() }()
	}
	var errs []error
	for range e {
		errs = append(errs, <-started)
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return e
}

// Hosts is all of them, as zk_host wants it.
func (e Ensemble) Hosts() string {
	var list []string
	for _, z := range e {
		list = append(list, z.Addr())
	}
	return strings.Join(list, ",")
}

// Leader returns the server that leads the others, and a Follower one that does
// not.
func (e Ensemble) Leader() *ZK { return e.mode("leader") }

// Follower returns a server that another leads.
func (e Ensemble) Follower() *ZK { return e.mode("follower") }

func (e Ensemble) mode(want string) *ZK {
	for _, z := range e {
		if answer, err := z.FourLetter("srvr"); err == nil && strings.Contains(answer, "Mode: "+want) {
			return z
		}
	}
	e[0].t.Helper()
	e[0].t.Fatalf("no %s in the ensemble", want)
	return nil
}
