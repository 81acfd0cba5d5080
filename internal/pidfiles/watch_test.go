package pidfiles

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

// running is a Watch at work.
type running struct {
	*Watch
	t       *testing.T
	changes chan struct{}
}

// startWatch starts a watch of files and waits until it is set up.
func startWatch(t *testing.T, files ...string) *running {
	t.Helper()
	w := &running{Watch: NewWatch(nil), t: t, changes: make(chan struct{}, 1000)}
	w.SetFiles(files)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx, func() { w.changes <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w.wait("the first watches are there")
	w.quiet("before anything happens")
	return w
}

// wait waits for a report.
func (w *running) wait(what string) {
	w.t.Helper()
	select {
	case <-w.changes:
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no report: %s", what)
	}
}

// quiet waits for reports to end; more than one is the last event's echo, but it does end.
func (w *running) quiet(what string) {
	w.t.Helper()
	for range 20 {
		if !w.reported() {
			return
		}
	}
	w.t.Fatalf("reports without end: %s", what)
}

// reported says whether there is a report within a time in which there should be none.
func (w *running) reported() bool {
	select {
	case <-w.changes:
		return true
	case <-time.After(2*spacing + 50*time.Millisecond):
		return false
	}
}

// TestWatch: each step changes a pid file, or does not.
func TestWatch(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Mkdir(at("d"), 0o755))
	must(t, os.Mkdir(at("elsewhere"), 0o755))
	must(t, os.Symlink(at("d"), at("link")))
	w := startWatch(t, at("d/x.pid"), at("link/y.pid"), at("new/deep/z.pid"), at("glob/*.pid"), at("g*/app/app.pid"), at("via"))

	for _, step := range []struct {
		what    string
		do      func() error
		ignored bool
	}{
		{what: "created", do: func() error { return os.WriteFile(at("d/x.pid"), []byte("1"), 0o644) }},
		{what: "changed", do: func() error { return os.WriteFile(at("d/x.pid"), []byte("2"), 0o644) }},
		{what: "mode", do: func() error { return os.Chmod(at("d/x.pid"), 0o600) }},
		{what: "another file", do: func() error { return os.WriteFile(at("d/x.pid.new"), []byte("3"), 0o644) }, ignored: true},
		{what: "replaced", do: func() error { return os.Rename(at("d/x.pid.new"), at("d/x.pid")) }},
		{what: "removed", do: func() error { return os.Remove(at("d/x.pid")) }},
		{what: "by a linked directory", do: func() error { return os.WriteFile(at("d/y.pid"), []byte("1"), 0o644) }},
		{what: "unrelated", do: func() error { return os.WriteFile(at("unrelated"), []byte("1"), 0o644) }, ignored: true},
		{what: "in an unrelated directory", do: func() error { return os.WriteFile(at("elsewhere/x.pid"), nil, 0o644) }, ignored: true},

		{what: "directory on the way", do: func() error { return os.Mkdir(at("new"), 0o755) }},
		{what: "not on the way", do: func() error { _ = os.Remove(at("new/shallow")); return os.Mkdir(at("new/shallow"), 0o755) }, ignored: true},
		{what: "directory", do: func() error { return os.Mkdir(at("new/deep"), 0o755) }},
		{what: "file in a new directory", do: func() error { return os.WriteFile(at("new/deep/z.pid"), nil, 0o644) }},
		{what: "directory removed with its file", do: func() error { return os.RemoveAll(at("new")) }},
		{what: "all at once", do: func() error { return os.MkdirAll(at("new/deep"), 0o755) }},
		{what: "and the file again", do: func() error { return os.WriteFile(at("new/deep/z.pid"), nil, 0o644) }},

		{what: "directory of a glob", do: func() error { return os.Mkdir(at("glob"), 0o755) }},
		{what: "match", do: func() error { return os.WriteFile(at("glob/1.pid"), nil, 0o644) }},
		{what: "no match", do: func() error { return os.WriteFile(at("glob/1.log"), nil, 0o644) }, ignored: true},
		{what: "directory below a match", do: func() error { return os.Mkdir(at("glob/app"), 0o755) }},
		{what: "file below a match", do: func() error { return os.WriteFile(at("glob/app/app.pid"), nil, 0o644) }},

		{what: "a link", do: func() error { return os.Symlink(at("elsewhere/real"), at("via")) }},
		{what: "where it leads, unknown yet", do: func() error { return os.WriteFile(at("elsewhere/real"), nil, 0o644) }, ignored: true},
		{
			what: "looked at again", do: func() error { w.SetFiles([]string{at("via")}); return nil },
		},
		{what: "where it leads", do: func() error { return os.WriteFile(at("elsewhere/real"), []byte("1"), 0o644) }},
		{what: "what is not in the list any more", do: func() error { return os.WriteFile(at("d/x.pid"), nil, 0o644) }, ignored: true},
	} {
		must(t, step.do())
		if !step.ignored {
			w.wait(step.what)
			w.quiet(step.what)
			continue
		}
		// On a machine that is busy the report may be a late one on the step before: then it does not come again.
		for attempt := 1; w.reported(); attempt++ {
			if attempt == 3 {
				t.Errorf("a report on %s", step.what)
				break
			}
			w.quiet(step.what)
			must(t, step.do())
		}
	}
}

