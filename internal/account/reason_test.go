package account

import (
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
