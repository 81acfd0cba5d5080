// Package config reads the daemon's own configuration: one TOML file and the command line's flags become one valid, typed [Config].
//
// Every key is one row of [Keys]: the file, the flags, the reference file and
// the manual page are all made from that table. Values are checked here once;
// nothing downstream asks again whether a port is a port.
package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"time"
)

// DefaultPath is the file that is read when --config is not given.
const DefaultPath = "/etc/cgrouparchd/cgrouparchd.toml"

// CgroupRootAuto as [Config.CgroupRoot] leaves the choice of our root to the
// daemon.
const CgroupRootAuto = "auto"

// Config is the daemon's configuration: complete (defaults filled in) and
// valid. Nobody changes it after [Load].
type Config struct {
	// File is the file that was read; "" when there was none.
	File string

	// CgroupDir is where cgroup filesystems are mounted: absolute and clean.
	CgroupDir string
	// CgroupRoot is [CgroupRootAuto] or a clean path that begins with "/".
	CgroupRoot string

	// ZKHost, GetZKHost and ConfFile say where the document comes from: at
	// most one of them is set, see [Config.RequireSource].
	ZKHost           string        // servers and optional chroot, as written
	GetZKHost        []string      // a command that prints what ZKHost holds
	ConfFile         string        // a local file, absolute
	ZKPrefix         string        // begins with "/", or "" for the chroot itself
	ZKAuth           []Auth        // credentials to add to each session
	ZKSessionTimeout time.Duration // asked for; the server may give less

	// ConfHistory is how many earlier documents the commands that write one
	// keep beside it.
	ConfHistory int

	// StateDir holds the last good and the last applied document: absolute.
	StateDir string

	// CgroupPidFiles maps a cgroup's path or name to absolute pid file names, which
	// may be globs. Only a path of one component has a leading slash.
	CgroupPidFiles map[string][]string
	// GetCgroupPidFile is a command that prints pid file names; nil for none.
	GetCgroupPidFile []string
	// PidFileStrict distrusts pid files as design 2.5 says.
	PidFileStrict bool
	// TasksUpdateInterval is the time between full passes.
	TasksUpdateInterval time.Duration

	// ProtectedCgroup lists names, globs and paths that are never touched.
	ProtectedCgroup []string
	// ProtectSystemCgroups also shields the names of init systems, container
	// runtimes and machine managers from pruning.
	ProtectSystemCgroups bool

	// CommunicateIP and CommunicatePort are the server's address; port 0 means
	// any free one.
	CommunicateIP   netip.Addr
	CommunicatePort int
	// CommunicateClients is how many websockets may be open at a time.
	CommunicateClients int
	// AllowedHosts are further Host and Origin names, "name" or "name:port", in
	// lower case.
	AllowedHosts []string

	// Redis says where history is written.
	Redis Redis
	// HistoryTime is how long a slot is kept, in Redis and in memory.
	HistoryTime time.Duration
	// SampleInterval is the time between two samples; a second: there are only slots.
	SampleInterval time.Duration

	// MetricsCgroups is how many cgroups of a subsystem /metrics shows at most.
	MetricsCgroups int
	// BlkioArmDisks lets the daemon arm disks by a no-op throttle rule.
	BlkioArmDisks bool
	// BPFIterator reads CPU usage by BPF programs where the kernel lets them.
	BPFIterator bool
	// ProcConnector lets the daemon hear of every process that is born on the host.
	ProcConnector bool

	// AccountExtra are optional parts of the usage data, as package cgfs names
	// them, sorted; nil for none.
	AccountExtra []string

	// LogLevel is debug, info, warn or error.
	LogLevel string
	// LogFormat is auto, json or console.
	LogFormat string
}

// RequireSource is an error unless the configuration says where the document
// comes from. Commands that read no document do not ask.
func (c *Config) RequireSource() error {
	if c.ZKHost == "" && c.GetZKHost == nil && c.ConfFile == "" {
		return errors.New("no source of the cgroup configuration: one of zk_host, get_zk_host and conf_file is needed")
	}
	return nil
}

// Auth is one credential for ZooKeeper's addauth.
type Auth struct {
	Scheme string // "digest"
	Data   Secret // "user:password"
}

// Secret is a text that never shows itself: whoever prints or logs it gets
// asterisks.
type Secret string

const hidden = "********"

// String is a row of asterisks.
func (s Secret) String() string { return hidden }

// GoString is a row of asterisks, for %#v.
func (s Secret) GoString() string { return hidden }

// MarshalJSON encodes a row of asterisks.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// Reveal is the text itself.
func (s Secret) Reveal() string { return string(s) }