// TestWatchReplacedDirectory: a directory that is renamed away and made again is watched again.
func TestWatchReplacedDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	must(t, os.Mkdir(dir, 0o755))
	w := startWatch(t, dir+"/x.pid")
	must(t, os.Rename(dir, dir+".old"))
	w.wait("renamed")
	w.quiet("renamed")
	must(t, os.Mkdir(dir, 0o755))
	w.wait("made again")
	w.quiet("made again")
	must(t, os.WriteFile(dir+"/x.pid", nil, 0o644))
	w.wait("file in the new directory")
}

// TestWatchStorm: a file that is written all the time is reported, but not all the time.
func TestWatchStorm(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.pid")
	w := startWatch(t, file)
	begin := time.Now()
	for time.Since(begin) < 5*spacing {
		must(t, os.WriteFile(file, []byte("1"), 0o644))
	}
	w.wait("storm")
	took := time.Since(begin)
	if n := len(w.changes) + 1; n > int(took/spacing)+2 {
		t.Errorf("%d reports in %v", n, took)
	}
}

// TestWatchAppearing: however directories and files come, in the end there is a report after the last of them.
func TestWatchAppearing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a/b/c/d/e/f")
	w := startWatch(t, deep+"/x.pid")
	for range 5 {
		must(t, os.MkdirAll(deep, 0o755))
		must(t, os.WriteFile(deep+"/x.pid", nil, 0o644))
		w.wait("made")
		w.quiet("made")
		must(t, os.WriteFile(deep+"/x.pid", []byte("1"), 0o644))
		w.wait("is watched now")
		must(t, os.RemoveAll(filepath.Join(root, "a")))
		w.wait("removed")
		w.quiet("removed")
	}
}

func TestReact(t *testing.T) {
	list := []interest{
		{"/run", "x.pid", false}, {"/run", "app", true}, {"/run/d", "*.pid", false}, {"/run/e", `\*`, false}, {"/", "run", true},
		{"/run/d", "both.pid", true},
	}
	for _, test := range []struct {
		name string
		want reaction
	}{
		{"/run/x.pid", notify},
		{"/run/app", rearm},
		{"/run/y.pid", ignore},
		{"/run/d/y.pid", notify},
		{"/run/d/y.log", ignore},
		{"/run/d/both.pid", rearm},
		{"/run/e/*", notify},
		{"/run/e/x", ignore},
		{"/run", rearm},
		{"/run/f/x.pid", ignore},
		{"x.pid", ignore},
	} {
		if got := react(list, test.name); got != test.want {
			t.Errorf("react(%s) = %d, want %d", test.name, got, test.want)
		}
	}
}

func TestInterests(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	for _, dir := range []string{"run/app", "run/b1/s", "run/b2"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Symlink("run", filepath.Join(root, "var")))
	must(t, os.WriteFile(filepath.Join(root, "run/real.pid"), nil, 0o644))
	must(t, os.Symlink("../real.pid", filepath.Join(root, "run/app/l.pid")))
	for _, test := range []struct{ file, want string }{
		{"%/run/app/x.pid", "%/run/app x.pid"},
		{"%/var/app/x.pid", "%/run/app x.pid"},
		{"%/run/none/deep/x.pid", "%/run none way"},
		{"%/run/real.pid/x.pid", "%/run real.pid way"},
		{"%/run/*.pid", "%/run *.pid"},
		{"%/run/b*/s/x.pid", "%/run b* way, %/run/b1/s x.pid, %/run/b2 s way"},
		{"%/run/app/l.pid", "%/run real.pid, %/run/app l.pid"},
		{"relative", ""},
		{"/", ""},
	} {
		var got []string
		for _, in := range interests([]string{strings.ReplaceAll(test.file, "%", root)}) {
			text := in.dir + " " + in.base
			if in.way {
				text += " way"
			}
			got = append(got, strings.ReplaceAll(text, root, "%"))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.file, diff)
		}
	}
}

// TestArmFault: a directory that cannot be watched is tried again, and the others are watched.
func TestArmFault(t *testing.T) {
	watcher, err := fsnotify.NewWatcher()
	must(t, err)
	defer watcher.Close()
	dir := t.TempDir()
	a := newArmed(watcher, zap.NewNop())
	if !a.arm([]string{dir + "/x"}) || a.arm([]string{dir + "/x", dir + "/y"}) {
		t.Error("a new directory is not reported, or an old one is")
	}
	must(t, watcher.Close())
	other := t.TempDir()
	if a.arm([]string{dir + "/x", other + "/x"}) || !a.failed[other] {
		t.Errorf("a closed watcher has no fault: %v", a.failed)
	}
	a.arm([]string{dir + "/x"})
	if len(a.failed) != 0 {
		t.Errorf("faults of directories that are not wanted: %v", a.failed)
	}
}

func TestQuoteMeta(t *testing.T) {
	for _, name := range []string{"plain", "a*b", "[x]", `back\slash`, "?", `\`, `\*`, "é[ü"} {
		quoted := quoteMeta(name)
		if ok, err := filepath.Match(quoted, name); !ok || err != nil || isPattern(quoted) || unquoteMeta(quoted) != name {
			t.Errorf("%q quoted is %q: %v, %v", name, quoted, ok, err)
		}
	}
	for i := range 256 {
		if name := fmt.Sprintf("x%cy", rune(i)); i != '/' && unquoteMeta(quoteMeta(name)) != name {
			t.Errorf("%q", name)
		}
	}
}
