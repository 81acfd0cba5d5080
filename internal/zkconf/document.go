// Package zkconf turns the configuration document into valid values, and follows it in ZooKeeper or in a local file.
package zkconf

import (
	"maps"
	"slices"
)

// MaxSize is the largest document in bytes. ZooKeeper's own limit is 1 MiB for
// the whole packet, beyond which a server closes the connection.
const MaxSize = 1_048_000

// MaxDepth is how many cgroups may be nested below a subsystem.
const MaxDepth = 64

// Document is one valid version of the configuration. It is immutable: whoever
// gets one may keep it and share it.
type Document struct {
	Version    int32            // identity of the version, not an order: after a wiped ensemble 0 may follow 41
	Raw        []byte           // as it was written
	Subsystems map[string]*Node // by name; the node speaks of our root cgroup

	spans      []span
	self, base *identity // of this document, and of the one that change is about
	change     Change
}

// Node is what the document says about one cgroup in one subsystem.
type Node struct {
	// HasConf says that conf is present (null counts as present and empty).
	// Without it the cgroup is structure only: it never gets settings or
	// processes.
	HasConf bool
	// Conf holds the settings by key in canonical spelling, those that have a
	// default when conf is present included. Nodes with equal settings may
	// share one map.
	Conf map[string]string
	// Unknown lists, sorted, the settings that this program does not know. An
	// older daemon must survive a newer document, so they are host faults
	// there; the tools that check a document refuse them.
	Unknown []string
	// Warnings lists, sorted, the values that were changed as the kernel would
	// change them: "share: 1 clamped to 2".
	Warnings []string
	// HasSub says that sub_cgroup is present (null counts as present and
	// empty). The accounts that we publish have the same member.
	HasSub bool
	// Sub holds the cgroups below by name.
	Sub map[string]*Node
}

// Walk calls visit for every cgroup of the document, our root cgroups included
// (path ""), subsystems and siblings in sorted order, parents before children.
// A path is relative to our root: "a/b".
func (d *Document) Walk(visit func(subsystem, path string, n *Node)) {
	for _, subsystem := range slices.Sorted(maps.Keys(d.Subsystems)) {
		walk(subsystem, "", d.Subsystems[subsystem], visit)
	}
}

func walk(subsystem, path string, n *Node, visit func(string, string, *Node)) {
	visit(subsystem, path, n)
	for _, name := range slices.Sorted(maps.Keys(n.Sub)) {
		walk(subsystem, join(path, name), n.Sub[name], visit)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
