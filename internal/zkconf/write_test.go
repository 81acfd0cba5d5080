package zkconf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

const historyPath = "/cgrouparch/arch_conf_history"

// summary is the history, newest first, as "version author reason text".
func summary(t *testing.T, z *zkconf.ZooKeeper) []string {
	t.Helper()
	list, err := z.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		raw, err := e.Document()
		if err != nil {
			t.Error(err)
		}
		if len(raw) != e.Size || e.Time.IsZero() || time.Since(e.Time) > time.Hour {
			t.Errorf("entry %+v", e)
		}
		out = append(out, fmt.Sprintf("%d %s %s %s", e.Version, e.Author, e.Reason, raw))
	}
	return out
}

// put replaces what is there.
func put(t *testing.T, z *zkconf.ZooKeeper, raw, author, reason string, keep int) int32 {
	t.Helper()
	cur, err := z.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := z.Write(t.Context(), zkconf.Write{Over: cur, Raw: []byte(raw), Author: author, Reason: reason, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWrite(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := follow(server.Addr() + "/chroot")
	if cur, err := z.Read(t.Context()); err != nil || cur.Exists || cur.Version != -1 {
		t.Fatalf("absent node: %+v, %v", cur, err)
	}
	if got := summary(t, z); len(got) != 0 {
		t.Errorf("history before the first document: %q", got)
	}
	for i := range 3 {
		if v := put(t, z, numbered(10+i), "ann@h", fmt.Sprintf("edit\n%d", i), 3); v != int32(i) {
			t.Errorf("version %d, want %d", v, i)
		}
	}
	want := []string{"2 ann@h edit 2 " + numbered(12), "1 ann@h edit 1 " + numbered(11), "0 ann@h edit 0 " + numbered(10)}
	if diff := cmp.Diff(want, summary(t, z)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	old, err := z.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// Somebody else writes, knowing nothing of a history.
	server.Client(identity).Put("/chroot"+nodePath, numbered(20))
	if v, err := z.Write(t.Context(), zkconf.Write{Over: old, Raw: []byte(numbered(13)), Keep: 3}); !errors.Is(err, zkconf.ErrChanged) || v != -1 {
		t.Errorf("written over another's document: %d, %v", v, err)
	}
	if cur, err := z.Read(t.Context()); err != nil || string(cur.Raw) != numbered(20) {
		t.Errorf("after the refusal: %+v, %v", cur, err)
	}
	want = append([]string{"3  written by other means " + numbered(20)}, want...)
	if diff := cmp.Diff(want, summary(t, z)); diff != "" {
		t.Errorf("history after another's write (-want +got):\n%s", diff)
	}
	put(t, z, numbered(14), "bob@h", "", 3)
	want = append([]string{"4 bob@h  " + numbered(14)}, want[:3]...)
	if diff := cmp.Diff(want, summary(t, z)); diff != "" {
		t.Errorf("history, bounded (-want +got):\n%s", diff)
	}
	put(t, z, numbered(15), "bob@h", "", 0)
	want = append([]string{"5  written by other means " + numbered(15)}, want...)
	if diff := cmp.Diff(want, summary(t, z)); diff != "" {
		t.Errorf("history after a write without it (-want +got):\n%s", diff)
	}
	if _, err := z.Write(t.Context(), zkconf.Write{Raw: []byte("{}"), Keep: 3}); !errors.Is(err, zkconf.ErrChanged) {
		t.Errorf("made over an existing document: %v", err)
	}
}

// ACLs are kept, and what is kept beside the document has no weaker ones.
func TestWriteKeepsACL(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, numbered(10), identity, "digest:reader:x")
	conn, _, err := zk.Connect([]string{server.Addr()}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.AddAuth("digest", []byte("super:s3cr3t")); err != nil {
		t.Fatal(err)
	}
	acl := func(path string) []zk.ACL {
		t.Helper()
		list, _, err := conn.GetACL(path)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := acl(nodePath)
	z := follow(server.Addr())
	put(t, z, numbered(11), "ann@h", "x", 5)
	if diff := cmp.Diff(before, acl(nodePath)); diff != "" {
		t.Errorf("acl of the document (-before +after):\n%s", diff)
	}
	names, _, err := conn.Children(historyPath)
	if err != nil || len(names) != 2 {
		t.Fatalf("history: %v, %v", names, err)
	}
	for _, path := range []string{historyPath, historyPath + "/" + names[0], historyPath + "/" + names[1]} {
		for _, a := range acl(path) {
			if a.Scheme != "digest" {
				t.Errorf("%s is open to %v", path, a)
			}
		}
	}
	reader := follow(server.Addr())
	reader.Auth = []zkconf.AuthData{{Scheme: "digest", Auth: "reader:x"}}
	if got := summary(t, reader); len(got) != 2 {
		t.Errorf("a reader of the document sees %q of its history", got)
	}
	stranger := follow(server.Addr())
	stranger.Auth = nil
	if _, err := stranger.History(t.Context()); !errors.Is(err, zk.ErrNoAuth) {
		t.Errorf("a stranger sees the history: %v", err)
	}
	if _, err := stranger.Write(t.Context(), zkconf.Write{Over: zkconf.Current{Exists: true, Version: 1}, Raw: []byte("{}")}); !errors.Is(err, zk.ErrNoAuth) {
		t.Errorf("a stranger writes: %v", err)
	}
}

// The largest document leaves no room for who and why in the same request.
func TestWriteLargest(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := follow(server.Addr())
	reason := strings.Repeat("a reason ", 50)
	for i, size := range []int{zkconf.MaxSize, zkconf.MaxSize - 10, zkconf.MaxSize} {
		text := wide(100, size, i)
		put(t, z, text, "ann@h", reason, 2)
		if cur, err := z.Read(t.Context()); err != nil || string(cur.Raw) != text {
			t.Fatalf("read %d bytes, %v", len(cur.Raw), err)
		}
	}
	list, err := z.History(t.Context())
	if err != nil || len(list) != 3 || list[1].Author != "ann@h" || len(list[1].Reason) < 190 {
		t.Fatalf("history of %d, %v", len(list), err)
	}
	if raw, err := list[2].Document(); err != nil || string(raw) != wide(100, zkconf.MaxSize, 0) {
		t.Errorf("the first of three: %d bytes, %v", len(raw), err)
	}
	cur, err := z.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(t.Context(), zkconf.Write{Over: cur, Raw: make([]byte, zkconf.MaxSize+1)}); err == nil || !strings.Contains(err.Error(), "1048001") {
		t.Errorf("one byte too many: %v", err)
	}
}

// A write whose answer is lost is done once.
func TestWriteAnswerLost(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	put(t, follow(server.Addr()), wide(1, 10_000, 0), "ann@h", "0", 5)
	for i, arrives := range []bool{false, true} {
		addr, cut := loser(t, server.Addr(), 8_000, arrives)
		z := follow(addr)
		if v := put(t, z, wide(1, 10_000, i+1), "ann@h", fmt.Sprint(i+1), 5); v != int32(i)+1 {
			t.Errorf("version %d, want %d", v, i+1)
		}
		if !cut() {
			t.Error("no connection was cut")
		}
		if got := summary(t, z); len(got) != i+2 || !strings.HasPrefix(got[0], fmt.Sprintf("%d ann@h %d ", i+1, i+1)) {
			t.Errorf("arrives: %v: history of %d: %.100q", arrives, len(got), got)
		}
	}
}

// loser is a proxy that cuts the connection at the first request of more than
// size bytes: before it, or when the server has answered it.
func loser(t *testing.T, server string, size int, arrives bool) (addr string, cut func() bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	done := false
	serve := func(client net.Conn) {
		defer client.Close()
		conn, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer conn.Close()
		var withheld atomic.Bool
		running.Go(func() {
			defer client.Close()
			buf := make([]byte, 4096)
			for {
				n, err := conn.Read(buf)
				if err != nil || withheld.Load() {
					return
				}
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
		})
		for {
			head := make([]byte, 4)
			if _, err := io.ReadFull(client, head); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head))
			if _, err := io.ReadFull(client, body); err != nil {
				return
			}
			mu.Lock()
			now := !done && len(body) > size
			done = done || now
			mu.Unlock()
			if now && !arrives {
				return
			}
			withheld.Store(now)
			if _, err := conn.Write(append(head, body...)); err != nil {
				return
			}
			if now {
				time.Sleep(200 * time.Millisecond) // for the server to do it; nothing shows when it has
				client.Close()
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(client) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return l.Addr().String(), func() bool { mu.Lock(); defer mu.Unlock(); return done }
}
