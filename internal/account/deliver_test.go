package account

import (
	"strconv"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// delivery is a writer that has written one slot, and the ring for the next ones.
type delivery struct {
	server *testserver.RedisServer
	ring   *Ring
	writer *Writer
	slot   int64
}

func newDelivery(t *testing.T) *delivery {
	t.Helper()
	d := &delivery{server: testserver.Redis(t), ring: NewRing(300)}
	d.add()
	d.writer, _ = runWriter(t, optionsFor(d.server), d.ring)
	eventually(t, "the first slot", written(d.writer, 1))
	return d
}

func (d *delivery) add() {
	d.slot++
	d.ring.appendSlot(d.slot, time.Now(), numberLayout, number(uint64(d.slot)))
}

// settled delivers until the slot is there at once: Run may be at it when the first
// Deliver comes.
func (d *delivery) settled(t *testing.T) {
	t.Helper()
	eventually(t, "Deliver by itself", func() bool {
		d.add()
		d.deliver()
		return d.there()
	})
}

// deliver is Deliver, however slow the exchange before was: the machine may be busy.
func (d *delivery) deliver() {
	d.writer.turn.Lock()
	d.writer.slowUntil = time.Time{}
	d.writer.turn.Unlock()
	d.writer.Deliver()
}

func (d *delivery) there() bool {
	return d.server.Do("GET", "test/account/"+strconv.FormatInt(d.slot, 10)) != nil
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.settled(t)
	for range 5 {
		before := d.writer.Status().Written
		d.add()
		d.deliver()
		if s := d.writer.Status(); s.Written != before+1 || s.Backlog != 0 || !d.there() {
			t.Fatalf("slot %d was not delivered: %+v", d.slot, s)
		}
	}
}

// TestDeliverFrozen: a server that hangs holds the caller up once, for less than a
// second, and Run does the rest.
func TestDeliverFrozen(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.settled(t)
	d.server.Freeze()
	var longest time.Duration
	held := 0
	for range 10 {
		d.add()
		begin := time.Now()
		d.writer.Deliver()
		took := time.Since(begin)
		longest = max(longest, took)
		if took > ioTimeout*9/10 {
			held++
		}
		time.Sleep(50 * time.Millisecond)
	}
	if held != 1 || longest > 2*opTimeout { // a second exchange would take as long again
		t.Errorf("held up %d times, %v at most; want once, for %v at most", held, longest, opTimeout)
	}
	if s := d.writer.Status(); s.Connected {
		t.Errorf("status of a frozen server: %+v", s)
	}
	d.server.Thaw()
	eventually(t, "Run writes what waits", func() bool {
		s := d.writer.Status()
		return s.Connected && s.Backlog == 0 && s.Lost == 0
	})
	d.settled(t)
}

// TestDeliverLease: the lease is renewed, and lost, beside the slots.
func TestDeliverLease(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.settled(t)
	turns := func(n int) {
		d.writer.turn.Lock()
		d.writer.leaseAt = time.Now().Add(-leaseRenew)
		d.writer.turn.Unlock()
		for range n {
			d.add()
			d.deliver()
			if !d.there() {
				t.Fatalf("slot %d was not delivered", d.slot)
			}
		}
	}
	d.server.Do("DEL", "test/writer")
	turns(2)
	if got := d.server.Do("GET", "test/writer"); got != "me" {
		t.Errorf("lease after two turns: %v, want me", got)
	}
	if left := d.server.Do("TTL", "test/writer").(int64); left < 8 || left > 10 {
		t.Errorf("the lease has %d s left", left)
	}
	d.server.Do("SET", "test/writer", "you")
	turns(2)
	if s := d.writer.Status(); s.OtherWriter != "you" {
		t.Errorf("status %+v, want the other writer", s)
	}
	if got := d.server.Do("GET", "test/writer"); got != "you" {
		t.Errorf("the other's lease became %v", got)
	}
	d.server.Do("DEL", "test/writer")
	turns(2)
	if s := d.writer.Status(); s.OtherWriter != "" || s.LeaseError != "" {
		t.Errorf("status %+v, want no other writer", s)
	}
}

// TestDeliverSlow: a server that takes its time is Run's for a while, and so is every one of several.
func TestDeliverSlow(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	eventually(t, "an answer that is slow, and no more", func() bool {
		d.settled(t) // a busy machine makes it too slow
		d.server.Freeze()
		thawed := make(chan bool)
		time.AfterFunc(5*slowExchange, func() { d.server.Thaw(); close(thawed) })
		before := d.writer.Status().Written
		d.add()
		d.deliver()
		at := d.writer.Status().Written
		<-thawed
		return at == before+1
	})
	prompt := func() bool {
		d.writer.turn.Lock()
		defer d.writer.turn.Unlock()
		return d.writer.well && time.Now().After(d.writer.slowUntil)
	}
	if prompt() {
		t.Error("the sampler would wait for a slow server again")
	}
	d.add()
	d.writer.Deliver()
	eventually(t, "Run writes it", d.there)
	d.settled(t)
	d.writer.turn.Lock()
	d.writer.single = false
	d.writer.turn.Unlock()
	d.server.Freeze()
	begin := time.Now()
	d.add()
	d.deliver()
	if took := time.Since(begin); took > ioTimeout*9/10 {
		t.Errorf("one of several servers held the caller up for %v", took)
	}
	d.server.Thaw()
	eventually(t, "Run writes it", d.there)
}

// TestDeliverLeaseBesideRefusals: the lease is looked after where the server refuses the slots.
func TestDeliverLeaseBesideRefusals(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.settled(t)
	d.server.Do("ACL", "SETUSER", "default", "resetkeys", "~test/writer")
	d.writer.turn.Lock()
	d.writer.leaseAt, d.writer.claim = time.Now().Add(-leaseRenew), false
	before := d.writer.leaseAt
	d.writer.turn.Unlock()
	d.add()
	d.deliver()
	eventually(t, "the lease is renewed", func() bool {
		d.writer.Wake()
		d.writer.turn.Lock()
		defer d.writer.turn.Unlock()
		return d.writer.leaseAt.After(before)
	})
}

func TestDeliverAfterRun(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	r := historyOf(300, 1)
	w, stop := runWriter(t, optionsFor(server), r)
	eventually(t, "a slot", written(w, 1))
	stop()
	r.appendSlot(2, time.Now(), numberLayout, number(2))
	w.Deliver()
	if s := w.Status(); s.Written != 1 || !s.Connected {
		t.Errorf("status %+v: something was sent after the end", s)
	}
}
