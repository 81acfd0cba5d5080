package account

import (
	"context"
	"time"
)

// Deliver writes the newest slot on the caller's goroutine, if that promises to be
// a matter of a moment: it is one server, the last exchange went well and was not
// slow, and nothing else waits. Else it leaves the work to Run. It is for the
// sampler, once a second after each slot, and takes at most the 0.7 s of one
// exchange, after which it is Run that waits for the server. (With a cluster or a
// sentinel the client library may dial several servers in one exchange.)
//
// A goroutine of its own for each slot would cost more than the slot: waking it
// wakes a thread, to look for work on a CPU whose caches have forgotten the last
// second.
func (w *Writer) Deliver() {
	w.attended.Store(true)
	if !w.turn.TryLock() {
		return // Run is at it
	}
	defer w.turn.Unlock()
	if w.ended {
		return
	}
	began := time.Now()
	if !w.single || !w.well || began.Before(w.slowUntil) || w.ring.behind(w.cursor) > 1 {
		w.Wake()
		return
	}
	if n, err := w.writeBatch(); n > 0 || err != nil || w.granted() {
		w.report(err)
	}
	if time.Since(began) > slowExchange {
		w.slowUntil = time.Now().Add(slowRest)
	}
}

// An exchange that takes longer than slowExchange may cost samples between the
// slots: for slowRest after it Run talks to the server.
const (
	slowExchange = 20 * time.Millisecond
	slowRest     = time.Minute
)

// endsBy is a context for exchanges that end by their connection's deadline: the
// client library asks for the time. A timer, as context.WithDeadline sets it, would
// wake a thread at once, to wait for it, and one when its time has come.
type endsBy struct {
	context.Context
	at time.Time
}

func (c endsBy) Deadline() (at time.Time, ok bool) { return c.at, true }
