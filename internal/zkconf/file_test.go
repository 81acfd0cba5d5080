package zkconf_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) string { return fmt.Sprintf(`{"cpu": {"conf": {"share": %d}}}`, n) }

func TestFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made-later")
	path := filepath.Join(dir, "conf.json")
	r := record(t, &zkconf.File{Path: path})
	if st := r.state(zkconf.StateNoNode); st.VersionSeen != -1 || st.Error == "" {
		t.Errorf("status of an absent file: %+v", st)
	}
	r.unchanged(0)

	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, numbered(10))
	if u := r.last(numbered(10)); u.Version != 0 || u.Doc == nil || u.Doc.Subsystems["cpu"].Conf["share"] != "10" {
		t.Errorf("first update: %+v", u)
	}
	write(t, path, numbered(11)) // in place
	if u := r.last(numbered(11)); u.Version != 1 {
		t.Errorf("version %d after the first change", u.Version)
	}
	write(t, path+".new", numbered(12)) // as editors do
	rename(t, path+".new", path)
	if u := r.last(numbered(12)); u.Version != 2 {
		t.Errorf("version %d after the second change", u.Version)
	}

	write(t, path, `{"cpu": 5}`)
	if u := r.last(`{"cpu": 5}`); u.Doc != nil || u.Err == nil || u.Version != 3 {
		t.Errorf("a rejected version: %+v", u)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.state(zkconf.StateNoNode)
	r.unchanged(4)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r.state(zkconf.StateNoAccess)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}

	// Another directory takes the place of the watched one.
	rename(t, dir, dir+".old")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, numbered(13))
	if u := r.last(numbered(13)); u.Version != 4 {
		t.Errorf("version %d in the new directory", u.Version)
	}
	write(t, path, numbered(14))
	r.last(numbered(14))
	if st := r.source.Status(); st.State != zkconf.StateConnected || st.Error != "" || st.VersionSeen != 5 || st.Path != path {
		t.Errorf("status: %+v", st)
	}
}

// Kubernetes mounts a volume as name -> ..data/name, ..data -> ..some-time.
func TestFileBehindLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for i, name := range []string{"..1", "..2"} {
		if err := os.Mkdir(in(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, in(name, "conf.json"), numbered(10+i))
	}
	for link, target := range map[string]string{"..data": "..1", "conf.json": "..data/conf.json", "..tmp": "..2"} {
		if err := os.Symlink(target, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	r := record(t, &zkconf.File{Path: in("conf.json")})
	r.last(numbered(10))
	rename(t, in("..tmp"), in("..data"))
	r.last(numbered(11))
}

func TestFileBurst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "conf.json")
	write(t, path, numbered(1))
	r := record(t, &zkconf.File{Path: path})
	r.last(numbered(1))
	for i := range 50 {
		write(t, path, numbered(100+i))
		write(t, path+".other", "noise")
	}
	r.last(numbered(149))
}

func TestFileFetch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conf.json")
	f := &zkconf.File{Path: path}
	if _, err := f.Fetch(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	write(t, path, numbered(7))
	if u, err := f.Fetch(t.Context()); err != nil || u.Doc == nil || string(u.Raw) != numbered(7) {
		t.Errorf("fetched %+v, %v", u, err)
	}
	write(t, path, "{}"+strings.Repeat(" ", 2*zkconf.MaxSize))
	if u, err := f.Fetch(t.Context()); err != nil || u.Err == nil || len(u.Raw) > zkconf.MaxSize+1 {
		t.Errorf("a huge file: %d bytes, %v, %v", len(u.Raw), u.Err, err)
	}
	if _, err := (&zkconf.File{Path: dir}).Fetch(t.Context()); err == nil {
		t.Error("a directory was read")
	}
}
