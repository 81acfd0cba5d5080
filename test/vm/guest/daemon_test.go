package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// address is the daemon's default: nobody else is here to want the port.
const address = "127.0.0.1:43409"

// host is one test's daemon configuration, files and cgroup_root. Tests run one after the other.
type host struct {
	t        *testing.T
	dir      string
	root     string // cgroup_root
	settings map[string]any
}

// newHost prepares a configuration with the embedded defaults: the document from a file, history in memory.
func newHost(t *testing.T, root string) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, dir: dir, root: root, settings: map[string]any{
		"cgroup_root": root, "conf_file": filepath.Join(dir, "arch_conf.json"), "state_dir": filepath.Join(dir, "state"),
		"communicate_ip": "127.0.0.1", "log_level": "debug", "log_format": "json",
	}}
	t.Cleanup(h.clean)
	return h
}

// file writes a file that strict checks trust and returns its path.
func (h *host) file(name, text string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	must(h.t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

// document replaces the document in one step, as an editor does.
func (h *host) document(text string) {
	h.t.Helper()
	must(h.t, os.Rename(h.file("arch_conf.new", text), filepath.Join(h.dir, "arch_conf.json")))
}

// pidFiles gives cgroups their pid files: name or path, then the process.
func (h *host) pidFiles(processes map[string]int) {
	h.t.Helper()
	files := map[string][]string{}
	for cgroup, pid := range processes {
		files[cgroup] = []string{h.file(strings.ReplaceAll(cgroup, "/", "-")+".pid", strconv.Itoa(pid)+"\n")}
	}
	h.settings["cgroup_pid_files"] = files
}

func (h *host) config() string {
	h.t.Helper()
	var b bytes.Buffer
	must(h.t, toml.NewEncoder(&b).Encode(h.settings))
	file := h.file("cgrouparchd.toml", b.String())
	must(h.t, os.Chmod(file, 0o600))
	return file
}

// daemon is a running cgrouparchd.
type daemon struct {
	h    *host
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // once done is closed
}

// start runs the daemon and waits for its first full pass.
func (h *host) start() *daemon {
	h.t.Helper()
	d := h.launch()
	eventually(h.t, "/readyz", func() error {
		select {
		case <-d.done:
			h.t.Fatalf("the daemon ended: %v\n%s", d.err, d.logTail())
		default:
		}
		code, body := get("/readyz")
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	return d
}

func (h *host) launch() *daemon {
	h.t.Helper()
	d := &daemon{h: h, log: filepath.Join(h.dir, "log"), done: make(chan struct{})}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(h.t, err)
	defer log.Close()
	d.cmd = exec.Command(os.Getenv(binaryEnv), "run", "--config", h.config())
	d.cmd.Stdout, d.cmd.Stderr = log, log
	must(h.t, d.cmd.Start())
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	h.t.Cleanup(d.finish)
	return d
}

// finish stops the daemon and judges its end.
func (d *daemon) finish() {
	select {
	case <-d.done:
	default:
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.done:
			if d.err != nil {
				d.h.t.Errorf("the daemon after SIGTERM: %v", d.err)
			}
		case <-time.After(patience):
			d.h.t.Error("the daemon does not end")
			_ = d.cmd.Process.Signal(syscall.SIGQUIT)
			time.Sleep(time.Second) // it prints its goroutines
			d.kill9()
		}
	}
	if d.h.t.Failed() {
		d.h.t.Logf("end of the daemon's log:\n%s", d.logTail())
	}
}

// kill9 ends the daemon as a crash would.
func (d *daemon) kill9() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

func (d *daemon) logTail() string {
	data, _ := os.ReadFile(d.log)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-50):], "\n")
}

func get(path string) (int, string) {
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// faults returns the daemon's host faults, one a line.
func (h *host) faults() string {
	h.t.Helper()
	var status struct {
		Faults []struct{ Place, Reason string } `json:"host_faults"`
	}
	_, body := get("/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		h.t.Fatalf("/status: %v: %s", err, body)
	}
	var lines []string
	for _, f := range status.Faults {
		lines = append(lines, f.Place+": "+f.Reason)
	}
	return strings.Join(lines, "\n")
}

// wantNoFaults insists that the host could do everything that the document asks.
func (h *host) wantNoFaults() {
	h.t.Helper()
	if faults := h.faults(); faults != "" {
		h.t.Errorf("host faults:\n%s", faults)
	}
}

// answer is what a command left.
type answer struct {
	status      int
	out, errors string
}

// cli runs a command of the daemon's binary.
func (h *host) cli(args ...string) answer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(binaryEnv), append(args, "--config", h.config())...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%v: %v %v", args, err, ctx.Err())
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// wantStatus insists on a command's exit status.
func (a answer) wantStatus(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Errorf("exit status %d, want %d\n--- output\n%s--- errors\n%s", a.status, status, a.out, a.errors)
	}
	return a
}

// usage is one cgroup's part of a slot.
type usage struct {
	Value map[string]json.RawMessage `json:"value"`
	Sub   map[string]usage           `json:"sub_cgroup"`
}

// newest returns a subsystem's part of the newest slot, by the command show-account.
func (h *host) newest(subsystem string) (usage, error) {
	h.t.Helper()
	a := h.cli("show-account", "--nr-slot", "2", "--subsystem", subsystem, "--address", address)
	if a.status != 0 {
		return usage{}, errors.New(a.errors)
	}
	var slots map[string]map[string]usage
	if err := json.Unmarshal([]byte(a.out), &slots); err != nil {
		return usage{}, fmt.Errorf("%w: %s", err, a.out)
	}
	latest := ""
	for slot := range slots {
		latest = max(latest, slot)
	}
	u, ok := slots[latest][subsystem]
	if !ok {
		return usage{}, fmt.Errorf("no %s in %s", subsystem, a.out)
	}
	return u, nil
}

// at goes down to a cgroup.
func (u usage) at(path string) usage {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		u = u.Sub[name]
	}
	return u
}

// number is a member of a cgroup's value, 0 when absent.
func (u usage) number(member string) uint64 {
	n, _ := strconv.ParseUint(string(u.Value[member]), 10, 64)
	return n
}

// bytes sums Read or Write over all disks.
func (u usage) bytes(member string) (sum uint64) {
	for _, disk := range u.Value {
		var counters map[string]uint64
		if json.Unmarshal(disk, &counters) == nil {
			sum += counters[member]
		}
	}
	return sum
}
