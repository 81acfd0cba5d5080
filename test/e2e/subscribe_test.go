package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// pushed reads one message of a subscription: its slot, and what it shows.
func pushed(t *testing.T, conn *websocket.Conn) (slot int64, value string) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, data, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var message map[string]json.RawMessage
	if err := json.Unmarshal(data, &message); err != nil || len(message) != 1 {
		t.Fatalf("a message of %d slots: %v: %s", len(message), err, data)
	}
	for key, raw := range message {
		if slot, err = strconv.ParseInt(key, 10, 64); err != nil {
			t.Fatalf("slot %q: %s", key, data)
		}
		value = string(raw)
	}
	return slot, value
}

// wantNext says that no slot was sampled between the two: a busy machine misses one now and then.
func (d *daemon) wantNext(last, slot int64) {
	d.t.Helper()
	if slot == last+1 {
		return
	}
	if between := d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"start_slot":%d,"end_slot":%d}}`, last+1, slot-1)); slot <= last || between != "{}" {
		d.t.Errorf("slot %d after %d; between them: %s", slot, last, between)
	}
}

// TestSubscribeAccount: one message per slot, equal to what show_account says of that slot, until unsubscribed.
func TestSubscribeAccount(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	for _, c := range []struct{ filter, shape string }{
		{``, ``},
		{`,"subsystem":"cpu","cgroup":"test_cgroup_b_sub1"`, `cpu{test_cgroup_b{test_cgroup_b_sub1{usage}}}`},
		{`,"cgroup":"nosuch"`, ``},
	} {
		conn := d.dial()
		must(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"subscribe_account","args":{`+strings.TrimPrefix(c.filter, ",")+`}}`)))
		last := int64(0)
		for i := range 3 {
			slot, value := pushed(t, conn)
			if i > 0 {
				d.wantNext(last, slot)
			}
			last = slot
			shown := d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"start_slot":%d,"end_slot":%d%s}}`, slot, slot, c.filter))
			if want := fmt.Sprintf(`{"%d":%s}`, slot, value); shown != want {
				t.Errorf("%s: pushed %s, but show_account says %s", c.filter, want, shown)
			}
			if c.shape != "" && shapeOf(t, value) != c.shape {
				t.Errorf("%s: %s, want %s", c.filter, shapeOf(t, value), c.shape)
			}
		}
		must(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"unsubscribe_account"}`)))
		for {
			_, reply, err := conn.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if string(reply) == `{"unsubscribed":true}` {
				break
			}
		}
		// Two seconds later a request's reply is still the next thing that comes.
		time.Sleep(2100 * time.Millisecond)
		if reply, err := exchange(conn, `{"cmd":"x"}`); err != nil || !strings.Contains(reply, "invalid_cmd") {
			t.Errorf("after unsubscribe_account: %s, %v", reply, err)
		}
	}
	conn := d.dial()
	for _, bad := range []string{`{"rate":1}`, `{"rate":null}`, `{"cgroup":5}`, `{"subsystem":null}`} {
		reply, err := exchange(conn, `{"cmd":"subscribe_account","args":`+bad+`}`)
		if err != nil || !strings.Contains(reply, `"code":"bad_request"`) {
			t.Errorf("%s: %s, %v", bad, reply, err)
		}
	}
}

// TestSubscribeRates: rates per second are the difference of what show_account counts, from the second slot on.
func TestSubscribeRates(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	burner := shell(t, "while :; do :; done")
	h.set("cgroup_pid_files", map[string][]string{"test_cgroup_a": {h.pidFile("burner", burner.pid())}})
	d := h.startReady()
	conn := d.dial()
	must(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"subscribe_account","args":{"rate":true,"subsystem":"cpu","cgroup":"test_cgroup_a"}}`)))
	const path = `{"cpu":{"sub_cgroup":{"test_cgroup_a":{"value":{"usage":`
	seen := false
	for range 5 {
		slot, value := pushed(t, conn)
		if !strings.HasPrefix(value, path) {
			t.Fatalf("rate of slot %d: %s", slot, value)
		}
		rate, err := strconv.ParseFloat(strings.TrimRight(strings.TrimPrefix(value, path), "}"), 64)
		must(t, err)
		var slots map[string]map[string]usage
		must(t, json.Unmarshal([]byte(d.ask(fmt.Sprintf(`{"cmd":"show_account","args":{"end_slot":%d,"nr_slot":2,"subsystem":"cpu","cgroup":"test_cgroup_a"}}`, slot))), &slots))
		if len(slots) != 2 {
			continue // a slot was missed: the rate is right, but over a longer time
		}
		count := func(slot int64) float64 {
			n, err := strconv.ParseFloat(string(slots[strconv.FormatInt(slot, 10)]["cpu"].Sub["test_cgroup_a"].Value["usage"]), 64)
			must(t, err)
			return n
		}
		// The time between two slots' samples is a second but for the lateness of either.
		if difference := count(slot) - count(slot-1); difference > 1e6 && (rate < difference/2 || rate > difference*2) {
			t.Errorf("slot %d: rate %g, difference %g", slot, rate, difference)
		}
		seen = seen || rate > 1e7
	}
	if !seen {
		t.Error("a busy process shows in no rate")
	}
}

// TestManySubscribers: all get every slot, also while others ask, come and go.
func TestManySubscribers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	d.slots(1)
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			conn, _, err := websocket.DefaultDialer.Dial("ws://"+d.addr+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"subscribe_account"}`)); err != nil {
				t.Error(err)
				return
			}
			for range 2 + i%4 {
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, data, err := conn.ReadMessage(); err != nil || !strings.HasPrefix(string(data), `{"1`) {
					t.Errorf("client %d: %.100s, %v", i, data, err)
					return
				}
			}
		})
	}
	clients.Wait()
	if reply := d.ask(`{"cmd":"x"}`); !strings.Contains(reply, "invalid_cmd") {
		t.Error(reply)
	}
}
