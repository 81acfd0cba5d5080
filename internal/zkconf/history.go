package zkconf

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-zookeeper/zk"
)

const (
	// historyName is the node, beside the document's, below which there is one
	// node for each version that we have written, or found when we wrote the
	// next. They are compressed: the servers keep all of it in memory.
	historyName = "arch_conf_history"
	// entryPrefix begins their names; ZooKeeper adds a number that counts up.
	entryPrefix = "version-"
	// maxReason bounds what is kept of a reason, and of an author, in bytes.
	maxReason = 200
	// maxHeader bounds the line before the document in bytes: what newEntry makes of
	// the longest author and reason, each byte escaped, is less.
	maxHeader = 4 << 10
)

// Entry is one version in the history.
type Entry struct {
	// Version is the data version of the node, an identity only as long as the
	// node is not made anew.
	Version int32     `json:"version"`
	Time    time.Time `json:"time"`
	// Author is empty for a version that was written by other means; Time is
	// then the server's.
	Author string `json:"author"`
	Reason string `json:"reason"`
	Size   int    `json:"size"` // in bytes
	// Sum is the document's SHA-256, in hexadecimal digits.
	Sum string `json:"sha256"`

	gz []byte // the document, compressed
}

// Sum is what identifies a document in the history and in what daemons say about
// themselves: its SHA-256, in hexadecimal digits.
func Sum(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// isSum says whether a text is what Sum returns: it comes from a node that others may write,
// and goes to every client as it is.
func isSum(s string) bool {
	return len(s) == hex.EncodedLen(sha256.Size) && strings.Trim(s, "0123456789abcdef") == ""
}

// newEntry is the data of an entry's node: a line of JSON, and the document,
// compressed.
func newEntry(raw []byte, e Entry) []byte {
	e.Size, e.Sum = len(raw), Sum(raw)
	e.Author, e.Reason = oneLine(e.Author), oneLine(e.Reason)
	e.Time = e.Time.UTC().Truncate(time.Second)
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers
	}
	return append(append(line, '\n'), compress(raw)...)
}

// found is the entry of a document that nobody wrote through us.
func found(cur Current) Entry {
	return Entry{Version: cur.Version, Time: cur.Written, Reason: "written by other means"}
}

func (e *Entry) is(cur Current) bool { return e.Version == cur.Version && e.Sum == Sum(cur.Raw) }

func (e *Entry) same(o *Entry) bool { return e.Version == o.Version && e.Sum == o.Sum }

// Document is the document as it was written.
func (e *Entry) Document() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(e.gz))
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", e.Version, err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", e.Version, err)
	}
	if Sum(raw) != e.Sum {
		return nil, fmt.Errorf("version %d: the text in the history is damaged", e.Version)
	}
	return raw, nil
}

// oneLine cuts what people type to what a table can show.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " ")
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}

// parseEntry reads what newEntry wrote. The document is looked at when it is asked
// for.
func parseEntry(name string, data []byte) (Entry, error) {
	line, gz, found := bytes.Cut(data, []byte("\n"))
	var e Entry
	if !found || len(line) > maxHeader || json.Unmarshal(line, &e) != nil || !isSum(e.Sum) {
		return Entry{}, fmt.Errorf("history entry %s: not what conf set writes", quote(name))
	}
	e.Author, e.Reason = oneLine(e.Author), oneLine(e.Reason)
	e.gz = gz
	return e, nil
}

func compress(raw []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func (c *client) history() string { return strings.TrimSuffix(c.prefix(), "/") + "/" + historyName }

func (c *client) ensureHistory(ctx context.Context, acl []zk.ACL) error {
	if err := c.create(ctx, c.history(), nil, 0, acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	return nil
}

// entryNames lists the entries, newest first.
func (c *client) entryNames(ctx context.Context) ([]string, error) {
	names, _, err := c.listEntries(ctx)
	return names, err
}

// listEntries is entryNames, with the transaction that made the node above them.
func (c *client) listEntries(ctx context.Context) (names []string, made int64, err error) {
	type listing struct {
		names []string
		above *zk.Stat
	}
	l, err := ask(ctx, c, func(conn *zk.Conn) (l listing, err error) {
		l.names, l.above, err = conn.Children(c.history())
		return l, err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("list %s: %w", c.history(), err)
	}
	names = slices.DeleteFunc(l.names, func(n string) bool { return !strings.HasPrefix(n, entryPrefix) })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(b, a) }) // digits in equal number
	return names, l.above.Czxid, nil
}

// keep lets the history have the document that is about to be replaced, which
// somebody may have written by other means.
func (c *client) keep(ctx context.Context, cur Current, acl []zk.ACL) error {
	names, err := c.entryNames(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if err := c.ensureHistory(ctx, acl); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		n, err := c.get(ctx, c.history()+"/"+names[0])
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		newest, parseErr := parseEntry(names[0], n.data)
		if err == nil && parseErr == nil && newest.is(cur) {
			return nil
		}
	}
	return c.create(ctx, c.history()+"/"+entryPrefix, newEntry(cur.Raw, found(cur)), zk.FlagSequence, acl)
}

// prune removes the oldest entries, so that besides the newest, which is that of
// the document itself, the given number remains.
func (c *client) prune(ctx context.Context, keep int) error {
	names, err := c.entryNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names[min(len(names), keep+1):] {
		path := c.history() + "/" + name
		_, err := ask(ctx, c, func(conn *zk.Conn) (struct{}, error) { return struct{}{}, conn.Delete(path, -1) })
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}

// History lists the versions that were written, the newest first: with the
// document in the node, whoever wrote it, and without what is no entry.
func (z *ZooKeeper) History(ctx context.Context) ([]Entry, error) {
	var list []Entry
	err := z.within(ctx, func(ctx context.Context, c *client) (err error) {
		list, err = new(Recent).entries(ctx, c, math.MaxInt, math.MaxInt)
		return err
	})
	return list, err
}
