package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var httpClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get asks for a page; a connection that fails is code 0.
func (d *daemon) get(path string) (int, string) {
	d.t.Helper()
	response, err := httpClient.Get("http://" + d.addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// status returns /status as compact text, for "is it said anywhere" questions.
func (d *daemon) status() string {
	d.t.Helper()
	code, body := d.get("/status")
	if code != 200 {
		d.t.Fatalf("/status: %d %s", code, body)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(body)); err != nil {
		d.t.Fatalf("/status: %v: %s", err, body)
	}
	return b.String()
}

// wantStatus waits until /status says all of the words.
func (d *daemon) wantStatus(words ...string) {
	d.t.Helper()
	eventually(d.t, "/status", func() error { return d.says(words...) })
}

func (d *daemon) says(words ...string) error {
	text := d.status()
	for _, word := range words {
		if !strings.Contains(text, word) {
			return fmt.Errorf("%q is not in %s", word, text)
		}
	}
	return nil
}

// pidState is one entry of /status about a pid file.
type pidState struct {
	File, Cgroup, State string
	PID                 int
}

// pidStates returns what /status says of pid files, by file, wherever in the object that list stands.
func (d *daemon) pidStates() map[string]pidState {
	d.t.Helper()
	var status any
	if err := json.Unmarshal([]byte(d.status()), &status); err != nil {
		d.t.Fatal(err)
	}
	states := map[string]pidState{}
	visit(status, func(object map[string]any) {
		file, isFile := object["file"].(string)
		state, isState := object["state"].(string)
		if isFile && isState {
			cgroup, _ := object["cgroup"].(string)
			pid, _ := object["pid"].(float64)
			states[file] = pidState{file, cgroup, state, int(pid)}
		}
	})
	return states
}

// wantPidState waits until /status shows the pid file in this state.
func (d *daemon) wantPidState(file, state string) {
	d.t.Helper()
	eventually(d.t, "pid file state", func() error {
		states := d.pidStates()
		if got := states[file].State; got != state {
			return fmt.Errorf("%s is %q, want %q; all: %v", file, got, state, states)
		}
		return nil
	})
}

// number finds a whole number in /status by a part of its key; it fails the test when there is none.
func (d *daemon) number(key string) int {
	d.t.Helper()
	var status any
	if err := json.Unmarshal([]byte(d.status()), &status); err != nil {
		d.t.Fatal(err)
	}
	found, n := false, 0
	visit(status, func(object map[string]any) {
		for k, v := range object {
			if f, ok := v.(float64); ok && strings.Contains(k, key) {
				found, n = true, n+int(f)
			}
		}
	})
	if !found {
		d.t.Fatalf("/status has no number %q: %s", key, d.status())
	}
	return n
}

// visit calls f for every object inside a decoded JSON value.
func visit(value any, f func(map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		f(v)
		for _, member := range v {
			visit(member, f)
		}
	case []any:
		for _, member := range v {
			visit(member, f)
		}
	}
}

// dial opens a websocket to the daemon.
func (d *daemon) dial() *websocket.Conn {
	d.t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+d.addr+"/", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends one request on a connection of its own and returns the reply.
func (d *daemon) ask(request string) string {
	d.t.Helper()
	conn := d.dial()
	defer conn.Close()
	reply, err := exchange(conn, request)
	if err != nil {
		d.t.Fatalf("%s: %v", request, err)
	}
	return reply
}

func exchange(conn *websocket.Conn, request string) (string, error) {
	conn.SetReadDeadline(time.Now().Add(patience))
	if err := conn.WriteMessage(websocket.TextMessage, []byte(request)); err != nil {
		return "", err
	}
	kind, reply, err := conn.ReadMessage()
	if err == nil && kind != websocket.TextMessage {
		err = fmt.Errorf("reply of type %d is not text", kind)
	}
	return string(reply), err
}

// inForce returns the configuration in force, as get_conf tells it.
func (d *daemon) inForce() (version int, document string) {
	d.t.Helper()
	var reply struct {
		Version int
		Value   json.RawMessage
	}
	text := d.ask(`{"cmd":"get_conf"}`)
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		d.t.Fatalf("get_conf: %v: %s", err, text)
	}
	return reply.Version, string(reply.Value)
}

// wantInForce waits until get_conf shows this document.
func (d *daemon) wantInForce(document string) {
	d.t.Helper()
	eventually(d.t, "document in force", func() error {
		_, got := d.inForce()
		return sameJSON(document, got)
	})
}

// sameJSON compares two JSON texts as values.
func sameJSON(want, got string) error {
	wantValue, err := decode(want)
	if err != nil {
		return err
	}
	gotValue, err := decode(got)
	if err != nil {
		return err
	}
	return differ(wantValue, gotValue)
}

func decode(text string) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber() // counters pass 2^53
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	if decoder.More() {
		return nil, errors.New("more than one JSON value: " + text)
	}
	return value, nil
}

// rejected is nil when /status shows a rejected version with this in its reason.
func (d *daemon) rejected(place string) error {
	d.t.Helper()
	var status any
	if err := json.Unmarshal([]byte(d.status()), &status); err != nil {
		d.t.Fatal(err)
	}
	said := ""
	visit(status, func(object map[string]any) {
		for key, value := range object {
			if key == "rejected" && value != nil {
				text, _ := json.Marshal(value)
				said += strings.Trim(string(text), `"{}[]`)
			}
		}
	})
	if said == "" || !strings.Contains(said, place) {
		return fmt.Errorf("no rejected version with %q: %s", place, d.status())
	}
	return nil
}
