// Package deb tests the Debian package as its users meet it: installed, upgraded and purged by dpkg in a clean Debian
// root. It is not part of the ordinary tests, since it makes that root (make test-deb).
package deb

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackage(t *testing.T) {
	if os.Getenv("CGROUPARCHD_TEST_DEB") != "1" {
		t.Skip("only with CGROUPARCHD_TEST_DEB=1, as make test-deb sets it")
	}
	first, second := build(t, "1.0.0"), build(t, "1.0.1")
	r := newRoot(t)
	before := r.files()

	r.install(first)
	if out := r.run("cgrouparchd", "version"); !strings.HasPrefix(out, "cgrouparchd 1.0.0\n") {
		t.Errorf("version after installation: %q", out)
	}
	for _, name := range []string{
		"/usr/lib/systemd/system/cgrouparchd.service", "/usr/lib/systemd/system-generators/cgrouparchd-generator",
		"/usr/share/bash-completion/completions/cgrouparchd", "/usr/share/man/man8/cgrouparchd.8.gz",
		"/usr/share/man/man8/cgrouparchd-run.8.gz", "/usr/share/man/man5/cgrouparchd.toml.5.gz", "/usr/share/doc/cgrouparchd/copyright",
	} {
		if info, err := os.Stat(r.path(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty: %v", name, err)
		}
	}
	if got := r.mode("/etc/cgrouparchd/cgrouparchd.toml"); got != 0o640 {
		t.Errorf("the configuration, which may hold secrets, has mode %04o", got)
	}
	// The reference configuration as shipped is valid, but names no source of the document.
	if out, err := r.try("cgrouparchd", "check"); err == nil || !strings.Contains(out, "zk_host") {
		t.Errorf("check of the configuration as shipped: %v, %q", err, out)
	}

	r.write("/etc/cgrouparchd/cgrouparchd.toml", "conf_file = \"/etc/cgrouparchd/arch_conf.json\"\n")
	r.write("/etc/cgrouparchd/arch_conf.json", `{"cpu": {"sub_cgroup": {"web": {"conf": {"share": 512}}}}}`)
	r.run("cgrouparchd", "check")
	r.write("/var/lib/cgrouparchd/applied.json", "{}")

	r.install(second)
	if out := r.run("cgrouparchd", "version"); !strings.HasPrefix(out, "cgrouparchd 1.0.1\n") {
		t.Errorf("version after the upgrade: %q", out)
	}
	r.run("cgrouparchd", "check") // still the operator's configuration

	r.run("dpkg", "--remove", "cgrouparchd")
	if _, err := os.Stat(r.path("/etc/cgrouparchd/cgrouparchd.toml")); err != nil {
		t.Errorf("removal without purge takes the operator's configuration: %v", err)
	}
	if _, err := os.Stat(r.path("/usr/bin/cgrouparchd")); err == nil {
		t.Error("the binary survives its removal")
	}
	r.run("dpkg", "--purge", "cgrouparchd")
	want := slices.Sorted(slices.Values(append(before, "/etc/cgrouparchd", "/etc/cgrouparchd/arch_conf.json"))) // not ours
	if diff := cmp.Diff(want, r.files()); diff != "" {
		t.Errorf("files after purge (-want +got):\n%s", diff)
	}
}

// build makes the package of this tree with a version.
func build(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.Command("make", "-s", "deb", "VERSION="+version)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("make deb: %v\n%s", err, stderr(err))
	}
	lines := strings.Fields(string(out))
	return filepath.Join(cmd.Dir, lines[len(lines)-1])
}

func stderr(err error) string {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return string(e.Stderr)
	}
	return ""
}

// root is a Debian system in a directory.
type root struct {
	t   *testing.T
	dir string
}

// newRoot makes a minimal Debian of packages only.
func newRoot(t *testing.T) root {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	// The mode is for roots of other architectures or users; we are root on this one.
	cmd := exec.Command("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "bookworm", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a Debian root (mmdebstrap as root is needed): %v\n%s", err, out)
	}
	return root{t, dir}
}

func (r root) path(name string) string { return filepath.Join(r.dir, name) }

// run runs a command inside and returns what it prints.
func (r root) run(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r root) try(args ...string) (string, error) {
	cmd := exec.Command("chroot", append([]string{r.dir}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// install gives the package to dpkg. Standard input is closed: a question would be a failure.
func (r root) install(deb string) {
	r.t.Helper()
	data, err := os.ReadFile(deb)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("/tmp/package.deb", string(data))
	r.run("dpkg", "--install", "/tmp/package.deb")
	if err := os.Remove(r.path("/tmp/package.deb")); err != nil {
		r.t.Fatal(err)
	}
}

func (r root) write(name, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(text), 0o640); err != nil {
		r.t.Fatal(err)
	}
}

func (r root) mode(name string) fs.FileMode {
	info, err := os.Stat(r.path(name))
	if err != nil {
		r.t.Error(err)
		return 0
	}
	return info.Mode().Perm()
}

// files are all names in the root but the package manager's own records.
func (r root) files() []string {
	var names []string
	err := filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, r.dir)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(name, "/var/lib/dpkg"), strings.HasPrefix(name, "/var/log"), strings.HasPrefix(name, "/var/cache"):
			return nil
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	slices.Sort(names)
	return names
}
