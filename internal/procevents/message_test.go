package procevents

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// message is one as the kernel sends it, with four words of event_data.
func message(what uint32, data ...uint32) []byte {
	m := make([]byte, 76)
	host.PutUint32(m, uint32(len(m)))
	host.PutUint32(m[atGroup:], groupProc)
	host.PutUint32(m[atValue:], valueProc)
	host.PutUint32(m[atAck:], 8)
	host.PutUint16(m[atLength:], 40)
	host.PutUint32(m[atWhat:], what)
	for i, word := range data {
		host.PutUint32(m[atData+4*i:], word)
	}
	return m
}

func with(m []byte, offset int, word uint32) []byte {
	host.PutUint32(m[offset:], word)
	return m
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name    string
		message []byte
		want    Event
		ok      bool
	}{
		{"fork", message(whatFork, 11, 10, 20, 20), Event{Kind: Born, PID: 20, Parent: 10}, true},
		{"a thread is no process", message(whatFork, 10, 10, 21, 20), Event{}, false},
		{"no parent that we could know", message(whatFork, 0, 0, 20, 20), Event{}, false},
		{"exit", message(whatExit, 20, 20, 256, 17), Event{Kind: Ended, PID: 20}, true},
		{"a thread ends", message(whatExit, 21, 20, 0, 17), Event{}, false},
		{"exec", message(2, 20, 20), Event{}, false},
		{"answer", message(whatAnswer, 1), Event{Kind: answered, err: 1, ack: 8}, true},
		{"cut off", message(whatFork, 11, 10, 20, 20)[:67], Event{}, false},
		{"as short as it may be", with(message(whatFork, 11, 10, 20, 20)[:68], 0, 68), Event{Kind: Born, PID: 20, Parent: 10}, true},
		{"longer than it is", with(message(whatFork, 11, 10, 20, 20), 0, 77), Event{}, false},
		{"another group", with(message(whatFork, 11, 10, 20, 20), atGroup, 2), Event{}, false},
		{"another value", with(message(whatFork, 11, 10, 20, 20), atValue, 2), Event{}, false},
		{"negative", message(whatFork, 1<<31, 1<<31, 20, 20), Event{}, false},
		{"empty", nil, Event{}, false},
	} {
		got, ok := parse(c.message)
		if !c.ok {
			got = Event{}
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(Event{})); diff != "" || ok != c.ok {
			t.Errorf("%s: ok %v (-want +got)\n%s", c.name, ok, diff)
		}
	}
}

// TestRequest: the bytes that other programs send, on a little-endian host.
func TestRequest(t *testing.T) {
	if host.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes below are of a little-endian host")
	}
	const want = "28000000" + "0300" + "0000" + "00000000" + "00000000" + "01000000" + "01000000" + "00000000" + "07000000" + "0400" + "0000" + "01000000"
	if diff := cmp.Diff(want, hex.EncodeToString(request(listen, 7))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(whatFork, 11, 10, 20, 20))
	f.Add(message(whatExit, 20, 20, 0, 17))
	f.Add(message(whatAnswer, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ok := parse(data)
		if ok && e.Kind != answered && (e.PID <= 0 || e.Kind == Born && e.Parent <= 0) {
			t.Errorf("%+v is no process", e)
		}
	})
}
