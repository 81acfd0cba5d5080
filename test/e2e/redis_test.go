package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// useRedis makes the daemon write its history to the server.
func (h *host) useRedis(redis *testserver.RedisServer, prefix string) {
	ip, port, _ := strings.Cut(redis.Addr(), ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		h.t.Fatal(err)
	}
	h.set("redis_ip", ip)
	h.set("redis_port", number)
	h.set("redis_prefix", prefix)
}

// accountKeys lists the slots of a prefix, ascending.
func accountKeys(redis *testserver.RedisServer, prefix string) []string {
	var keys []string
	for _, key := range redis.Do("KEYS", prefix+"/account/*").([]any) {
		keys = append(keys, key.(string))
	}
	slices.Sort(keys)
	return keys
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// TestRedisHangs: the server hangs for 20 s; afterwards Redis has every second that was sampled, and those were as many as without.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	redis := testserver.Redis(t)
	h.useRedis(redis, "cga")
	h.document(sample)
	d := h.startReady()
	eventually(t, "first slots", func() error {
		if n := len(accountKeys(redis, "cga")); n < 2 {
			return fmt.Errorf("%d keys", n)
		}
		return nil
	})
	begin := time.Now().Unix()
	redis.Freeze()
	// All the while the newest slot is at most a moment old: sampling does not wait, and neither do clients.
	throughout(t, 20*time.Second, "sampling while Redis hangs", func() error {
		time.Sleep(250 * time.Millisecond)
		now := time.Now().Unix()
		latest := sortedKeys(d.slots(5))
		if len(latest) == 0 || latest[len(latest)-1] < fmt.Sprint(now-4) {
			return fmt.Errorf("it is %d, the newest slots are %v", now, latest)
		}
		return nil
	})
	redis.Thaw()
	end := time.Now().Unix()
	var held map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"start_slot":%d,"end_slot":%d}}`, begin, end-1))), &held))
	// A machine that is busy with other tests may miss a second; a sampler that waited for Redis would have missed most.
	if missing := int(end-begin) - len(held); missing > 5 {
		t.Errorf("%d of %d seconds were not sampled", missing, end-begin)
	}
	eventually(t, "every slot in Redis", func() error {
		have := map[string]bool{}
		for _, key := range accountKeys(redis, "cga") {
			have[key] = true
		}
		for slot := range held {
			if !have["cga/account/"+slot] {
				return fmt.Errorf("slot %s of %d to %d is missing", slot, begin, end)
			}
		}
		return nil
	})
	for name := range held { // each with what remains of its expiry, not with all of it
		slot, err := strconv.ParseInt(name, 10, 64)
		must(t, err)
		ttl := redis.Do("TTL", "cga/account/"+name).(int64)
		if want := slot + 300 - time.Now().Unix(); ttl < want-3 || ttl > want+3 {
			t.Errorf("slot %d lives %d s more, want about %d", slot, ttl, want)
		}
	}
}

// TestRedisLate: the server is down when the daemon starts, and killed once more, empty, afterwards.
func TestRedisLate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	redis := testserver.RedisStopped(t)
	h.useRedis(redis, "cga")
	h.document(sample)
	d := h.startReady()
	eventually(t, "slots without Redis", func() error {
		if n := len(d.slots(10)); n < 3 {
			return fmt.Errorf("%d slots", n)
		}
		return nil
	})
	early := sortedKeys(d.slots(10))
	redis.Start()
	wantKeys := func(slots []string) {
		t.Helper()
		eventually(t, "slots in Redis", func() error {
			keys := accountKeys(redis, "cga")
			for _, slot := range slots {
				if !slices.Contains(keys, "cga/account/"+slot) {
					return fmt.Errorf("%s is not among %v", slot, keys)
				}
			}
			return nil
		})
	}
	wantKeys(early)
	redis.Kill()
	killed := fmt.Sprint(time.Now().Unix())
	var while []string // slots that can only have been written after the new start
	eventually(t, "slots while Redis is down", func() error {
		while = slices.DeleteFunc(sortedKeys(d.slots(10)), func(slot string) bool { return slot <= killed })
		if len(while) < 2 {
			return fmt.Errorf("%v", while)
		}
		return nil
	})
	redis.Start()
	wantKeys(while)
}

// otherWriter is how /status begins to name another writer on our prefix.
const otherWriter = `"other_writer":"`

