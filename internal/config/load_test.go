package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareConfig = cmp.Options{cmpopts.EquateComparable(netip.Addr{})}

// defaults is what an empty file means.
func defaults() *Config {
	return &Config{
		CgroupDir:            "/sys/fs/cgroup",
		CgroupRoot:           "auto",
		ZKSessionTimeout:     10 * time.Second,
		StateDir:             "/var/lib/cgrouparchd",
		PidFileStrict:        true,
		TasksUpdateInterval:  30 * time.Second,
		ProtectSystemCgroups: true,
		CommunicateIP:        netip.IPv4Unspecified(),
		CommunicatePort:      43409,
		CommunicateClients:   4096,
		Redis:                Redis{Prefix: "cgroup_arch"},
		HistoryTime:          300 * time.Second,
		SampleInterval:       time.Second,
		MetricsCgroups:       1000,
		ConfHistory:          20,
		BlkioArmDisks:        true,
		LogLevel:             "info",
		LogFormat:            "auto",
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name  string
		file  string
		flags map[string]string
		want  func(*Config)
	}{
		{"empty", "", nil, func(*Config) {}},
		{"values that mean not given", "zk_host = ''\nget_zk_host = []\nconf_file = ''\nredis_ip = ''\nredis_url = ''\nzk_auth_data = []\ncgroup_pid_files = {}\n", nil, func(*Config) {}},
		{"zookeeper", "zk_host = '127.0.0.1:2181,h,[::1]:1/a/b'\nzk_prefix = '/cgroup/prod/'\nzk_session_timeout = 4\nzk_auth_data = ['digest:super:123456', ['digest', 'u:p:q'], 'ip:x']", nil, func(c *Config) {
			c.ZKHost, c.ZKPrefix, c.ZKSessionTimeout = "127.0.0.1:2181,h,[::1]:1/a/b", "/cgroup/prod", 4*time.Second
			c.ZKAuth = []Auth{{"digest", "super:123456"}, {"digest", "u:p:q"}, {"ip", "x"}}
		}},
		{"numbers as strings", "communicate_port = '3344'\nredis_ip = 'r'\nredis_port = \"1\"\nredis_expire_time = '60'\nblkio_arm_disks = 'false'", nil, func(c *Config) {
			c.CommunicatePort, c.HistoryTime, c.BlkioArmDisks = 3344, time.Minute, false
			c.Redis = Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"r:1"}, Prefix: "cgroup_arch"}
		}},
		{"commands", "get_zk_host = ['/bin/hosts', '-x', '', 'a b']\nget_cgroup_pid_file = ['files']", nil, func(c *Config) {
			c.GetZKHost, c.GetCgroupPidFile = []string{"/bin/hosts", "-x", "", "a b"}, []string{"files"}
		}},
		{"pid files", "[cgroup_pid_files]\na = ['/run/a.pid', '/run/a/*.pid']\n'/b/c/' = ['/x']\n'b/c' = ['/y']\n'/a/' = ['/z']\n", nil, func(c *Config) {
			c.CgroupPidFiles = map[string][]string{"a": {"/run/a.pid", "/run/a/*.pid"}, "/a": {"/z"}, "b/c": {"/x", "/y"}}
		}},
		{"lists", "protected_cgroup = ['lxc', 'vm-*', '/a/b', 'cpu:/a/b']\nallowed_hosts = ['CG.example.com', 'h:8443']", nil, func(c *Config) {
			c.ProtectedCgroup = []string{"lxc", "vm-*", "/a/b", "cpu:/a/b"}
			c.AllowedHosts = []string{"cg.example.com", "h:8443"}
		}},
		{"choices", "pid_file_check = 'off'\nlog_level = 'debug'\nlog_format = 'json'", nil, func(c *Config) {
			c.PidFileStrict, c.LogLevel, c.LogFormat = false, "debug", "json"
		}},
		{"parts of the accounting", "account_extra = ['throttling', 'psi', 'throttling']", nil, func(c *Config) {
			c.AccountExtra = []string{"psi", "throttling"}
		}},
		{"parts of the accounting as flags", "account_extra = ['psi']", map[string]string{"account_extra": "memory_events\nthrottling"}, func(c *Config) {
			c.AccountExtra = []string{"memory_events", "throttling"}
		}},
		{"paths", "cgroup_root = 'prod//x/'\ncgroup_dir = '/a/../b/'\nstate_dir = '/s/'\nconf_file = '/c//d'", nil, func(c *Config) {
			c.CgroupRoot, c.CgroupDir, c.StateDir, c.ConfFile = "/prod/x", "/b", "/s", "/c/d"
		}},
		{"root itself", "cgroup_root = '/'", nil, func(c *Config) { c.CgroupRoot = "/" }},
		{"redis url keeps the prefix", "redis_prefix = 'p/{host}/'\nredis_url = 'rediss://u:p%40@h/3'", nil, func(c *Config) {
			c.Redis = Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"h:6379"}, TLS: true, Username: "u", Password: "p@", DB: 3, Prefix: "p/{host}"}
		}},
		{"IPv6", "communicate_ip = '::1'\nredis_ip = '[::1]'", nil, func(c *Config) {
			c.CommunicateIP = netip.IPv6Loopback()
			c.Redis = Redis{Mode: RedisSingle, Network: "tcp", Addrs: []string{"[::1]:6379"}, Prefix: "cgroup_arch"}
		}},

		{"a flag wins", "communicate_port = 1\nprotected_cgroup = ['x']\n[cgroup_pid_files]\nz = ['/z']\n",
			map[string]string{"communicate_port": "2", "protected_cgroup": "a,b\n[\"c,d\"]\n e ", "cgroup_pid_files": "a=/1\nb=c=/2\na=/3"}, func(c *Config) {
				c.CommunicatePort, c.ProtectedCgroup = 2, []string{"a", "b", "c,d", "e"}
				c.CgroupPidFiles = map[string][]string{"a": {"/1", "/3"}, "b=c": {"/2"}}
			}},
		{"a source as a flag replaces the file's", "zk_host = 'h'\nzk_prefix = '/p'", map[string]string{"conf_file": "/c"}, func(c *Config) {
			c.ConfFile, c.ZKPrefix = "/c", "/p"
		}},
		{"redis as a flag replaces the file's", "redis_ip = 'h'\nredis_port = 1", map[string]string{"redis_url": "unix:///run/redis.sock"}, func(c *Config) {
			c.Redis = Redis{Mode: RedisSingle, Network: "unix", Addrs: []string{"/run/redis.sock"}, Prefix: "cgroup_arch"}
		}},
		{"redis off by a flag", "redis_ip = 'h'", map[string]string{"redis_ip": ""}, func(*Config) {}},
		{"commands as flags", "", map[string]string{"get_zk_host": "/bin/hosts  -x y", "get_cgroup_pid_file": `["/bin/files", "a b"]`}, func(c *Config) {
			c.GetZKHost, c.GetCgroupPidFile = []string{"/bin/hosts", "-x", "y"}, []string{"/bin/files", "a b"}
		}},
		{"truth as a flag", "", map[string]string{"protect_system_cgroups": "false"}, func(c *Config) { c.ProtectSystemCgroups = false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := parse("f.toml", []byte(tt.file), tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			tt.want(want)
			if diff := cmp.Diff(want, &d.Config, compareConfig); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name, file string
		flags      map[string]string
		want       string
	}{
		{"unknown key", "\nzk_hosts = 'x'", nil, `f.toml:2: zk_hosts: unknown key (did you mean zk_host?)`},
		{"dashes", "zk-prefix = 'x'", nil, `f.toml:1: zk-prefix: unknown key (did you mean zk_prefix?)`},
		{"nothing near", "qwerty = 1", nil, `f.toml:1: qwerty: unknown key`},
		{"unknown table", "log_level = 'info'\n[zookeeper]\nhost = 1", nil, `f.toml:2: zookeeper: unknown key`},
		{"dotted", "\nredis.ip = 'x'", nil, `f.toml:2: redis: unknown key`},
		{"twice", "zk_host = 'a'\nzk_host = 'b'", nil, `f.toml:2: zk_host: Key 'zk_host' has already been defined.`},
		{"syntax", "zk_host = 'a'\nzk_prefix = x\n", nil, `f.toml:2: zk_prefix: expected value but found "x" instead`},
		{"below the table", "[cgroup_pid_files]\na = ['/a']\ntasks_update_interval = 5", nil,
			`f.toml:3: tasks_update_interval: belongs above the line [cgroup_pid_files], which is best put at the end of the file`},
		{"all at once, in order", "log_level = 'x'\nzk_session_timeout = 0\nnosuch = 1\ncgroup_dir = 5", map[string]string{"redis_port": "x"},
			`f.toml:1: log_level: want debug or info or warn or error, not "x"
f.toml:2: zk_session_timeout: 0 is not from 1 to 3600
f.toml:3: nosuch: unknown key
f.toml:4: cgroup_dir: want a string in quotes, not the number 5
--redis-port: not a whole number: "x"
--redis-port: has an effect only together with redis_ip`},
		{"two sources", "zk_host = 'h'\n\nconf_file = '/c'", nil, `f.toml:1: zk_host, f.toml:3: conf_file: only one of zk_host, get_zk_host, conf_file can be given`},
		{"two sources as flags", "", map[string]string{"zk_host": "h", "conf_file": "/c"}, `--conf-file, --zk-host: only one of zk_host, get_zk_host, conf_file can be given`},
		{"two redis", "redis_ip = 'h'\nredis_url = 'redis://h'", nil, `f.toml:1: redis_ip, f.toml:2: redis_url: only one of redis_ip, redis_url can be given`},
		{"port alone", "redis_url = 'redis://h'", map[string]string{"redis_port": "1"}, `--redis-port: has an effect only together with redis_ip`},
		{"a flag does not hide a bad file", "communicate_port = 99999", map[string]string{"communicate_port": "1"}, `f.toml:1: communicate_port: 99999 is not from 0 to 65535`},
		{"no such flag", "", map[string]string{"nosuch": "1"}, `--nosuch: no such flag`},
		{"secret as a flag", "", map[string]string{"zk_auth_data": "digest:a:b"}, `--zk-auth-data: no such flag`},
		{"password as a flag", "", map[string]string{"redis_url": "redis://u:geheim@h"}, `--redis-url: a password in an argument is seen by every user of this host: put redis_url into the configuration file`},
		{"negative", "tasks_update_interval = -1", nil, `f.toml:1: tasks_update_interval: -1 is not from 1 to 86400`},
		{"fraction", "tasks_update_interval = 1.5", nil, `f.toml:1: tasks_update_interval: want a whole number, not a fraction`},
		{"date", "tasks_update_interval = 2024-01-01", nil, `f.toml:1: tasks_update_interval: want a whole number, not a date or time`},
		{"bool", "blkio_arm_disks = 1", nil, `f.toml:1: blkio_arm_disks: want true or false, not the number 1`},
		{"bool string", "blkio_arm_disks = 'yes'", nil, `f.toml:1: blkio_arm_disks: want true or false, not "yes"`},
		{"relative", "state_dir = 'x'", nil, `f.toml:1: state_dir: not an absolute path: "x"`},
		{"root up", "cgroup_root = '/a/../b'", nil, `f.toml:1: cgroup_root: ".." in a cgroup path`},
		{"root empty", "cgroup_root = ''", nil, `f.toml:1: cgroup_root: empty: want a path such as / or /prod, or auto`},
		{"control character", "zk_prefix = \"/a\\nb\"", nil, `f.toml:1: zk_prefix: control character '\n'`},
		{"zk host", "zk_host = '127.0.0.1:port'", nil, `f.toml:1: zk_host: not a port from 1 to 65535: "port"`},
		{"zk host empty", "zk_host = 'a,,b'", nil, `f.toml:1: zk_host: not a host name: ""`},
		{"zk host URL", "zk_host = 'http://a:1'", nil, `f.toml:1: zk_host: not a port from 1 to 65535: ""`},
		{"zk chroot", "zk_host = 'a/b//c'", nil, `f.toml:1: zk_host: an empty name in the node's path "/b//c"`},
		{"zk prefix", "zk_prefix = '/a/../b'", nil, `f.toml:1: zk_prefix: ".." in the node's path "/a/../b"`},
		{"command as a string", "get_zk_host = '/bin/x y'", nil, `f.toml:1: get_zk_host: want a list, the program and its arguments (there is no shell), not a string`},
		{"relative command", "get_zk_host = ['./x']", nil, `f.toml:1: get_zk_host: the program is neither an absolute path nor a bare name: "./x"`},
		{"empty command", "get_zk_host = ['']", nil, `f.toml:1: get_zk_host: the program is neither an absolute path nor a bare name: ""`},
		{"command of numbers", "get_zk_host = ['/x', 5]", nil, `f.toml:1: get_zk_host: item 2: want a string in quotes, not the number 5`},
		{"list as a string", "protected_cgroup = 'a'", nil, `f.toml:1: protected_cgroup: want a list of strings such as ["a", "b"], not a string`},
		{"list of numbers", "protected_cgroup = [\n 'a',\n 1]", nil, `f.toml:1: protected_cgroup: item 2: want a string in quotes, not the number 1`},
		{"part of the accounting", "account_extra = ['psi', 'PSI']", nil, `f.toml:1: account_extra: want memory_events or psi or throttling, not "PSI"`},
		{"glob", "protected_cgroup = ['[a']", nil, `f.toml:1: protected_cgroup: a bad pattern: "[a"`},
		{"protected path", "protected_cgroup = ['/a/../b']", nil, `f.toml:1: protected_cgroup: no cgroup has such a path: "/a/../b"`},
		{"protected root", "protected_cgroup = ['cpu:/']", nil, `f.toml:1: protected_cgroup: a path protects a cgroup below our root, not the root itself`},
		{"ip", "communicate_ip = 'localhost'", nil, `f.toml:1: communicate_ip: not an IP address: "localhost"`},
		{"allowed pattern", "allowed_hosts = ['*.a']", nil, `f.toml:1: allowed_hosts: "*.a": a name, not a pattern`},
		{"allowed URL", "allowed_hosts = ['http://a']", nil, `f.toml:1: allowed_hosts: "http://a": NAME or NAME:PORT, without http:// and path`},
		{"redis ip with port", "redis_ip = 'h:1'", nil, `f.toml:1: redis_ip: "h:1": the port belongs into redis_port`},
		{"redis prefix", "redis_prefix = '/'", nil, `f.toml:1: redis_prefix: empty`},
		{"auth", "zk_auth_data = ['digest:geheim']", nil, `f.toml:1: zk_auth_data: item 1: digest wants USER:PASSWORD`},
		{"auth pair", "zk_auth_data = [['a']]", nil, `f.toml:1: zk_auth_data: item 1: want a pair ["SCHEME", "DATA"]`},
		{"auth string", "zk_auth_data = 'digest:a:b'", nil, `f.toml:1: zk_auth_data: want a list such as ["digest:user:password"], not a string`},
		{"pid file table", "cgroup_pid_files = ['/x']", nil, `f.toml:1: cgroup_pid_files: want a table such as { "name" = ["/run/x.pid"] }, not a list`},
		{"pid file string", "[cgroup_pid_files]\n\na = '/x'", nil, `f.toml:3: cgroup_pid_files: a: want a list of strings such as ["a", "b"], not a string`},
		{"pid file relative", "[cgroup_pid_files]\n'a/b' = ['x']", nil, `f.toml:2: cgroup_pid_files: a/b: not an absolute file name: "x"`},
		{"pid file cgroup", "[cgroup_pid_files]\n'a/../b' = ['/x']", nil, `f.toml:2: cgroup_pid_files: a/../b: not a cgroup's path or name`},
		{"pid file flag", "", map[string]string{"cgroup_pid_files": "a=x"}, `--cgroup-pid-files: want NAME=FILE with an absolute file name: "a=x"`},
		{"list flag", "", map[string]string{"protected_cgroup": `["a"`}, `--protected-cgroup: not a list such as ["a", "b"]: ["a"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("f.toml", []byte(tt.file), tt.flags)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestRequireSource(t *testing.T) {
	for file, ok := range map[string]bool{"": false, "zk_host = 'h'": true, "get_zk_host = ['/x']": true, "conf_file = '/x'": true} {
		d, err := parse("f.toml", []byte(file), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.RequireSource(); (err == nil) != ok {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// write makes a file of our own with exactly this mode, whatever the umask.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLoad(t *testing.T) {
	name := write(t, "c.toml", "zk_host = 'h'\n", 0o644)
	c, err := Load(name, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.File, want.ZKHost = name, "h"
	if diff := cmp.Diff(want, c, compareConfig); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}

	missing := filepath.Join(t.TempDir(), "none.toml")
	if _, err := Load(missing, true, nil); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file that was asked for: %v", err)
	}
	c, err = Load(missing, false, map[string]string{"conf_file": "x.json"})
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "" || c.ConfFile != filepath.Join(wd, "x.json") {
		t.Errorf("missing default file: File %q, ConfFile %q", c.File, c.ConfFile)
	}
	if _, err := Load(t.TempDir(), true, nil); err == nil {
		t.Error("a directory was read")
	}
	large := write(t, "large.toml", strings.Repeat("#", maxFile+1), 0o600)
	if _, err := Load(large, true, nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("large file: %v", err)
	}
}

func TestAccess(t *testing.T) {
	const plain, auth = "zk_host = 'h'\n", "zk_auth_data = ['digest:u:geheim']\n"
	tests := []struct {
		name, text string
		mode       os.FileMode
		gid        int
		ok         bool
	}{
		{"plain", plain, 0o644, -1, true},
		{"plain writable by all", plain, 0o646, -1, false},
		{"plain writable by our group", plain, 0o664, -1, true},
		{"plain writable by a group", plain, 0o664, 65534, false},
		{"secret", auth, 0o600, -1, true},
		{"secret, our group", auth, 0o640, -1, true},
		{"secret, a group", auth, 0o640, 65534, false},
		{"secret, all", auth, 0o644, -1, false},
		{"redis password", "redis_url = 'redis://u:geheim@h'\n", 0o644, -1, false},
		{"redis without", "redis_url = 'redis://h'\n", 0o644, -1, true},
		{"sentinel password", "redis_url = 'redis+sentinel://h/m?sentinel_password=geheim'\n", 0o644, -1, false},
		{"empty list", "zk_auth_data = []\n", 0o644, -1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := write(t, "c.toml", tt.text, tt.mode)
			if tt.gid >= 0 {
				if os.Geteuid() != 0 {
					t.Skip("needs root to give a file away")
				}
				if err := os.Chown(name, -1, tt.gid); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(name, true, nil)
			if (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "geheim")) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("another owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root to give a file away")
		}
		name := write(t, "c.toml", auth, 0o600)
		if err := os.Chown(name, 65534, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(name, true, nil); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a secret that a flag overrides is still one", func(t *testing.T) {
		name := write(t, "c.toml", auth, 0o644)
		authFile := write(t, "auth", "digest:a:b\n", 0o600)
		if _, err := Load(name, true, map[string]string{"zk_auth_file": authFile}); err == nil {
			t.Error("accepted")
		}
	})
}

func TestAuthFile(t *testing.T) {
	const text = "# comment\n\n digest:super:123456 \r\ndigest:a:b\n"
	name := write(t, "auth", text, 0o600)
	c, err := Load("", false, map[string]string{"zk_auth_file": name})
	if err != nil {
		t.Fatal(err)
	}
	want := []Auth{{"digest", "super:123456"}, {"digest", "a:b"}}
	if diff := cmp.Diff(want, c.ZKAuth); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	for _, bad := range []string{
		write(t, "auth", text, 0o644),
		write(t, "auth", "geheim\n", 0o600),
		write(t, "auth", "digest:geheim\n", 0o600),
		filepath.Join(t.TempDir(), "none"),
	} {
		_, err := Load("", false, map[string]string{"zk_auth_file": bad})
		if err == nil || !strings.Contains(err.Error(), bad) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("error %v", err)
		}
	}
}

// TestPipe: a configuration may come from a pipe, as a shell's <(...) makes.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("zk_auth_data = ['digest:u:p']\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("no /dev/fd")
	}
	c, err := Load("/dev/fd/"+itoa(int(r.Fd())), true, nil)
	if err != nil || len(c.ZKAuth) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}
