package zkconf

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"
)

func TestEntry(t *testing.T) {
	e := Entry{Version: 5, Time: time.Unix(1_700_000_000, 5).UTC(), Author: "ann@h", Reason: "a\n b\t" + strings.Repeat("ä", 200)}
	good := newEntry([]byte("{}"), e)
	back, err := parseEntry("version-1", good)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := back.Document(); err != nil || string(raw) != "{}" {
		t.Errorf("%q, %v", raw, err)
	}
	if back.Reason != "a b "+strings.Repeat("ä", 98) || back.Version != 5 || !back.Time.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("entry %+v", back)
	}
	endless := make([]byte, 2*MaxSize)
	line := good[:bytes.IndexByte(good, '\n')+1]
	for name, data := range map[string][]byte{
		"another text": slices.Concat(line, compress([]byte("{} "))), "no text": line, "not compressed": slices.Concat(line, []byte("{}")),
		"cut": good[:len(good)-9], "endless": newEntry(endless, e),
		"not a line": []byte("{}"), "not JSON": []byte("x\n"),
		"a long line": slices.Concat(line[:len(line)-1], bytes.Repeat([]byte(" "), maxHeader), []byte("\n"), compress([]byte("{}"))),
	} {
		back, err := parseEntry("version-1", data)
		if err == nil {
			_, err = back.Document()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestEntrySum: the sum goes to every client as it is, so it is one, whoever has written the entry.
func TestEntrySum(t *testing.T) {
	sum := Sum([]byte("{}"))
	for _, s := range []string{"", sum[1:], sum + "0", strings.ToUpper(sum), "<" + sum[1:], strings.Repeat("x", 1<<19), strings.Repeat("0", 32) + "g" + strings.Repeat("0", 31)} {
		if e, err := parseEntry("version-1", slices.Concat([]byte(`{"version":5,"sha256":"`+s+"\"}\n"), compress([]byte("{}")))); err == nil {
			t.Errorf("%.80q is taken: %+v", s, e.Version)
		}
	}
	// The longest that we write ourselves is taken.
	long := Entry{Version: math.MinInt32, Time: time.Unix(-60_000_000_000, 0), Author: strings.Repeat("<", 2*maxReason), Reason: strings.Repeat("\u007f<", 2*maxReason)}
	if e, err := parseEntry("version-1", newEntry([]byte("{}"), long)); err != nil || len(e.Author) != maxReason {
		t.Errorf("the longest: %+v, %v", e, err)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(newEntry([]byte("{}"), Entry{Version: 5, Author: "ann@h", Reason: "why"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry("version-1", data)
		if err != nil {
			return
		}
		if strings.ContainsAny(e.Author+e.Reason, "\n\r\t") || len(e.Author) > maxReason || len(e.Reason) > maxReason {
			t.Errorf("author %q, reason %q", e.Author, e.Reason)
		}
		if !isSum(e.Sum) {
			t.Errorf("sum %q", e.Sum)
		}
		raw, err := e.Document()
		if err == nil && Sum(raw) != e.Sum {
			t.Errorf("another document")
		}
	})
}

func TestBeside(t *testing.T) {
	world, reader := zk.WorldACL(zk.PermAll), zk.ACL{Perms: zk.PermRead, Scheme: "digest", ID: "r:hash"}
	admin, use := zk.ACL{Perms: zk.PermAll, Scheme: "digest", ID: "a:hash"}, zk.WorldACL(zk.PermAll &^ zk.PermAdmin)[0]
	own := []AuthData{{"digest", "a:b"}}
	auth := zk.AuthACL(zk.PermAll)[0]
	for _, c := range []struct {
		name     string
		document []zk.ACL
		own      []AuthData
		want     []zk.ACL
	}{
		{"no document", nil, nil, world},
		{"no document, identities", nil, own, []zk.ACL{auth}},
		{"open", world, nil, world},
		{"open, identities", world, own, []zk.ACL{world[0], auth}},
		{"closed", []zk.ACL{reader}, own, []zk.ACL{reader, auth}},
		{"a hidden one", []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "r:x"}, reader}, own, []zk.ACL{reader, auth}},
		{"no identity", []zk.ACL{reader}, nil, []zk.ACL{reader, use}},
		{"no identity, and anybody may read", []zk.ACL{admin, zk.WorldACL(zk.PermRead)[0]}, nil, []zk.ACL{admin, use}},
	} {
		if diff := cmp.Diff(c.want, beside(c.document, c.own)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
