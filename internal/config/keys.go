package config

import (
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Kind is the type of a key's value.
type Kind int

// The kinds, with the form of the value in the file and as a flag.
const (
	// KindString is a string.
	KindString Kind = iota
	// KindPath is an absolute file name; as a flag also relative to the working
	// directory.
	KindPath
	// KindInt is a whole number; a string of digits is accepted as well.
	KindInt
	// KindSeconds is a whole number of seconds.
	KindSeconds
	// KindBool is true or false; the strings "true" and "false" are accepted as well.
	KindBool
	// KindChoice is one of Key.Choices.
	KindChoice
	// KindList is a list of strings; as a flag repeated, or separated by commas.
	KindList
	// KindCommand is a program and its arguments, as a list of strings; as a
	// flag separated by blanks, or a TOML list in brackets. There is no shell.
	KindCommand
	// KindTable is a table of lists of strings; as a flag NAME=FILE, repeated.
	KindTable
	// KindAuth is a list of credentials; never a flag.
	KindAuth
)

// Key is one key of the configuration file.
type Key struct {
	Name    string   // as in the file, such as "zk_prefix"
	Kind    Kind     // type of the value
	Default string   // in the form a flag takes; "" for none
	Choices []string // for KindChoice, and for a KindList that takes these words only
	Help    string   // one line, for --help
	Detail  string   // more, for the manual; may be empty
	Example string   // a TOML value, where the default says too little
	Flag    bool     // whether there is a flag too; secrets have none

	// set checks a value and puts it into the draft.
	set func(d *draft, in input) error
}

// FlagName is the key's name as a flag, without the leading dashes.
func (k *Key) FlagName() string { return strings.ReplaceAll(k.Name, "_", "-") }

// Repeatable reports whether the flag may be given several times. The
// occurrences go to [Load] joined by newlines.
func (k *Key) Repeatable() bool { return k.Kind == KindList || k.Kind == KindTable }

// TypeName names the value's type, for help and manual.
func (k *Key) TypeName() string {
	switch k.Kind {
	case KindPath:
		return "absolute path"
	case KindInt:
		return "number"
	case KindSeconds:
		return "seconds"
	case KindBool:
		return "true or false"
	case KindChoice:
		return strings.Join(k.Choices, " or ")
	case KindList:
		return "list of strings"
	case KindCommand:
		return "command (list of strings)"
	case KindTable:
		return "table of lists of strings"
	case KindAuth:
		return "list of strings or pairs"
	default:
		return "string"
	}
}

// LookupKey finds a key by its name.
func LookupKey(name string) (*Key, bool) {
	for i := range Keys {
		if Keys[i].Name == name {
			return &Keys[i], true
		}
	}
	return nil, false
}

// Keys are all keys, in the order of the manual. Treat it as a constant.
var Keys = []Key{
	{Name: "cgroup_dir", Kind: KindPath, Default: "/sys/fs/cgroup", Flag: true, set: setCgroupDir,
		Help:   "where cgroup filesystems are mounted",
		Detail: "Hierarchies are found in /proc/self/mountinfo at or below it."},
	{Name: "cgroup_root", Kind: KindString, Default: CgroupRootAuto, Flag: true, set: setCgroupRoot,
		Help:    "our root below each hierarchy's mount, or auto",
		Detail:  "A path such as / or /prod, made when absent. Nothing outside it is ever written. auto is / on cgroup v1.",
		Example: `"/prod"`},
	{Name: "zk_host", Kind: KindString, Flag: true, set: setZKHost,
		Help:    "ZooKeeper servers, HOST:PORT separated by commas, optionally ending in a chroot",
		Detail:  "Exactly one of zk_host, get_zk_host and conf_file is given. One given as a flag replaces the one in the file.",
		Example: `"127.0.0.1:2181,1.2.3.4:2181/chroot"`},
	{Name: "get_zk_host", Kind: KindCommand, Flag: true, set: setGetZKHost,
		Help:    "instead of zk_host: a command that prints it",
		Detail:  "Run again at each new session; when it fails, the servers that it named last are used. No shell: program and arguments are separate strings. The program is an absolute path, or a bare name that the system's directories are searched for.",
		Example: `["/usr/local/bin/zk-hosts", "--dc", "bj"]`},
	{Name: "zk_prefix", Kind: KindString, Flag: true, set: setZKPrefix,
		Help:    "the document is the node PREFIX/arch_conf",
		Example: `"/cgroup/prod"`},
	{Name: "zk_auth_data", Kind: KindAuth, set: setZKAuthData,
		Help:    "credentials for ZooKeeper",
		Detail:  "Strings \"SCHEME:DATA\" or pairs [\"SCHEME\", \"DATA\"]. A secret: no flag, and the file must not be readable by others.",
		Example: `["digest:super:123456", ["digest", "other:secret"]]`},
	{Name: "zk_auth_file", Kind: KindPath, Flag: true, set: setZKAuthFile,
		Help:    "instead of zk_auth_data: a file with one SCHEME:DATA a line",
		Detail:  "Empty lines and lines that begin with # are skipped. Refused when others can read it. The systemd credential cgrouparchd.zk_auth (/etc/credstore) stands for it.",
		Example: `"/etc/cgrouparchd/zk_auth"`},
	{Name: "zk_session_timeout", Kind: KindSeconds, Default: "10", Flag: true, set: setZKSessionTimeout,
		Help: "ZooKeeper session timeout, 1 to 3600"},
	{Name: "conf_file", Kind: KindPath, Flag: true, set: setConfFile,
		Help:    "instead of ZooKeeper: a local file with the document, watched for changes",
		Detail:  "Where it is a symbolic link into another directory, a change there is seen within 5 s.",
		Example: `"/etc/cgrouparchd/arch_conf.json"`},
	{Name: "conf_history", Kind: KindInt, Default: "20", Flag: true, set: setConfHistory,
		Help:   "how many earlier documents conf set keeps in ZooKeeper, 0 to 1000",
		Detail: "They lie compressed below PREFIX/arch_conf_history, with author, time and reason. With 0 nothing is added and nothing removed."},
	{Name: "state_dir", Kind: KindPath, Default: "/var/lib/cgrouparchd", Flag: true, set: setStateDir,
		Help:   "directory that keeps the last good and the last applied document",
		Detail: "What is kept there is enforced when ZooKeeper is down at the start."},
	{Name: "cgroup_pid_files", Kind: KindTable, Flag: true, set: setCgroupPidFiles,
		Help:    "pid files of a cgroup (path or name), as NAME=FILE, globs allowed",
		Detail:  "In the file a table of lists, best put at the end. A path (with a slash, such as a/b or /a) beats a name. File names are absolute.",
		Example: `{ "test_cgroup_a" = ["/run/nginx.pid"], "test_cgroup_b/test_cgroup_b_sub1" = ["/run/worker/*.pid"] }`},
	{Name: "get_cgroup_pid_file", Kind: KindCommand, Flag: true, set: setGetCgroupPidFile,
		Help:    "a command run with a cgroup's name that prints pid file names, one a line",
		Detail:  "Besides or instead of cgroup_pid_files. The name is the last argument; $CGROUP_PATH and $CGROUP_SUBSYSTEMS say more. Ends after 10 s at most; when it fails, its last good list is kept.",
		Example: `["/usr/local/bin/pid-files"]`},
	{Name: "pid_file_check", Kind: KindChoice, Choices: []string{"strict", "off"}, Default: "strict", Flag: true, set: setPidFileCheck,
		Help:   "strict distrusts stale and unsafe pid files, off trusts every pid file",
		Detail: "strict: a process that started more than 2 s after its pid file was written, and a pid file that somebody else may have written, are not placed."},
	{Name: "tasks_update_interval", Kind: KindSeconds, Default: "30", Flag: true, set: setTasksUpdateInterval,
		Help: "time between full placement and audit passes, 1 to 86400"},
	{Name: "protected_cgroup", Kind: KindList, Flag: true, set: setProtectedCgroup,
		Help:    "cgroups that are never touched: a name at any depth, a glob, or a path",
		Detail:  "A path has a slash, or begins with a subsystem and a colon (several: cpu,memory:/a).",
		Example: `["lxc", "vm-*", "/a/b", "cpu:/a/c"]`},
	{Name: "protect_system_cgroups", Kind: KindBool, Default: "true", Flag: true, set: setProtectSystemCgroups,
		Help:   "never prune cgroups of init systems, container runtimes and machine managers",
		Detail: "Such as system.slice, user.slice, init.scope, machine.slice, docker, kubepods*, lxc*, libvirt*. The document may still name them."},
	{Name: "communicate_ip", Kind: KindString, Default: "0.0.0.0", Flag: true, set: setCommunicateIP,
		Help:    "address of the websocket and HTTP server",
		Example: `"127.0.0.1"`},
	{Name: "communicate_port", Kind: KindInt, Default: "43409", Flag: true, set: setCommunicatePort,
		Help: "port of the websocket and HTTP server; 0 = any free port, shown in the log"},
	{Name: "communicate_clients", Kind: KindInt, Default: "4096", Flag: true, set: setCommunicateClients,
		Help:   "how many websockets may be open at a time",
		Detail: "Each takes a file descriptor, which the files kept open for sampling then lack, and about 20 KiB of memory."},
	{Name: "allowed_hosts", Kind: KindList, Flag: true, set: setAllowedHosts,
		Help:    "further names that browsers may use for this server",
		Detail:  "Names for the Host and Origin headers, NAME or NAME:PORT. Addresses, localhost and this host's own names need not be listed.",
		Example: `["cgroups.example.com"]`},
	{Name: "redis_ip", Kind: KindString, Flag: true, set: setRedisIP,
		Help:    "address of Redis; without redis_ip and redis_url history lives in memory only",
		Example: `"127.0.0.1"`},
	{Name: "redis_port", Kind: KindInt, Default: "6379", Flag: true, set: setRedisPort,
		Help: "port of Redis, used with redis_ip only"},
	{Name: "redis_url", Kind: KindString, Flag: true, set: setRedisURL,
		Help: "instead of redis_ip: redis://, rediss:// (TLS) or unix://; no password as a flag",
		Detail: "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// the same over TLS, unix://[USER:PASSWORD@]/SOCKET[?db=DB]. " +
			"Sentinel: redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST...]/MASTER[/DB][?sentinel_username=..&sentinel_password=..]. " +
			"Cluster: redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST...]. " +
			"rediss+sentinel:// and rediss+cluster:// use TLS. With a password it is a secret: the file must not be readable by others. The systemd credential cgrouparchd.redis_url stands for it.",
		Example: `"rediss://user:password@redis.example.com:6380/0"`},
	{Name: "redis_prefix", Kind: KindString, Default: "cgroup_arch", Flag: true, set: setRedisPrefix,
		Help:    "beginning of every key in Redis; {host} becomes the host name",
		Detail:  "Each daemon needs its own: a second writer below one prefix is shown as a fault.",
		Example: `"cgroup_arch/{host}"`},
	{Name: "redis_expire_time", Kind: KindSeconds, Default: "300", Flag: true, set: setRedisExpireTime,
		Help: "how long history is kept, in Redis and in memory, 1 to 86400"},
	{Name: "sample_interval", Kind: KindChoice, Choices: []string{"1s", "500ms", "250ms", "200ms", "100ms"}, Default: "1s", Flag: true, set: setSampleInterval,
		Help: "time between two samples; below 1s they show peaks inside a second",
		Detail: "They are in memory only, for a minute: show_samples and show-account --samples show them. Slots stay seconds, here and in Redis. " +
			"The sampler's CPU time grows as much as the interval shrinks."},
	{Name: "metrics_cgroups", Kind: KindInt, Default: "1000", Flag: true, set: setMetricsCgroups,
		Help:   "how many cgroups of a subsystem /metrics shows at most, 0 to 100000",
		Detail: "Those nearest to the root come first: their counters include the others'. cgrouparchd_cgroups_shown tells whether all are shown."},
	{Name: "blkio_arm_disks", Kind: KindBool, Default: "true", Flag: true, set: setBlkioArmDisks,
		Help:   "make the kernel count disk traffic by a throttle rule that limits nothing",
		Detail: "Recent cgroup v1 kernels count nothing for a disk until it has a rule. Only when the document names blkio."},
	{Name: "bpf_iterator", Kind: KindBool, Default: "false", Flag: true, set: setBPFIterator,
		Help:   "read the CPU usage of all cgroups at once by BPF programs instead of a file for each",
		Detail: "Takes a fraction of the time and no descriptors; worth having from some thousand cgroups on. Needs Linux 6.4 with CONFIG_DEBUG_INFO_BTF, and CAP_BPF and CAP_PERFMON or CAP_SYS_ADMIN. Where it is refused, the log says why, and files are read."},
	{Name: "proc_connector", Kind: KindBool, Default: "false", Flag: true, set: setProcConnector,
		Help:   "hear of every process that is born, and place it at once when it is outside its cgroup",
		Detail: "Without it, a child of a process that somebody has moved out of its cgroup waits for the next full pass. Every process that comes and goes on the host costs up to 0.1 ms of CPU time then. Needs CONFIG_PROC_EVENTS, CAP_NET_ADMIN, and the host's own pid, user and network namespace. Where it is refused, the log says why."},
	{Name: "account_extra", Kind: KindList, Choices: []string{cgfs.PartMemoryEvents, cgfs.PartPSI, cgfs.PartThrottling}, Flag: true, set: setAccountExtra,
		Help: "further parts of the usage data: memory_events, psi, throttling",
		Detail: "Each is recorded where the kernel has it, and read every 10 seconds. " +
			"psi: pressure of CPU, memory and disks (v2). throttling: how often and how long a CPU limit stopped a cgroup. memory_events: what memory limits led to (v2).",
		Example: `["psi", "throttling"]`},
	{Name: "log_level", Kind: KindChoice, Choices: []string{"debug", "info", "warn", "error"}, Default: "info", Flag: true, set: setLogLevel,
		Help: "least level that is logged"},
	{Name: "log_format", Kind: KindChoice, Choices: []string{"auto", "json", "console"}, Default: "auto", Flag: true, set: setLogFormat,
		Help: "form of the log; auto is json unless on a terminal"},
}
