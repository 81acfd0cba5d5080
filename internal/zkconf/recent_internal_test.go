package zkconf

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestRecentHistory: the daemon reads a history through the session that follows the document, and no more of it than
// it is to hold, whoever has filled it.
func TestRecentHistory(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := &ZooKeeper{Hosts: server.Addr(), Prefix: "/p", SessionTimeout: 2 * time.Second}
	recent := &Recent{ZooKeeper: z}
	if _, err := recent.Read(t.Context()); err == nil {
		t.Error("a history without a session")
	}
	for i := range 4 {
		cur, err := z.Read(t.Context())
		if err == nil {
			_, err = z.Write(t.Context(), Write{Over: cur, Raw: fmt.Appendf(nil, `{"cpu":{"sub_cgroup":{"v%d":{}}}}`, i), Keep: 10})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, seen := make(chan error, 1), make(chan Update, 1)
	go func() { ended <- z.Run(ctx, func(u Update) { seen <- u }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-seen
	list, err := recent.Read(t.Context())
	if err != nil || len(list) != 4 || list[0].Version != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	c, _ := z.following()
	size := len(newEntry([]byte(`{"cpu":{"sub_cgroup":{"v3":{}}}}`), list[0]))
	for _, tt := range []struct{ most, bytes, want int }{{2, 1 << 20, 2}, {9, 2*size + size/2, 2}, {9, 1 << 20, 4}, {9, 0, 1}} {
		list, err := new(Recent).entries(t.Context(), c, tt.most, tt.bytes)
		if err != nil || len(list) != tt.want || list[0].Version != 3 { // the document in the node itself is always known
			t.Errorf("%+v: %d entries, %v", tt, len(list), err)
		}
	}
}

// TestRecentReadsOnce: an entry that was read is not read again; one that is gone is dropped; another history, whose entries
// have the same names, is another one.
func TestRecentReadsOnce(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := &ZooKeeper{Hosts: server.Addr(), Prefix: "/p", SessionTimeout: 2 * time.Second}
	err := z.within(t.Context(), func(ctx context.Context, c *client) error {
		acl := zk.WorldACL(zk.PermAll)
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		put := func(name, author string) {
			t.Helper()
			_, err := c.s.conn.Set(c.history()+"/"+name, newEntry([]byte(author), Entry{Author: author}), -1)
			do(err)
		}
		write := func(authors ...string) {
			t.Helper()
			for _, a := range authors {
				do(c.create(ctx, c.history()+"/"+entryPrefix, newEntry([]byte(a), Entry{Author: a}), zk.FlagSequence, acl))
			}
		}
		r := new(Recent)
		want := func(authors string) {
			t.Helper()
			list, err := r.entries(ctx, c, recentEntries, recentBytes)
			do(err)
			var got []string
			for _, e := range list {
				got = append(got, e.Author)
			}
			if s := strings.Join(got, " "); s != authors || len(r.nodes) != len(got) {
				t.Errorf("%q and %d kept, want %q", s, len(r.nodes), authors)
			}
		}
		want("")
		do(c.create(ctx, c.prefix(), nil, 0, acl))
		do(c.ensureHistory(ctx, acl))
		write("a", "b", "c")
		want("c b a")
		put("version-0000000000", "x")
		write("d")
		want("d c b a") // nobody has looked at the first again
		do(c.s.conn.Delete(c.history()+"/version-0000000000", -1))
		want("d c b")
		for _, n := range []string{"1", "2", "3"} {
			do(c.s.conn.Delete(c.history()+"/version-000000000"+n, -1))
		}
		do(c.s.conn.Delete(c.history(), -1))
		do(c.ensureHistory(ctx, acl))
		write("e", "f", "g", "h")
		want("h g f e")

		// What there is no room for is measured once, and read when there is.
		size := r.nodes["version-0000000003"].size
		r = new(Recent)
		if list, err := r.entries(ctx, c, 9, 2*size+1); err != nil || len(list) != 2 || len(r.nodes) != 3 || r.nodes["version-0000000001"].entry != nil {
			t.Errorf("%d entries, %+v, %v", len(list), r.nodes, err)
		}
		put("version-0000000002", "x")
		want("h g f e")

		// A smaller room later: what does not fit any more is not held.
		if list, err := r.entries(ctx, c, 9, 2*size+1); err != nil || len(list) != 2 || len(r.nodes) != 3 || r.nodes["version-0000000001"].entry != nil {
			t.Errorf("%d entries, %+v, %v", len(list), r.nodes, err)
		}
		want("h g f e")

		// The document itself is read when it is another one, and compressed only when the history does not have it.
		do(c.create(ctx, c.path, []byte("h"), 0, acl))
		list, err := r.entries(ctx, c, 9, 9*size)
		if do(err); len(list) != 4 || r.doc.gz != nil {
			t.Errorf("%d entries, %+v", len(list), r.doc)
		}
		for range 2 {
			list, err = r.entries(ctx, c, 0, 9*size)
			if do(err); len(list) != 1 || list[0].Sum != Sum([]byte("h")) {
				t.Errorf("%+v", list)
			}
			r.doc.Reason = "kept" // else it would be made again
		}
		if list[0].Reason != "kept" {
			t.Errorf("the document was read again: %+v", list[0])
		}
		_, err = c.s.conn.Set(c.path, []byte("i"), -1)
		do(err)
		list, err = r.entries(ctx, c, 9, 9*size)
		if do(err); len(list) != 5 || list[0].Sum != Sum([]byte("i")) || list[0].Version != 1 {
			t.Errorf("%+v", list)
		}
		if raw, err := list[0].Document(); err != nil || string(raw) != "i" {
			t.Errorf("%q, %v", raw, err)
		}
		do(c.s.conn.Delete(c.path, -1))
		list, err = r.entries(ctx, c, 9, 9*size)
		if do(err); len(list) != 4 {
			t.Errorf("without a document: %+v", list)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
