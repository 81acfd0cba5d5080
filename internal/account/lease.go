package account

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The lease key says who writes under a prefix. It grants nothing: both writers
// go on, because a wrong answer must not cost history, but each second's value
// would be whose came last, so it is shown as a fault until one of them is gone.
const (
	leaseTime  = 10 * time.Second
	leaseRenew = 3 * time.Second
	maxID      = 128 // bytes shown of another writer's name
)

func (w *Writer) leaseKey() string { return w.prefix + "/writer" }

// lease renews our lease, or notices whose it is. Two writers that start at the
// same moment may both set it; the one whose name is not there sees so at its
// next turn.
func (w *Writer) lease() error {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	holder, err := w.writes.Get(ctx, w.leaseKey()).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	w.claim = false
	w.leaseAt = time.Now()
	if w.isOther(holder, err) {
		return nil
	}
	return w.writes.Set(ctx, w.leaseKey(), w.id, leaseTime).Err()
}

// leaseDue says whether the lease is to be looked at.
func (w *Writer) leaseDue() bool { return w.claim || time.Since(w.leaseAt) >= leaseRenew }

// leaseAlong adds what is due to the commands of a pipeline: first the question
// whose the lease is, and with the next slots its renewal, so that neither is a
// round trip by itself. done, called when the rest went well, takes note of what the
// server said.
func (w *Writer) leaseAlong(ctx context.Context, p redis.Pipeliner) (done func()) {
	if w.claim {
		set := p.Set(ctx, w.leaseKey(), w.id, leaseTime)
		return func() {
			w.claim, w.leaseAt = false, time.Now()
			w.reportLease(set.Err())
		}
	}
	get := p.Get(ctx, w.leaseKey())
	return func() {
		holder, err := get.Result()
		switch {
		case err != nil && !errors.Is(err, redis.Nil):
			w.leaseAt = time.Now()
			w.reportLease(err)
		case err == nil && holder == "": // it was not asked
		case w.isOther(holder, err):
			w.leaseAt = time.Now()
			w.reportLease(nil) // the question was allowed
		default:
			w.claim = true
		}
	}
}

// isOther takes note of whose the lease is, by the answer to GET.
func (w *Writer) isOther(holder string, err error) bool {
	if err == nil && holder != w.id {
		w.setOther(holder[:min(len(holder), maxID)])
		return true
	}
	w.setOther("")
	return false
}

// reportLease takes note of whether the server refused the lease; report decides
// what that means.
func (w *Writer) reportLease(err error) { w.asked, w.refused = true, err }

// granted says that the lease is ours since the last report, or known to be another's:
// the server answers, though there was no slot to write.
func (w *Writer) granted() bool { return w.asked && w.refused == nil }

// settleLease keeps why the server refuses the lease, if it does: slots may be allowed
// all the same. Where they are not, that is the fault, and the lease's is the same one.
// It is called with mu held.
func (w *Writer) settleLease(slotsTaken bool) {
	if !w.asked || !slotsTaken && w.refused != nil {
		w.asked = false
		return
	}
	w.asked = false
	before := w.status.LeaseError
	w.status.LeaseError = ""
	if w.refused != nil {
		w.status.LeaseError = w.place.reason(w.refused, true)
		if before == "" {
			w.log.Warn("redis refuses the lease key", zap.String("key", w.leaseKey()), zap.String("error", w.status.LeaseError))
		}
	}
}

func (w *Writer) setOther(other string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case other == w.status.OtherWriter:
	case other != "":
		w.log.Error("another writer uses the same redis_prefix", zap.String("prefix", w.prefix), zap.String("other_writer", other))
	default:
		w.log.Info("the other writer is gone", zap.String("prefix", w.prefix), zap.String("other_writer", w.status.OtherWriter))
	}
	w.status.OtherWriter = other
}

// release gives our lease up, so that the next writer need not wait for it to
// expire.
func (w *Writer) release() {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if holder, err := w.writes.Get(ctx, w.leaseKey()).Result(); err != nil || holder != w.id {
		return
	}
	if err := w.writes.Del(ctx, w.leaseKey()).Err(); err != nil {
		w.log.Debug("lease not given up", zap.String("error", w.place.reason(err, true)))
	}
}
