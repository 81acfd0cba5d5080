package wsapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzRequest: whatever a client sends, either the request is understood as
// encoding/json understands it, or the error is a reply that a client can read.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"cmd":"show_account","args":{"nr_slot":2}}`, `{"cmd":"get_conf"}`, `{"cmd":5}`, `{"cmd":null,"args":[]}`,
		`{"cmd":"a","args":null}`, `[]`, `null`, ``, `{`, `{"cmd":"\ud800"}`, "{\"cmd\":\"\xff\"}", `{"cmd":"a","cmd":"b"}`,
		strings.Repeat("[", 1000), `{"args":{"cmd":"x"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRequest(data)
		if err != nil {
			var known *Error
			if !errors.As(err, &known) || known.Code != CodeBadRequest {
				t.Fatalf("error %#v", err)
			}
			var reply map[string]string
			if err := json.Unmarshal(known.json(), &reply); err != nil || len(reply) != 2 {
				t.Fatalf("reply %s: %v", known.json(), err)
			}
			return
		}
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatalf("accepted what is not an object: %q", data)
		}
		if m["cmd"] != r.cmd {
			t.Fatalf("cmd %q, want %q", r.cmd, m["cmd"])
		}
		if _, isObject := m["args"].(map[string]any); isObject != (r.args != nil) {
			t.Fatalf("args %q of %q", r.args, data)
		}
	})
}
