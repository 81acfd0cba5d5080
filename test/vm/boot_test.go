package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bootLimit is how long a guest may take until its user space speaks: ten times what the slowest needs on an idle machine.
const bootLimit = 3 * time.Minute

var errNoUserSpace = errors.New("the guest's user space never came up")

// boot runs a machine until it is off. For its first boot it makes the disk. A guest whose user space never came up is booted once more,
// and the log says so: nothing of the project had run in it yet, so that it is the emulator's fault, or its kernel's under emulation.
// Whatever happens later is never tried again.
func boot(ctx context.Context, t *testing.T, r *result, argv []string, makeDisk func(), console string) error {
	t.Helper()
	first := r.boots == 0
	for try := 1; ; try++ {
		if first {
			makeDisk()
		}
		boots := r.boots
		err := runQEMU(ctx, r, argv)
		if r.boots != boots {
			return err
		}
		err = cmp.Or(err, errNoUserSpace)
		if !first || try == 2 || ctx.Err() != nil {
			return err
		}
		t.Logf("BOOTED AGAIN: %v\nend of the console:\n%s", err, consoleTail(console))
	}
}

// runQEMU runs QEMU until the guest powers off, restarts or panics. A restart takes another QEMU: after minutes of work, one that resets
// itself can need many more for the next boot (7.2: each store to a page that once held code walks through all that was translated).
func runQEMU(ctx context.Context, r *result, argv []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(bootLimit, func() { cancel(fmt.Errorf("%w: nothing for %v", errNoUserSpace, bootLimit)) })
	defer watch.Stop()

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// It dies with the thread that started it (prctl(2)), so that a killed test leaves nothing behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var own strings.Builder
	cmd.Stderr = &own
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	r.read(out, func() { watch.Stop() })
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("qemu: %w: %s", cmp.Or(context.Cause(ctx), err), own.String())
	}
	return nil
}

// consoleTail is the end of what a guest's kernel said last.
func consoleTail(file string) string {
	log, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	text := waiting.ReplaceAllString(strings.ReplaceAll(string(log), "\r", ""), "")
	return lastLines(text, 40)
}

// waiting is how systemd says, many times, that our unit runs.
var waiting = regexp.MustCompile(`(?m)^.*Job vmtest.service/start running.*\n?`)

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TestBootAgain: a guest that dies before its user space is up gets one more chance with a fresh disk, and no other does.
func TestBootAgain(t *testing.T) {
	const up = "echo '@@vm boot 0 0 x'; "
	for _, c := range []struct {
		name, script string
		starts       int
		works        bool
	}{
		{"fine", up, 1, true},
		{"dies once", "[ $n != 1 ] || exit 1; " + up, 2, true},
		{"silent once", "[ $n = 1 ] || " + up, 2, true},
		{"dies always", "exit 1", 2, false},
		{"silent always", "true", 2, false},
		{"dies later", up + "exit 1", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			starts, disk := filepath.Join(dir, "starts"), filepath.Join(dir, "disk")
			// The disk must be a new one each time: what a boot has left there ends the next.
			script := "echo >>" + starts + "; n=$(wc -l <" + starts + "); [ ! -s " + disk + " ] || exit 2; echo >>" + disk + "; " + c.script
			r := result{ended: map[string]int{}, text: map[string]string{}, spent: map[string]spent{}}
			makeDisk := func() { _ = os.WriteFile(disk, nil, 0o600) }
			err := boot(t.Context(), t, &r, []string{"/bin/sh", "-c", script}, makeDisk, filepath.Join(dir, "console"))
			lines, _ := os.ReadFile(starts)
			if (err == nil) != c.works || len(lines) != c.starts {
				t.Errorf("%d starts, %v", len(lines), err)
			}
		})
	}
}
