package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// RedisMode says what [RedisOptions.Addrs] lead to.
type RedisMode string

// The modes. They are never guessed from the number of addresses: the client
// library would take two for a cluster.
const (
	RedisSingle   RedisMode = "single"   // one server
	RedisSentinel RedisMode = "sentinel" // sentinels that know the master
	RedisCluster  RedisMode = "cluster"  // some nodes of a cluster
)

// RedisOptions configure a [Writer].
type RedisOptions struct {
	// Mode; "": RedisSingle.
	Mode RedisMode
	// Network is "tcp" or "unix" ("" is tcp).
	Network string
	// Addrs are HOST:PORT, or a socket's path; several for sentinels and clusters.
	Addrs []string
	// TLS, at least version 1.2, with the host's certificates.
	TLS   bool
	roots *x509.CertPool // instead of the host's, for tests; nil: the host's
	// Username and Password; the password, as SentinelPassword, appears in no log and
	// no status.
	Username, Password string
	// DB is the database's number; not for a cluster.
	DB int
	// Master is the master's name for RedisSentinel, and the rest the sentinels'
	// own credentials.
	Master                             string
	SentinelUsername, SentinelPassword string

	// Prefix begins every key: <Prefix>/account/<slot> and <Prefix>/writer.
	Prefix string
	// Expire is how long a slot is kept, in whole seconds.
	Expire time.Duration
	// ID tells this writer from others on the same prefix, for their operators as
	// well: host and process.
	ID string
	// EncoderCPU counts what rendering the slots costs, and CPU, as an estimate,
	// what sending them does; nil: nothing does.
	EncoderCPU, CPU *clock.Meter
	// Log; nil: nothing is logged. The library's own lines, which are global to
	// the process, go to the log of the newest writer.
	Log *zap.Logger
}

// ExpandPrefix replaces {host} in a prefix.
func ExpandPrefix(prefix, host string) string {
	return strings.ReplaceAll(prefix, "{host}", host)
}

// Time limits. The library's defaults add up to half a minute against a server
// that hangs.
const (
	dialTimeout = 300 * time.Millisecond
	ioTimeout   = 500 * time.Millisecond
	opTimeout   = 700 * time.Millisecond
)

// address is what a status may show of the place.
func (o *RedisOptions) address() string { return strings.Join(o.Addrs, ",") }

func (o *RedisOptions) check() error {
	switch {
	case len(o.Addrs) == 0:
		return errors.New("redis: no address")
	case len(o.Addrs) > 1 && o.Mode == RedisSingle:
		return errors.New("redis: several addresses, but neither sentinel nor cluster")
	case o.Mode == RedisSentinel && o.Master == "":
		return errors.New("redis: sentinel without the master's name")
	case o.Expire < time.Second:
		return fmt.Errorf("redis: expiry %v: less than a second", o.Expire)
	}
	return nil
}

// client makes a client that fails fast and never retries by itself; nothing is
// dialed yet.
func (o *RedisOptions) client() (redis.UniversalClient, error) {
	var tlsConfig *tls.Config
	if o.TLS {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots}
	}
	// CLIENT MAINT_NOTIFICATIONS, CLIENT SETINFO and HELLO 3 fail on older servers
	// and for restricted users: not asked for.
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	dial := dialPrompt(tlsConfig)
	switch o.Mode {
	case RedisSingle:
		return redis.NewClient(&redis.Options{
			Network: o.Network, Addr: o.Addrs[0], Dialer: dial,
			Username: o.Username, Password: o.Password, DB: o.DB,
			Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: quiet,
			ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
			PoolSize: 2, PipelinePoolSize: -1,
		}), nil
	case RedisSentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: o.Master, SentinelAddrs: o.Addrs, Dialer: dial,
			SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
			Username: o.Username, Password: o.Password, DB: o.DB,
			Protocol: 2, DisableIdentity: true,
			ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
			PoolSize: 2, PipelinePoolSize: -1,
		}), nil
	case RedisCluster:
		// MaxRedirects: slots move between the nodes of a cluster while it serves.
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: o.Addrs, Dialer: dial,
			Username: o.Username, Password: o.Password,
			Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: quiet,
			ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, MaxRedirects: 3,
			DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
			PoolSize: 2, PipelinePoolSize: -1,
		}), nil
	}
	return nil, fmt.Errorf("redis: unknown mode %q", o.Mode)
}

// routeLibraryLog sends the client library's lines, one per failed dial, to log:
// at most one a minute.
func routeLibraryLog(log *zap.Logger, hidden secrets) {
	sampled := log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
	}))
	redis.SetLogger(libraryLog{sampled, hidden})
}

type libraryLog struct {
	log    *zap.Logger
	hidden secrets
}

// Printf implements the library's interface.
func (l libraryLog) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug("redis client", zap.String("message", l.hidden.hide(fmt.Sprintf(format, v...))))
}
