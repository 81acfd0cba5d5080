package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// A draft is a configuration that is being put together: what two keys say
// together is joined at the end, in [draft.finish].
type draft struct {
	Config
	redisIP, redisPort string
	zkAuthFile         string
	fileSecret         string // name of a key in the file that holds a secret
}

// An input is one value for one key.
type input struct {
	key   *Key
	value any  // as the TOML decoder gives it; a flag's text in the same form
	flag  bool // from the command line
}

// One function per key: a value goes in, the field of the draft comes out
// checked. Every one takes its key's default as well.

func setCgroupDir(d *draft, in input) (err error) {
	d.CgroupDir, err = absolute(in.value)
	return err
}

func setStateDir(d *draft, in input) (err error) {
	d.StateDir, err = absolute(in.value)
	return err
}

func setConfFile(d *draft, in input) (err error) {
	d.ConfFile, err = optionalFile(in.value)
	return err
}

// absolute wants a clean absolute path.
func absolute(v any) (string, error) {
	s, err := asString(v)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(s, "/") {
		return "", fmt.Errorf("not an absolute path: %q", s)
	}
	return path.Clean(s), nil
}

// optionalFile is absolute, or "" for none.
func optionalFile(v any) (string, error) {
	if v == "" {
		return "", nil
	}
	return absolute(v)
}

func setCgroupRoot(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil {
		return err
	}
	if s == CgroupRootAuto {
		d.CgroupRoot = s
		return nil
	}
	if s == "" {
		return errors.New("empty: want a path such as / or /prod, or auto")
	}
	for part := range strings.SplitSeq(s, "/") {
		// Cleaned away, a ".." would mean something else than it looks like.
		if part == ".." || part == "." {
			return fmt.Errorf("%q in a cgroup path", part)
		}
		if len(part) > 255 {
			return errors.New("a name of more than 255 bytes")
		}
		if strings.HasPrefix(part, "@") || cgfs.IsControlFile(part) || strings.ContainsFunc(part, unicode.IsControl) {
			return fmt.Errorf("%q cannot name a cgroup: it is reserved, a control file's name, or has control characters", part)
		}
	}
	d.CgroupRoot = path.Clean("/" + s)
	return nil
}

func setZKSessionTimeout(d *draft, in input) (err error) {
	d.ZKSessionTimeout, err = seconds(in.value, 3600)
	return err
}

func setTasksUpdateInterval(d *draft, in input) (err error) {
	d.TasksUpdateInterval, err = seconds(in.value, 86400)
	return err
}

func setRedisExpireTime(d *draft, in input) (err error) {
	d.HistoryTime, err = seconds(in.value, 86400)
	return err
}

func setSampleInterval(d *draft, in input) error {
	text, err := asString(in.value)
	if err == nil {
		err = oneOf(in.key, text)
	}
	if err == nil {
		d.SampleInterval, err = time.ParseDuration(text)
	}
	return err
}

func seconds(v any, most int64) (time.Duration, error) {
	n, err := asInt(v, 1, most)
	return time.Duration(n) * time.Second, err
}

// setCgroupPidFiles adds to what is there: the file's entries come one by
// one, so that an error can name the entry's own line.
func setCgroupPidFiles(d *draft, in input) error {
	table, ok := in.value.(map[string]any)
	if !ok {
		if in.value == "" {
			return nil
		}
		return fmt.Errorf("want a table such as { \"name\" = [\"/run/x.pid\"] }, not %s", describe(in.value))
	}
	for _, name := range sortedKeys(table) {
		cgroup, list, err := pidFileList(name, table[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d.CgroupPidFiles == nil {
			d.CgroupPidFiles = map[string][]string{}
		}
		d.CgroupPidFiles[cgroup] = append(d.CgroupPidFiles[cgroup], list...)
	}
	return nil
}

// pidFileList checks one entry. A path of one component keeps its slash, which tells
// it from a name.
func pidFileList(name string, v any) (cgroup string, files []string, err error) {
	cgroup = strings.Trim(name, "/")
	if cgroup == "" || path.Clean(cgroup) != cgroup || cgroup == ".." || strings.HasPrefix(cgroup, "../") {
		return "", nil, errors.New("not a cgroup's path or name")
	}
	if strings.HasPrefix(name, "/") && !strings.Contains(cgroup, "/") {
		cgroup = "/" + cgroup // the path, not the name at any depth
	}
	files, err = asList(v)
	if err != nil {
		return "", nil, err
	}
	for _, f := range files {
		if !strings.HasPrefix(f, "/") {
			return "", nil, fmt.Errorf("not an absolute file name: %q", f)
		}
		if err := checkGlob(f); err != nil {
			return "", nil, err
		}
	}
	return cgroup, files, nil
}

func checkGlob(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("a bad pattern: %q", pattern)
	}
	return nil
}

func setGetCgroupPidFile(d *draft, in input) (err error) {
	d.GetCgroupPidFile, err = asCommand(in.value)
	return err
}

func setPidFileCheck(d *draft, in input) error {
	s, err := choice(in)
	d.PidFileStrict = s == "strict"
	return err
}

func setLogLevel(d *draft, in input) (err error) {
	d.LogLevel, err = choice(in)
	return err
}

func setLogFormat(d *draft, in input) (err error) {
	d.LogFormat, err = choice(in)
	return err
}

func setProtectedCgroup(d *draft, in input) error {
	list, err := asList(in.value)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, err := cgfs.ParsePattern(p); err != nil {
			return err
		}
	}
	d.ProtectedCgroup = list
	return nil
}

