package zkconf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

const contractDocument = `{
  "cpu": {
    "sub_cgroup": {
      "test_cgroup_a": { "conf": { "share": 1024 } },
      "test_cgroup_b": {
        "conf": { "share": 100 },
        "sub_cgroup": { "test_cgroup_b_sub1": { "conf": { "share": 200 } } }
      }
    }
  },
  "blkio": { "sub_cgroup": { "test_cgroup_a": { "conf": { "weight": 500 } } } }
}
`

type nodes = map[string]*zkconf.Node

func share(text string) *zkconf.Node {
	return &zkconf.Node{HasConf: true, Conf: map[string]string{"share": text}}
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, in string
		want     nodes
	}{
		{"empty", `{}`, nodes{}},
		{"blanks", " \t\r\n{ \n} \n", nodes{}},
		{"contract", contractDocument, nodes{
			"cpu": {HasSub: true, Sub: nodes{
				"test_cgroup_a": share("1024"),
				"test_cgroup_b": {
					HasConf: true, Conf: map[string]string{"share": "100"},
					HasSub: true, Sub: nodes{"test_cgroup_b_sub1": share("200")},
				},
			}},
			"blkio": {HasSub: true, Sub: nodes{
				"test_cgroup_a": {HasConf: true, Conf: map[string]string{"weight": "500"}},
			}},
		}},
		{"nulls", `{"cpu": null, "blkio": {"conf": null, "sub_cgroup": null}, "memory": {"sub_cgroup": {"a": null}}}`, nodes{
			"cpu": {}, "blkio": {HasConf: true, HasSub: true}, "memory": {HasSub: true, Sub: nodes{"a": {}}},
		}},
		{"default when conf is present", `{"cpu": {"sub_cgroup": {"a": {"conf": {}}, "b": {"conf": null}, "c": {}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{"a": share("1024"), "b": share("1024"), "c": {}}},
		}},
		{"numbers", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": "512"}}, "b": {"conf": {"share": 1024.0}}, "c": {"conf": {"share": 1e3}}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{"a": share("512"), "b": share("1024"), "c": share("1000")}},
		}},
		{"pids are ignored", `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5, "pids": [1, {"x": 2}]}}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{"a": share("5")}},
		}},
		{"unknown settings", `{"cpu": {"sub_cgroup": {"a": {"conf": {"z": {"x": [1]}, "share": 5, "b": 1}}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{
				"a": {HasConf: true, Conf: map[string]string{"share": "5"}, Unknown: []string{"b", "z"}},
			}},
		}},
		{"unknown subsystem", `{"nosuch": {"sub_cgroup": {"a": {"conf": {"share": "x"}}}}}`, nodes{
			"nosuch": {HasSub: true, Sub: nodes{"a": {HasConf: true, Unknown: []string{"share"}}}},
		}},
		{"named hierarchy", `{"name=systemd": {}}`, nodes{"name=systemd": {}}},
		{"escapes", `{"cpu": {"sub_cgroup": {"\u0061\ud83d\ude00\"\\\u00e9": {}, "ä b": {}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{"a\U0001F600\"\\\u00e9": {}, "ä b": {}}},
		}},
		{"escaped keys", `{"cpu": {"\u0063onf": {"\u0073hare": 7}}}`, nodes{"cpu": share("7")}},
		{"dotted names that are no control files", `{"cpu": {"sub_cgroup": {"...": {}, "nginx.service": {}, "a@b": {}, "cpus.x": {}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{"...": {}, "nginx.service": {}, "a@b": {}, "cpus.x": {}}},
		}},
		{"longest name", `{"cpu": {"sub_cgroup": {"` + strings.Repeat("x", 255) + `": {}}}}`, nodes{
			"cpu": {HasSub: true, Sub: nodes{strings.Repeat("x", 255): {}}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := zkconf.Decode([]byte(tt.in), 7)
			if err != nil {
				t.Fatal(err)
			}
			want := &zkconf.Document{Version: 7, Raw: []byte(tt.in), Subsystems: tt.want}
			if diff := cmp.Diff(want, doc, contents); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeWarnings(t *testing.T) {
	doc, err := zkconf.Decode([]byte(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 0}}, "b": {"conf": {"share": 262145}}, "c": {"conf": {"share": 1}}, "d": {"conf": {"share": 1}}}}}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "2", "b": "262144", "c": "2", "d": "2"} {
		n := doc.Subsystems["cpu"].Sub[name]
		if n.Conf["share"] != want || len(n.Warnings) != 1 || !strings.HasPrefix(n.Warnings[0], "share: ") {
			t.Errorf("%s: share %s, warnings %q; want %s and one warning", name, n.Conf["share"], n.Warnings, want)
		}
	}
}

// cpuSub is a document with this text as the members of cpu's sub_cgroup.
func cpuSub(members string) string { return `{"cpu": {"sub_cgroup": {` + members + `}}}` }

func TestDecodeFaults(t *testing.T) {
	long := strings.Repeat("x", 256)
	shareFault := func(value string) string { return cpuSub(`"a": {"conf": {"share": ` + value + `}}`) }
	tests := []struct {
		name, in string
		want     []string
	}{
		{"dots", cpuSub(`"..": {}, ".": {}`), []string{
			"cpu/.: name that means another directory", "cpu/..: name that means another directory",
		}},
		{"slash", cpuSub(`"/x": {}, "a/b": {}`), []string{`cpu/"/x": name with a slash`, `cpu/"a/b": name with a slash`}},
		{"control files", cpuSub(`"tasks": {}, "cpu.shares": {}, "cgroup.procs": {}, "notify_on_release": {}`), []string{
			"cpu/cgroup.procs: name of a control file", "cpu/cpu.shares: name of a control file",
			"cpu/notify_on_release: name of a control file", "cpu/tasks: name of a control file",
		}},
		{"reserved", cpuSub(`"@x": {}`), []string{"cpu/@x: name beginning with @ (reserved)"}},
		{"control characters", cpuSub(`"a\nb": {}, "\u0000": {}, "\u007f": {}, "\u0085": {}`), []string{
			`cpu/"\u0085": name with a control character`, `cpu/"\x00": name with a control character`,
			`cpu/"\x7f": name with a control character`, `cpu/"a\nb": name with a control character`,
		}},
		{"length", cpuSub(`"": {}, "` + long + `": {}`), []string{
			`cpu/"": empty name`, `cpu/"` + long[:80] + `"...: name longer than 255 bytes`,
		}},
		{"subsystem names", `{"": {}, "../x": {}}`, []string{`"": empty name`, `"../x": name with a slash`}},
		{"top level", `[]`, []string{"not an object: an array"}},
		{"top level null", `null`, []string{"not an object: null"}},
		{"node is a number", `{"cpu": 5}`, []string{"cpu: not an object: 5"}},
		{"node is a string", cpuSub(`"a": "b"`), []string{`cpu/a: not an object: "b"`}},
		{"sub_cgroup is a list", `{"cpu": {"sub_cgroup": []}}`, []string{"cpu: sub_cgroup: not an object: an array"}},
		{"conf is true", `{"cpu": {"conf": true}}`, []string{"cpu: conf: not an object: true"}},
		{"share text", shareFault(`"abc"`), []string{`cpu/a: share: not an integer: "abc"`}},
		{"share negative", shareFault(`-1`), []string{"cpu/a: share: out of range 2 to 262144: -1"}},
		{"share huge", shareFault(`1e30`), []string{"cpu/a: share: beyond 2^63-1: 1e30"}},
		{"share true", shareFault(`true`), []string{"cpu/a: share: not an integer: true"}},
		{"share null", shareFault(`null`), []string{"cpu/a: share: not an integer: null"}},
		{"share fraction", shareFault(`1.5`), []string{"cpu/a: share: not an integer: 1.5"}},
		{"share of the root", `{"cpu": {"conf": {"share": []}}}`, []string{"cpu: share: not an integer: an array"}},
		{"the same wrong value twice", cpuSub(`"a": {"conf": {"share": "x"}}, "b": {"conf": {"share": "x"}}`), []string{
			`cpu/a: share: not an integer: "x"`, `cpu/b: share: not an integer: "x"`,
		}},
		{"unknown member", cpuSub(`"a": {"config": {}, "pids": [1]}`), []string{
			`cpu/a: unknown member: "config"`, `cpu/a: unknown member: "pids"`,
		}},
		{"duplicate keys", `{"cpu": {"sub_cgroup": {"a": {}, "\u0061": {}}, "sub_cgroup": {}}, "cpu": {"conf": {"share": 1, "share": 2}, "conf": {}}, "x": {"y": 1, "y": 2}}`, []string{
			"cpu: conf: duplicate key", "cpu: duplicate key", "cpu: share: duplicate key", "cpu: sub_cgroup: duplicate key",
			"cpu/a: duplicate key", `x: duplicate key: "y"`, `x: unknown member: "y"`, `x: unknown member: "y"`,
		}},
		{"duplicate among many", `{"x": {"conf": {"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"i":1,"a":1}}}`, []string{
			"x: a: duplicate key", "x: i: duplicate key",
		}},
		{"duplicate in a skipped value", `{"x": {"conf": {"new": {"k": 1, "k": 2}}}}`, []string{`x: new: duplicate key "k" in its value`}},
		{"all at once", `{"cpu": {"sub_cgroup": {"b": {"conf": {"share": "abc"}}, "..": {"sub_cgroup": 1}, "a": 3}}, "blkio": {"conf": {"weight": 1001}}}`, []string{
			"blkio: weight: out of range 1 to 1000: 1001", "cpu/..: name that means another directory",
			"cpu/..: sub_cgroup: not an object: 1", "cpu/a: not an object: 3", `cpu/b: share: not an integer: "abc"`,
		}},
		{"faults before a syntax fault", "{\"cpu\": 5,\n \"x\" 1}", []string{"cpu: not an object: 5", `line 2:6: unexpected '1', ':' expected`}},
		{"nothing", ``, []string{"line 1:1: unexpected end, a value expected"}},
		{"blanks only", " \n ", []string{"line 2:2: unexpected end, a value expected"}},
		{"cut", `{"cpu": {`, []string{"line 1:10: unexpected end, a quoted key expected"}},
		{"cut in a string", `{"cp`, []string{"line 1:2: string without an end"}},
		{"trailing data", "{}\n{}", []string{`line 2:1: unexpected '{', the end of the document expected`}},
		{"trailing comma", `{"cpu": {},}`, []string{`line 1:12: unexpected '}', a quoted key expected`}},
		{"comment", "{ // x\n}", []string{`line 1:3: unexpected '/', a quoted key expected`}},
		{"column counts characters", `{"ä": é}`, []string{`line 1:7: unexpected 'é', a value expected`}},
		{"leading zero", shareFault(`01`), []string{`line 1:50: unexpected '1', ',' or '}' expected`}},
		{"plus", shareFault(`+1`), []string{`line 1:49: unexpected '+', a value expected`}},
		{"half a number", shareFault(`1. 5`), []string{`line 1:51: unexpected ' ', a digit expected`}},
		{"NaN", shareFault(`NaN`), []string{`line 1:49: unexpected 'N', a value expected`}},
		{"newline in a string", "{\"a\nb\": {}}", []string{`line 1:4: control character '\n' in a string`}},
		{"unknown escape", `{"\x": {}}`, []string{`line 1:3: invalid escape in a string`}},
		{"lone surrogate", `{"\ud83d": {}}`, []string{`line 1:3: invalid escape in a string`}},
		{"surrogates in reverse", `{"\ude00\ud83d": {}}`, []string{`line 1:3: invalid escape in a string`}},
		{"byte order mark", "\ufeff{}", []string{"line 1:1: byte order mark"}},
		{"not UTF-8", "{\n\"a\xff\": {}}", []string{"line 2:3: not UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := zkconf.Decode([]byte(tt.in), 0)
			if doc != nil {
				t.Error("a document came with the faults")
			}
			if diff := cmp.Diff(tt.want, zkconf.Faults(err)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if err != nil && err.Error() != strings.Join(tt.want, "\n") {
				t.Errorf("error text %q is not its faults, one a line", err)
			}
		})
	}
}

func TestFaultsOfOtherErrors(t *testing.T) {
	if got := zkconf.Faults(nil); got != nil {
		t.Errorf("no error has faults %q", got)
	}
	if diff := cmp.Diff([]string{"x"}, zkconf.Faults(errors.New("x"))); diff != "" {
		t.Error(diff)
	}
}

// nested has a cgroup at the depth below cpu.
func nested(depth int) string {
	return `{"cpu": ` + strings.Repeat(`{"sub_cgroup": {"a": `, depth) + `{}` + strings.Repeat(`}}`, depth) + `}`
}

func TestDecodeLimits(t *testing.T) {
	if _, err := zkconf.Decode([]byte(nested(64)), 0); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	place := "cpu" + strings.Repeat("/a", 64)
	_, err := zkconf.Decode([]byte(nested(65)), 0)
	if diff := cmp.Diff([]string{place + ": more than 64 levels of cgroups"}, zkconf.Faults(err)); diff != "" {
		t.Errorf("65 levels (-want +got):\n%s", diff)
	}
	if _, err := zkconf.Decode([]byte(nested(100_000/22)), 0); err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Errorf("thousands of levels: %v", err)
	}
	if _, err := zkconf.Decode([]byte(strings.Repeat("[", 1_000_000)), 0); err == nil {
		t.Error("a million brackets were accepted")
	}
	fill := func(size int) []byte { return []byte("{}" + strings.Repeat(" ", size-2)) }
	if _, err := zkconf.Decode(fill(zkconf.MaxSize), 0); err != nil {
		t.Errorf("largest document: %v", err)
	}
	if _, err := zkconf.Decode(fill(zkconf.MaxSize+1), 0); err == nil {
		t.Error("a document that is too large was accepted")
	}
}

// A hostile document may have a fault every few bytes.
func TestDecodeBoundsFaults(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `"/%d%s": 1, `, i, strings.Repeat("y", 100))
	}
	_, err := zkconf.Decode([]byte(cpuSub(b.String()+`"a": "`+strings.Repeat("z", 100_000)+`"`)), 0)
	list := zkconf.Faults(err)
	if len(list) != 1001 || list[1000] != "and 9001 more faults" {
		t.Errorf("%d faults, the last one %q", len(list), list[len(list)-1])
	}
	if n := len(err.Error()); n > 400_000 {
		t.Errorf("error text of %d bytes", n)
	}
}

