package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// TestCompared: the same question again is no work; another one is, also about the same numbers.
func TestCompared(t *testing.T) {
	c, made := newCompared(), 0
	ask := func(k compareKey, want int) {
		t.Helper()
		text, err := c.answer(t.Context(), k, func() (any, error) {
			made++
			if k.to == 9 {
				return nil, errors.New("not valid")
			}
			return k.passes, nil
		})
		if made != want || (err != nil) != (k.to == 9) || err == nil && string(text) != jsonOf(k.passes) {
			t.Errorf("%+v: %s, %v; made %d, want %d", k, text, err, made, want)
		}
	}
	ask(compareKey{}, 1)
	ask(compareKey{}, 1)
	for i, k := range []compareKey{{from: 1}, {to: 1}, {fromSum: "x"}, {toSum: "x"}, {sent: true}, {verbose: true}, {passes: 1}, {to: 9}} {
		ask(k, i+2)
		ask(k, i+2)
		ask(compareKey{}, i+2) // what is asked for stays
	}
	ask(compareKey{from: 1}, 10) // long ago
	if len(c.last) != keptAnswers {
		t.Errorf("%d answers are kept", len(c.last))
	}
	large := func() (any, error) { made++; return strings.Repeat("x", keptAnswer), nil }
	for range 2 {
		if _, err := c.answer(t.Context(), compareKey{to: 77}, large); err != nil {
			t.Error(err)
		}
	}
	if made != 12 {
		t.Errorf("made %d: a large one is kept", made)
	}
}

// TestCompareInTurn: one comparison is made at a time, but what is answered already does not wait, and nobody waits for
// another one's question to ZooKeeper.
func TestCompareInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := comparing(t, `{"cpu":{}}`, `{"memory":{}}`)
		ask := func(args string, longest time.Duration) error {
			t.Helper()
			start := time.Now()
			var b bytes.Buffer
			err := d.compare(t.Context(), json.RawMessage(args), &b)
			if passed := time.Since(start); passed > longest {
				t.Errorf("%s: after %v", args, passed)
			}
			return err
		}
		if err := ask(`{"from":0}`, 0); err != nil {
			t.Error(err)
		}
		d.compared.turn <- struct{}{}
		if err := ask(`{"from":0,"to":1}`, 0); err != nil {
			t.Error(err)
		}
		var busy *wsapi.Error
		if err := ask(`{"from":1}`, lookTime); !errors.As(err, &busy) || busy.Code != wsapi.CodeBusy {
			t.Errorf("another one: %v", err)
		}
		<-d.compared.turn
		d.chronicle.recent = func(ctx context.Context) ([]zkconf.Entry, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		go func() { _ = ask(`{"from":7}`, chronicleTimeout) }()
		synctest.Wait()
		if err := ask(`{"from":1,"to":0}`, 0); err != nil {
			t.Error(err)
		}
		time.Sleep(chronicleTimeout) // the question to ZooKeeper outlives who asked
	})
}
