package zkconf

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// What the daemon reads of a history, which may be longer (conf_history) and which
// everybody who may write there can fill.
const (
	recentEntries = 100
	recentBytes   = 8 << 20 // compressed
)

// Recent reads the newest versions of a history for the daemon, again and again: of what
// it has read before, only the names. It is for one goroutine at a time.
type Recent struct {
	// ZooKeeper is where the history is.
	ZooKeeper *ZooKeeper

	// nodes is what was read below one node in one session. An entry is written once, and
	// its name not given again: only by a server with older data, which ends the session.
	nodes   map[string]kept
	session *session
	made    int64 // the transaction that made the node above

	stat *zk.Stat // of the document's node; nil: not known
	doc  Entry    // what it holds; compressed only when that was needed
}

// kept is one node of a history.
type kept struct {
	size  int
	entry *Entry // nil: it is none
	left  bool   // it was too large for what else there was
}

// Read is [ZooKeeper.History] of the newest versions, at most 100: through the session that
// follows the document. Where there is none it is an error. What was read before an
// error is not read again.
func (r *Recent) Read(ctx context.Context) ([]Entry, error) {
	c, _ := r.ZooKeeper.following()
	if c == nil {
		return nil, errNoSession
	}
	return r.entries(ctx, c, recentEntries, recentBytes)
}

// entries reads no more of them than it is told to.
func (r *Recent) entries(ctx context.Context, c *client, most, bytes int) ([]Entry, error) {
	names, made, err := c.listEntries(ctx)
	if err != nil {
		return nil, err
	}
	names = names[:min(len(names), most)]
	r.forget(c.s, made, names)
	if err := r.read(ctx, c, false); err != nil {
		return nil, err
	}
	var list []Entry
	for i, name := range names {
		k, err := r.entry(ctx, c, name, bytes)
		if errors.Is(err, zk.ErrNoNode) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, err
		}
		if bytes -= k.size; bytes < 0 {
			r.nodes[name] = kept{size: k.size, left: true}
			for _, older := range names[i+1:] {
				delete(r.nodes, older)
			}
			break
		}
		if k.entry == nil || len(list) > 0 && k.entry.same(&list[len(list)-1]) {
			continue // two writers kept the same
		}
		list = append(list, *k.entry)
	}
	if r.stat == nil || len(list) > 0 && list[0].same(&r.doc) {
		return list, nil
	}
	if err := r.read(ctx, c, true); err != nil || r.stat == nil {
		return list, err
	}
	return append([]Entry{r.doc}, list...), nil
}

// forget drops what is gone.
func (r *Recent) forget(s *session, made int64, names []string) {
	now := map[string]kept{}
	if r.session == s && r.made == made {
		for _, name := range names {
			if k, ok := r.nodes[name]; ok {
				now[name] = k
			}
		}
	}
	if r.session != s {
		r.stat = nil
	}
	r.nodes, r.session, r.made = now, s, made
}

// entry is one node of the history, which is read once. What has more than the given
// bytes is only measured.
func (r *Recent) entry(ctx context.Context, c *client, name string, bytes int) (kept, error) {
	if k, ok := r.nodes[name]; ok && (!k.left || k.size > bytes) {
		return k, nil
	}
	n, err := c.get(ctx, c.history()+"/"+name)
	if err != nil {
		return kept{}, err
	}
	k := kept{size: len(n.data), left: len(n.data) > bytes}
	if !k.left {
		if e, err := parseEntry(name, n.data); err == nil {
			k.entry = &e
		}
	}
	r.nodes[name] = k
	return k, nil
}

// read looks at the document in the node itself, whoever wrote it, and reads it when it is
// another one than before. text: also the compressed text is needed.
func (r *Recent) read(ctx context.Context, c *client, text bool) error {
	if r.stat != nil && (!text || r.doc.gz != nil) {
		now, err := ask(ctx, c, func(conn *zk.Conn) (n node, err error) {
			n.found, n.stat, err = conn.Exists(c.path)
			return n, err
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", c.path, err)
		}
		if now.found && sameNode(now.stat, r.stat) {
			return nil
		}
	}
	n, err := c.get(ctx, c.path)
	if errors.Is(err, zk.ErrNoNode) {
		r.stat = nil
		return nil
	}
	if err != nil {
		return err
	}
	cur := currentOf(n)
	e := found(cur)
	e.Sum = Sum(cur.Raw)
	if text {
		if e, err = parseEntry("", newEntry(cur.Raw, e)); err != nil {
			return err
		}
	}
	r.stat, r.doc = n.stat, e
	return nil
}
