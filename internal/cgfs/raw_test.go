package cgfs

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A raw file reads as what was written, however the kernel prints it, until
// somebody else writes; taken back it is as it was before.
func TestKernelRaw(t *testing.T) {
	h, root := kernelIfMounted(t, "memory")
	const file = "memory.limit_in_bytes" // rounds down to pages and takes suffixes
	read := func(file, want string) {
		t.Helper()
		if got, err := h.Read(root, file); err != nil || got != want {
			t.Errorf("%s reads %q %v, want %q", file, got, err, want)
		}
	}
	write := func(file, text string) {
		t.Helper()
		if err := h.Write(root, file, text); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "67108864")
	read(RawPrefix+file, "67108864")
	read(keptPrefix+file, TextDefault)
	write(RawPrefix+file, "32M")
	read(file, "33554432")
	read(RawPrefix+file, "32M")
	read(keptPrefix+file, "1")
	write(RawPrefix+file, "16M")
	read(RawPrefix+file, "16M")
	write(file, "8388608") // somebody else
	read(RawPrefix+file, "8388608")
	write(RawPrefix+file, "16M")
	read(RawPrefix+file, "16M")
	write(RawPrefix+file, TextDefault)
	read(file, "67108864")
	read(keptPrefix+file, TextDefault)
	write(RawPrefix+file, TextDefault) // nothing to take back
	read(file, "67108864")

	// What the kernel refuses leaves no trace.
	if err := h.Write(root, RawPrefix+file, "nonsense"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("nonsense: %v", err)
	}
	read(keptPrefix+file, TextDefault)
	write(RawPrefix+file, "32M")
	if err := h.Write(root, RawPrefix+file, "nonsense"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("nonsense: %v", err)
	}
	read(keptPrefix+file, "1")
	read(RawPrefix+file, "33554432") // and not what was refused
	if _, err := h.Read(root, RawPrefix+"memory.nosuch"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := h.Write(root, RawPrefix+"memory.nosuch", "5"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := h.Read(root+"/nosuch", keptPrefix+file); !errors.Is(err, ErrNotExist) {
		t.Errorf("a cgroup that is not there: %v", err)
	}
	// Somebody else's attribute is none of our records.
	if err := h.setAttribute(root, rawName(file), []byte("x")); err != nil {
		t.Fatal(err)
	}
	read(RawPrefix+file, "33554432")
	read(keptPrefix+file, TextDefault)
}
