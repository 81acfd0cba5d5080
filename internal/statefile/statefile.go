// Package statefile keeps small JSON files that survive a crash at any moment: a reader sees the old content or the new one, whole.
package statefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxSize bounds what Load reads. The largest file that we keep holds one
// document of about 1 MB, which JSON quoting can make six times as long.
const maxSize = 16 << 20

// Save writes v as JSON to path, mode 0600, making the directory (0700) when it
// is absent. When it returns nil the content is on disk; when it returns an
// error, or the machine stops half way, the previous content is still there.
//
// Only one process may save to a path at a time: the temporary file beside it
// has a fixed name, so that kills in the middle do not pile up litter.
func Save(path string, v any) error { return save(path, v, true) }

// SaveForProcess is Save for what need not outlive the machine: it survives a
// kill of this process at any moment, but does not wait for the disk. After a
// power cut the file may be the previous one, or unreadable.
func SaveForProcess(path string, v any) error { return save(path, v, false) }

func save(path string, v any, sync bool) error {
	data, err := encode(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := path + ".tmp"
	if err := write(temp, data, sync); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil || !sync {
		return err
	}
	return syncDir(dir)
}

// Load reads the JSON file at path into v. The error satisfies
// errors.Is(err, fs.ErrNotExist) when there is no such file.
func Load(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return err
	}
	if len(data) > maxSize {
		return fmt.Errorf("read %s: larger than %d bytes", path, maxSize)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// encode renders v for a human reader too: no HTML escapes, a final newline.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// write creates path with data and, if it is to, waits until it is on disk. The fsync
// before the rename matters: without it a power cut can leave the new name
// with an empty file behind it (rename(2), fsync(2)).
func write(path string, data []byte, sync bool) error {
	// What a killed predecessor left may have another owner or mode, or be a
	// link: start anew instead of truncating it.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path) // the first error is the one to tell
	}
	return err
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
