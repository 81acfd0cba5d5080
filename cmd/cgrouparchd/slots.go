package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/account"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// recentSlots is how many slots a subscriber may be behind before it misses
// one: of a reader that takes a slot as slowly as it may, the write timeout
// decides sooner.
const recentSlots = 16

// slotFeed hands each slot, once it is sampled, to the websocket's clients. It
// counts the slots by itself: their own numbers may fall with the clock.
type slotFeed struct {
	service *account.Service
	sampled *account.Subscription // for the sampler's goroutine
	started time.Time

	mu      sync.Mutex
	count   int64 // of the newest slot, 0 before the first
	recent  [recentSlots]account.Slot
	waiting chan struct{} // closed with the next slot
	buffers sync.Pool     // of *[]byte
}

func newSlotFeed(service *account.Service) *slotFeed {
	return &slotFeed{
		service: service, sampled: service.Subscribe(recentSlots), started: time.Now(), waiting: make(chan struct{}),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// take is called by the sampler for each slot, so that clients are woken only where
// there are some. It is the one subscription, however many they are.
func (f *slotFeed) take() {
	for slot, ok := f.sampled.Next(); ok; slot, ok = f.sampled.Next() {
		f.add(slot)
	}
}

func (f *slotFeed) add(slot account.Slot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	f.recent[f.count%recentSlots] = slot
	close(f.waiting)
	f.waiting = make(chan struct{})
}

// newest is the number of the newest slot in this feed.
func (f *slotFeed) newest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// epoch changes when an answer of show_account may: with each slot, and each
// second even without one, because what is old expires.
func (f *slotFeed) epoch() int64 {
	return f.newest() + int64(time.Since(f.started)/time.Second)
}

// quarter changes four times a second: so old an answer of get_status may be,
// which reads who is in each cgroup and would be costly for each page anew.
func (f *slotFeed) quarter() int64 {
	return int64(time.Since(f.started) / (250 * time.Millisecond))
}

// next waits for the slot after the given one, or the oldest that is kept.
func (f *slotFeed) next(ctx context.Context, after int64) (int64, error) {
	for {
		f.mu.Lock()
		count, waiting := f.count, f.waiting
		f.mu.Unlock()
		if count > after {
			return max(after+1, count-recentSlots+1, 1), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-waiting:
		}
	}
}

// write writes one slot as show_account shows it; nothing when there is nothing
// to show, such as the rates of the very first slot.
func (f *slotFeed) write(_ context.Context, args json.RawMessage, item int64, w io.Writer) error {
	view, err := account.ParseView(args)
	if err != nil {
		return accountError(err)
	}
	f.mu.Lock()
	slot, kept := f.recent[item%recentSlots], item > f.count-recentSlots
	f.mu.Unlock()
	if !kept {
		return nil
	}
	buf := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buf)
	message, ok := f.service.AppendSlot((*buf)[:0], slot, view)
	*buf = message
	if !ok {
		return nil
	}
	_, err = w.Write(message)
	return err
}

// feed is "subscribe_account".
func (f *slotFeed) feed() *wsapi.Feed {
	return &wsapi.Feed{
		Check: func(args json.RawMessage) error {
			_, err := account.ParseView(args)
			return accountError(err)
		},
		Newest: f.newest, Next: f.next, Write: f.write,
	}
}

func (f *slotFeed) showAccount(ctx context.Context, args json.RawMessage, w io.Writer) error {
	return accountError(f.service.ShowAccount(ctx, args, w))
}

// accountError gives the errors that are the client's, or pass, their code.
func accountError(err error) error {
	switch {
	case errors.Is(err, account.ErrArguments):
		return &wsapi.Error{Code: wsapi.CodeBadRequest, Message: err.Error()}
	case errors.Is(err, account.ErrBusy):
		return &wsapi.Error{Code: wsapi.CodeBusy, Message: err.Error()}
	}
	return err
}
