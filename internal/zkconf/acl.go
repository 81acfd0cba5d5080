package zkconf

import (
	"context"
	"slices"
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
// without one): who has a right there has it here, and we have all of them.
func beside(document []zk.ACL, own []AuthData) []zk.ACL {
	var list []zk.ACL
	for _, a := range document {
		if a.Scheme == "digest" && strings.HasSuffix(a.ID, ":x") {
			continue // whose password the server hides from us (CVE-2019-0201)
		}
		list = append(list, a)
	}
	if len(own) > 0 {
		return append(list, zk.AuthACL(zk.PermAll)...)
	}
	if !slices.ContainsFunc(list, func(a zk.ACL) bool { return a.Perms == zk.PermAll }) {
		return zk.WorldACL(zk.PermAll) // or not even we could go on using it
	}
	return list
}
