package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/clock"
)

// Writer copies the slots of a [Ring] to Redis, one SET with EX each.
//
// It keeps its own place in the ring: the oldest slot that Redis has not
// confirmed. While Redis is away the slots wait there, and later each is written
// with what remains of its expiry, so that no second is lost by an outage
// shorter than the expiry.
type Writer struct {
	ring    *Ring
	prefix  string
	account string // "<prefix>/account/"
	expire  time.Duration
	id      string
	log     *zap.Logger
	cluster bool
	single  bool // one server that is always the same
	place   place

	encoderCPU, cpu *clock.Meter

	writes  redis.UniversalClient
	queries redis.UniversalClient // apart, so that queries cannot hold up writes
	wake    chan struct{}

	attended atomic.Bool // Deliver is called each second

	// turn guards the rest up to mu.
	turn      sync.Mutex
	well      bool      // the last round had its answers
	slowUntil time.Time // not before this is the sampler's goroutine to wait for an answer
	ended     bool      // Run has
	claim     bool      // the lease was ours, or nobody's, a moment ago, and is to be renewed
	refused   error     // what became of the lease, nil if it was granted,
	asked     bool      // since the last report
	proven    bool      // the server has taken a slot before
	told      []string  // kinds of error that the log has of this outage
	cursor    uint64    // sequence number of the oldest unwritten slot
	batch     int       // slots in the next pipeline
	down      bool      // the last command got no answer
	leaseAt   time.Time
	buf       []byte
	sets      []slotSet
	snap      snapshot
	encode    func() // collects the next batch into sets

	mu     sync.Mutex
	status RedisStatus
}

// RedisStatus is the writer's part of /status. It holds no secrets.
type RedisStatus struct {
	Address string `json:"address"`
	Prefix  string `json:"prefix"`
	// Connected: the last command succeeded.
	Connected bool `json:"connected"`
	// Error is why the last command did not, "" when it did.
	Error string `json:"error,omitempty"`
	// Backlog is how many slots wait to be written.
	Backlog int `json:"backlog"`
	// Written counts the slots written, Lost those that expired before.
	Written uint64 `json:"written"`
	Lost    uint64 `json:"lost"`
	// LeaseError is why the lease was refused, "" when it was not.
	LeaseError string `json:"lease_error,omitempty"`
	// OtherWriter names another daemon that writes under the same prefix; "": none.
	OtherWriter string `json:"other_writer,omitempty"`
}

const (
	maxBatch      = 32
	maxBatchBytes = 4 << 20
	// idle is how long the writer rests when no slot wakes it, longer than a second
	// so that it is not woken twice in each; retry is the time between two
	// attempts while Redis is away.
	idle  = 3 * time.Second
	retry = time.Second
	// finishTime leaves room within the 5 s that a clean stop may take.
	finishTime = 2 * time.Second
)

// NewWriter makes a writer of ring's slots; Run starts it. It fails on options
// that cannot work; a server that is away is no failure.
func NewWriter(o RedisOptions, ring *Ring) (*Writer, error) {
	if o.Mode == "" {
		o.Mode = RedisSingle
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	hidden := o.secrets()
	routeLibraryLog(o.Log, hidden)
	writes, err := o.client()
	if err != nil {
		return nil, err
	}
	queries, err := o.client()
	if err != nil {
		return nil, errors.Join(err, writes.Close())
	}
	w := &Writer{
		encoderCPU: o.EncoderCPU, cpu: o.CPU,
		ring: ring, prefix: o.Prefix, account: o.Prefix + "/account/", expire: o.Expire, id: o.ID,
		log: o.Log, cluster: o.Mode == RedisCluster, single: o.Mode == RedisSingle,
		place:  place{mode: o.Mode, tls: o.TLS, prefix: o.Prefix, secrets: hidden},
		writes: writes, queries: queries,
		wake: make(chan struct{}, 1), batch: maxBatch,
		status: RedisStatus{Address: o.address(), Prefix: o.Prefix},
	}
	w.encode = func() { w.sets = w.collect() }
	return w, nil
}

// Wake says that there is a new slot, or that Run should look. It never blocks.
func (w *Writer) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Status returns the present state. Any goroutine may call it.
func (w *Writer) Status() RedisStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Run writes until ctx ends; then it writes what is left if Redis answers, gives
// up the lease, and returns nil. The writer cannot be used afterwards.
func (w *Writer) Run(ctx context.Context) error {
	defer func() { _, _ = w.writes.Close(), w.queries.Close() }()
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		down := w.turnOf(ctx)
		wake, rest := w.wake, idle
		if down {
			wake, rest = nil, retry // a new slot is no reason to try again sooner
		}
		timer.Reset(rest)
		if !down && w.attended.Load() {
			timer.Stop() // Deliver looks each second
		}
		select {
		case <-ctx.Done():
			w.turn.Lock()
			defer w.turn.Unlock()
			w.finish()
			w.ended = true
			return nil
		case <-wake:
		case <-timer.C:
		}
	}
}

