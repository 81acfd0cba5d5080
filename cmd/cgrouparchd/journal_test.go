package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/config"
)

func TestJournalPriorities(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{LogLevel: "debug", LogFormat: "auto"}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	log := newLog(c, f).With(zap.String("host", "h")) // a clone keeps the prefix
	log.Debug("d")
	log.Info("i")
	log.Warn("w")
	log.Error("e", zap.Int("n", 1))
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^<7>\{"level":"debug".*\n<6>\{"level":"info".*\n<4>\{"level":"warn".*\n<3>\{"level":"error".*"host":"h","n":1\}\n$`)
	if !want.Match(data) {
		t.Errorf("what the journal reads:\n%s", data)
	}

	t.Setenv("JOURNAL_STREAM", "1:2") // inherited from a service, but standard error is something else
	var plain bytes.Buffer
	newLog(c, &plain).Info("i")
	if !bytes.HasPrefix(plain.Bytes(), []byte("{")) {
		t.Errorf("not for the journal: %s", plain.Bytes())
	}
}
