package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestEvents(t *testing.T) {
	e := newEvents()
	// A log that is told to be quiet, and one that samples, still make events.
	quiet := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(nil), zapcore.FatalLevel)
	log := e.attach(zap.New(quiet)).Named("x").With(zap.String("cgroup", "a/b"))
	log.Warn("oom kill", zap.Int64("count", 2))
	log = e.attach(zap.New(quiet))
	log.Info("configuration in force", zap.Int32("version", 7))
	log.Error("configuration rejected; the last good one stays in force", zap.Int32("version", 8), zap.Strings("reasons", []string{"a: x", "b: y"}))
	log.Warn("configuration source", zap.String("state", "disconnected"), zap.Error(errors.New("no server")))
	log.Info("configuration source", zap.String("state", "connected"))
	log.Info("drift corrected", zap.String("step", "mkdir cpu:/a"))
	log.Warn("host fault", zap.String("place", "cpu/a: share"), zap.String("reason", strings.Repeat("é", 400)))
	log.Debug("drift corrected", zap.String("step", "not for the time line"))
	log.Info("something else")
	version := func(n int32) *int32 { return &n }
	want := []event{
		{Kind: "oom_kill", Text: "2 killed for want of memory in a/b", Cgroup: "a/b"},
		{Kind: "version", Text: "version 7 is in force", Version: version(7)},
		{Kind: "rejected", Text: "version 8 rejected: a: x; b: y", Version: version(8)},
		{Kind: "source", Text: "document's source: disconnected: no server"},
		{Kind: "source", Text: "document's source: connected"},
		{Kind: "drift", Text: "changed by somebody else, put back: mkdir cpu:/a"},
		{Kind: "host_fault", Text: "cpu/a: share: " + strings.Repeat("é", 243) + " ..."},
	}
	if diff := cmp.Diff(want, e.list(), cmpopts.IgnoreFields(event{}, "Time")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestEventsAreBounded: the newest of each kind stay, whatever the others do.
func TestEventsAreBounded(t *testing.T) {
	e := newEvents()
	start := time.Unix(1_700_000_000, 0)
	e.add(event{Time: start, Kind: "version", Text: "the only one"})
	for i := range 3 * eventsPerKind {
		e.add(event{Time: start.Add(time.Duration(i+1) * time.Second), Kind: "drift", Text: strconv.Itoa(i)})
	}
	list := e.list()
	if len(list) != 1+eventsPerKind || list[0].Text != "the only one" || list[1].Text != strconv.Itoa(2*eventsPerKind) ||
		list[len(list)-1].Text != strconv.Itoa(3*eventsPerKind-1) {
		t.Errorf("%d events, from %v to %v", len(list), list[0], list[len(list)-1])
	}
}

// TestEventMessages: every message that the time line listens for is one that
// somebody logs.
func TestEventMessages(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "/events.go") {
			return err
		}
		data, err := os.ReadFile(path)
		source.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for message := range eventKinds {
		found := false
		for _, level := range []string{"Info", "Warn", "Error"} {
			found = found || strings.Contains(source.String(), fmt.Sprintf(".%s(%q", level, message))
		}
		if !found {
			t.Errorf("nobody logs %q", message)
		}
	}
}
