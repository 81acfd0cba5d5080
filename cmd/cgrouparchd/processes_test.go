package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

func TestHindrance(t *testing.T) {
	p := placeAt{
		t: &reconcile.Tree{Subsystems: []string{"cpu"}}, subsystem: "cpu", pid: 42, is: "other", inside: true,
		assigned: &pidfiles.Assignment{PID: 42, Path: "web", Root: pidfiles.Ident{PID: 7}},
		files:    []pidfiles.FileStatus{{File: "/run/web.pid", Cgroup: "web", State: pidfiles.OK, PID: 7}},
		faults:   []reconcile.Fault{{Place: "cpu/a", Reason: "move pid 421: no"}, {Place: "cpu/web", Reason: "move pid 42: no space left on device"}},
	}
	want := "pid file /run/web.pid names process 7, from which it descends; the kernel or the configuration keeps it out: cpu/web: move pid 42: no space left on device"
	if got := p.explain(); got.OK || *got.Belongs != "web" || got.Why != want {
		t.Errorf("got %+v", got)
	}
}

// TestInTurn: one question about processes at a time; the next waits, but not for ever.
func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, release, looking, most := make(chan struct{}, 1), make(chan struct{}), 0, 0
		command := inTurn(turn, "processes", func(context.Context, json.RawMessage) (any, error) {
			looking++
			most = max(most, looking)
			<-release
			looking--
			return nil, nil
		})
		answers := make(chan error)
		ask := func() { answers <- command(t.Context(), nil, new(bytes.Buffer)) }
		for range 3 {
			go ask()
		}
		synctest.Wait()
		for range 2 { // the first never ends in time
			var known *wsapi.Error
			if err := <-answers; !errors.As(err, &known) || known.Code != wsapi.CodeBusy {
				t.Errorf("got %v, want busy", err)
			}
		}
		close(release)
		go ask()
		for range 2 {
			if err := <-answers; err != nil {
				t.Errorf("got %v", err)
			}
		}
		if most != 1 {
			t.Errorf("%d at the same time", most)
		}
	})
}
