package config

import (
	"errors"
	"fmt"
	"strings"
)

func setZKHost(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil {
		return err
	}
	if s != "" {
		err = checkZKHost(s)
	}
	d.ZKHost = s
	return err
}

// checkZKHost checks HOST[:PORT][,HOST[:PORT]...][/CHROOT].
func checkZKHost(s string) error {
	servers, chroot := s, ""
	if i := strings.IndexByte(s, '/'); i >= 0 {
		servers, chroot = s[:i], s[i:]
	}
	for server := range strings.SplitSeq(servers, ",") {
		if _, err := hostPort(strings.TrimSpace(server), "2181"); err != nil {
			return err
		}
	}
	if chroot == "" || chroot == "/" {
		return nil
	}
	return checkZKPath(chroot)
}

// checkZKPath wants what ZooKeeper accepts as a node's path.
func checkZKPath(p string) error {
	for part := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		switch part {
		case "":
			return fmt.Errorf("an empty name in the node's path %q", p)
		case ".", "..":
			return fmt.Errorf("%q in the node's path %q", part, p)
		}
	}
	return nil
}

func setGetZKHost(d *draft, in input) (err error) {
	d.GetZKHost, err = asCommand(in.value)
	return err
}

func setZKPrefix(d *draft, in input) error {
	s, err := asString(in.value)
	if err != nil {
		return err
	}
	s = strings.Trim(s, "/")
	if s == "" {
		d.ZKPrefix = ""
		return nil
	}
	d.ZKPrefix = "/" + s
	return checkZKPath(d.ZKPrefix)
}

func setZKAuthFile(d *draft, in input) (err error) {
	d.zkAuthFile, err = optionalFile(in.value)
	return err
}

// setZKAuthData never quotes what it refuses: it may be most of a password.
func setZKAuthData(d *draft, in input) error {
	d.ZKAuth = nil
	list, ok := in.value.([]any)
	if !ok {
		if in.value == "" {
			return nil
		}
		return fmt.Errorf("want a list such as [\"digest:user:password\"], not %s", describe(in.value))
	}
	for i, item := range list {
		a, err := authItem(item)
		if err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
		d.ZKAuth = append(d.ZKAuth, a)
	}
	return nil
}

func authItem(item any) (Auth, error) {
	switch item := item.(type) {
	case string:
		return parseAuth(item)
	case []any:
		if len(item) != 2 {
			return Auth{}, errors.New("want a pair [\"SCHEME\", \"DATA\"]")
		}
		scheme, ok1 := item[0].(string)
		data, ok2 := item[1].(string)
		if !ok1 || !ok2 || strings.Contains(scheme, ":") {
			return Auth{}, errors.New("want a pair of strings [\"SCHEME\", \"DATA\"]")
		}
		return parseAuth(scheme + ":" + data)
	default:
		return Auth{}, errors.New("want \"SCHEME:DATA\" or a pair of strings")
	}
}

// parseAuth reads SCHEME:DATA. ZooKeeper's digest scheme closes the session
// over data without a colon, so that is refused here.
func parseAuth(s string) (Auth, error) {
	scheme, data, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || data == "" {
		return Auth{}, errors.New("want SCHEME:DATA, such as digest:user:password")
	}
	if scheme == "digest" && !strings.Contains(data, ":") {
		return Auth{}, errors.New("digest wants USER:PASSWORD")
	}
	return Auth{Scheme: scheme, Data: Secret(data)}, nil
}
