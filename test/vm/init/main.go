// Command init is the first program of a test's virtual machine. It loads modules, mounts what a test needs, runs the jobs of the
// payload one after the other, reports how each ended, and powers the machine off.
//
// With vm.root= on the kernel's command line it mounts that disk instead and becomes its /sbin/init; the distribution there then starts
// it again, with the argument "jobs", as a unit of the payload.
//
// The kernel's command line says the rest:
//
//	vm.layout=v1|v2|hybrid    cgroup hierarchies to mount
//	vm.disk=/dev/NAME         ext4 for /var/tmp, for tests of direct I/O
//	vm.scheduler=NAME         I/O scheduler of that disk
//	vm.root=/dev/NAME         ext4 with a distribution
//	vm.mask=UNIT,...          its units that must not start
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cgrouparch/cgrouparch/test/vm/job"
)

// Where things are in the guest.
const (
	port    = "/dev/ttyS1"  // goes to the test on the host; the console, ttyS0, is the kernel's
	payload = "/payload"    // in the initial RAM file system
	modules = "/modules"    // FILE.ko and FILE.ko.params, to be loaded in the order of names
	moved   = "/run/vmtest" // the payload, for the jobs
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "jobs" {
		out := openPort()
		runAll(out, moved, "/var/lib/vmtest")
		powerOff(out)
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}} {
		_ = mount(m[0], m[1], m[0], 0, "") // a failure shows in what follows; there is nobody yet to tell
	}
	out := openPort()
	options := parseCommandLine(readText("/proc/cmdline"))
	for _, err := range []error{loadModules(), loopbackUp()} {
		if err != nil {
			note(out, err)
		}
	}
	if disk := options["root"]; disk != "" {
		note(out, becomeDistribution(disk, options["mask"])) // returns an error or not at all
		powerOff(out)
	}
	for _, err := range []error{mountCgroups(options["layout"]), mountDisk(options["disk"], options["scheduler"]), userland(), mount(payload, moved, "", syscall.MS_BIND, "")} {
		if err != nil {
			note(out, err)
		}
	}
	runAll(out, moved, "")
	powerOff(out)
}

// parseCommandLine returns the words that are for us, without "vm.".
func parseCommandLine(text string) map[string]string {
	options := map[string]string{}
	for _, word := range strings.Fields(text) {
		name, value, ok := strings.Cut(word, "=")
		if name, ours := strings.CutPrefix(name, "vm."); ok && ours {
			options[name] = value
		}
	}
	return options
}

// say tells the host of an event, on a line of its own, whatever a job left before it. Nobody else could be told that it cannot be said.
func say(out *os.File, e job.Event) {
	uptime, _, _ := strings.Cut(readText("/proc/uptime"), " ")
	seconds, _ := strconv.ParseFloat(uptime, 64)
	e.Uptime = int64(seconds * 1000)
	_, _ = fmt.Fprintf(out, "\n%v\n", e)
}

func note(out *os.File, err error) { say(out, job.Event{Kind: "note", Name: err.Error()}) }

func openPort() *os.File {
	f, err := os.OpenFile(port, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return os.Stdout
	}
	return f
}

// powerOff lets the serial port drain and ends the machine.
func powerOff(out *os.File) {
	drain(out)
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // it is on its way
}

// drain waits until everything is sent: tcdrain(3) is this ioctl with a non-zero argument.
func drain(out *os.File) {
	const tcsbrk = 0x5409
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, out.Fd(), tcsbrk, 1)
}

func readText(file string) string {
	data, _ := os.ReadFile(file)
	return strings.TrimSpace(string(data))
}

// loadModules loads the modules that the host chose, with their parameters.
func loadModules() error {
	const finitModule = 313 // finit_module(2) on amd64; package syscall does not name it
	files, _ := filepath.Glob(modules + "/*.ko")
	slices.Sort(files)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		parameters, err := syscall.BytePtrFromString(readText(file + ".params"))
		if err != nil {
			return err
		}
		_, _, errno := syscall.Syscall(finitModule, f.Fd(), uintptr(unsafe.Pointer(parameters)), 0)
		_ = f.Close()
		if errno != 0 && errno != syscall.EEXIST {
			return fmt.Errorf("module %s: %w", file, errno)
		}
	}
	return nil
}

// userland makes the links of busybox and the few files that programs look for.
func userland() error {
	for _, dir := range []string{"/bin", "/etc", "/root", "/dev/pts", "/dev/shm"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"/usr/bin": "../bin", "/sbin": "bin", "/usr/sbin": "../bin"} {
		_ = os.MkdirAll(filepath.Dir(name), 0o755)
		_ = os.Symlink(target, name)
	}
	_ = mount("devpts", "/dev/pts", "devpts", 0, "")
	_ = mount("tmpfs", "/dev/shm", "tmpfs", 0, "")
	_ = os.Symlink("/proc/self/fd", "/dev/fd")
	_ = syscall.Sethostname([]byte("vmtest"))
	files := map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
		"/etc/group":  "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n",
		"/etc/hosts":  "127.0.0.1 localhost vmtest\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if out, err := exec.Command("/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		return fmt.Errorf("busybox: %w: %s", err, out)
	}
	return nil
}

// loopbackUp gives lo its address: the daemon and the tests talk over it.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer func() { _ = syscall.Close(fd) }()
	request := struct { // struct ifreq of amd64: a name and a union of 24 bytes (netdevice(7))
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("loopback: %w", errno)
	}
	return nil
}
