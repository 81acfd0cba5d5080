package wsapi

import (
	"os/exec"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// pythonClient is what users of the Python library run: Debian's
// python3-websocket, which sends an Origin of its own and answers pings only
// while it receives.
const pythonClient = `
import json, sys, time, websocket
ws = websocket.create_connection(sys.argv[1], timeout=10)
def ask(text):
    ws.send(text)
    reply = ws.recv()
    assert isinstance(reply, str), type(reply)
    return json.loads(reply)
assert ask('{"cmd":"value"}') == {"version": 7}
assert ask('{"cmd":"x"}') == {"error": "invalid cmd: x", "code": "invalid_cmd"}
assert ask('nonsense')["code"] == "bad_request"
time.sleep(0.5)  # several pings go by unanswered
assert ask('{"cmd":"echo","args":{"nr_slot":2}}') == {"nr_slot": 2}
assert len(ask('{"cmd":"large","args":{"bytes":1000000}}')) == 999998
ws.send_binary(b'{"cmd":"value"}')
assert json.loads(ws.recv()) == {"version": 7}
ws.close()
try:
    websocket.create_connection(sys.argv[1], timeout=10, origin="http://evil.example")
    sys.exit("a foreign origin was accepted")
except websocket.WebSocketBadStatusException as e:
    assert e.status_code == 403, e
websocket.create_connection(sys.argv[1], timeout=10, suppress_origin=True).close()
print("done")
`

func TestPythonClient(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import websocket").Run(); err != nil {
		testhost.Lacks(t, "Debian's python3-websocket is not installed: %v", err)
	}
	addr, _ := start(t, &Server{PingInterval: 100e6}) // 100 ms
	out, err := exec.CommandContext(t.Context(), python, "-c", pythonClient, "ws://"+addr).CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
