package zkconf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
)

// The document's ACL decides who may read what we keep beside it: the earlier
// documents, and what the daemons say about themselves.

// acl reads the ACL of the document's node.
func (c *client) acl(ctx context.Context) ([]zk.ACL, error) {
	return ask(ctx, c, func(conn *zk.Conn) ([]zk.ACL, error) {
		list, _, err := conn.GetACL(c.path)
		return list, err
	})
}

// beside is the ACL for a new node beside the document, whose ACL is given (empty
// without one): who has a right there has it here, and we can use it, by our
// identities or, without any, as anybody.
func beside(document []zk.ACL, own []AuthData) []zk.ACL {
	if len(document) == 0 && len(own) == 0 {
		return zk.WorldACL(zk.PermAll)
	}
	var list []zk.ACL
	anybody := zk.WorldACL(zk.PermRead | zk.PermWrite | zk.PermCreate | zk.PermDelete)[0]
	for _, a := range document {
		switch {
		case a.Scheme == "digest" && strings.HasSuffix(a.ID, ":x"):
			// Whose password the server hides from us (CVE-2019-0201).
		case len(own) == 0 && a.Scheme == anybody.Scheme && a.ID == anybody.ID:
			anybody.Perms |= a.Perms
		default:
			list = append(list, a)
		}
	}
	if len(own) == 0 {
		return append(list, anybody)
	}
	return append(list, zk.AuthACL(zk.PermAll)...)
}

// denied says what can be done about a refusal; any other error stays as it is. The
// library's text is the same for an identity that has no right, for a wrong password,
// which no server complains of by itself, and for none at all.
func denied(err error, own []AuthData) error {
	switch {
	case errors.Is(err, zk.ErrAuthFailed):
		return fmt.Errorf("%w (the servers do not know the scheme of an identity in zk_auth_data)", err)
	case !errors.Is(err, zk.ErrNoAuth):
		return err
	case len(own) == 0:
		return fmt.Errorf("%w (the node's ACL gives no such right to everybody, and zk_auth_data has no identity)", err)
	}
	return fmt.Errorf("%w (the node's ACL gives no such right to an identity in zk_auth_data; a wrong password looks the same)", err)
}
