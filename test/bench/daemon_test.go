package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// daemon is a running cgrouparchd, as it is built for users.
type daemon struct {
	t    *testing.T
	b    *bench
	root string
	log  string
	doc  string // conf_file
	addr string
	cmd  *exec.Cmd
}

// daemon starts one on the document and waits for its first full pass. Settings are added to the configuration.
func (b *bench) daemon(document string, settings map[string]any) *daemon {
	b.t.Helper()
	d := &daemon{t: b.t, b: b, root: b.newRoot()}
	name := "daemon" + strconv.Itoa(b.roots)
	// A directory of its own, because the daemon watches it: it should not see logs being written.
	b.must(os.Mkdir(b.path(name), 0o755))
	d.doc = b.file(filepath.Join(name, "document.json"), document)
	all := map[string]any{
		"cgroup_root": d.root, "conf_file": d.doc, "state_dir": b.path(name + "-state"),
		"communicate_ip": "127.0.0.1", "communicate_port": 0, "communicate_clients": 6000, "log_format": "json", "tasks_update_interval": 3600,
	}
	maps.Copy(all, settings)
	if all["zk_host"] != nil {
		delete(all, "conf_file")
	}
	var config bytes.Buffer
	b.must(toml.NewEncoder(&config).Encode(all))
	d.log = b.path(name + ".log")
	log, err := os.Create(d.log)
	b.must(err)
	defer log.Close()
	d.cmd = exec.Command(b.path("cgrouparchd"), "run", "--config", b.file(name+".toml", config.String()))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.must(d.cmd.Start())
	b.t.Cleanup(d.stop)
	b.eventually("daemon ready", func() error {
		if d.addr = d.findAddr(); d.addr == "" {
			if err := d.cmd.Process.Signal(syscall.Signal(0)); err != nil {
				d.t.Fatalf("daemon: %v\n%s", err, d.tail())
			}
			return errors.New("no address in its log")
		}
		code, body, err := d.get("/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	return d
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop ends the daemon before its cgroups are removed.
func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(15*time.Second, func() {
		d.cmd.Process.Kill()
	})
	defer kill.Stop()
	if err := d.cmd.Wait(); err != nil || d.t.Failed() {
		d.t.Errorf("daemon: %v\n%s", err, d.tail())
	}
}

func (d *daemon) tail() string {
	data, _ := os.ReadFile(d.log)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

var listening = regexp.MustCompile(`"address":"(127\.0\.0\.1:\d+)"`)

func (d *daemon) findAddr() string {
	data, _ := os.ReadFile(d.log)
	if m := listening.FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return ""
}

func (d *daemon) get(path string) (code int, body string, err error) {
	response, err := http.Get("http://" + d.addr + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// status is what the rows look at of /status.
type status struct {
	HostFaults []struct{ Place, Reason string } `json:"host_faults"`
	Sampler    struct {
		LastSlot int64  `json:"last_slot"`
		Slots    uint64 `json:"slots"`
		Unread   int    `json:"unread"`
		Open     int    `json:"open_files"`
		Counted  int    `json:"counted"`
		Late     int64  `json:"late_us"`
		Duration int64  `json:"duration_us"`
		Samples  uint64 `json:"samples"`

		MissedSamples uint64 `json:"missed_samples"`
	} `json:"sampler"`
	Redis *struct {
		Written uint64 `json:"written"`
		Backlog int    `json:"backlog"`
	} `json:"redis"`
	MissedSlots uint64 `json:"missed_slots"`
}

func (d *daemon) status() status {
	d.t.Helper()
	_, body, err := d.get("/status")
	var s status
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil {
		d.t.Fatalf("/status: %v: %s", err, body)
	}
	return s
}

// sampled waits until so many slots have been sampled, and returns the status with the newest.
func (d *daemon) sampled(slots int) status {
	d.t.Helper()
	var s status
	d.b.within(patience+time.Duration(2*slots)*time.Second, "slots", func() error {
		if s = d.status(); s.Sampler.Slots < uint64(slots) {
			time.Sleep(200 * time.Millisecond)
			return fmt.Errorf("%d of %d", s.Sampler.Slots, slots)
		}
		return nil
	})
	return s
}

// dir is a cgroup's directory, "" for our root.
func (d *daemon) dir(subsystem, cgroup string) string {
	return filepath.Join(testhost.Controllers()[subsystem], d.root, cgroup)
}

// rss is what a process has in memory, in bytes: counted page by page (smaps_rollup of proc_pid_smaps(5)), since VmRSS of
// its status may be off by megabytes.
func (b *bench) rss(pid int) float64 {
	b.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	b.must(err)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Rss:" {
			kB, err := strconv.ParseFloat(f[1], 64)
			b.must(err)
			return kB * 1024
		}
	}
	b.t.Fatalf("process %d has no Rss", pid)
	return 0
}
