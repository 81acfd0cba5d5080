package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// RedisMode says what a [Redis] address leads to.
type RedisMode string

// The modes.
const (
	RedisNone     RedisMode = ""         // no Redis: memory only
	RedisSingle   RedisMode = "single"   // one server
	RedisSentinel RedisMode = "sentinel" // sentinels that know the master
	RedisCluster  RedisMode = "cluster"  // some nodes of a cluster
)

// Redis says where history is written.
type Redis struct {
	Mode     RedisMode
	Network  string   // "tcp" or "unix"
	Addrs    []string // HOST:PORT, or the socket's path; several for sentinel and cluster
	TLS      bool
	Username string
	Password Secret
	DB       int    // never with RedisCluster
	Master   string // the master's name for RedisSentinel
	// SentinelUsername and SentinelPassword are the sentinels' own credentials.
	SentinelUsername string
	SentinelPassword Secret
	// Prefix begins every key, without a trailing slash; it may hold "{host}".
	Prefix string
}

// redisDefaultPort and sentinelDefaultPort stand in for a port that an
// address does not give, as in Redis's own tools.
const (
	redisDefaultPort    = "6379"
	sentinelDefaultPort = "26379"
)

// parseRedisURL reads the URL forms that the key redis_url documents. Errors
// never quote the URL, which may hold a password.
func parseRedisURL(text string) (Redis, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Redis{}, errors.New("not a URL: want redis://, rediss:// or unix://")
	}
	var r Redis
	base, mode, _ := strings.Cut(scheme, "+")
	switch {
	case base == "unix" && mode == "":
		r.Mode, r.Network = RedisSingle, "unix"
	case base != "redis" && base != "rediss":
		return Redis{}, fmt.Errorf("unknown scheme %q: want redis, rediss or unix", scheme)
	case mode == "" && !strings.HasSuffix(scheme, "+"):
		r.Mode, r.Network = RedisSingle, "tcp"
	case mode == string(RedisSentinel), mode == string(RedisCluster):
		r.Mode, r.Network = RedisMode(mode), "tcp"
	default:
		return Redis{}, fmt.Errorf("unknown scheme %q: want %s+sentinel or %s+cluster", scheme, base, base)
	}
	r.TLS = base == "rediss"

	rest, query, _ := strings.Cut(rest, "?")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	authority, path := rest[:slash], rest[slash:]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := r.setUser(authority[:at]); err != nil {
			return Redis{}, err
		}
		authority = authority[at+1:]
	}
	if err := r.setPlace(authority, path); err != nil {
		return Redis{}, err
	}
	if err := r.setQuery(query); err != nil {
		return Redis{}, err
	}
	return r, nil
}

// setUser reads USER:PASSWORD; a lone text is the user, as in any URL.
func (r *Redis) setUser(info string) error {
	user, password, _ := strings.Cut(info, ":")
	u, err1 := url.PathUnescape(user)
	p, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("user and password: a bad % escape")
	}
	r.Username, r.Password = u, Secret(p)
	return nil
}

// setPlace reads the hosts and the path, which mean something else per mode.
func (r *Redis) setPlace(authority, path string) error {
	path, err := url.PathUnescape(path)
	if err != nil {
		return errors.New("path: a bad % escape")
	}
	if r.Network == "unix" {
		if authority != "" || path == "" || path == "/" {
			return errors.New("want an absolute socket name, as in unix:///run/redis.sock")
		}
		r.Addrs = []string{path}
		return nil
	}
	port := redisDefaultPort
	if r.Mode == RedisSentinel {
		port = sentinelDefaultPort
	}
	hosts := strings.Split(authority, ",")
	if len(hosts) > 1 && r.Mode == RedisSingle {
		return errors.New("several hosts: say redis+sentinel:// or redis+cluster://")
	}
	for _, h := range hosts {
		addr, err := hostPort(h, port)
		if err != nil {
			return err
		}
		r.Addrs = append(r.Addrs, addr)
	}
	return r.setPath(strings.Trim(path, "/"))
}

// setPath reads what follows the hosts: /DB, /MASTER/DB or nothing.
func (r *Redis) setPath(path string) error {
	db := path
	switch r.Mode {
	case RedisSentinel:
		r.Master, db, _ = strings.Cut(path, "/")
		if r.Master == "" {
			return errors.New("want the master's name, as in redis+sentinel://HOST/MASTER")
		}
	case RedisCluster:
		if path != "" {
			return errors.New("a cluster has no database number")
		}
	}
	return r.setDB(db)
}

func (r *Redis) setDB(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("not a database number: %q", text)
	}
	r.DB = n
	return nil
}

// setQuery reads the few parameters that are known. Timeouts and pools are
// ours to choose: a parameter that would be ignored is refused.
func (r *Redis) setQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("parameters: a bad % escape")
	}
	for _, name := range sortedKeys(values) {
		v := values[name][len(values[name])-1]
		switch {
		case name == "db" && r.Network == "unix":
			if err := r.setDB(v); err != nil {
				return err
			}
		case name == "sentinel_username" && r.Mode == RedisSentinel:
			r.SentinelUsername = v
		case name == "sentinel_password" && r.Mode == RedisSentinel:
			r.SentinelPassword = Secret(v)
		default:
			return fmt.Errorf("unknown parameter %q", name)
		}
	}
	return nil
}

// hasPassword reports whether the address is a secret.
func (r *Redis) hasPassword() bool { return r.Password != "" || r.SentinelPassword != "" }

// hostPort checks HOST or HOST:PORT and fills in the port. An IPv6 address
// with a port stands in brackets.
func hostPort(text, defaultPort string) (string, error) {
	host, port := text, defaultPort
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("not HOST:PORT: %q", text)
		}
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n/@[],") {
		return "", fmt.Errorf("not a host name: %q", host)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("not a port from 1 to 65535: %q", port)
	}
	return net.JoinHostPort(host, port), nil
}
