package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/bpfiter"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// usage is one cgroup's part of a slot.
type usage struct {
	Value map[string]json.RawMessage `json:"value"`
	Sub   map[string]usage           `json:"sub_cgroup"`
}

// slots asks for the newest n slots.
func (d *daemon) slots(n int) map[string]map[string]usage {
	d.t.Helper()
	text := d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"nr_slot":%d}}`, n))
	var slots map[string]map[string]usage
	if err := json.Unmarshal([]byte(text), &slots); err != nil {
		d.t.Fatalf("show_account: %v: %s", err, text)
	}
	return slots
}

// newest returns one subsystem of the newest slot, nil before the first.
func (d *daemon) newest(subsystem string) *usage {
	d.t.Helper()
	latest, name := d.slots(3), ""
	for slot := range latest {
		if slot > name {
			name = slot
		}
	}
	if u, ok := latest[name][subsystem]; ok {
		return &u
	}
	return nil
}

// cpu returns the nanoseconds of a cgroup, 0 when absent.
func (u *usage) cpu(path ...string) uint64 {
	for _, name := range path {
		sub := u.Sub[name]
		u = &sub
	}
	n, _ := strconv.ParseUint(string(u.Value["usage"]), 10, 64)
	return n
}

// written returns the bytes written by a cgroup to all devices.
func (u *usage) bytes(member string, path ...string) uint64 {
	for _, name := range path {
		sub := u.Sub[name]
		u = &sub
	}
	var total uint64
	for _, device := range u.Value {
		var counters map[string]uint64
		if json.Unmarshal(device, &counters) == nil {
			total += counters[member]
		}
	}
	return total
}

// TestCPUCounted: what a process burns is counted in its cgroup and in every cgroup above, as the kernel counts it.
func TestCPUCounted(t *testing.T) {
	t.Parallel()
	newHost(t).cpuCounted()
}

// TestCPUCountedWithoutFiles: the same by BPF programs, and where the kernel's types are out of reach by files again, which
// is said once.
func TestCPUCountedWithoutFiles(t *testing.T) {
	t.Run("counted", func(t *testing.T) {
		t.Parallel()
		if r, err := bpfiter.Open(1, 1); err != nil {
			testhost.Lacks(t, "%v", err)
		} else {
			r.Close()
		}
		h := newHost(t)
		h.set("bpf_iterator", true)
		d := h.cpuCounted()
		d.wantStatus(`"counted":4`, `"open_files":0`) // our root is the fourth
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		h := newHost(t)
		h.set("bpf_iterator", true)
		d := h.cpuCounted("unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh")
		d.wantStatus(`"counted":0`, `"open_files":4`)
		if n := strings.Count(d.logText(), "bpf_iterator refused, so that files are read"); n != 1 {
			t.Errorf("said %d times: %s", n, d.logText())
		}
	})
}

// cpuCounted starts a daemon, by another command if that is given, and checks what it counts.
func (h *host) cpuCounted(before ...string) *daemon {
	t := h.t
	t.Helper()
	p := shell(t, `while :; do :; done`)
	h.set("cgroup_pid_files", map[string][]string{"inner": {h.pidFile("p.pid", p.pid())}})
	h.document(`{"cpu": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": {"share": 100}}}}, "idle": {"conf": {}}}}}`)
	d := h.startReady(before...)
	h.wantIn("cpuacct", "outer/inner", p.pid())
	begin, _ := readStat(p.pid())
	eventually(t, "half a second of CPU time", func() error {
		now, _ := readStat(p.pid())
		if burnt := now.ticks - begin.ticks; burnt < 50 { // USER_HZ is 100 on every Linux that Go runs on
			return fmt.Errorf("%d ticks", burnt)
		}
		return nil
	})
	p.end()
	want, err := strconv.ParseUint(h.read("cpuacct", "outer/inner", "cpuacct.usage"), 10, 64)
	if err != nil || want < 400e6 {
		t.Fatalf("cpuacct.usage %d, %v: the sample process did not burn inside", want, err)
	}
	eventually(t, "usage", func() error {
		u := d.newest("cpu")
		if u == nil {
			return fmt.Errorf("no slot yet")
		}
		if got := u.cpu("outer", "inner"); got != want {
			return fmt.Errorf("inner used %d ns, the kernel says %d", got, want)
		}
		if outer, root, idle := u.cpu("outer"), u.cpu(), u.cpu("idle"); outer < want || root < outer || idle != 0 {
			return fmt.Errorf("not hierarchical: root %d, outer %d, inner %d, idle %d", root, outer, want, idle)
		}
		return nil
	})
	return d
}

