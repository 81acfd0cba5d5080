package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestReload: at SIGHUP the keys of the configuration file that can change do, those that cannot are named, and a
// file with a fault changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried() // nothing but the signal makes a full pass
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	h.set("protected_cgroup", []string{"keep"})
	d := h.startReady()
	h.mkdir("cpu", "keep")
	h.mkdir("cpu", "gone")
	eventually(t, "what is not protected goes", func() error { return absent(h.dir("cpu", "gone")) })
	p, q := sleeper(t), sleeper(t)
	list := h.file("list", "#!/bin/sh\necho "+h.pidFile("q.pid", q.pid())+"\n", 0o700)

	h.file("cgrouparchd.toml", "protected_cgroup = 5\n", 0o600)
	d.signal(syscall.SIGHUP)
	eventually(t, "the fault in the log", func() error { return d.logs("configuration file not read again") })

	h.set("protected_cgroup", []string{})
	h.set("cgroup_pid_files", map[string][]string{"a": {h.pidFile("p.pid", p.pid())}})
	h.set("get_cgroup_pid_file", []string{list})
	h.set("redis_expire_time", 7)
	h.config()
	if err := absent(h.dir("cpu", "keep")); err == nil {
		t.Error("a file with a fault takes the protection away")
	}
	d.signal(syscall.SIGHUP)
	h.wantIn("cpu", "a", p.pid(), q.pid())
	eventually(t, "what is protected no more goes", func() error { return absent(h.dir("cpu", "keep")) })
	eventually(t, "the key that needs a restart in the log", func() error { return d.logs(`"keys":"redis_expire_time"`) })
}

// TestReloadProtection: a configured cgroup that gets protection at SIGHUP is left alone and a host fault; one that loses it is configured again, with who is in it.
func TestReloadProtection(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.unhurried()
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 300}}, "b": {"conf": {"share": 200}}}}}`)
	d := h.startReady()
	h.set("protected_cgroup", []string{"a"})
	h.config()
	d.signal(syscall.SIGHUP)
	eventually(t, "the fault", func() error { return d.says("named by protected_cgroup") })
	h.write("cpu", "a", "cpu.shares", "777")
	h.write("cpu", "b", "cpu.shares", "777")
	h.wantShares("a 777", "b 200")
	p := sleeper(t)
	h.write("cpu", "a", "cgroup.procs", strconv.Itoa(p.pid()))

	h.set("protected_cgroup", []string{})
	h.config()
	d.signal(syscall.SIGHUP)
	h.wantShares("a 300", "b 200")
	h.wantIn("cpu", "a", p.pid())
}

func absent(dir string) error {
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		return errors.New(filepath.Base(dir) + " is still there")
	}
	return nil
}

// logs is an error unless the text stands in the daemon's log.
func (d *daemon) logs(text string) error {
	if !strings.Contains(d.logText(), text) {
		return errors.New("the log does not say " + text)
	}
	return nil
}
