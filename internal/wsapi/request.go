package wsapi

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The codes of error replies.
const (
	CodeBadRequest = "bad_request" // the request is malformed, or its arguments are
	CodeInvalidCmd = "invalid_cmd" // there is no such command
	CodeBusy       = "busy"        // too much is under way, ask again later
	CodeInternal   = "internal"    // our fault, see the log
)

// Error is an error reply: {"error": Message, "code": Code}.
type Error struct {
	Code    string
	Message string
}

// Error is the message; the code is for programs.
func (e *Error) Error() string { return e.Message }

func badRequest(format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// json is the reply's text.
func (e *Error) json() []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	// Two strings cannot fail to encode.
	_ = encoder.Encode(struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}{e.Message, e.Code})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// A request is one client message.
type request struct {
	cmd  string
	args json.RawMessage // an object, or nil
}

// parseRequest reads {"cmd": STRING, "args": OBJECT}. Members that we do not
// know are a newer client's and ignored; of a member given twice the last
// counts, as in every JSON library that clients use.
func parseRequest(data []byte) (request, error) {
	if !json.Valid(data) {
		return request{}, badRequest("not JSON")
	}
	// A map and not a struct: names are compared exactly, not in any case.
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members == nil {
		return request{}, badRequest("not an object")
	}
	cmd, ok := members["cmd"]
	if !ok {
		return request{}, badRequest("no cmd")
	}
	var r request
	if cmd[0] != '"' || json.Unmarshal(cmd, &r.cmd) != nil {
		return request{}, badRequest("cmd is not a string")
	}
	args := members["args"]
	switch {
	case args == nil || string(args) == "null":
	case args[0] == '{':
		r.args = args
	default:
		return request{}, badRequest("args is not an object")
	}
	return r, nil
}