// TestHostInPrefix: two hosts that share a Redis and a configuration do not collide. A UTS namespace makes the second host.
func TestHostInPrefix(t *testing.T) {
	t.Parallel()
	one, two := newHost(t), newHost(t)
	unshare := needTool(t, "unshare")
	redis := testserver.Redis(t)
	for _, h := range []*host{one, two} {
		h.useRedis(redis, "cga/{host}/x")
		h.document(sample)
	}
	d1 := one.startReady()
	d2 := two.startReady(unshare, "--uts", "/bin/sh", "-c", `echo other-host > /proc/sys/kernel/hostname && exec "$@"`, "sh")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "keys of both hosts", func() error {
		mine, other := accountKeys(redis, "cga/"+name+"/x"), accountKeys(redis, "cga/other-host/x")
		if len(mine) < 3 || len(other) < 3 {
			return fmt.Errorf("%d of %s, %d of other-host", len(mine), name, len(other))
		}
		return nil
	})
	for _, d := range []*daemon{d1, d2} {
		if err := d.says(otherWriter); err == nil {
			t.Errorf("a collision is shown: %s", d.status())
		}
	}
}

// TestSecondWriter: a second daemon on the same prefix is a fault that is shown, and forgotten when it is gone.
func TestSecondWriter(t *testing.T) {
	t.Parallel()
	one, two := newHost(t), newHost(t)
	redis := testserver.Redis(t)
	for _, h := range []*host{one, two} {
		h.useRedis(redis, "same")
		h.document(sample)
	}
	d1 := one.startReady()
	eventually(t, "lease", func() error {
		if value, _ := redis.Do("GET", "same/writer").(string); value == "" {
			return fmt.Errorf("no key same/writer")
		}
		return nil
	})
	d2 := two.startReady()
	d2.wantStatus(otherWriter)
	d1.stop()
	eventually(t, "fault gone", func() error {
		if d2.says(otherWriter) == nil {
			return fmt.Errorf("still shown: %s", d2.status())
		}
		return nil
	})
}

func positive(n int) error {
	if n <= 0 {
		return fmt.Errorf("%d", n)
	}
	return nil
}

// TestRedisTLS: an authority that the host does not know is said, with what to do; one that SSL_CERT_FILE names is trusted, and
// history is written, also after a restart of the server. The password stays out of what people see.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	env := needTool(t, "env")
	ca := testserver.NewAuthority(t)
	cert, key := ca.Issue(time.Hour, "localhost")
	redis := testserver.RedisTLS(t, cert, key)
	users := func() {
		redis.Do("ACL", "SETUSER", "arch", "on", ">s3cret", "~cga/*", "-@all", "+get", "+set", "+mget", "+del")
	}
	users()
	_, port, _ := strings.Cut(redis.TLSAddr(), ":")
	h.set("redis_url", "rediss://arch:s3cret@localhost:"+port)
	h.set("redis_prefix", "cga")
	h.document(sample)

	d := h.startReady(env, "SSL_CERT_FILE="+testserver.NewAuthority(t).File())
	d.wantStatus("certificate signed by unknown authority")
	d.wantStatus("SSL_CERT_FILE")
	eventually(t, "slots in memory", func() error { return positive(len(d.slots(5))) })
	if keys := accountKeys(redis, "cga"); len(keys) != 0 {
		t.Errorf("written to a server that nobody vouches for: %v", keys)
	}
	secret := func() {
		t.Helper()
		if strings.Contains(d.logText()+d.status(), "s3cret") {
			t.Error("the password shows")
		}
	}
	secret()
	d.stop()

	d = h.startReady(env, "SSL_CERT_FILE="+ca.File())
	eventually(t, "slots in Redis", func() error { return positive(len(accountKeys(redis, "cga"))) })
	redis.Kill()
	d.wantStatus("connection refused")
	redis.Start()
	users()
	eventually(t, "slots in Redis again", func() error { return positive(len(accountKeys(redis, "cga"))) })
	secret()
}
