package main

import (
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/cgrouparch/cgrouparch/internal/config"
)

// newLog makes the log of one process: JSON unless a person reads it, and
// sampled, so that a fault that repeats cannot fill a disk.
func newLog(c *config.Config, w io.Writer) *zap.Logger {
	return newLogAt(c, w, zap.NewAtomicLevel())
}

// newLogAt is newLog with a level that can be changed later. It is set as the
// configuration says.
func newLogAt(c *config.Config, w io.Writer, level zap.AtomicLevel) *zap.Logger {
	level.SetLevel(levelOf(c))
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	if c.LogFormat == "json" || c.LogFormat == "auto" && !terminal(w) {
		encoder = zapcore.NewJSONEncoder(enc)
	} else {
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	if toJournal(w, os.Getenv("JOURNAL_STREAM")) {
		encoder = journalEncoder{encoder}
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 100, 100))
}

func levelOf(c *config.Config) zapcore.Level {
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return zapcore.InfoLevel // the configuration has checked it
	}
	return level
}

// terminal reports that a person reads w. /dev/null and the like are none.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