func setProtectSystemCgroups(d *draft, in input) (err error) {
	d.ProtectSystemCgroups, err = asBool(in.value)
	return err
}

func setConfHistory(d *draft, in input) error {
	n, err := asInt(in.value, 0, 1000)
	d.ConfHistory = int(n)
	return err
}

func setMetricsCgroups(d *draft, in input) error {
	n, err := asInt(in.value, 0, 100_000)
	d.MetricsCgroups = int(n)
	return err
}

func setBlkioArmDisks(d *draft, in input) (err error) {
	d.BlkioArmDisks, err = asBool(in.value)
	return err
}

func setBPFIterator(d *draft, in input) (err error) {
	d.BPFIterator, err = asBool(in.value)
	return err
}

func setProcConnector(d *draft, in input) (err error) {
	d.ProcConnector, err = asBool(in.value)
	return err
}

func setAccountExtra(d *draft, in input) error {
	list, err := asList(in.value)
	if err != nil {
		return err
	}
	for _, part := range list {
		if err := oneOf(in.key, part); err != nil {
			return err
		}
	}
	slices.Sort(list)
	d.AccountExtra = slices.Compact(list)
	return nil
}

func setCommunicateIP(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil {
		return err
	}
	d.CommunicateIP, err = netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("not an IP address: %q", s)
	}
	return nil
}

func setCommunicatePort(d *draft, in input) error {
	n, err := asInt(in.value, 0, 65535)
	d.CommunicatePort = int(n)
	return err
}

func setCommunicateClients(d *draft, in input) error {
	n, err := asInt(in.value, 1, 65536)
	d.CommunicateClients = int(n)
	return err
}

func setAllowedHosts(d *draft, in input) error {
	list, err := asList(in.value)
	if err != nil {
		return err
	}
	d.AllowedHosts = nil
	for _, h := range list {
		switch {
		case strings.Contains(h, "*"):
			return fmt.Errorf("%q: a name, not a pattern", h)
		case strings.Contains(h, "/"):
			return fmt.Errorf("%q: NAME or NAME:PORT, without http:// and path", h)
		}
		if _, err := hostPort(h, "80"); err != nil {
			return err
		}
		d.AllowedHosts = append(d.AllowedHosts, strings.ToLower(h))
	}
	return nil
}

func setRedisIP(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil || s == "" {
		return err
	}
	if strings.Count(s, ":") == 1 {
		return fmt.Errorf("%q: the port belongs into redis_port", s)
	}
	d.redisIP = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	_, err = hostPort(s, redisDefaultPort)
	return err
}

func setRedisPort(d *draft, in input) error {
	n, err := asInt(in.value, 1, 65535)
	d.redisPort = strconv.FormatInt(n, 10)
	return err
}

func setRedisURL(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil || s == "" {
		return err
	}
	r, err := parseRedisURL(s)
	if err != nil {
		return err
	}
	if in.flag && r.hasPassword() {
		return errors.New("a password in an argument is seen by every user of this host: put redis_url into the configuration file")
	}
	r.Prefix = d.Redis.Prefix
	d.Redis = r
	return nil
}

func setRedisPrefix(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil {
		return err
	}
	s = strings.TrimRight(s, "/")
	if s == "" {
		return errors.New("empty")
	}
	d.Redis.Prefix = s
	return nil
}

// choice wants one of the key's choices.
func choice(in input) (string, error) {
	s, err := asString(in.value)
	if err != nil {
		return "", err
	}
	return s, oneOf(in.key, s)
}

func oneOf(k *Key, s string) error {
	if !slices.Contains(k.Choices, s) {
		return fmt.Errorf("want %s, not %q", strings.Join(k.Choices, " or "), s)
	}
	return nil
}
