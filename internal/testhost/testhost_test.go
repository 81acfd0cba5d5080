package testhost

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestReadMounts(t *testing.T) {
	const text = `29 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
30 29 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
34 29 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,xattr,cpu,cpuacct
35 29 0:32 / /sys/fs/cgroup/a\040b rw - cgroup cgroup rw,name=systemd
36 29 0:33 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup ro,memory
a line without a dash
37 29 0:34 / /x - cgroup
`
	all := []mount{
		{"/sys/fs/cgroup/unified", 2, []string{"rw", "nsdelegate"}},
		{"/sys/fs/cgroup/cpu,cpuacct", 1, []string{"rw", "xattr", "cpu", "cpuacct"}},
		{"/sys/fs/cgroup/a b", 1, []string{"rw", "name=systemd"}},
		{"/sys/fs/cgroup/memory", 1, []string{"ro", "memory"}},
	}
	for parts, want := range map[bool][]mount{false: all[:3], true: all} {
		if diff := cmp.Diff(want, readMounts(text, parts), cmp.AllowUnexported(mount{})); diff != "" {
			t.Errorf("parts %t (-want +got):\n%s", parts, diff)
		}
	}
}

func FuzzReadMounts(f *testing.F) {
	f.Add("34 29 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range readMounts(text, true) {
			if m.dir == "" || m.version != 1 && m.version != 2 {
				t.Errorf("%+v", m)
			}
		}
	})
}

func TestNames(t *testing.T) {
	pid := os.Getpid()
	for _, word := range []string{"", "1", "a-b"} {
		if got := ownerOf(Name(word)); got != pid {
			t.Errorf("%s belongs to %d, want %d", Name(word), got, pid)
		}
	}
	_, namespace, ours := strings.Cut(owner(), ".")
	if ours {
		namespace = "." + namespace
	}
	for name, want := range map[string]int{
		"cgatest-17" + namespace + "-x": 17, "cgatest-17" + namespace: 0, "cgatest-17.5-x": 0, "17" + namespace + "-x": 0,
		"cgatest-somebody-17": 0, "cgatest--17-x": 0, "cgatest-0-x": 0, "cgatest-99999999999999999999-x": 0, "user.slice": 0,
	} {
		if got := ownerOf(name); got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
}

// hierarchies are those in which this test may make cgroups, of both versions where there are both.
func hierarchies(t *testing.T) []string {
	t.Helper()
	var dirs []string
	if cpu, ok := Controllers()["cpu"]; ok {
		dirs = append(dirs, cpu)
	}
	for _, m := range readMounts(mountinfo(), false) {
		if m.version == 2 {
			dirs = append(dirs, m.dir)
		}
	}
	if len(dirs) == 0 || os.Getuid() != 0 {
		Lacks(t, "needs root and hierarchies of cgroups")
	}
	return dirs
}

func exists(t *testing.T, dir string) bool {
	t.Helper()
	_, err := os.Stat(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func made(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		Lacks(t, "cgroups cannot be made: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRoot: what a test makes is gone after it from every hierarchy, however deep, and though its processes live on.
func TestRoot(t *testing.T) {
	mounts := hierarchies(t)
	pid := Sleeper(t)
	var names []string
	t.Run("maker", func(t *testing.T) {
		names = []string{Root(t), Root(t)}
		for _, mount := range mounts {
			for _, name := range names {
				Enter(t, Dig(t, made(t, filepath.Join(mount, name)), slices.Repeat([]string{strings.Repeat("d", 200)}, 30)...), pid)
			}
		}
		if got := Left(); len(got) != 2*len(mounts) {
			t.Errorf("%q are there", got)
		}
	})
	if names[0] == names[1] {
		t.Errorf("both roots are %s", names[0])
	}
	if got := Left(); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	if err := Remove(filepath.Join(mounts[0], names[0])); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	where, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || strings.Contains(string(where), prefix) {
		t.Errorf("the process is in %s, %v", where, err)
	}
}

// TestSweep: of what others have left, only what is nobody's goes.
func TestSweep(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	living := Sleeper(t)
	of := func(pid int, word string) string {
		return strings.Replace(Name(word), owner(), strings.Replace(owner(), strconv.Itoa(os.Getpid()), strconv.Itoa(pid), 1), 1)
	}
	for _, mount := range hierarchies(t) {
		want := map[string]bool{
			filepath.Join(mount, of(ended.Process.Pid, "empty")):           false,
			filepath.Join(mount, of(ended.Process.Pid, "inhabited")):       true,
			filepath.Join(mount, of(living, "empty")):                      true,
			filepath.Join(mount, "cgatest-by-hand-"+strconv.Itoa(living)):  true,
			filepath.Join(mount, strconv.Itoa(ended.Process.Pid)+"-other"): true,
		}
		for _, dir := range slices.Sorted(maps.Keys(want)) {
			t.Cleanup(func() {
				if err := Remove(dir); err != nil {
					t.Error(err)
				}
			})
			made(t, filepath.Join(dir, "a", "b"))
		}
		inhabited := Dig(t, filepath.Join(mount, of(ended.Process.Pid, "inhabited"), "a"), "c")
		Enter(t, inhabited, living)
		Sweep()
		for dir, stays := range want {
			if got := exists(t, dir); got != stays {
				t.Errorf("%s is there: %t, want %t", dir, got, stays)
			}
		}
	}
}

// TestRemoveElsewhere: nothing but cgroups is removed.
func TestRemoveElsewhere(t *testing.T) {
	dir := t.TempDir()
	if err := RemoveOnce(dir); err == nil || !exists(t, dir) {
		t.Errorf("a directory of files: %v", err)
	}
}

func TestOutput(t *testing.T) {
	var out Output
	cmd := exec.Command("sh", "-c", "echo a; echo b >&2")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || out.String() != "a\nb\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}
