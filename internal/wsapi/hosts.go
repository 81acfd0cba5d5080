package wsapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// hostNames decides which names in Host and Origin are ours.
//
// A page of another origin must not talk to us from a visitor's browser
// (Origin), and neither may a page whose own name was made to resolve to our
// address (DNS rebinding, which only Host shows). Programs that send no
// Origin are no browsers.
type hostNames struct {
	own     map[string]bool // names, lower case
	allowed map[string]bool // names and name:port, lower case
}

func newHostNames(own, allowed []string) hostNames {
	n := hostNames{own: map[string]bool{"localhost": true}, allowed: map[string]bool{}}
	for _, name := range own {
		n.own[canonical(name)] = true
	}
	for _, name := range allowed {
		n.allowed[canonical(name)] = true
	}
	delete(n.own, "")
	delete(n.allowed, "")
	return n
}

// canonical is lower case without the root's dot.
func canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// host checks the Host header. Without one (HTTP/1.0) it was no browser, as
// long as there is no Origin either.
func (n hostNames) host(r *http.Request) bool {
	if r.Host == "" {
		return len(r.Header["Origin"]) == 0
	}
	name, port := splitHost(r.Host)
	return isAddress(name) || n.own[name] || n.allows(name, port)
}

func (n hostNames) allows(name, port string) bool {
	if name == "" {
		return false
	}
	return n.allowed[name] || port != "" && n.allowed[net.JoinHostPort(name, port)]
}

// origin checks the Origin header: absent, the same name and port as Host, or
// an allowed name.
func (n hostNames) origin(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	u, err := url.Parse(values[0])
	if err != nil || u.User != nil || u.Path != "" && u.Path != "/" {
		return false
	}
	standard := map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}[u.Scheme]
	if standard == "" || u.Host == "" {
		return false // "null", a file, an extension
	}
	name, port := splitHost(u.Host)
	if port == "" {
		port = standard
	}
	hostName, hostPort := splitHost(r.Host)
	if hostPort == "" {
		hostPort = standard // the port of the scheme that the browser used
	}
	return name == hostName && port == hostPort || n.allows(name, port)
}

// splitHost takes "name", "name:port", "[::1]" and "[::1]:port" apart.
func splitHost(host string) (name, port string) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		return canonical(h), p
	}
	return canonical(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")), ""
}

// isAddress reports an address literal: no name, so nothing to rebind.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}
