package zkconf

import (
	"context"
	"slices"
	"strings"
)

// Source is where the document comes from.
type Source interface {
	// Run follows the document and calls updates, from one goroutine, for each
	// version it sees; calls must not block for long. Nothing makes it return
	// but ctx, and then it returns nil: a source that is away comes back, and
	// meanwhile what was delivered stays in force.
	Run(ctx context.Context, updates func(Update)) error
	// Fetch reads the document once, within ctx and the source's own time
	// limit. A rejected document is no error here but one of the Update.
	Fetch(ctx context.Context) (Update, error)
	// Status says how the source is now.
	Status() SourceStatus
	// Origin says where the documents come from, as far as it is known.
	Origin() Origin
}

var (
	_ Source = (*ZooKeeper)(nil)
	_ Source = (*File)(nil)
)

// Update is one version of the document, good or not. The content may be that of
// the version before it: compare Raw.
type Update struct {
	Version int32
	Raw     []byte
	Doc     *Document // nil when the version is rejected
	Err     error     // then: every fault, see Faults
}

// newUpdate decodes a version; earlier is the one before it, nil for none.
func newUpdate(earlier *Document, raw []byte, version int32) Update {
	doc, err := DecodeNext(earlier, raw, version)
	return Update{Version: version, Raw: raw, Doc: doc, Err: err}
}

// Kinds of Origin and SourceStatus.
const (
	KindZooKeeper = "zookeeper"
	KindFile      = "file"
)

// Origin says where documents come from. It is the identity of a cluster, so
// that the state kept for one is not taken for another's.
type Origin struct {
	Kind string `json:"kind"` // KindZooKeeper or KindFile
	// Hosts are the ZooKeeper servers, "host:port", sorted; empty for a file,
	// and before a command has said what they are.
	Hosts []string `json:"hosts,omitempty"`
	Path  string   `json:"path"` // of the node, chroot included, or of the file
}

// SameCluster says whether o2's documents are o's. Of ZooKeeper servers one in
// common is enough, because an ensemble may grow. Where either side does not
// know its servers yet, it does not know the chroot either: then only the end of
// the path must agree.
func (o Origin) SameCluster(o2 Origin) bool {
	if o.Kind != o2.Kind {
		return false
	}
	if o.Kind == KindZooKeeper && (len(o.Hosts) == 0 || len(o2.Hosts) == 0) {
		return strings.HasSuffix(o.Path, o2.Path) || strings.HasSuffix(o2.Path, o.Path)
	}
	if o.Path != o2.Path {
		return false
	}
	return o.Kind != KindZooKeeper || slices.ContainsFunc(o.Hosts, func(h string) bool {
		return slices.Contains(o2.Hosts, h)
	})
}

// String spells the origin for messages: "zookeeper a:2181,b:2181/prod/arch_conf".
func (o Origin) String() string {
	return strings.TrimSpace(o.Kind + " " + strings.Join(o.Hosts, ",") + o.Path)
}
