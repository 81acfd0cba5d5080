package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/test/vm/job"
)

// machine is what one boot needs.
type machine struct {
	kernel  string   // name in the cache
	image   string   // name in the cache of a distribution's disk; empty: our init is all the user space there is
	layout  string   // cgroups that init mounts: v1, v2, hybrid; with an image its init decides
	modules []string // kernel modules, loaded first
	memory  int      // MiB
	append  string   // more of the kernel's command line
	files   map[string]string
	jobs    []job.Job
}

// mask are units that a test does not need and that make the boot slow.
var mask = []string{
	"systemd-udev-trigger.service", "systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket",
	"systemd-logind.service", "getty.target", "getty-static.service", "systemd-journal-flush.service", "systemd-update-utmp.service",
	"systemd-update-utmp-runlevel.service", "systemd-random-seed.service", "systemd-pstore.service", "systemd-firstboot.service",
	"systemd-machine-id-commit.service", "systemd-binfmt.service", "systemd-remount-fs.service", "e2scrub_reap.service",
	"timers.target", "systemd-user-sessions.service", "modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service",
	"modprobe@efi_pstore.service", "modprobe@dm_mod.service", "modprobe@loop.service", "kmod-static-nodes.service",
	"dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
	"sys-fs-fuse-connections.mount", "proc-sys-fs-binfmt_misc.automount",
	"redis-server.service", // the test starts its own
}

// result is what came out of a guest.
type result struct {
	ended map[string]int    // status by job
	last  string            // the job that ended last
	text  map[string]string // output by job; "" is what came outside of jobs
	spent map[string]spent
	boots int
	took  time.Duration
	fault error // why the run as a whole is void, or nil
	tail  string
}

// spent is how long a job took by the clocks of the host and of the guest. An emulated clock may be wrong: that explains what failed.
type spent struct{ host, guest time.Duration }

func (s spent) String() string {
	text := s.host.Round(100 * time.Millisecond).String()
	if off := (s.guest - s.host).Abs(); off > 2*time.Second {
		text += fmt.Sprintf(" (%v by the guest's clock)", s.guest)
	}
	return text
}

// run boots the machine, lets it run its jobs, and returns when it is off.
func (m machine) run(t *testing.T, b *builder) result {
	t.Helper()
	qemu := tool(t, "qemu-system-x86_64")
	k := findKernel(t, m.kernel)
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	if err := m.pack(t, b, k, initrd); err != nil {
		t.Fatal(err)
	}
	console := filepath.Join(dir, "console")
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", fmt.Sprint(m.memory), "-smp", "2",
		// Emulation in software works wherever the tests run; /dev/kvm opens on hosts where it then boots nothing.
		// Without cx16, of which QEMU 7.2 sometimes gets the flags wrong: the guest's allocator then falls over (seen on 6.12).
		// One thread: with more, a CPU at times runs into the breakpoint by which another one patches the kernel (jump labels, which the first
		// quota of CPU time in a machine switches), when it is already gone: "Oops: int3" (seen on 6.12).
		"-accel", "tcg,thread=single", "-cpu", "max,la57=off,cx16=off",
		"-kernel", k.image, "-initrd", initrd,
		"-serial", "file:" + console,
		"-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out",
	}
	// tsc=unstable: the kernel measures the speed of that counter while it boots, and on a machine that is busy gets it wrong by factors; a
	// clock that ran eight times too fast made every limit in the guest too short (seen). The emulated HPET tells the host's time.
	line := "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr tsc=unstable no_timer_check " +
		"rcupdate.rcu_expedited=1 random.trust_cpu=on psi=1 swapaccount=1 "
	disk := filepath.Join(dir, "disk")
	if m.image == "" {
		args = append(args, "-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+disk, "-device", "virtio-blk-pci,drive=disk")
		line += "vm.layout=" + m.layout + " vm.disk=/dev/vda vm.scheduler=bfq "
	} else {
		args = append(args, "-drive", "if=none,id=root,format=raw,cache=unsafe,file="+disk, "-device", "nvme,drive=root,serial=root")
		line += "vm.root=/dev/nvme0n1 vm.mask=" + strings.Join(mask, ",") + " systemd.show_status=1 systemd.log_target=console "
	}
	args = append(args, "-no-reboot", "-append", line+m.append)

	ctx, cancel := m.limit(t)
	defer cancel()
	start := time.Now()
	r := result{ended: map[string]int{}, text: map[string]string{}, spent: map[string]spent{}}
	for again := true; again && r.fault == nil; {
		last := r.last
		r.fault = boot(ctx, t, &r, append([]string{qemu}, args...), func() { m.makeDisk(t, disk) }, console)
		again = r.last != last && slices.ContainsFunc(m.jobs, func(j job.Job) bool { return j.Name == r.last && j.Reboot })
	}
	r.took = time.Since(start)
	if ctx.Err() != nil {
		r.fault = fmt.Errorf("the guest did not end: %w", context.Cause(ctx))
	}
	r.tail = consoleTail(console)
	return r
}

