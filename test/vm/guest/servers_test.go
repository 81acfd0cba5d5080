package guest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

const (
	node  = "/cgroup/vm/arch_conf"
	slots = "vm/vmtest/account/" // redis_prefix "vm/{host}"
)

// TestServers: the whole way on one machine: an edit in ZooKeeper becomes cgroups, settings and members, their usage a slot in Redis that
// expires, and the same slot is what show-account answers. Losing either server changes nothing, and each is used again once it is back.
func TestServers(t *testing.T) {
	needServers(t)
	zk, redis := testserver.ZooKeeper(t), testserver.Redis(t)
	client := zk.Client()
	client.Put(node, `{"cpu": {"sub_cgroup": {"web": {"conf": {"share": 400}}}}}`)
	t.Log("servers are up")

	h := newHost(t, "/cga")
	// Busy now and then: a loop without rest would take from the servers half of what there is.
	busy := shell(t, "while :; do i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; sleep 0.2; done")
	h.pidFiles(map[string]int{"web": busy.pid()})
	delete(h.settings, "conf_file")
	redisHost, redisPort, _ := strings.Cut(redis.Addr(), ":")
	port, err := strconv.Atoi(redisPort)
	must(t, err)
	h.settings["zk_host"], h.settings["zk_prefix"], h.settings["zk_session_timeout"] = zk.Addr(), "/cgroup/vm", 30
	h.settings["redis_ip"], h.settings["redis_port"], h.settings["redis_prefix"] = redisHost, port, "vm/{host}"
	h.settings["redis_expire_time"] = 120
	h.start()
	h.wantTree("cpu", "", "web")
	h.wantIn("cpu", "web", busy.pid())
	h.wantSlot(redis)

	client.Put(node, `{"cpu": {"sub_cgroup": {"web": {"conf": {"share": 400}, "sub_cgroup": {"batch": {"conf": {"share": 50}}}}, "db": {"conf": {"share": 200}}}}}`)
	want := []string{"db 1953", "web 3906", "web/@members 10000", "web/batch 488"} // in both sets something counts as 1024
	h.wantTree("cpu", "cpu.weight", want...)
	h.wantIn("cpu", "web/@members", busy.pid())
	slot := h.wantSlot(redis, "web", "web/batch", "db")
	if slot.at("web").number("usage") == 0 {
		t.Error("web has used no processor time")
	}
	h.wantNoFaults()
	t.Log("an edit has gone all the way")

	redis.Kill()
	zk.Kill()
	lost := time.Now().Unix()
	h.write("cpu", "db", "cpu.weight", "77")
	h.wantTree("cpu", "cpu.weight", want...)
	throughout(t, 3*time.Second, "without servers", func() error { return h.areIn("cpu", "web/@members", busy.pid()) })
	redis.Start()
	zk.Start()
	client.Put(node, `{"cpu": {"sub_cgroup": {"web": {"conf": {"share": 100}}}}}`)
	h.wantTree("cpu", "", append([]string{"web"}, h.optional()...)...)
	h.wantIn("cpu", "web", busy.pid())
	h.wantSlot(redis, "web")
	eventually(t, "a slot of the outage", func() error {
		if redis.Do("EXISTS", slots+strconv.FormatInt(lost+1, 10)) != int64(1) {
			return fmt.Errorf("%d is not in Redis", lost+1)
		}
		return nil
	})
	h.wantNoFaults()
}

// wantSlot waits for a slot in Redis that has these cgroups of cpu, and insists that it expires and that show-account answers the same.
func (h *host) wantSlot(redis *testserver.RedisServer, cgroups ...string) (cpu usage) {
	h.t.Helper()
	var slot, text string
	eventually(h.t, "a slot in Redis", func() error {
		slot = strconv.FormatInt(time.Now().Unix()-1, 10)
		text, _ = redis.Do("GET", slots+slot).(string)
		var subsystems map[string]usage
		if err := json.Unmarshal([]byte(text), &subsystems); err != nil {
			return fmt.Errorf("slot %s: %q: %w", slot, text, err)
		}
		cpu = subsystems["cpu"]
		for _, cgroup := range cgroups {
			if cpu.at(cgroup).Value == nil {
				return fmt.Errorf("no %s in %s", cgroup, text)
			}
		}
		return nil
	})
	if left, _ := redis.Do("TTL", slots+slot).(int64); left < 1 || left > 120 {
		h.t.Errorf("slot %s expires in %v s", slot, left)
	}
	a := h.cli("show-account", "--start-slot", slot, "--end-slot", slot, "--address", address).wantStatus(h.t, 0)
	var answer, stored any
	must(h.t, json.Unmarshal([]byte(a.out), &answer))
	must(h.t, json.Unmarshal([]byte(`{"`+slot+`": `+text+`}`), &stored))
	if diff := cmp.Diff(stored, answer); diff != "" {
		h.t.Errorf("show-account differs from Redis (-redis +answer)\n%s", diff)
	}
	return cpu
}
