package statefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/statefile"
)

type state struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "state.json")
	for _, want := range []state{{"first & <last>", 1}, {"second", 2}} {
		if err := statefile.Save(path, want); err != nil {
			t.Fatal(err)
		}
		var got state
		if err := statefile.Load(path, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("loaded (-want +got):\n%s", diff)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name, content string
		absent        bool
		is            error
		text          string
	}{
		{name: "absent", absent: true, is: fs.ErrNotExist},
		{name: "empty", text: "decode"},
		{name: "half", content: `{"name": "x`, text: "decode"},
		{name: "trailing", content: `{"name": "x"} {}`, text: "decode"},
		{name: "wrong type", content: `{"n": "x"}`, text: "decode"},
		{name: "huge", content: `"` + strings.Repeat("x", 16<<20) + `"`, text: "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if !tt.absent {
				if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var got state
			err := statefile.Load(path, &got)
			if err == nil {
				t.Fatal("loaded without an error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q lacks %q or the path", err, tt.text)
			}
		})
	}
}

// A killed predecessor may leave anything at the temporary name, at worst a
// link to a file that must not be written.
func TestSaveReplacesLeftovers(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "state.json"), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Save(path, state{N: 1}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(victim)
	if err != nil || string(got) != "precious" {
		t.Errorf("the link's target became %q (%v)", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("directory holds %v, want state.json and victim only", entries)
	}
}

func TestSaveFailureKeepsTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := statefile.Save(path, state{N: 1}); err != nil {
		t.Fatal(err)
	}
	// A directory with content at the temporary name cannot be removed.
	if err := os.MkdirAll(filepath.Join(path+".tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Save(path, state{N: 2}); err == nil {
		t.Fatal("saved through an obstacle")
	}
	if err := statefile.Save(path, make(chan int)); err == nil {
		t.Fatal("saved what JSON cannot hold")
	}
	var got state
	if err := statefile.Load(path, &got); err != nil || got.N != 1 {
		t.Errorf("loaded %+v, %v; want the first content", got, err)
	}
}
