package account

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

// reply is an error reply, as the client library has them.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestReason(t *testing.T) {
	plain, secure := place{prefix: "p"}, place{prefix: "p", tls: true}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for _, tc := range []struct {
		name   string
		place  place
		err    error
		proven bool
		want   string
	}{
		{"no advice", plain, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, false, "dial tcp: connection refused"},
		{"hung up on", plain, io.EOF, false, "EOF (if that port wants TLS: rediss:// in redis_url)"},
		{"reset", plain, reset, false, "read tcp: connection reset by peer (if that port wants TLS: rediss:// in redis_url)"},
		{"reset later", plain, reset, true, "read tcp: connection reset by peer"},
		{"reset with TLS", secure, reset, false,
			"read tcp: connection reset by peer (if the server asks for a certificate: the daemon has none, so its tls-auth-clients must be optional or no)"},
		{"reset with TLS later", secure, reset, true, "read tcp: connection reset by peer"},
		{"no TLS", secure, fmt.Errorf("%w: no answer for 1s", errHandshake), false,
			"tls handshake: no answer for 1s (if that port is not Redis's tls-port: redis:// in redis_url)"},
		{"slow", secure, fmt.Errorf("%w: no answer for 1s", errHandshake), true, "tls handshake: no answer for 1s"},
		{"alert", secure, &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, true,
			"remote error: tls: certificate required (if the server asks for a certificate: the daemon has none, so its tls-auth-clients must be optional or no)"},
		{"not yet valid", secure, x509.CertificateInvalidError{Reason: x509.Expired, Detail: "now"}, true,
			"x509: certificate has expired or is not yet valid: now (the server needs a new certificate, or one of the two clocks is wrong)"},
		{"unknown", plain, reply("ERR something."), true, "ERR something"},
		{"empty", plain, reply(""), true, ""},
		{"rights", plain, reply("NOPERM No."), true, "NOPERM No (the user needs ~p/* +get +mget +set +del, and +select for a database other than 0)"},
		{"clients", plain, reply("ERR max number of clients reached"), true,
			"ERR max number of clients reached (raise its maxclients, or find who keeps connections)"},
		{"no password", plain, reply("ERR AUTH <password> called without any password configured for the default user."), false,
			"ERR AUTH <password> called without any password configured for the default user (it has no password: take that out of redis_url)"},
	} {
		if got := tc.place.reason(tc.err, tc.proven); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

// TestKind: errors of one line are one kind, those of different lines are not.
func TestKind(t *testing.T) {
	type failure struct {
		tls    bool
		err    error
		proven bool
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	slow := fmt.Errorf("%w: no answer for 1s", errHandshake)
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	invalid := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	seen := make(map[string]int)
	for i, same := range [][]failure{
		{{err: refused}, {err: refused, proven: true}, {err: reset, proven: true}, {tls: true, err: slow, proven: true}},
		{{err: reset}, {err: io.EOF}},
		{{tls: true, err: tls.RecordHeaderError{Msg: "m"}}, {tls: true, err: slow}},
		{{tls: true, err: alert}, {tls: true, err: alert, proven: true}, {tls: true, err: reset}},
		{{tls: true, err: invalid(x509.HostnameError{Certificate: new(x509.Certificate), Host: "h"})}},
		{{tls: true, err: invalid(x509.CertificateInvalidError{Reason: x509.Expired})}},
		{{tls: true, err: invalid(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign})}},
		{{err: reply("LOADING something")}, {err: reply("LOADING something else")}},
		{{err: reply("BUSY one")}, {err: reply("BUSY two")}},
		{{err: reply("ERR one")}, {err: reply("ERR two")}},
		{{err: reply("ERR max number of clients reached")}},
		{{err: reply("ERR DB index is out of range")}},
	} {
		for _, f := range same {
			kind := place{tls: f.tls}.kind(f.err, f.proven)
			if before, ok := seen[kind]; ok && before != i {
				t.Errorf("%v is of the same kind as line %d: %s", f, before, kind)
			}
			seen[kind] = i
			if first := (place{tls: same[0].tls}).kind(same[0].err, same[0].proven); kind != first {
				t.Errorf("%v: %q, want %q", f, kind, first)
			}
		}
	}
}