// turnOf is one round; down says that the server did not answer.
func (w *Writer) turnOf(ctx context.Context) (down bool) {
	w.turn.Lock()
	defer w.turn.Unlock()
	w.round(ctx)
	return w.down
}

// round looks after the lease and writes everything that waits. A command that
// was begun ends by its own time limit, not with ctx: the client library does
// not interrupt a read, and a stop must still know whether Redis answers.
//
// A server that did not answer is asked for the lease first. A command that it
// left unanswered may still be in its socket and be carried out later, with an
// expiry that has become too long by then; a single-threaded server answers this
// question after all of those, so what is written next is what stays.
func (w *Writer) round(ctx context.Context) {
	if w.down || w.leaseAt.IsZero() {
		err := w.lease()
		if err != nil && unanswered(err) {
			w.report(err)
			return
		}
		w.down = false
		w.reportLease(err)
	}
	for ctx.Err() == nil {
		n, err := w.writeBatch()
		if n > 0 || err != nil || w.granted() {
			w.report(err)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

// finish writes what it can within the time that a clean stop has.
func (w *Writer) finish() {
	for deadline := time.Now().Add(finishTime); !w.down && time.Now().Before(deadline); {
		n, err := w.writeBatch()
		if n == 0 || err != nil {
			break
		}
		w.report(nil)
	}
	if !w.down {
		w.release()
	}
}

// slotSet is one SET of a batch.
type slotSet struct {
	seq      uint64
	slot     int64
	from, to int // in w.buf
	ttl      time.Duration
}

// ttl is what remains of the loaded slot's expiry. Redis is told whole seconds;
// rounding up keeps a slot for no less than was promised.
func (w *Writer) ttl() time.Duration {
	return (w.expire - w.snap.age + time.Second - 1).Truncate(time.Second)
}

// skipExpired moves the cursor over slots that nobody could write in time.
func (w *Writer) skipExpired() {
	for {
		at, ok := w.ring.loadNext(w.cursor, &w.snap)
		lost := at - w.cursor
		expired := ok && w.ttl() <= 0
		if expired {
			lost++
			at++
		}
		w.cursor = at
		if lost > 0 {
			w.mu.Lock()
			w.status.Lost += lost
			w.mu.Unlock()
		}
		if !expired {
			return
		}
	}
}

// collect renders the oldest waiting slots, as many as one pipeline may take.
func (w *Writer) collect() []slotSet {
	w.skipExpired()
	w.buf = w.buf[:0]
	sets := w.sets[:0]
	for seq := w.cursor; len(sets) < w.batch && len(w.buf) < maxBatchBytes; seq++ {
		at, ok := w.ring.loadNext(seq, &w.snap)
		if !ok {
			break
		}
		seq = at
		from := len(w.buf)
		w.buf = w.snap.layout.full.append(w.buf, w.snap.words, w.snap.extra())
		sets = append(sets, slotSet{at, w.snap.slot, from, len(w.buf), max(w.ttl(), time.Second)})
	}
	return sets
}

// writeBatch writes the oldest waiting slots and returns how many it tried. What is
// due of the lease goes with them.
func (w *Writer) writeBatch() (int, error) {
	w.encoderCPU.Measure(w.encode)
	sets := w.sets
	due := w.leaseDue()
	if len(sets) == 0 && !due {
		return 0, nil
	}
	ctx := endsBy{context.Background(), time.Now().Add(opTimeout)}
	replies := make([]*redis.StatusCmd, len(sets))
	var lease func()
	var sent error // the first one, while each command may have its own
	w.cpu.Sample(func() {
		_, sent = w.writes.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, s := range sets {
				replies[i] = p.Set(ctx, w.key(s.slot), w.buf[s.from:s.to], s.ttl)
			}
			if due {
				lease = w.leaseAlong(ctx, p)
			}
			return nil
		})
	})
	// What was confirmed before the first failure is done; what was confirmed
	// after it is written once more, to the same effect.
	done := 0
	for done < len(sets) && replies[done].Err() == nil && replies[done].Val() == "OK" {
		done++
	}
	if done > 0 {
		w.cursor = sets[done-1].seq + 1
	}
	var err error
	switch {
	case sent != nil && unanswered(sent):
		err = sent
	case done < len(sets) && replies[done].Err() != nil:
		err = replies[done].Err()
	case done < len(sets) && sent != nil && !errors.Is(sent, redis.Nil):
		err = sent // of the connection, such as a wrong password
	case done < len(sets):
		err = fmt.Errorf("set %s: %q", w.key(sets[done].slot), replies[done].Val())
	}
	if due && (err == nil || !unanswered(err)) {
		lease() // the slots themselves may have been refused
	}
	// A slow link takes one slot where it would not take many in time.
	w.batch = min(maxBatch, 2*w.batch)
	if err != nil {
		w.batch = max(1, len(sets)/2)
	}
	w.mu.Lock()
	w.status.Written += uint64(done)
	w.mu.Unlock()
	return len(sets), err
}

func (w *Writer) key(slot int64) string { return w.account + strconv.FormatInt(slot, 10) }

// report keeps the outcome of a command, and logs when it changes.
func (w *Writer) report(err error) {
	w.down, w.well = err != nil && unanswered(err), err == nil
	backlog := w.ring.behind(w.cursor)
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status.Error
	w.status.Connected = err == nil
	w.status.Backlog = backlog
	w.status.Error = ""
	w.settleLease(err == nil)
	if err != nil {
		w.status.Error = w.place.reason(err, w.proven)
		if w.isNews(w.place.kind(err, w.proven)) {
			w.log.Warn("redis unavailable, slots are kept", zap.Int("backlog", backlog), zap.String("error", w.status.Error))
		}
		return
	}
	w.proven, w.told = true, w.told[:0]
	if before != "" {
		w.log.Info("redis available again", zap.Int("backlog", backlog), zap.Uint64("lost", w.status.Lost))
	}
}

// maxTold bounds what a server can make us remember of one outage.
const maxTold = 8

// isNews says whether the log is to have an error of this kind: each once in an outage.
// A server that cannot be reached and later refuses our password is two faults.
func (w *Writer) isNews(kind string) bool {
	if slices.Contains(w.told, kind) || len(w.told) == maxTold {
		return false
	}
	w.told = append(w.told, kind)
	return true
}

// fetch reads the slots from start to end, "" for each that is not there, within
// the given time.
func (w *Writer) fetch(ctx context.Context, within time.Duration, start, end int64) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	values := make([]string, end-start+1)
	keys := make([]string, len(values))
	for i := range keys {
		keys[i] = w.key(start + int64(i))
	}
	if w.cluster {
		return values, w.fetchEach(ctx, keys, values)
	}
	replies, err := w.queries.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	for i, r := range replies {
		values[i], _ = r.(string)
	}
	return values, nil
}

// fetchEach asks for each key by itself: the keys of one MGET would have to live
// on one node of the cluster.
func (w *Writer) fetchEach(ctx context.Context, keys, values []string) error {
	replies := make([]*redis.StringCmd, len(keys))
	_, err := w.queries.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			replies[i] = p.Get(ctx, k)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for i, r := range replies {
		values[i] = r.Val()
	}
	return nil
}
