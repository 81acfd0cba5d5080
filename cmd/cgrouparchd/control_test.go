package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func askConf(t *testing.T, c *control, args string) string {
	var b bytes.Buffer
	if err := newChronicle(c, nil).getConf(t.Context(), json.RawMessage(args), &b); err != nil {
		var known *wsapi.Error
		if errors.As(err, &known) {
			return known.Code
		}
		return err.Error()
	}
	return b.String()
}

// TestGetConf: the document in force, and those that were before it as long as
// they are kept.
func TestGetConf(t *testing.T) {
	c := newControl(zap.NewNop(), t.TempDir(), nil, func(*zkconf.Document) {})
	put := func(version int32, padding int) {
		t.Helper()
		doc, err := zkconf.Decode(fmt.Appendf(nil, `{"cpu":{"sub_cgroup":{"v%d":{}}}%s}`, version, strings.Repeat(" ", padding)), version)
		if err != nil {
			t.Fatal(err)
		}
		c.accept(doc, fromSource)
	}
	want := func(args, reply string) {
		t.Helper()
		if got := askConf(t, c, args); !strings.HasPrefix(got, reply) {
			t.Errorf("%s: %.100s, want %s", args, got, reply)
		}
	}
	want(``, `{"version":-1,"value":null}`)
	want(`{"version":0}`, `bad_request`)
	for version := range int32(3 + pastDocuments) {
		put(version, 0)
	}
	last := 2 + pastDocuments
	want(``, fmt.Sprintf(`{"version":%d,"value":{"cpu":{"sub_cgroup":{"v%d":{}}}}}`, last, last))
	want(fmt.Sprintf(`{"version":%d}`, last), fmt.Sprintf(`{"version":%d,"value":{`, last))
	want(`{"version":2}`, `{"version":2,"value":{"cpu":{"sub_cgroup":{"v2":{}}}}}`)
	want(`{"version":1}`, `bad_request`)
	want(`{"version":"x"}`, `bad_request`)
	for version := range int32(6) {
		put(100+version, 1_000_000)
	}
	want(`{"version":105}`, `{"version":105`)
	want(`{"version":101}`, `{"version":101`)
	want(`{"version":100}`, `bad_request`) // too much in all
	// A restored ensemble counts anew: the newest of that number counts.
	put(3, 0)
	put(101, 10)
	put(4, 0)
	want(`{"version":101}`, `{"version":101,"value":{"cpu":{"sub_cgroup":{"v101":{}}}          }}`)
}

// TestSameText: a new version with the same text applies nothing, but is in force from now on, and the one before it is
// kept.
func TestSameText(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	applied := 0
	c := newControl(zap.New(core), t.TempDir(), nil, func(*zkconf.Document) { applied++ })
	for _, version := range []int32{4, 5, 5} {
		doc, err := zkconf.Decode([]byte(`{"cpu":{}}`), version)
		if err != nil {
			t.Fatal(err)
		}
		c.accept(doc, fromSource)
	}
	if got := logs.FilterMessage("configuration in force").Len(); applied != 1 || got != 2 {
		t.Errorf("applied %d times, logged %d times; want 1 and 2", applied, got)
	}
	for _, version := range []string{"4", "5"} {
		if got, want := askConf(t, c, `{"version":`+version+`}`), `{"version":`+version+`,"value":{"cpu":{}}}`; got != want {
			t.Errorf("version %s: %s", version, got)
		}
	}
}
