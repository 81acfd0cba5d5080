package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// TestWebsocket asks golden requests on one connection, which stays open through every bad one.
func TestWebsocket(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	eventually(t, "three slots", func() error {
		if n := len(d.slots(10)); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	const badRequest, anySlots = "bad_request", "slots"
	conf := `{"version":0,"value":` + sample + `}`
	_, status := d.get("/status")
	conn := d.dial()
	for _, c := range []struct{ request, want string }{
		{`{"cmd":"get_conf"}`, conf},
		{`{"cmd":"get_conf","args":null}`, conf},
		{`{"cmd":"get_conf","args":{}}`, conf},
		{`{"cmd":"x"}`, `{"error":"invalid cmd: x","code":"invalid_cmd"}`},
		{`{"cmd":"X"}`, `{"error":"invalid cmd: X","code":"invalid_cmd"}`},
		{`{"cmd":""}`, `{"error":"invalid cmd: ","code":"invalid_cmd"}`},
		{`{}`, badRequest},
		{`{"args":{}}`, badRequest},
		{`[]`, badRequest},
		{`"get_conf"`, badRequest},
		{`null`, badRequest},
		{``, badRequest},
		{`get_conf`, badRequest},
		{`{"cmd":`, badRequest},
		{`{"cmd":5}`, badRequest},
		{`{"cmd":null}`, badRequest},
		{`{"cmd":"get_conf"} {}`, badRequest},
		{`{"cmd":"get_conf","args":[]}`, badRequest},
		{`{"cmd":"get_conf","args":5}`, badRequest},
		{`{"cmd":"get_conf","args":{"version":5}}`, badRequest},
		{`{"cmd":"compare","args":{"document":"{\"cpu\":{\"conf\":5}}"}}`, `{"from":0,"to":null,"valid":false,
			"faults":[{"line":1,"column":9,"text":"cpu: conf: not an object: 5"}],"warnings":[],"more_warnings":0,"summary":"1 fault","destroys":false,
			"changes":[],"more_changes":0,"host_faults":null,"more_host_faults":0,"host_notes":null,"more_host_notes":0}`},
		{`{"cmd":"compare","args":{"to":0,"document":"{}"}}`, badRequest},
		{`{"cmd":"compare","args":{"from":5}}`, badRequest},
		{`{"cmd":"compare","args":{"from":"0"}}`, badRequest},
		{`{"cmd":"show_account"}`, anySlots},
		{`{"cmd":"show_account","args":null}`, anySlots},
		{`{"cmd":"show_account","args":{"nr_slot":2}}`, anySlots},
		{`{"cmd":"show_account","args":{"nr_slot":2.0}}`, anySlots},
		{`{"cmd":"show_account","args":{"start_slot":0,"end_slot":1000000000000}}`, anySlots},
		{`{"cmd":"show_account","args":{"start_slot":-1e12,"end_slot":1e12,"nr_slot":1}}`, anySlots},
		{`{"cmd":"show_account","args":{"nr_slot":1000000000000}}`, anySlots},
		{`{"cmd":"show_account","args":{"start_slot":10,"end_slot":5}}`, `{}`},
		{`{"cmd":"show_account","args":{"start_slot":5,"end_slot":10}}`, `{}`},
		{`{"cmd":"show_account","args":{"nr_slot":0}}`, `{}`},
		{`{"cmd":"show_account","args":{"nr_slot":-5}}`, `{}`},
		{`{"cmd":"show_account","args":{"end_slot":9000000000000}}`, `{}`},
		{`{"cmd":"show_account","args":{"nr_slot":"2"}}`, badRequest},
		{`{"cmd":"show_account","args":{"nr_slot":null}}`, badRequest},
		{`{"cmd":"show_account","args":{"nr_slot":1.5}}`, badRequest},
		{`{"cmd":"show_account","args":{"start_slot":true}}`, badRequest},
		{`{"cmd":"show_account","args":{"end_slot":[]}}`, badRequest},
		{`{"cmd":"show_account","args":{"subsystem":5}}`, badRequest},
	} {
		start := time.Now()
		reply, err := exchange(conn, c.request)
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		if took := time.Since(start); took > 10*time.Second { // an absurd range would take for ever
			t.Errorf("%s took %v", c.request, took)
		}
		switch c.want {
		case badRequest:
			var e struct{ Error, Code string }
			if err := json.Unmarshal([]byte(reply), &e); err != nil || e.Code != badRequest || e.Error == "" {
				t.Errorf("%s: %s", c.request, reply)
			}
		case anySlots:
			var slots map[string]map[string]usage
			if err := json.Unmarshal([]byte(reply), &slots); err != nil || len(slots) == 0 {
				t.Errorf("%s: %v: %s", c.request, err, reply)
			}
		default:
			if err := sameJSON(c.want, reply); err != nil {
				t.Errorf("%s: %v", c.request, err)
			}
		}
	}
	var a, b map[string]any
	if json.Unmarshal([]byte(status), &a) != nil || json.Unmarshal([]byte(d.ask(`{"cmd":"get_status"}`)), &b) != nil {
		t.Fatal("/status or get_status is no object")
	}
	if err := differ(sortedKeys(a), sortedKeys(b)); err != nil {
		t.Errorf("/status and get_status: %v", err)
	}
}

// TestWebsocketOrder: requests that come in one go, as text or binary, on any path, are answered one by one, in order, as text.
func TestWebsocketOrder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+d.addr+"/any/path?x=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 100 {
		kind := []int{websocket.TextMessage, websocket.BinaryMessage}[i%2]
		must(t, conn.WriteMessage(kind, fmt.Appendf(nil, `{"cmd":"c%d"}`, i)))
	}
	for i := range 100 {
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		kind, reply, err := conn.ReadMessage()
		if err != nil || kind != websocket.TextMessage {
			t.Fatalf("reply %d: type %d, %v", i, kind, err)
		}
		if err := sameJSON(fmt.Sprintf(`{"error":"invalid cmd: c%d","code":"invalid_cmd"}`, i), string(reply)); err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
	}
	for _, path := range []string{"/nonsense", "/status/x", "/healthzz"} {
		if code, body := d.get(path); code < 400 || strings.TrimSpace(body) == "" {
			t.Errorf("GET %s without an upgrade: %d %q", path, code, body)
		}
	}
}

