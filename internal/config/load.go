package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the file, lays the flags over it and returns the configuration,
// or all faults at once, each naming file, line and key or the flag.
//
// A missing file is an error only if it was asked for explicitly. Flags are
// keyed by the key's name ("zk_prefix"); a flag wins over the file, and one
// of zk_host, get_zk_host and conf_file (of redis_ip and redis_url, of
// zk_auth_data and zk_auth_file) given as a flag replaces the others in the
// file. The occurrences of a repeated flag are joined by newlines. Relative
// file names in flags are relative to the working directory.
//
// Credentials of the service manager (systemd.exec(5), LoadCredential=) named
// cgrouparchd.zk_auth and cgrouparchd.redis_url count as the file's
// zk_auth_file and redis_url.
//
// A file with secrets that others can read is refused, and one that others
// can write. Whether there is a
// source of the document at all is left to [Config.RequireSource].
func Load(path string, explicit bool, flags map[string]string) (*Config, error) {
	data, info, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !explicit:
		path, data = "", nil
	case err != nil:
		return nil, err
	}
	flags, err = absoluteFlags(flags)
	if err != nil {
		return nil, err
	}
	credentials, err := readCredentials(os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return nil, err
	}
	d, err := parse(path, data, flags, credentials...)
	var faults []error
	if err != nil {
		faults = append(faults, err)
	}
	if path != "" {
		if err := checkAccess(path, info, d.fileSecret); err != nil {
			faults = append(faults, err)
		}
	}
	if d.zkAuthFile != "" {
		if d.ZKAuth, err = readAuthFile(d.zkAuthFile); err != nil {
			faults = append(faults, fmt.Errorf("zk_auth_file: %w", err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	d.File = path
	return &d.Config, nil
}

// absoluteFlags makes file names in flags absolute, as a shell's user means
// them.
func absoluteFlags(flags map[string]string) (map[string]string, error) {
	out := maps.Clone(flags)
	for name, text := range flags {
		if k, ok := LookupKey(name); !ok || k.Kind != KindPath || text == "" {
			continue
		}
		abs, err := filepath.Abs(text)
		if err != nil {
			return nil, err
		}
		out[name] = abs
	}
	return out, nil
}

// A given is a value somebody wrote, and where.
type given struct {
	input
	where string // "FILE:LINE: key" or "--flag"
	line  int    // for sorting, as in fault

	credential bool // from the service manager, not from the file
}

// empty reports a value that stands for "not given": the reference file's
// zk_host = "" and the like.
func (g given) empty() bool {
	switch v := g.value.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// parse is Load without the machine. The draft is returned with its faults,
// as far as it came.
func parse(name string, data []byte, flags map[string]string, credentials ...given) (*draft, error) {
	entries, faults := decodeFile(name, data)
	all := slices.Clone(credentials)
	for _, e := range entries {
		all = append(all, given{input: input{e.key, e.value, false}, where: place(name, e.line) + ": " + e.key.Name, line: e.line})
	}
	for _, key := range sortedKeys(flags) {
		g, err := fromFlag(key, flags[key])
		if err != nil {
			faults = append(faults, fault{flagLine, err})
			continue
		}
		all = append(all, g)
	}

	d := &draft{}
	faults = append(faults, d.setAll(&all)...)
	faults = append(faults, conflicts(all)...)
	faults = append(faults, d.finish(all)...)
	return d, joinFaults(faults)
}

// flagLine sorts flags after the file.
const flagLine = math.MaxInt

func fromFlag(name, text string) (given, error) {
	k, ok := LookupKey(name)
	if !ok || !k.Flag {
		return given{}, fmt.Errorf("--%s: no such flag", strings.ReplaceAll(name, "_", "-"))
	}
	v, err := flagValue(k, text)
	if err != nil {
		return given{}, fmt.Errorf("--%s: %w", k.FlagName(), err)
	}
	return given{input: input{k, v, true}, where: "--" + k.FlagName(), line: flagLine}, nil
}

// setAll puts defaults, file and flags into the draft. What a flag overrides
// is checked too, but has no effect: those values are dropped from all.
func (d *draft) setAll(all *[]given) []fault {
	for i := range Keys {
		if err := Keys[i].set(d, input{&Keys[i], Keys[i].Default, false}); err != nil {
			panic("config: default of " + Keys[i].Name + ": " + err.Error()) // tested for every key
		}
	}
	var faults []fault
	kept := (*all)[:0:0]
	for _, g := range *all {
		target := d
		if overridden(g, *all) {
			target = &draft{}
		} else {
			kept = append(kept, g)
		}
		if err := g.key.set(target, g.input); err != nil {
			faults = append(faults, fault{g.line, fmt.Errorf("%s: %w", g.where, err)})
		}
		if !g.flag && !g.credential && isSecret(g, target) {
			d.fileSecret = g.key.Name
		}
	}
	*all = kept
	return faults
}

// alternatives are keys of which only one can be given.
var alternatives = [][]string{
	{"zk_host", "get_zk_host", "conf_file"},
	{"zk_auth_data", "zk_auth_file"},
	{"redis_ip", "redis_url"},
}

// overridden reports that g stands in the file, and a flag gives the same key
// or an alternative to it.
func overridden(g given, all []given) bool {
	return !g.flag && slices.ContainsFunc(all, func(other given) bool {
		if !other.flag {
			return false
		}
		if other.key == g.key {
			return true
		}
		return !other.empty() && slices.ContainsFunc(alternatives, func(names []string) bool {
			return slices.Contains(names, g.key.Name) && slices.Contains(names, other.key.Name)
		})
	})
}

// conflicts reports alternatives that are given together.
func conflicts(all []given) []fault {
	var faults []fault
	for _, names := range alternatives {
		var places []string
		line := 0
		for _, g := range all {
			if slices.Contains(names, g.key.Name) && !g.empty() {
				line = max(line, g.line)
				places = append(places, g.where)
			}
		}
		if len(places) > 1 {
			faults = append(faults, fault{line, fmt.Errorf("%s: only one of %s can be given", strings.Join(places, ", "), strings.Join(names, ", "))})
		}
	}
	return faults
}

// isSecret reports that a value must not be read by others. The target is
// where the value has just been put.
func isSecret(g given, target *draft) bool {
	switch g.key.Name {
	case "zk_auth_data":
		return len(target.ZKAuth) > 0
	case "redis_url":
		return target.Redis.hasPassword()
	}
	return false
}

// finish joins what several keys say together.
func (d *draft) finish(all []given) []fault {
	if d.redisIP != "" && d.Redis.Mode == RedisNone {
		d.Redis.Mode, d.Redis.Network = RedisSingle, "tcp"
		d.Redis.Addrs = []string{net.JoinHostPort(d.redisIP, d.redisPort)}
	}
	if d.redisIP != "" {
		return nil
	}
	for _, g := range all {
		if g.flag && g.key.Name == "redis_port" {
			return []fault{{g.line, fmt.Errorf("%s: has an effect only together with redis_ip", g.where)}}
		}
	}
	return nil
}

// readAuthFile reads credentials, one a line. Errors name the line and never
// its text.
func readAuthFile(name string) ([]Auth, error) {
	data, info, err := readFile(name)
	if err != nil {
		return nil, err
	}
	if err := checkAccess(name, info, "zk_auth_file"); err != nil {
		return nil, err
	}
	return parseAuthLines(name, data)
}

func parseAuthLines(name string, data []byte) ([]Auth, error) {
	var auth []Auth
	var faults []error
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxFile+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		a, err := parseAuth(line)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", place(name, n), err))
			continue
		}
		auth = append(auth, a)
	}
	return auth, errors.Join(append(faults, lines.Err())...)
}