func TestWalk(t *testing.T) {
	doc, err := zkconf.Decode([]byte(contractDocument), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	doc.Walk(func(subsystem, path string, n *zkconf.Node) {
		got = append(got, fmt.Sprintf("%s:%s %v", subsystem, path, n.Conf))
	})
	want := []string{
		"blkio: map[]", "blkio:test_cgroup_a map[weight:500]", "cpu: map[]", "cpu:test_cgroup_a map[share:1024]",
		"cpu:test_cgroup_b map[share:100]", "cpu:test_cgroup_b/test_cgroup_b_sub1 map[share:200]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("visits (-want +got):\n%s", diff)
	}
}

// canonical writes a document anew from what was understood of it.
func canonical(t *testing.T, subsystems nodes) []byte {
	var render func(n *zkconf.Node) map[string]any
	children := func(sub nodes) map[string]any {
		m := map[string]any{}
		for name, n := range sub {
			m[name] = render(n)
		}
		return m
	}
	render = func(n *zkconf.Node) map[string]any {
		m := map[string]any{}
		if n.HasConf {
			conf := map[string]any{}
			for _, key := range n.Unknown {
				conf[key] = nil
			}
			for key, text := range n.Conf {
				conf[key] = text
			}
			m["conf"] = conf
		}
		if n.HasSub {
			m["sub_cgroup"] = children(n.Sub)
		}
		return m
	}
	data, err := json.Marshal(children(subsystems))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		contractDocument, nested(3), nested(65), `{"cpu": {"conf": {"share": "\u0031", "new": [1.5e3, {"a": -0}], "pids": 1}}}`,
		`{"cpu": null, "x": {"sub_cgroup": {"\ud83d\ude00": null}}}`, `{"cpu": 5}`, `[]`, cpuSub(`"a": {"conf": {"share": 1e30}}`), "\ufeff{}", `{"a":{},"a":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := zkconf.Decode(data, 1)
		if (doc == nil) == (err == nil) {
			t.Fatalf("document %v with error %v", doc, err)
		}
		if err != nil {
			for _, text := range zkconf.Faults(err) {
				if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Fatalf("fault with a control character: %q", text)
				}
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what encoding/json refuses")
		}
		doc.Walk(func(_, path string, _ *zkconf.Node) {
			for _, name := range strings.Split(path, "/") {
				if name == "." || name == ".." || len(name) > 255 || path != "" && name == "" {
					t.Fatalf("accepted the path %q", path)
				}
			}
		})
		again, err := zkconf.Decode(canonical(t, doc.Subsystems), 1)
		if err != nil {
			t.Fatalf("canonical form: %v", err)
		}
		// A clamped value warns only the first time.
		opts := cmp.Options{cmpopts.IgnoreFields(zkconf.Node{}, "Warnings"), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(doc.Subsystems, again.Subsystems, opts); diff != "" {
			t.Fatalf("canonical form (-first +second):\n%s", diff)
		}
	})
}

// bigDocument has n cgroups in cpu, in groups of 100.
func bigDocument(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"cpu": {"sub_cgroup": {`)
	for i := 0; i < n; i += 100 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `"group_%d": {"conf": {"share": %d}, "sub_cgroup": {`, i, 100+i)
		for j := range 99 {
			if j > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, `"cg_%05d": {"conf": {"share": %d}}`, i+j, 100+j)
		}
		b.WriteString(`}}`)
	}
	b.WriteString(`}}}`)
	return []byte(b.String())
}

func BenchmarkDecode(b *testing.B) {
	data := bigDocument(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := zkconf.Decode(data, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnmarshal is what encoding/json takes for the same bytes, without a
// check of anything.
func BenchmarkUnmarshal(b *testing.B) {
	data := bigDocument(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
