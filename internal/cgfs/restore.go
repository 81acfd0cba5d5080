package cgfs

import (
	"time"
)

// Restore reads a control file of dir and, unless right says that it holds what
// it should, writes text to it and reads it again, all through one descriptor. It
// returns what the file reads at last, without the final newline, and whether it
// was written. Nothing was written when the file cannot be opened for both; after
// another error the value is not known.
func (h *Hierarchy) Restore(dir, file, text string, right func(now string) bool) (now string, wrote bool, err error) {
	fail := func(op, text string, err error) (string, bool, error) {
		return "", wrote, &Error{Op: op, Path: h.Display(dir, file), Text: text, Err: err}
	}
	began := time.Now()
	c := h.doubt.calls(file, began)
	defer func() { h.doubt.took(began, time.Now()) }()
	fd, err := c.open(h.fd, dir, file)
	if err != nil {
		return fail("open", "", err)
	}
	defer c.close(fd)
	if now, err = c.read(fd, text); err != nil {
		return fail("read", "", err)
	}
	if right(now) {
		return now, false, nil
	}
	if err := c.write(fd, text); err != nil {
		return fail("write", text, err)
	}
	wrote = true
	if now, err = c.read(fd, text); err != nil {
		return fail("read", "", err)
	}
	return now, true, nil
}
