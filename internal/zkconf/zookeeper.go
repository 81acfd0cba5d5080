package zkconf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/zap"
)

const (
	defaultSessionTimeout = 10 * time.Second
	// maxGrace bounds how long we wait for a session before we start anew, so
	// that a server that comes back wiped is in use within 20 s. A session
	// given up too early costs little: the next one replaces the node that it
	// owns (Publisher).
	maxGrace = 12 * time.Second
	// lookInterval is how often the node is looked at without an event: one
	// small request. An event may be lost, and none says that an ACL has
	// changed.
	lookInterval = 5 * time.Second
	// Limits of the pause before a new session after one that failed at once.
	minPause, maxPause = 500 * time.Millisecond, 8 * time.Second
	// maxTold bounds the causes of one kind in the log until it works again: a
	// command may print another text each time.
	maxTold = 8
)

// ZooKeeper follows the document in a ZooKeeper node. Its exported fields must not
// change once it is in use.
type ZooKeeper struct {
	// Hosts are the servers, see ParseHosts. Exactly one of Hosts and
	// GetHosts is set.
	Hosts string
	// GetHosts returns them instead. It is called for each new session, and
	// bounds itself in time. When it fails, the servers that it named last are used.
	GetHosts func(ctx context.Context) (string, error)
	// Prefix is the path, below the chroot, of the node's parent.
	Prefix string
	// Auth are the identities that each session gets.
	Auth []AuthData
	// SessionTimeout is what we ask for; the server may grant another. Zero
	// is 10 s.
	SessionTimeout time.Duration
	// Log may be nil.
	Log *zap.Logger

	tracker tracker
	mu      sync.Mutex
	hosts   []string // as Resolve found them last
	path    string
	stale   error    // why Resolve has failed since
	told    []string // what of that is in the log
	// shared is the session that follows the document, once it has all
	// identities, for others to use; nil between sessions.
	shared  *client
	sharing chan struct{} // closed, and made anew, when shared changes
	crowd   int           // daemons that publish, see spread
}

// grace is how long a session may be away.
func (z *ZooKeeper) grace() time.Duration { return min(3*z.timeout(), maxGrace) }

func (z *ZooKeeper) timeout() time.Duration {
	if z.SessionTimeout > 0 {
		return z.SessionTimeout
	}
	return defaultSessionTimeout
}

func (z *ZooKeeper) logger() *zap.Logger {
	if z.Log == nil {
		return zap.NewNop()
	}
	return z.Log
}

// Run implements Source. Sessions follow each other until ctx ends; each reads
// the node anew, and nothing is concluded from an event but that one should look.
func (z *ZooKeeper) Run(ctx context.Context, updates func(Update)) error {
	f := follower{z: z, updates: updates}
	pause := minPause
	for {
		started := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, zk.ErrAuthFailed) {
			z.setState(StateNoAccess, err)
		} else {
			z.setState(StateDisconnected, err)
		}
		if errors.Is(err, errExpired) || time.Since(started) > pause {
			pause = minPause // it was not in vain, or has waited enough
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// Fetch implements Source. Besides ctx it is bounded by three session timeouts,
// at most 12 s.
func (z *ZooKeeper) Fetch(ctx context.Context) (Update, error) {
	var u Update
	err := z.within(ctx, func(ctx context.Context, c *client) error {
		n, err := c.get(ctx, c.path)
		if err == nil {
			u = newUpdate(nil, n.data, n.stat.Version)
		}
		return err
	})
	return u, err
}

// Status implements Source.
func (z *ZooKeeper) Status() SourceStatus { return z.tracker.snapshot(z.Origin()) }

// Origin implements Source. With GetHosts the servers and the chroot are unknown
// until it has been called, which Resolve does.
func (z *ZooKeeper) Origin() Origin {
	z.mu.Lock()
	hosts, path := z.hosts, z.path
	z.mu.Unlock()
	if hosts == nil {
		var chroot string
		if z.GetHosts == nil {
			hosts, chroot, _ = ParseHosts(z.Hosts) // its faults are Resolve's
		}
		path, _ = NodePath(chroot, z.Prefix)
	}
	return Origin{Kind: KindZooKeeper, Hosts: hosts, Path: path}
}

// Resolve finds out where the servers are, running GetHosts if need be, without
// connecting to them. Errors are those of GetHosts and of what it printed.
func (z *ZooKeeper) Resolve(ctx context.Context) (Origin, error) {
	text := z.Hosts
	if z.GetHosts != nil {
		var err error
		if text, err = z.GetHosts(ctx); err != nil {
			return Origin{}, fmt.Errorf("get zookeeper hosts: %w", err)
		}
	}
	hosts, chroot, err := ParseHosts(text)
	if err != nil {
		return Origin{}, err
	}
	path, err := NodePath(chroot, z.Prefix)
	if err != nil {
		return Origin{}, err
	}
	z.mu.Lock()
	z.hosts, z.path, z.stale, z.told = hosts, path, nil, nil
	z.mu.Unlock()
	return Origin{Kind: KindZooKeeper, Hosts: hosts, Path: path}, nil
}

func (z *ZooKeeper) open(ctx context.Context) (*session, string, error) {
	o, err := z.Resolve(ctx)
	if err != nil && (ctx.Err() != nil || !z.asBefore(err)) {
		return nil, "", err
	}
	if err != nil {
		o = z.Origin()
	}
	s, err := openSession(o.Hosts, z.timeout(), z.logger())
	return s, o.Path, err
}

// asBefore says whether there are servers to go on with although Resolve has failed,
// and logs each cause of that once: what tells where the servers are is no reason to
// stay away from those that are known.
func (z *ZooKeeper) asBefore(err error) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.hosts == nil {
		return false
	}
	z.stale = err
	if len(z.told) < maxTold && !slices.Contains(z.told, err.Error()) {
		z.told = append(z.told, err.Error())
		z.logger().Warn("zookeeper hosts not known anew, the last are used", zap.Strings("hosts", z.hosts), zap.Error(err))
	}
	return true
}

// addAuth adds the identities that the session does not have yet. The library
// sends them again after a reconnect, but only those whose first time succeeded.
func (z *ZooKeeper) addAuth(ctx context.Context, s *session, added *int) error {
	for ; *added < len(z.Auth); *added++ {
		a := z.Auth[*added]
		_, err := call(ctx, z.grace(), func() (struct{}, error) {
			return struct{}{}, s.conn.AddAuth(a.Scheme, []byte(a.Auth))
		})
		if err != nil {
			return fmt.Errorf("add auth %v: %w", a, denied(err, z.Auth))
		}
	}
	return nil
}

// setState tells with what is wrong that the servers may be the wrong ones.
func (z *ZooKeeper) setState(state string, err error) {
	z.mu.Lock()
	stale := z.stale
	z.mu.Unlock()
	if err != nil && stale != nil {
		err = fmt.Errorf("%w; the servers that were named last are used: %w", err, stale)
	}
	z.tracker.set(z.logger(), state, err)
}
