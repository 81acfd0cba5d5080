package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// comparing is a daemon that has had documents in force, with versions from 0, and no
// host yet.
func comparing(t testing.TB, documents ...string) *daemon {
	t.Helper()
	c := newControl(zap.NewNop(), t.TempDir(), nil, func(*zkconf.Document) {})
	for i, text := range documents {
		doc, err := zkconf.Decode([]byte(text), int32(i))
		if err != nil {
			t.Fatal(err)
		}
		c.accept(doc, fromSource)
	}
	return &daemon{control: c, chronicle: newChronicle(c, nil), compared: newCompared()}
}

func askCompare(t testing.TB, d *daemon, args string) (comparison, string) {
	t.Helper()
	var text bytes.Buffer
	if err := d.compare(t.Context(), json.RawMessage(args), &text); err != nil {
		var known *wsapi.Error
		if !errors.As(err, &known) || known.Code != wsapi.CodeBadRequest {
			t.Errorf("%s: %v", args, err)
		}
		return comparison{}, err.Error()
	}
	var c comparison
	if err := json.Unmarshal(text.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	return c, ""
}

func TestCompare(t *testing.T) {
	d := comparing(t, `{"cpu":{"sub_cgroup":{"a":{"conf":{"share":5}},"b":{}}}}`, `{"cpu":{"sub_cgroup":{"a":{"conf":{"share":7}},"b":{}}}}`)
	for _, c := range []struct {
		args    string
		from    int32
		to      int32 // -1: null
		summary string
		faults  string
		changes string
	}{
		{``, 1, 1, "no difference", "", ""},
		{`{"from":0}`, 0, 1, "changes 1 setting", "", "~cpu:/a share 5 -> 7"},
		{`{"from":0,"to":1}`, 0, 1, "changes 1 setting", "", "~cpu:/a share 5 -> 7"},
		{`{"to":0}`, 1, 0, "changes 1 setting", "", "~cpu:/a share 7 -> 5"},
		{`{"document":"{\"cpu\":{\"sub_cgroup\":{\"b\":null,\"a\":{\"conf\":{\"share\":\"7\"}}}}}"}`, 1, -1, "no difference but in spelling", "", ""},
		{`{"document":"{\"cpu\":{}, \"memory\":{}}"}`, 1, -1, "removes 2 cgroups, takes over 1 subsystem", "",
			"-cpu:/a, -cpu:/b, !memory: named for the first time: cgroups there that the document does not have will be removed"},
		{`{"document":""}`, 1, -1, "1 fault", "1:1 ", ""},
		{`{"document":"{\n \"cpu\":}"}`, 1, -1, "1 fault", "2:8 ", ""},
		{`{"document":"{\"cpu\":{\"conf\":{\"share\":\"x\"}}}"}`, 1, -1, "1 fault", `1:17 cpu: share: not an integer: "x"`, ""},
		// What a daemon puts up with is shown in spite of the fault.
		{`{"document":"{\"cpu\":{\"sub_cgroup\":{\"a\":{\"conf\":{\"share\":7}},\"b\":{\"conf\":{\"odd\":1}}}}}"}`, 1, -1,
			"1 fault; changes 3 settings", "cpu/b: odd: unknown setting", "~cpu:/b conf: none -> present, ~cpu:/b share unset -> 1024, ~cpu:/b odd: unknown setting added"},
	} {
		got, complaint := askCompare(t, d, c.args)
		if complaint != "" {
			t.Errorf("%s: %s", c.args, complaint)
			continue
		}
		var changes []string
		for _, l := range got.Changes {
			changes = append(changes, l.Kind+l.Text)
		}
		if diff := cmp.Diff([]any{c.from, c.summary, c.changes}, []any{got.From, got.Summary, strings.Join(changes, ", ")}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.args, diff)
		}
		if (got.To == nil) != (c.to < 0) || got.To != nil && *got.To != c.to {
			t.Errorf("%s: to %v, want %d", c.args, got.To, c.to)
		}
		if got.Valid != (c.faults == "") || got.Valid != (len(got.Faults) == 0) {
			t.Errorf("%s: valid %v, faults %v", c.args, got.Valid, got.Faults)
		}
		if text := zkconfText(got.Faults); !strings.Contains(text, c.faults) {
			t.Errorf("%s: faults %q, want %q", c.args, text, c.faults)
		}
		if got.HostFaults != nil || got.HostNotes != nil {
			t.Errorf("%s: faults of a host that is not known: %v, %v", c.args, got.HostFaults, got.HostNotes)
		}
	}
	for args, want := range map[string]string{
		`{"from":7}`:                 "version 7 is not kept (a file has no history",
		`{"to":7}`:                   "version 7 is not kept",
		`{"to":1,"document":"{}"}`:   "either to or document",
		`{"document":5}`:             "compare: bad arguments: document: cannot be a number",
		`{"from":"1"}`:               "compare: bad arguments: from: cannot be a string",
		`{"from":99999999999}`:       "compare: bad arguments: from: cannot be a number 99999999999",
		`{"to":1,"verbose":"truly"}`: "compare: bad arguments: verbose: cannot be a string",
	} {
		if _, complaint := askCompare(t, d, args); !strings.Contains(complaint, want) {
			t.Errorf("%s: %q, want %q", args, complaint, want)
		}
	}
	// Before the first document everything is new.
	if got, _ := askCompare(t, comparing(t), `{"document":"{\"cpu\":{}}"}`); got.From != -1 || !got.Destroys || got.Summary != "takes over 1 subsystem" {
		t.Errorf("before the first document: %+v", got)
	}
	if got, _ := askCompare(t, comparing(t), ``); got.From != -1 || *got.To != -1 || got.Summary != "no difference" || !got.Valid {
		t.Errorf("before the first document, nothing: %+v", got)
	}
}

