package zkconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-zookeeper/zk"
)

// nodeName is the document's node below the prefix.
const nodeName = "arch_conf"

// ParseHosts splits "host[:port],host[:port].../chroot" as users and the
// commands of get_zk_host write it: blanks around a name are dropped, a port
// left out is 2181. Hosts come back as "host:port", sorted, each once; the chroot
// begins with a slash or is empty. The client library knows no chroot, so it is
// ours to put before the path.
func ParseHosts(s string) (hosts []string, chroot string, err error) {
	list, path, rooted := strings.Cut(strings.TrimSpace(s), "/")
	if rooted {
		if chroot, err = cleanPath(path); err != nil {
			return nil, "", fmt.Errorf("zookeeper hosts %s: chroot: %w", quote(s), err)
		}
	}
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		host, err := hostPort(item)
		if err != nil {
			return nil, "", fmt.Errorf("zookeeper hosts %s: %w", quote(s), err)
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 {
		return nil, "", fmt.Errorf("zookeeper hosts %s: no host", quote(s))
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), chroot, nil
}

// hostPort adds the port that is left out. A bare IPv6 address is taken as such.
func hostPort(s string) (string, error) {
	host, port := s, strconv.Itoa(zk.DefaultPort)
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil && addr.Is6() && !strings.Contains(bare, "]") {
		host = bare
	} else if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", err
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("host %s: port is not 1 to 65535", quote(s))
	}
	odd := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("[]", r) }
	_, err := netip.ParseAddr(host)
	if host == "" || strings.ContainsFunc(host, odd) || strings.Contains(host, ":") && err != nil {
		return "", fmt.Errorf("host %s: not a name", quote(s))
	}
	return net.JoinHostPort(host, port), nil
}

// NodePath returns the path of the document's node below a chroot and a prefix
// (zk_prefix); either may be empty, and slashes at their ends do not matter.
func NodePath(chroot, prefix string) (string, error) {
	path, err := cleanPath(chroot + "/" + prefix + "/" + nodeName)
	if err != nil {
		return "", fmt.Errorf("zookeeper path: %w", err)
	}
	return path, nil
}

// cleanPath drops empty components, and refuses what ZooKeeper refuses in a path
// ("Data model" in the ZooKeeper Programmer's Guide), and stray blanks. The result is empty or
// begins with a slash.
func cleanPath(s string) (string, error) {
	var b strings.Builder
	for name := range strings.SplitSeq(s, "/") {
		switch {
		case name == "":
			continue
		case name == "." || name == "..":
			return "", errors.New("a component is " + name)
		case strings.ContainsFunc(name, unicode.IsControl):
			return "", errors.New("a control character")
		case strings.TrimSpace(name) != name:
			return "", errors.New("a component begins or ends with a blank")
		}
		b.WriteString("/" + name)
	}
	return b.String(), nil
}

// AuthData is one identity for ZooKeeper. It prints without the secret, whatever
// the format.
type AuthData struct {
	Scheme string // "digest"
	Auth   string // "user:password"
}

// Format implements fmt.Formatter, so that %+v and %#v are covered too.
func (a AuthData) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, a.String()) // what becomes of it is the printer's
}

// String returns the scheme and a placeholder.
func (a AuthData) String() string { return a.Scheme + ":***" }

// MarshalJSON returns what String does.
func (a AuthData) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }
