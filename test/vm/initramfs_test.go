package vm

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// initramfs is an archive in the kernel's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst). It is not
// compressed: unpacking under emulation would cost more than reading.
type initramfs struct {
	out   *bufio.Writer
	file  *os.File
	at    int64
	inode int
	dirs  map[string]bool
	err   error // the first fault; nothing is written after it
}

func createInitramfs(name string) (*initramfs, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &initramfs{out: bufio.NewWriterSize(f, 1<<20), file: f, dirs: map[string]bool{}}, nil
}

// add puts a file of the host at an absolute path of the guest.
func (a *initramfs) add(guest, host string, mode fs.FileMode) {
	data, err := os.ReadFile(host)
	if a.err == nil {
		a.err = err
	}
	a.write(guest, data, mode)
}

// write makes a file, and the directories that lead to it.
func (a *initramfs) write(guest string, data []byte, mode fs.FileMode) {
	a.mkdir(path.Dir(guest))
	const regular = 0o100000
	a.entry(guest, regular|uint32(mode.Perm()), data)
}

func (a *initramfs) mkdir(guest string) {
	if guest == "/" || a.dirs[guest] {
		return
	}
	a.mkdir(path.Dir(guest))
	a.dirs[guest] = true
	const directory = 0o040000
	a.entry(guest, directory|0o755, nil)
}

// close ends the archive and returns the first fault of all.
func (a *initramfs) close() error {
	a.entry("TRAILER!!!", 0, nil)
	if a.err == nil {
		a.err = a.out.Flush()
	}
	if err := a.file.Close(); a.err == nil {
		a.err = err
	}
	return a.err
}

func (a *initramfs) entry(guest string, mode uint32, data []byte) {
	a.inode++
	name := strings.TrimPrefix(guest, "/")
	// inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name with its NUL, checksum
	fields := []any{a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0}
	a.print("070701" + fmt.Sprintf(strings.Repeat("%08X", len(fields)), fields...) + name + "\x00")
	a.pad()
	a.print(string(data))
	a.pad()
}

func (a *initramfs) print(text string) {
	if a.err != nil {
		return
	}
	_, a.err = a.out.WriteString(text)
	a.at += int64(len(text))
}

// pad aligns to four bytes.
func (a *initramfs) pad() { a.print("\x00\x00\x00"[:(4-a.at%4)%4]) }

// TestInitramfs: what we write is what cpio(1) reads, where there is one.
func TestInitramfs(t *testing.T) {
	cpio := tool(t, "cpio")
	dir := t.TempDir()
	a, err := createInitramfs(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	a.write("/bin/x", []byte("12345"), 0o755)
	a.write("/bin/y", nil, 0o644)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cpio, "-idm", "--quiet", "-F", "archive")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	_ = filepath.WalkDir(filepath.Join(dir, "bin"), func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, _ := e.Info()
		text, _ := os.ReadFile(p)
		got = append(got, fmt.Sprintf("%s %v %s", e.Name(), info.Mode(), text))
		return nil
	})
	want := []string{"bin drwxr-xr-x ", "x -rwxr-xr-x 12345", "y -rw-r--r-- "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// kernel is an unpacked Debian kernel package.
type kernel struct {
	image   string // boot/vmlinuz-VERSION
	modules string // .../kernel
}

func findKernel(t *testing.T, name string) kernel {
	t.Helper()
	dir := cached(t, name, "make vm-kernel")
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(dir, "lib", "modules", "*", "kernel"))
	if len(modules) == 0 {
		modules, _ = filepath.Glob(filepath.Join(dir, "usr", "lib", "modules", "*", "kernel"))
	}
	if len(images) != 1 || len(modules) != 1 {
		testhost.Lacks(t, "%s does not hold one kernel: remove it and run make vm-kernel", dir)
	}
	return kernel{images[0], modules[0]}
}

// module is a kernel module, uncompressed.
type module struct {
	name string
	data []byte
}

// load returns the modules and, before each, those it needs. The package has no modules.dep, which depmod(8) would write when it is
// installed, so that the modules themselves are asked. What is built in has no file and is left out.
func (k kernel) load(names ...string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(p string, e fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(p), ".ko"); ok && err == nil {
			files[strings.ReplaceAll(name, "-", "_")] = p
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var loaded []module
	var add func(string) error
	add = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		file, ok := files[name]
		if !ok || slices.ContainsFunc(loaded, func(m module) bool { return m.name == name }) {
			return nil
		}
		data, err := readModule(file)
		if err != nil {
			return err
		}
		for _, needed := range dependsOn(data) {
			if err := add(needed); err != nil {
				return err
			}
		}
		loaded = append(loaded, module{name, data})
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return loaded, nil
}

func readModule(file string) ([]byte, error) {
	if strings.HasSuffix(file, ".xz") {
		data, err := exec.Command("xz", "-dc", file).Output()
		if err != nil {
			return nil, fmt.Errorf("xz -dc %s: %w", file, err)
		}
		return data, nil
	}
	return os.ReadFile(file)
}

// dependsOn reads the "depends=a,b" of a module's .modinfo section, whose entries end in NUL.
func dependsOn(data []byte) []string {
	const key = "\x00depends="
	_, rest, ok := strings.Cut(string(data), key)
	if !ok {
		return nil
	}
	list, _, _ := strings.Cut(rest, "\x00")
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
