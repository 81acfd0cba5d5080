package pidfiles

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestFiles: which files belong to which cgroup.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a1.pid", "a2.pid", "b.pid", "x[1].pid"} {
		writeFile(t, filepath.Join(dir, name), "")
	}
	for _, test := range []struct {
		name  string
		files map[string][]string
		path  string
		want  []string
	}{
		{"by name", map[string][]string{"a": {"%/b.pid"}}, "a", []string{"%/b.pid"}},
		{"by name at depth", map[string][]string{"a": {"%/b.pid"}}, "x/y/a", []string{"%/b.pid"}},
		{"by path", map[string][]string{"x/a": {"%/b.pid"}}, "x/a", []string{"%/b.pid"}},
		{"by path with slashes", map[string][]string{"//x/a/": {"%/b.pid"}}, "x/a", []string{"%/b.pid"}},
		{"path of one component", map[string][]string{"/a": {"%/b.pid"}}, "a", []string{"%/b.pid"}},
		{"path of one component is no name", map[string][]string{"/a": {"%/b.pid"}}, "x/a", nil},
		{"path beats name", map[string][]string{"a": {"%/a1.pid"}, "x/a": {"%/b.pid"}}, "x/a", []string{"%/b.pid"}},
		{"short path beats name", map[string][]string{"a": {"%/a1.pid"}, "/a": {"%/b.pid"}}, "a", []string{"%/b.pid"}},
		{"even when it is empty", map[string][]string{"a": {"%/a1.pid"}, "x/a": {}}, "x/a", nil},
		{"two spellings", map[string][]string{"x/a": {"%/b.pid"}, "/x/a": {"%/a1.pid"}}, "x/a", []string{"%/a1.pid", "%/b.pid"}},
		{"not a part of a name", map[string][]string{"a": {"%/b.pid"}}, "x/aa", nil},
		{"nor of a path", map[string][]string{"x/a": {"%/b.pid"}}, "y/x/a", nil},
		{"missing stays", map[string][]string{"a": {"%/none.pid"}}, "a", []string{"%/none.pid"}},
		{"glob", map[string][]string{"a": {"%/a*.pid", "%/a1.pid"}}, "a", []string{"%/a1.pid", "%/a2.pid"}},
		{"glob without a match", map[string][]string{"a": {"%/z*.pid"}}, "a", nil},
		{"glob of a directory", map[string][]string{"a": {filepath.Dir(dir) + "/*/b.pid"}}, "a", []string{"%/b.pid"}},
		{"quoted", map[string][]string{"a": {`%/x\[1].pid`}}, "a", []string{"%/x[1].pid"}},
		{"broken glob", map[string][]string{"a": {"%/[a"}}, "a", []string{"%/[a"}},
		{"relative glob", map[string][]string{"a": {"*"}}, "a", []string{"*"}},
	} {
		files := map[string][]string{}
		for key, patterns := range test.files {
			files[key] = []string{}
			for _, pattern := range patterns {
				files[key] = append(files[key], strings.ReplaceAll(pattern, "%", dir))
			}
		}
		var got []string
		for _, c := range New(Config{Files: files}).Read([]Cgroup{{Path: test.path}}) {
			got = append(got, strings.ReplaceAll(c.File, dir, "%"))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestReadOrder: claims are sorted, and one file may speak for two cgroups.
func TestReadOrder(t *testing.T) {
	file, missing := writePID(t, startSleep(t, 0)), "/nonexistent/x.pid"
	source := New(Config{Files: map[string][]string{"a": {file, missing}}})
	claims := source.Read([]Cgroup{{Path: "y/a"}, {Path: "a"}, {Path: "none"}})
	defer CloseClaims(claims)
	var got []string
	for _, c := range claims {
		got = append(got, fmt.Sprintf("%s %s %v %v", c.Cgroup, c.State, c.PID != 0, c.Start != 0))
	}
	want := []string{"a missing false false", "a ok true true", "y/a missing false false", "y/a ok true true"}
	if filepath.Dir(file) < "/nonexistent" {
		t.Fatal("the test expects temporary files behind /nonexistent")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTooManyFiles: a directory full of files costs its own cgroup, and is a fault.
func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 1 {
		writeFile(t, fmt.Sprintf("%s/%05d", dir, i), "")
	}
	core, logs := observer.New(zapcore.WarnLevel)
	source := New(Config{Files: map[string][]string{"a": {dir + "/*"}, "b": {"/nonexistent"}}, Log: zap.New(core)})
	for range 2 {
		claims := source.Read([]Cgroup{{Path: "a"}, {Path: "b"}})
		if len(claims) != maxFiles+1 {
			t.Errorf("%d claims", len(claims))
		}
	}
	if diff := cmp.Diff([]Fault{{Cgroup: "a", Reason: tooManyFiles}}, source.Faults()); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if n := logs.FilterMessage("too many pid files").Len(); n != 1 {
		t.Errorf("%d lines about it, want 1", n)
	}
	must(t, os.Remove(dir+"/00007"))
	source.Read([]Cgroup{{Path: "a"}})
	if faults := source.Faults(); len(faults) != 0 {
		t.Errorf("faults: %v", faults)
	}
}

// TestStatusAndLog: states are shown, and logged on change only.
func TestStatusAndLog(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	file := filepath.Join(t.TempDir(), "x.pid")
	source := New(Config{Files: map[string][]string{"a": {file}, "b": {"/nonexistent"}}, Log: zap.New(core)})
	pid := startSleep(t, 0)
	cgroups := []Cgroup{{Path: "a"}, {Path: "b"}}

	step := func(what string, want ...string) {
		t.Helper()
		CloseClaims(source.Read(cgroups))
		CloseClaims(source.Read(cgroups)) // says nothing new
		var got []string
		for _, entry := range logs.TakeAll() {
			fields := entry.ContextMap()
			got = append(got, fmt.Sprintf("%s %s: %s %s %v %s", entry.Level, entry.Message, fields["cgroup"], fields["state"],
				fields["pid"], fields["reason"]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	step("first",
		"info pid file state changed: a missing 0 no such file or directory",
		"info pid file state changed: b missing 0 no such file or directory")
	writeFile(t, file, strconv.Itoa(pid))
	step("written", fmt.Sprintf("info pid file state changed: a ok %d ", pid))
	other := startSleep(t, 0)
	writeFile(t, file, strconv.Itoa(other))
	step("another pid", fmt.Sprintf("info pid file state changed: a ok %d ", other))
	writeFile(t, file, "rubbish")
	step("spoilt", "warn pid file state changed: a malformed 0 not one decimal number")

	want := []FileStatus{
		{File: file, Cgroup: "a", State: Malformed, Reason: "not one decimal number"},
		{File: "/nonexistent", Cgroup: "b", State: Missing, Reason: "no such file or directory"},
	}
	if diff := cmp.Diff(want, source.Files()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	cgroups = cgroups[:1]
	step("a cgroup left")
	cgroups = append(cgroups, Cgroup{Path: "b"})
	step("and came back", "info pid file state changed: b missing 0 no such file or directory")
}

// TestCommand: the command's lists are used besides those configured, and kept when it fails.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	pid := startSleep(t, 0)
	pidFile := writePID(t, pid)
	// The script prints what the test wrote for a cgroup's name, and notes how it was called.
	script := fmt.Sprintf(`echo "$# $1 $CGROUP_PATH $CGROUP_SUBSYSTEMS" >>%[1]s/calls; cat %[1]s/"$1"`, dir)
	core, logs := observer.New(zapcore.InfoLevel)
	source := New(Config{
		Files:   map[string][]string{"a": {"/nonexistent/1.pid"}},
		Command: []string{"/bin/sh", "-c", script, "sh"},
		Log:     zap.New(core),
	})
	cgroups := []Cgroup{{"x/a", []string{"blkio", "cpu"}}, {"b", []string{"cpu"}}}
	list := func() []string {
		claims := source.Read(cgroups)
		defer CloseClaims(claims)
		var list []string
		for _, c := range claims {
			list = append(list, c.Cgroup+" "+c.File)
		}
		return list
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, list()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	check("before the command was run", "x/a /nonexistent/1.pid")
	writeFile(t, filepath.Join(dir, "a"), "/nonexistent/2.pid\n/nonexistent/1.pid\n")
	if !source.RefreshCommand(t.Context(), cgroups) {
		t.Error("first lists are no change")
	}
	check("a's command works, b's fails", "x/a /nonexistent/1.pid", "x/a /nonexistent/2.pid")
	if faults := source.Faults(); len(faults) != 1 || faults[0].Cgroup != "b" || !strings.Contains(faults[0].Reason, "exit status 1: cat:") {
		t.Errorf("faults %+v", faults)
	}
	writeFile(t, filepath.Join(dir, "b"), pidFile)
	if !source.RefreshCommand(t.Context(), cgroups) || source.RefreshCommand(t.Context(), cgroups) {
		t.Error("a change is not reported, or reported twice")
	}
	check("both work", "b "+pidFile, "x/a /nonexistent/1.pid", "x/a /nonexistent/2.pid")
	if diff := cmp.Diff([]string{`/nonexistent/1.pid`, `/nonexistent/2.pid`, pidFile}, source.Patterns(cgroups)); diff != "" {
		t.Errorf("patterns (-want +got):\n%s", diff)
	}
	must(t, os.Remove(filepath.Join(dir, "a")))
	if source.RefreshCommand(t.Context(), cgroups) {
		t.Error("a failure is reported as a change")
	}
	source.RefreshCommand(t.Context(), cgroups)
	check("a's last good list is kept", "b "+pidFile, "x/a /nonexistent/1.pid", "x/a /nonexistent/2.pid")
	writeFile(t, filepath.Join(dir, "a"), "")
	source.RefreshCommand(t.Context(), cgroups)
	check("an empty list is a list", "b "+pidFile, "x/a /nonexistent/1.pid")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if source.RefreshCommand(ctx, cgroups) {
		t.Error("a run that was cancelled is reported as a change")
	}
	check("cancelled", "b "+pidFile, "x/a /nonexistent/1.pid")
	if faults := source.Faults(); len(faults) != 0 {
		t.Errorf("being cancelled is a fault: %v", faults)
	}
	if !source.RefreshCommand(t.Context(), cgroups[:1]) {
		t.Error("a cgroup that left is no change")
	}
	check("b has left", "x/a /nonexistent/1.pid")

	var got []string
	for _, entry := range logs.FilterField(zap.String("cgroup", "x/a")).All() {
		if !strings.Contains(entry.Message, "state") {
			got = append(got, entry.Message)
		}
	}
	if diff := cmp.Diff([]string{"pid file command failed", "pid file command works again"}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	must(t, err)
	if want := "1 a x/a blkio cpu\n1 b b cpu\n"; !strings.HasPrefix(string(calls), want) {
		t.Errorf("calls %q, want %q first", calls, want)
	}
	if New(Config{}).RefreshCommand(t.Context(), cgroups) {
		t.Error("no command, but a change")
	}
}

// TestReadDuringCommand: a command that hangs holds nobody up.
func TestReadDuringCommand(t *testing.T) {
	begun := filepath.Join(t.TempDir(), "begun")
	source := New(Config{
		Files:   map[string][]string{"a": {"/nonexistent"}},
		Command: []string{"/bin/sh", "-c", "echo >" + begun + "; sleep 1000"},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.RefreshCommand(ctx, []Cgroup{{Path: "a"}})
	}()
	eventually(t, "the command runs", func() bool { _, err := os.Stat(begun); return err == nil })
	if n := len(source.Read([]Cgroup{{Path: "a"}})); n != 1 || len(source.Files()) != 1 || len(source.Faults()) != 0 {
		t.Errorf("%d claims", n)
	}
	select {
	case <-done:
		t.Error("the command had ended: the test proves nothing")
	default:
	}
	cancel()
	<-done
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("/run/a.pid\n\n /b \r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := parseList(data)
		if err != nil {
			return
		}
		for i, file := range files {
			if file == "" || strings.ContainsAny(file, "\n\x00") || i > 0 && files[i-1] >= file {
				t.Errorf("parseList(%q) = %q", data, files)
			}
		}
	})
}