// TestShowAccountRange: slots come ascending, as many as asked for; filters prune to one part.
func TestShowAccountRange(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(sample)
	d := h.startReady()
	eventually(t, "five slots", func() error {
		if n := len(d.slots(10)); n < 5 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	text := d.ask(`{"cmd":"show_account","args":{"nr_slot":3}}`)
	var slots map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &slots); err != nil || len(slots) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	position := -1
	for _, slot := range sortedKeys(slots) {
		if at := strings.Index(text, `"`+slot+`"`); at < position {
			t.Errorf("slots are not ascending: %s", text)
		} else {
			position = at
		}
	}
	for _, c := range []struct{ filter, want string }{
		{`"subsystem":"blkio"`, `blkio{usage test_cgroup_a{usage}}`},
		{`"subsystem":"cpu","cgroup":"test_cgroup_b/test_cgroup_b_sub1"`, `cpu{test_cgroup_b{test_cgroup_b_sub1{usage}}}`},
		{`"cgroup":"test_cgroup_b_sub1"`, `cpu{test_cgroup_b{test_cgroup_b_sub1{usage}}}`},
		{`"cgroup":"/test_cgroup_b"`, `cpu{test_cgroup_b{usage test_cgroup_b_sub1{usage}}}`},
		{`"cgroup":"nosuch"`, ``},
		{`"subsystem":"nosuch"`, ``},
	} {
		text := d.ask(`{"cmd":"show_account","args":{"nr_slot":1,` + c.filter + `}}`)
		var slots map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &slots); err != nil || len(slots) != 1 {
			t.Errorf("%s: %v: %s", c.filter, err, text)
			continue
		}
		if got := shapeOf(t, string(slots[sortedKeys(slots)[0]])); got != c.want {
			t.Errorf("%s: %s, want %s", c.filter, got, c.want)
		}
	}
}

// TestPythonClient asks through the client that users of the Python library have: Debian's python3-websocket.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import websocket").CombinedOutput(); err != nil {
		testhost.Lacks(t, "python3-websocket is not installed: %v: %s", err, out)
	}
	h.document(sample)
	d := h.startReady()
	d.slots(1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", `
import json, sys, time, websocket
ws = websocket.create_connection("ws://%s" % sys.argv[1], timeout=20)
def ask(request):
    ws.send(json.dumps(request))
    return json.loads(ws.recv())
assert ask({"cmd": "get_conf"})["value"]["cpu"]["sub_cgroup"]["test_cgroup_b"]["conf"] == {"share": 100}
assert ask({"cmd": "nonsense"}) == {"error": "invalid cmd: nonsense", "code": "invalid_cmd"}
for _ in range(100):
    slots = ask({"cmd": "show_account", "args": {"nr_slot": 2}})
    if len(slots) == 2:
        break
    time.sleep(0.1)
assert len(slots) == 2, slots
for slot in slots.values():
    assert isinstance(slot["cpu"]["value"]["usage"], int), slot
ws.close()
print("done")
`, d.addr).CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestBrowserRules: who may connect from a browser, and the limit of a request.
func TestBrowserRules(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("allowed_hosts", []string{"dashboard.example"})
	h.document(sample)
	d := h.startReady()
	port := d.addr[strings.LastIndex(d.addr, ":"):]
	for _, c := range []struct {
		name, host, origin string
		ok                 bool
	}{
		{"no origin", d.addr, "", true},
		{"our own origin", d.addr, "http://" + d.addr, true},
		{"localhost", "localhost" + port, "http://localhost" + port, true},
		{"allowed host", "dashboard.example" + port, "http://dashboard.example" + port, true},
		{"another site", d.addr, "http://evil.example", false},
		{"another port", d.addr, "http://127.0.0.1:1", false},
		{"rebound name", "evil.example" + port, "http://evil.example" + port, false},
		{"rebound name, no origin", "evil.example" + port, "", false},
		{"null origin", d.addr, "null", false},
	} {
		header := http.Header{"Host": {c.host}}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		conn, response, err := websocket.DefaultDialer.Dial("ws://"+d.addr+"/", header)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v %v", c.name, err, response)
		}
		if err == nil {
			conn.Close()
		}
		if c.origin == "" { // the pages are guarded in the same way
			request, _ := http.NewRequest("GET", "http://"+d.addr+"/status", nil)
			request.Host = c.host
			answer, err := httpClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if (answer.StatusCode == 200) != c.ok {
				t.Errorf("%s: /status is %d", c.name, answer.StatusCode)
			}
		}
	}
	big := d.dial()
	big.WriteMessage(websocket.TextMessage, []byte(`{"cmd":"`+strings.Repeat("x", 70<<10)+`"}`))
	big.SetReadDeadline(time.Now().Add(patience))
	if _, reply, err := big.ReadMessage(); err == nil {
		t.Errorf("a request beyond the limit was answered: %.100s", reply)
	}
	if got := d.ask(`{"cmd":"` + strings.Repeat("x", 60<<10) + `"}`); !strings.Contains(got, "invalid_cmd") {
		t.Errorf("a request below the limit: %.100s", got)
	}
}