// limit bounds all boots of a guest together. Emulated time passes slower than ours when the machine is busy, so the jobs' own limits,
// which the guest keeps and which name the job, come first; but before all stands the test's own (-timeout), so that it ends with a
// report instead of a panic.
func (m machine) limit(t *testing.T) (context.Context, context.CancelFunc) {
	limit := 2 * bootLimit
	for _, j := range m.jobs {
		limit += 2 * time.Duration(j.Seconds) * time.Second
	}
	if end, ok := t.Deadline(); ok {
		limit = min(limit, time.Until(end)-15*time.Second)
	}
	return context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("stopped after %v", limit.Round(time.Second)))
}

// pack writes the initial RAM file system: init, busybox, modules, and the payload with the list of jobs.
func (m machine) pack(t *testing.T, b *builder, k kernel, name string) error {
	t.Helper()
	a, err := createInitramfs(name)
	if err != nil {
		return err
	}
	tinyInit := b.program(t, "test/vm/init")
	a.add("/init", tinyInit, 0o755)
	a.add("/payload/init", tinyInit, 0o755)
	a.add("/bin/busybox", filepath.Join(cached(t, "busybox", "make vm-kernel"), "bin", "busybox"), 0o755)
	modules, err := k.load(m.modules...)
	if err != nil {
		return err
	}
	for i, mod := range modules {
		a.write(fmt.Sprintf("/modules/%02d-%s.ko", i, mod.name), mod.data, 0o644)
	}
	for _, guest := range sorted(m.files) {
		a.add("/payload/"+guest, m.files[guest], 0o755)
	}
	jobs, err := json.Marshal(m.jobs)
	if err != nil {
		return err
	}
	a.write("/payload/"+job.File, jobs, 0o644)
	return a.close()
}

// makeDisk makes the guest's own disk, which lasts for its restarts: a copy of the distribution's, or an empty ext4 file system.
func (m machine) makeDisk(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, "mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", name, "64M")
	if m.image != "" {
		cmd = exec.Command("cp", "--sparse=always", cached(t, m.image, "test/vm/image.sh"), name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
}

// read sorts the guest's output by job until it ends, and calls up when the guest's user space is there.
func (r *result) read(out io.Reader, up func()) {
	text := map[string]*strings.Builder{}
	current, began, uptime := "", time.Now(), int64(0)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		e, isMark := job.ParseEvent(line)
		switch {
		case isMark && e.Kind == "boot":
			r.boots++
			up()
		case isMark && e.Kind == "begin":
			current, began, uptime = e.Name, time.Now(), e.Uptime
		case isMark && e.Kind == "end":
			r.ended[e.Name], r.last, current = e.Status, e.Name, ""
			r.spent[e.Name] = spent{time.Since(began), time.Duration(e.Uptime-uptime) * time.Millisecond}
		case isMark: // a note of init's own
			line = "init: " + e.Name
			fallthrough
		case line != "" || err == nil:
			if text[current] == nil {
				text[current] = &strings.Builder{}
			}
			fmt.Fprintln(text[current], line)
		}
		if *logFlag && line != "" {
			fmt.Println(line)
		}
		if err != nil {
			break
		}
	}
	for name, b := range text {
		r.text[name] += b.String()
	}
}