func zkconfText(faults []zkconf.Located) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(strings.TrimSpace(strings.Join([]string{jsonOf(f.Line) + ":" + jsonOf(f.Column), f.Text}, " ")))
	}
	return b.String()
}

func jsonOf(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// TestCompareIsBounded: an answer has no more than so many lines, and says how many more there are.
func TestCompareIsBounded(t *testing.T) {
	var c comparison
	c.Valid = true
	d := &confdiff.Diff{}
	for range maxLines + 5 {
		d.Changed = append(d.Changed, confdiff.Change{Subsystem: "cpu", Setting: "share", From: new(string), To: new(string)})
	}
	c.differ(d, false, true)
	if len(c.Changes) != maxLines || c.MoreChanges != 5 {
		t.Errorf("%d lines and %d more", len(c.Changes), c.MoreChanges)
	}
	c = comparison{Valid: true}
	c.differ(d, false, false)
	if n := len(c.Changes); n != 11 || c.MoreChanges != 0 || c.Changes[10] != (confdiff.Line{Text: "... and 995 more such lines"}) {
		t.Errorf("short: %v and %d more", c.Changes, c.MoreChanges)
	}
	faults := make([]reconcile.Fault, maxLines+5)
	c.host(reconcile.Desired{}, reconcile.Desired{Faults: faults, Notes: append(faults, faults[0])})
	if len(c.HostFaults) != maxLines || c.MoreHostFaults != 5 {
		t.Errorf("%d host faults and %d more", len(c.HostFaults), c.MoreHostFaults)
	}
	if len(c.HostNotes) != maxLines || c.MoreHostNotes != 6 {
		t.Errorf("%d host notes and %d more", len(c.HostNotes), c.MoreHostNotes)
	}
	var changed []string // a share of 1 becomes 2
	for i := range maxLines + 7 {
		changed = append(changed, fmt.Sprintf(`"c%d":{"conf":{"share":1}}`, i))
	}
	if c.read(stored{raw: []byte(`{"cpu":{"sub_cgroup":{` + strings.Join(changed, ",") + `}}}`)}); len(c.Warnings) != maxLines || c.MoreWarnings != 7 {
		t.Errorf("%d warnings and %d more", len(c.Warnings), c.MoreWarnings)
	}
}

func TestMarked(t *testing.T) {
	a, b, c := reconcile.Fault{Place: "a"}, reconcile.Fault{Place: "b"}, reconcile.Fault{Place: "c"}
	want := []hostFault{{b, true}, {c, true}, {a, false}}
	if diff := cmp.Diff(want, marked([]reconcile.Fault{a}, []reconcile.Fault{a, b, c})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzCompare: whatever arguments come, there is an answer that can be encoded, or an error that is the client's.
func FuzzCompare(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{"from":0,"to":1}`, `{"document":"{}"}`, `{"document":"{\"cpu\":{\"sub_cgroup\":{\"a\":{\"conf\":{\"share\":\"\\u202e\"}}}}}"}`,
		`{"document":"\ud800","verbose":true}`, `{"from":-5,"to":-7}`, `{"document":"[]"}`, `{"from":1e99}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	d := comparing(f, `{"cpu":{"sub_cgroup":{"a":{"conf":{"share":5}}}}}`, `{"memory":{}}`)
	f.Fuzz(func(t *testing.T, args []byte) {
		got, complaint := askCompare(t, d, string(args))
		if complaint != "" {
			return
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatal(err)
		}
		if got.Summary == "" || got.Valid != (len(got.Faults) == 0) || got.Changes == nil {
			t.Fatalf("%s: %+v", args, got)
		}
	})
}
