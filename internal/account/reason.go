package account

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// place is what reason has to know of the server besides its error.
type place struct {
	mode    RedisMode
	tls     bool
	prefix  string
	secrets secrets
}

// reason is an error of Redis as a status and the log show it: what was answered,
// and what can be done about it where that is known. proven: the server has done
// something for us before, so that its address and protocol are right.
func (p place) reason(err error, proven bool) string {
	text := strings.TrimSuffix(p.secrets.hide(brief(err)), ".")
	if advice := p.advice(err, proven); advice != "" {
		return text + " (" + advice + ")"
	}
	return text
}

// advice is "" where the error says all that there is to say.
func (p place) advice(err error, proven bool) string {
	if refusal := redis.Error(nil); errors.As(err, &refusal) {
		return p.refused(refusal.Error())
	}
	if p.tls {
		return secured(err, proven)
	}
	if !proven && hungUp(err) {
		return "if that port wants TLS: rediss:// in redis_url"
	}
	return ""
}

// secured is about a connection with TLS.
func secured(err error, proven bool) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		header    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "add the authority's certificate to the host's, or name its file in SSL_CERT_FILE in the daemon's environment, and restart the daemon: " +
			"it reads them once"
	case errors.As(err, &name):
		return "redis_url must call the server by a name in its certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server needs a new certificate, or one of the two clocks is wrong"
	case errors.As(err, &header), errors.Is(err, errHandshake) && !proven:
		return "if that port is not Redis's tls-port: redis:// in redis_url"
	// The alert may come after our next write, which is then what fails.
	case strings.Contains(err.Error(), "certificate required"), !proven && hungUp(err):
		return "if the server asks for a certificate: the daemon has none, so its tls-auth-clients must be optional or no"
	}
	return ""
}

// hungUp says that the server has ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// errHandshake is part of the error of a TLS handshake that had no answer in time.
var errHandshake = errors.New("tls handshake")

// refused is about an error reply. Its first word is a code, see "Errors" in Redis's
// protocol specification; what has none begins with ERR.
func (p place) refused(reply string) string {
	code, rest, _ := strings.Cut(reply, " ")
	switch code {
	case "NOAUTH":
		return "redis_url must have a password"
	case "WRONGPASS":
		return "correct user and password in redis_url"
	case "NOPERM":
		if p.mode == RedisCluster {
			return "the user needs ~" + p.prefix + "/* +get +set +del +cluster|slots"
		}
		return "the user needs ~" + p.prefix + "/* +get +mget +set +del, and +select for a database other than 0"
	case "READONLY":
		return "it is a replica: name the master, or let redis+sentinel:// in redis_url follow it"
	case "OOM":
		return "raise its maxmemory, or let it evict by a maxmemory-policy such as volatile-ttl"
	case "LOADING":
		return "it has just started; nothing to do"
	case "MISCONF":
		return "it cannot save to its disk: its log says why"
	case "MOVED", "CLUSTERDOWN", "CROSSSLOT":
		return "a cluster needs redis+cluster:// in redis_url, and a node for every hash slot"
	case "DENIED":
		return "its protected-mode lets in nobody but its own host: give it a password, or bind it"
	case "ERR":
		switch {
		case strings.Contains(rest, "without any password configured"):
			return "it has no password: take that out of redis_url"
		case strings.Contains(rest, "DB index"):
			return "redis_url names a database that it does not have"
		case strings.Contains(rest, "max number of clients"):
			return "raise its maxclients, or find who keeps connections"
		}
	}
	return ""
}

// kind tells apart what deserves a line of the log of its own: what is to be done about,
// each kind of refusal besides, and all other ways not to answer as one.
func (p place) kind(err error, proven bool) string {
	if advice := p.advice(err, proven); advice != "" {
		return advice
	}
	if refusal := redis.Error(nil); errors.As(err, &refusal) {
		code, _, _ := strings.Cut(refusal.Error(), " ")
		return code
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return "certificate"
	}
	return "unanswered"
}

// unanswered tells a server that did not answer from one that refused.
func unanswered(err error) bool {
	var refusal redis.Error
	return !errors.As(err, &refusal)
}

// brief drops what net.OpError adds about the local side, which differs each
// time and would make every failure look new.
func brief(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Net == "":
		return op.Op + ": " + op.Err.Error() // of TLS
	case errors.As(err, &op):
		return op.Op + " " + op.Net + ": " + op.Err.Error()
	}
	return err.Error()
}