// TestDirectIOCounted: real direct I/O on a real disk is counted, in its cgroup and above, and is not lost with the cgroup.
func TestDirectIOCounted(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+h.path("probe"), "bs=64k", "count=1", "oflag=direct").CombinedOutput(); err != nil {
		testhost.Lacks(t, "no direct I/O where temporary files are: %v\n%s", err, out)
	}
	p := shell(t, `
		while [ ! -e "$1" ]; do sleep 0.05; done
		dd if=/dev/zero of="$2" bs=64k count=64 oflag=direct && dd if="$2" of=/dev/null bs=64k count=32 iflag=direct && : > "$3"
		exec sleep 600`, h.path("go"), h.path("data"), h.path("done"))
	h.set("cgroup_pid_files", map[string][]string{"inner": {h.pidFile("p.pid", p.pid())}})
	document := `{"blkio": {"sub_cgroup": {"outer": {"sub_cgroup": {"inner": {"conf": {}}}}}}}`
	h.document(document)
	d := h.startReady()
	h.wantIn("blkio", "outer/inner", p.pid())
	h.file("go", "", 0o644)
	eventually(t, "dd", func() error { _, err := os.Stat(h.path("done")); return err })
	const wrote, read = 64 * 64 << 10, 32 * 64 << 10
	counted := func(path ...string) error {
		u := d.newest("blkio")
		if u == nil {
			return fmt.Errorf("no slot yet")
		}
		for depth := 0; depth <= len(path); depth++ {
			if w, r := u.bytes("Write", path[:depth]...), u.bytes("Read", path[:depth]...); w < wrote || r < read {
				return fmt.Errorf("%v: %d written of %d, %d read of %d", path[:depth], w, wrote, r, read)
			}
		}
		return nil
	}
	eventually(t, "direct I/O", func() error { return counted("outer", "inner") })
	device := onlyDevice(t, h.path("data"))
	if u := d.newest("blkio"); u != nil && device != "" && u.Sub["outer"].Sub["inner"].Value[device] == nil {
		t.Errorf("nothing counted for %s: %v", device, u.Sub["outer"].Sub["inner"].Value)
	}
	h.document(`{"blkio": {"sub_cgroup": {"outer": {}}}}`)
	h.wantTree("blkio", "", "outer")
	d.wantInForce(`{"blkio": {"sub_cgroup": {"outer": {}}}}`)
	eventually(t, "the last value of a removed child", func() error {
		if u := d.newest("blkio"); u == nil || len(u.Sub["outer"].Sub) != 0 {
			return fmt.Errorf("no slot of the new document yet")
		}
		return counted("outer")
	})
}

// onlyDevice names the disk that holds the file, "" where the file system has no single one that the kernel would name.
func onlyDevice(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00 // makedev(3)
	name := fmt.Sprintf("%d:%d", major, minor)
	link, err := os.Readlink(filepath.Join("/sys/dev/block", name))
	if err != nil || strings.Contains(link, "/virtual/") {
		return ""
	}
	if _, err := os.Stat(filepath.Join("/sys/dev/block", name, "partition")); err == nil {
		return "" // counted for the whole disk
	}
	return name
}

// TestRedis: one key a second, with its time to live, equal to what show_account shows.
func TestRedis(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	redis := testserver.Redis(t)
	h.useRedis(redis, "cga:test")
	h.set("redis_expire_time", 60)
	h.document(sample)
	d := h.startReady()
	var keys []string
	eventually(t, "keys", func() error {
		if keys = accountKeys(redis, "cga:test"); len(keys) < 5 {
			return fmt.Errorf("%v", keys)
		}
		return nil
	})
	first, _ := strconv.ParseInt(strings.TrimPrefix(keys[0], "cga:test/account/"), 10, 64)
	for i, key := range keys {
		slot := fmt.Sprint(first + int64(i))
		if want := "cga:test/account/" + slot; key != want {
			t.Errorf("key %s, want %s", key, want)
		}
		if ttl := redis.Do("TTL", key).(int64); ttl <= 0 || ttl > 60 {
			t.Errorf("%s lives %d s", key, ttl)
		}
		value, _ := redis.Do("GET", key).(string)
		shown := d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"start_slot":%s,"end_slot":%s}}`, slot, slot))
		if err := sameJSON(`{"`+slot+`":`+value+`}`, shown); err != nil {
			t.Errorf("slot %s: Redis and show_account: %v", slot, err)
		}
	}
	// The shape of the contract: root and every configured cgroup, sub_cgroup where the document has it.
	shape := shapeOf(t, redis.Do("GET", keys[len(keys)-1]).(string))
	want := `blkio{usage test_cgroup_a{usage}} cpu{usage test_cgroup_a{usage} test_cgroup_b{usage test_cgroup_b_sub1{usage}}}`
	if shape != want {
		t.Errorf("shape %s, want %s", shape, want)
	}
	if now := time.Now().Unix(); first > now {
		t.Errorf("slot %d lies in the future of %d", first, now)
	}

	// What a former daemon left in Redis is found by the next.
	d.stop()
	d = h.startReady()
	slot := strings.TrimPrefix(keys[0], "cga:test/account/")
	eventually(t, "an old slot after a restart", func() error {
		return sameJSON(`{"`+slot+`":`+redis.Do("GET", keys[0]).(string)+`}`,
			d.ask(`{"cmd":"show_account","args":{"start_slot":`+slot+`,"end_slot":`+slot+`}}`))
	})
	var filtered map[string]json.RawMessage
	text := d.ask(`{"cmd":"show_account","args":{"start_slot":` + slot + `,"end_slot":` + slot + `,"cgroup":"test_cgroup_b_sub1"}}`)
	if err := json.Unmarshal([]byte(text), &filtered); err != nil || filtered[slot] == nil {
		t.Fatalf("filtered: %v: %s", err, text)
	}
	if got := shapeOf(t, string(filtered[slot])); got != `cpu{test_cgroup_b{test_cgroup_b_sub1{usage}}}` {
		t.Errorf("an old slot, filtered: %s", got)
	}
}

// shapeOf prints which members a slot has, without their numbers.
func shapeOf(t *testing.T, text string) string {
	t.Helper()
	var slot map[string]usage
	if err := json.Unmarshal([]byte(text), &slot); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return strings.Join(shapeNames(slot), " ")
}

func shapeNames(cgroups map[string]usage) []string {
	var names []string
	for _, name := range sortedKeys(cgroups) {
		inner := []string{}
		if cgroups[name].Value != nil {
			inner = append(inner, "usage")
		}
		names = append(names, name+"{"+strings.Join(append(inner, shapeNames(cgroups[name].Sub)...), " ")+"}")
	}
	return names
}
