package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys {
		if seen[k.Name] {
			t.Errorf("%s: twice", k.Name)
		}
		seen[k.Name] = true
		if k.Help == "" || strings.Contains(k.Help, "\n") || strings.HasSuffix(k.Help, ".") {
			t.Errorf("%s: help %q", k.Name, k.Help)
		}
		if k.Kind != KindList && (k.Kind == KindChoice) != (len(k.Choices) > 0) || k.Kind == KindChoice && !slices.Contains(k.Choices, k.Default) {
			t.Errorf("%s: choices %q, default %q", k.Name, k.Choices, k.Default)
		}
		if k.Flag == (k.Kind == KindAuth) {
			t.Errorf("%s: flag %t", k.Name, k.Flag)
		}
		if err := k.set(&draft{}, input{&k, k.Default, false}); err != nil {
			t.Errorf("%s: default: %v", k.Name, err)
		}
		if !k.Flag {
			continue
		}
		if _, err := parse("", nil, map[string]string{k.Name: k.Default}); err != nil && k.Name != "redis_port" {
			t.Errorf("%s: default as a flag: %v", k.Name, err)
		}
	}
}

// TestExamples: every example of the manual is accepted.
func TestExamples(t *testing.T) {
	for _, k := range Keys {
		if k.Example == "" {
			continue
		}
		if _, err := parse("example", []byte(k.Name+" = "+k.Example), nil); err != nil {
			t.Error(err)
		}
	}
}

func TestSecret(t *testing.T) {
	c := Config{ZKAuth: []Auth{{"digest", "geheim"}}, Redis: Redis{Password: "geheim"}}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %q", c.ZKAuth, c.ZKAuth), string(encoded)} {
		if strings.Contains(text, "geheim") {
			t.Errorf("shown: %s", text)
		}
	}
	if got := c.ZKAuth[0].Data.Reveal(); got != "geheim" {
		t.Errorf("Reveal: %q", got)
	}
}

func TestRedisURL(t *testing.T) {
	tests := []struct {
		url  string
		want Redis
		err  string
	}{
		{url: "redis://h", want: Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"h:6379"}}},
		{url: "redis://h:1/", want: Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"h:1"}}},
		{url: "redis://:p@h:1/2", want: Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"h:1"}, Password: "p", DB: 2}},
		{url: "redis://u@[::1]:1", want: Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"[::1]:1"}, Username: "u"}},
		{url: "rediss://u:p%2F%3A@h", want: Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"h:6379"}, TLS: true, Username: "u", Password: "p/:"}},
		{url: "unix:///run/redis.sock", want: Redis{Mode: RedisSingle, Network: "unix", Addrs: []string{"/run/redis.sock"}}},
		{url: "unix://u:p@/run/r.sock?db=2", want: Redis{Mode: RedisSingle, Network: "unix", Addrs: []string{"/run/r.sock"}, Username: "u", Password: "p", DB: 2}},
		{url: "redis+sentinel://u:p@a,b:1/mymaster/3?sentinel_username=s&sentinel_password=q", want: Redis{
			Mode: RedisSentinel, Network: "tcp", Addrs: []string{"a:26379", "b:1"}, Username: "u", Password: "p", DB: 3, Master: "mymaster",
			SentinelUsername: "s", SentinelPassword: "q"}},
		{url: "rediss+cluster://a,b:1", want: Redis{Mode: RedisCluster, Network: "tcp", Addrs: []string{"a:6379", "b:1"}, TLS: true}},

		{url: "h:6379", err: "not a URL: want redis://, rediss:// or unix://"},
		{url: "http://h", err: `unknown scheme "http": want redis, rediss or unix`},
		{url: "redis+x://h", err: `unknown scheme "redis+x": want redis+sentinel or redis+cluster`},
		{url: "redis+://h", err: `unknown scheme "redis+": want redis+sentinel or redis+cluster`},
		{url: "unix+cluster://h", err: `unknown scheme "unix+cluster": want redis, rediss or unix`},
		{url: "redis://", err: `not a host name: ""`},
		{url: "redis://a,b", err: "several hosts: say redis+sentinel:// or redis+cluster://"},
		{url: "redis://h:0", err: `not a port from 1 to 65535: "0"`},
		{url: "redis://h:x", err: `not a port from 1 to 65535: "x"`},
		{url: "redis://a:b:c", err: `not HOST:PORT: "a:b:c"`},
		{url: "redis://h/x", err: `not a database number: "x"`},
		{url: "redis://h/-1", err: `not a database number: "-1"`},
		{url: "redis://h?db=1", err: `unknown parameter "db"`},
		{url: "redis://h?pool_size=1", err: `unknown parameter "pool_size"`},
		{url: "redis://u:%zz@h", err: "user and password: a bad % escape"},
		{url: "redis+sentinel://h", err: "want the master's name, as in redis+sentinel://HOST/MASTER"},
		{url: "redis+cluster://h/1", err: "a cluster has no database number"},
		{url: "unix://run/redis.sock", err: "want an absolute socket name, as in unix:///run/redis.sock"},
		{url: "unix://", err: "want an absolute socket name, as in unix:///run/redis.sock"},
	}
	for _, tt := range tests {
		got, err := parseRedisURL(tt.url)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: error %v, want %s", tt.url, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.url, diff)
		}
	}
}

