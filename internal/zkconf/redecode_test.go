package zkconf_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

var contents = cmpopts.IgnoreUnexported(zkconf.Document{})

// sameAsDecode decodes a text after an earlier one and by itself, which must be
// the same in everything.
func sameAsDecode(t interface {
	Helper()
	Fatalf(string, ...any)
}, earlier *zkconf.Document, data []byte) *zkconf.Document {
	t.Helper()
	want, wantErr := zkconf.Decode(data, 7)
	got, err := zkconf.DecodeNext(earlier, data, 7)
	if fmt.Sprint(wantErr) != fmt.Sprint(err) {
		t.Fatalf("after %s\n%s:\nerror %v, want %v", earlier.Raw, data, err, wantErr)
	}
	if diff := cmp.Diff(want, got, contents); diff != "" {
		t.Fatalf("after %s\n%s (-want +got):\n%s", earlier.Raw, data, diff)
	}
	return got
}

func TestDecodeNextFindsTheChange(t *testing.T) {
	first := `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}, "sub_cgroup": {"b": {"conf": {"share": 6}}, "c": null}}, "d": {}}}, "memory": {}}`
	earlier, err := zkconf.Decode([]byte(first), 6)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     zkconf.Change
		known    bool
	}{
		{`"share": 6`, `"share": 7`, zkconf.Change{Subsystem: "cpu", Path: "a/b"}, true},
		{`"share": 6`, `"share": 66, "idle": 0`, zkconf.Change{Subsystem: "cpu", Path: "a/b"}, true},
		{`"share": 5`, `"share": 50`, zkconf.Change{Subsystem: "cpu", Path: "a"}, true},
		{`"c": null`, `"e": null`, zkconf.Change{Subsystem: "cpu", Path: "a"}, true},
		{`"d": {}`, `"d": { }`, zkconf.Change{Subsystem: "cpu", Path: "d"}, true},
		{`"d": {}`, `"f": {}`, zkconf.Change{Subsystem: "cpu", Path: ""}, true},
		{`"memory": {}`, `"memory": {"conf": {}}`, zkconf.Change{Subsystem: "memory", Path: ""}, true},
		{`"memory": {}`, `"memory": null`, zkconf.Change{}, false},
		{`"memory"`, `"pids"`, zkconf.Change{}, false},
		{first, " " + first, zkconf.Change{}, false},
	} {
		doc := sameAsDecode(t, earlier, []byte(strings.Replace(first, c.from, c.to, 1)))
		got, known := doc.Since(earlier)
		if known != c.known || got != c.want {
			t.Errorf("%s to %s: %+v %v, want %+v %v", c.from, c.to, got, known, c.want, c.known)
		}
		if _, known := doc.Since(doc); known {
			t.Error("a document is known to follow itself")
		}
		sameAsDecode(t, doc, earlier.Raw) // and back
	}
}

// Whatever is cut out of a document and put in its place, in however many steps,
// decoding the steps is the same as decoding each text.
func TestDecodeNextIsDecode(t *testing.T) {
	pieces := []string{
		`"share": 5`, `"share": 7`, `{`, `}`, `,`, `"`, `"a": {}`, `"b": {"conf": {"share": 3}}`, `"sub_cgroup": {"x": null}`, ` `, `null`, `0`,
		`"cpu": {}`, `é`, "\xc3", `\u00e9`, `"conf": {}`, `"@x": {}`, `"conf": {"share": "x"}`, `1e3`,
	}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}, "sub_cgroup": {"b": {"conf": {"share": 6}}, "cé": {}}}, "d": {}}}, "memory": {}}`)
		doc, err := zkconf.Decode(text, 7)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			at := rapid.IntRange(0, len(text)).Draw(t, "at")
			end := min(len(text), at+rapid.IntRange(0, 12).Draw(t, "cut"))
			text = bytes.Join([][]byte{text[:at], text[end:]}, []byte(rapid.SampledFrom(append(pieces, "")).Draw(t, "put")))
			if next := sameAsDecode(t, doc, text); next != nil {
				doc = next
			} else {
				text = bytes.Clone(doc.Raw)
			}
		}
	})
}

func FuzzDecodeNext(f *testing.F) {
	f.Add([]byte(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}}}}`), []byte(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 6}}}}}`))
	f.Add([]byte(`{"cpu": {"sub_cgroup": {"a": null, "b": {}}}}`), []byte(`{"cpu": {"sub_cgroup": {"a": null, "b": {"conf": null}}}}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if doc, err := zkconf.Decode(first, 7); err == nil {
			sameAsDecode(t, doc, second)
		}
	})
}

// BenchmarkDecodeNext changes one value in the middle of a large document.
func BenchmarkDecodeNext(b *testing.B) {
	even := bigDocument(10_000)
	odd := bytes.Clone(even)
	at := len(odd)/2 + bytes.Index(odd[len(odd)/2:], []byte(`share":`))
	at += bytes.IndexAny(odd[at:], "123456789")
	odd[at] = '1' + (odd[at]-'0')%9
	doc, err := zkconf.Decode(even, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		data := even
		if i%2 == 1 {
			data = odd
		}
		if doc, err = zkconf.DecodeNext(doc, data, 0); err != nil {
			b.Fatal(err)
		}
	}
}
