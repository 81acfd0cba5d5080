package top

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the size of the largest file that is read: more than a document may
// have, which is what the daemon will say of it.
const maxFile = 2 << 20

// readFile reads a document. What is no plain file could block for good.
func readFile(path string) ([]byte, error) {
	path = atHome(path)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a plain file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("read %s: larger than any document", path)
	}
	return data, err
}

// atHome reads ~/ as shells do.
func atHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// completePath goes on with a path as far as there is one way.
func completePath(typed string) string {
	dir, start := filepath.Split(typed)
	entries, err := os.ReadDir(filepath.Clean("./" + dir))
	if filepath.IsAbs(dir) || strings.HasPrefix(dir, "~/") {
		entries, err = os.ReadDir(atHome(dir))
	}
	if err != nil {
		return typed
	}
	common, found := "", 0
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, start) || start == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if isDir(filepath.Join(atHome(dir), name), e) {
			name += "/"
		}
		if found++; found == 1 {
			common = name
		}
		for !strings.HasPrefix(name, common) {
			common = common[:len(common)-1]
		}
	}
	if found == 0 {
		return typed
	}
	return dir + strings.ToValidUTF8(common, "")
}

// isDir follows links, as completion in shells does.
func isDir(path string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// draft is a copy of the document in force for the user to edit.
type draft struct {
	file     string // "" until it is made
	original []byte
}

// newDraft writes the document in force into a new file, byte for byte.
func newDraft(t *terminal) (*draft, error) {
	data, err := t.answer(Request{Cmd: "get_conf"})
	if err != nil {
		return nil, err
	}
	var conf struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(data, &conf); err != nil {
		return nil, fmt.Errorf("answer of get_conf: %w", err)
	}
	if bytes.Equal(conf.Value, []byte("null")) {
		return nil, errors.New("no document is in force yet")
	}
	dir, err := os.MkdirTemp("", "cgrouparchd-edit-") // mode 0700
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "arch_conf.json")
	if err := os.WriteFile(file, conf.Value, 0o600); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &draft{file, conf.Value}, nil
}

// leave removes a draft in which nothing was written, and names another.
func (d *draft) leave() (kept string) {
	if d.file == "" {
		return ""
	}
	if data, err := os.ReadFile(d.file); err == nil && !bytes.Equal(data, d.original) {
		return d.file
	}
	_ = os.RemoveAll(filepath.Dir(d.file))
	return ""
}
