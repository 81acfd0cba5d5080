package zkconf

import (
	"context"
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
