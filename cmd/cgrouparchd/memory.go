package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// gcPercent: what is live is small beside what the host has, but the daemon runs
	// on every host, and allocates little once it has converged.
	gcPercent = 50
	// settleTime is how long after a change of the configuration its garbage is
	// given back: several changes in a row cost one collection.
	settleTime = 10 * time.Second
)

// limitHeap lets the collector run earlier than by default, unless the operator
// has set GOGC.
func limitHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// giveBack returns memory to the host some time after each change: the garbage of
// reading and comparing a whole configuration, which a converged daemon does not
// need again for a long time, and pages of the binary that only the start needed.
func (d *daemon) giveBack(ctx context.Context) error {
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.changed:
			settled.Reset(settleTime)
		case <-settled.C:
			debug.FreeOSMemory()
			if err := dropBinaryPages(); err != nil {
				d.log.Debug("pages of the binary not given back", zap.Error(err))
			}
		}
	}
}

// dropBinaryPages takes what is mapped of the binary's code and constants out of
// this process. It stays in the page cache, from where what is used comes back by
// itself, a few pages at a time (madvise(2), MADV_DONTNEED of a file's private
// mapping that was never written).
func dropBinaryPages() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for _, m := range readOnlyMappings(bytes.NewReader(maps), exe) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			err = errors.Join(err, fmt.Errorf("madvise %#x: %w", m.from, errno))
		}
	}
	return err
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// readOnlyMappings finds in a /proc/PID/maps (proc(5)) where a file is mapped
// privately and cannot be written.
func readOnlyMappings(maps io.Reader, file string) (found []mapping) {
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var m mapping
		var rights, offset, device string
		var inode uint64
		n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %d", &m.from, &m.to, &rights, &offset, &device, &inode)
		if n == 6 && strings.HasSuffix(lines.Text(), " "+file) && (rights == "r--p" || rights == "r-xp") {
			found = append(found, m)
		}
	}
	return found
}