func TestSuggestion(t *testing.T) {
	for name, want := range map[string]string{
		"zk_hots": "zk_host", "redis-ip": "redis_ip", "ZK_PREFIX": "zk_prefix", "communicate_prt": "communicate_port", "xyz": "", "": "", "q": "",
	} {
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got := suggestion(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// FuzzLoad: no file makes the parser panic; what is accepted is valid, and
// every refusal names the file.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("zk_host = 'a:1,b/c'\nzk_auth_data = ['digest:a:b', ['digest', 'c:d']]\n[cgroup_pid_files]\na = ['/x*']\n"))
	f.Add([]byte("communicate_port = '3344'\nredis_url = 'redis+sentinel://u:p@h,i:1/m/0?sentinel_username=x'\n"))
	f.Add([]byte("a.b = 1\n[[c]]\nd = 2\n"))
	f.Add([]byte("get_zk_host = ['/x', 1]\nprotected_cgroup = ['a', '[']\ncgroup_root = 'a/..'\n"))
	for _, k := range Keys {
		if k.Example != "" {
			f.Add([]byte(k.Name + " = " + k.Example + "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse("f.toml", data, nil)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if line == "" {
					t.Fatalf("empty line in error %q", err)
				}
			}
			if !strings.HasPrefix(err.Error(), "f.toml") {
				t.Fatalf("error names no file: %v", err)
			}
			return
		}
		c := d.Config
		if !strings.HasPrefix(c.CgroupDir, "/") || !strings.HasPrefix(c.StateDir, "/") || !c.CommunicateIP.IsValid() ||
			c.CommunicatePort < 0 || c.CommunicatePort > 65535 || c.ZKSessionTimeout <= 0 || c.TasksUpdateInterval <= 0 || c.HistoryTime <= 0 ||
			c.CgroupRoot != CgroupRootAuto && !strings.HasPrefix(c.CgroupRoot, "/") || strings.Contains(c.CgroupRoot, "..") && strings.Contains("/"+c.CgroupRoot+"/", "/../") {
			t.Fatalf("invalid: %+v", c)
		}
		for cgroup, files := range c.CgroupPidFiles {
			if cgroup == "" || cgroup[0] == '/' {
				t.Fatalf("cgroup %q", cgroup)
			}
			for _, file := range files {
				if !strings.HasPrefix(file, "/") {
					t.Fatalf("pid file %q", file)
				}
			}
		}
	})
}

// FuzzRedisURL: an accepted address has hosts; an error never quotes a
// password.
func FuzzRedisURL(f *testing.F) {
	for _, s := range []string{"redis://u:p@h:1/2", "rediss+sentinel://a,b/m", "unix:///x?db=1", "redis+cluster://[::1]:1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		r, err := parseRedisURL(url)
		if err == nil && (r.Mode == RedisNone || len(r.Addrs) == 0 || r.Network == "") {
			t.Fatalf("%q: %+v", url, r)
		}
	})
}
