package account

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// tree is a slot as a reader sees it: what a layout is compared with.
type tree struct {
	Name    string
	HasSub  bool
	Sub     []tree
	Kind    cgfs.UsageKind
	Key     string
	Number  uint64
	Present bool
	Devices []device
}

type device struct {
	Name        string
	Read, Write uint64
	Present     bool
}

// build turns trees into a layout and one slot's words.
func build(roots []tree) (*layout, []uint64) {
	next := 0
	var set []func(words []uint64, numbers int)
	var node1 func(t tree, path string) *node
	node1 = func(t tree, path string) *node {
		n := &node{name: t.Name, path: path, hasSub: t.HasSub, kind: t.Kind, key: t.Key, first: next}
		put := func(present bool, values ...uint64) {
			at := next
			next += len(values)
			set = append(set, func(words []uint64, numbers int) {
				copy(words[at:], values)
				if present {
					setBit(words, numbers, at)
				}
			})
		}
		switch t.Kind {
		case cgfs.UsageNumber:
			put(t.Present, t.Number)
		case cgfs.UsageDevices:
			for _, d := range t.Devices {
				n.devices = append(n.devices, d.Name)
				put(d.Present, d.Read, d.Write)
			}
		}
		for _, c := range t.Sub {
			n.sub = append(n.sub, node1(c, strings.TrimPrefix(path+"/"+c.Name, "/")))
		}
		return n
	}
	nodes := make([]*node, 0, len(roots))
	for _, t := range roots {
		nodes = append(nodes, node1(t, ""))
	}
	l := newLayout(nodes, next, 0)
	words := make([]uint64, l.words())
	for _, f := range set {
		f(words, l.numbers)
	}
	return l, words
}

// generic is the same slot as encoding/json would have it.
func generic(roots []tree) map[string]any {
	m := make(map[string]any)
	for _, t := range roots {
		value := make(map[string]any)
		if t.Kind == cgfs.UsageNumber && t.Present {
			value[t.Key] = t.Number
		}
		for _, d := range t.Devices {
			if d.Present {
				value[d.Name] = map[string]any{"Read": d.Read, "Write": d.Write}
			}
		}
		cgroup := map[string]any{"value": value}
		if t.HasSub {
			cgroup["sub_cgroup"] = generic(t.Sub)
		}
		m[t.Name] = cgroup
	}
	return m
}

func encode(t rapid.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func usage(name string, n uint64, sub ...tree) tree {
	return tree{Name: name, Kind: cgfs.UsageNumber, Key: "usage", Number: n, Present: true, HasSub: len(sub) > 0, Sub: sub}
}

// example is the slot of the project's contract.
func example() []tree {
	return []tree{
		{Name: "blkio", HasSub: true, Kind: cgfs.UsageDevices,
			Devices: []device{{"8:0", 1053712384, 81929383424, true}}},
		usage("cpu", 1446489231295,
			usage("test_cgroup_a", 192790540163),
			usage("test_cgroup_b", 192790540163, usage("test_cgroup_b_sub1", 3928774282))),
	}
}

func TestRenderExample(t *testing.T) {
	l, words := build(example())
	got := string(l.full.append(nil, words, nil))
	want := `{"blkio":{"sub_cgroup":{},"value":{"8:0":{"Read":1053712384,"Write":81929383424}}},` +
		`"cpu":{"sub_cgroup":{` +
		`"test_cgroup_a":{"value":{"usage":192790540163}},` +
		`"test_cgroup_b":{"sub_cgroup":{"test_cgroup_b_sub1":{"value":{"usage":3928774282}}},"value":{"usage":192790540163}}},` +
		`"value":{"usage":1446489231295}}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("slot (-want +got):\n%s", diff)
	}
}

func TestRenderUnread(t *testing.T) {
	l, words := build([]tree{
		{Name: "blkio", Kind: cgfs.UsageDevices, Devices: []device{{"254:0", 1, 2, false}, {"8:0", 3, 4, true}, {"8:16", 5, 6, true}}},
		{Name: "cpu", Kind: cgfs.UsageNumber, Key: "usage", Number: 7, HasSub: true},
		{Name: "net_cls", HasSub: true, Sub: []tree{{Name: "x"}}},
	})
	got := string(l.full.append(nil, words, nil))
	want := `{"blkio":{"value":{"8:0":{"Read":3,"Write":4},"8:16":{"Read":5,"Write":6}}},` +
		`"cpu":{"sub_cgroup":{},"value":{}},` +
		`"net_cls":{"sub_cgroup":{"x":{"value":{}}},"value":{}}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("slot (-want +got):\n%s", diff)
	}
}

var anyName = rapid.OneOf(
	rapid.StringMatching(`[a-c]{1,2}`),
	rapid.SampledFrom([]string{"a\"b", `a\b`, "<&>", "\u2028", "é", "日本", "a b", "�", "\U0001F600", "sub_cgroup", "value"}),
	rapid.StringN(1, 20, 60).Filter(func(s string) bool { return !strings.Contains(s, "/") }),
)

func drawTree(t *rapid.T, name string, depth int) tree {
	n := tree{Name: name, HasSub: rapid.Bool().Draw(t, "has_sub")}
	switch n.Kind = cgfs.UsageKind(rapid.IntRange(0, 2).Draw(t, "kind")); n.Kind {
	case cgfs.UsageNumber:
		n.Key, n.Number, n.Present = "usage", rapid.Uint64().Draw(t, "number"), rapid.Bool().Draw(t, "present")
	case cgfs.UsageDevices:
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9]{1,3}:[0-9]{1,3}`), 0, 3, rapid.ID).Draw(t, "devices")
		slices.Sort(names)
		for _, d := range names {
			n.Devices = append(n.Devices, device{d, rapid.Uint64().Draw(t, "read"), rapid.Uint64().Draw(t, "write"), rapid.Bool().Draw(t, "present")})
		}
	}
	if n.HasSub && depth > 0 {
		n.Sub = drawTrees(t, depth-1)
	}
	return n
}

func drawTrees(t *rapid.T, depth int) []tree {
	names := rapid.SliceOfNDistinct(anyName, 0, 4, rapid.ID).Draw(t, "names")
	slices.Sort(names)
	var trees []tree
	for _, n := range names {
		trees = append(trees, drawTree(t, n, depth))
	}
	return trees
}

// TestRenderIsJSON: the prepared text with numbers between is, byte for byte,
// what encoding/json makes of the same tree, and no longer than foretold.
func TestRenderIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roots := drawTrees(t, 3)
		l, words := build(roots)
		got := string(l.full.append(nil, words, nil))
		if diff := cmp.Diff(encode(t, generic(roots)), got); diff != "" {
			t.Fatalf("slot (-want +got):\n%s", diff)
		}
		if len(got) > l.full.max {
			t.Fatalf("%d bytes, at most %d were foretold", len(got), l.full.max)
		}
	})
}

func TestFilter(t *testing.T) {
	roots := []tree{
		usage("blkio", 1, usage("b", 2, usage("x", 3))),
		usage("cpu", 4, usage("a", 5, usage("x", 6), usage("y", 7)), usage("b", 8), usage("x", 9, usage("z", 10))),
		{Name: "pids", HasSub: true},
	}
	for _, tc := range []struct {
		name   string
		filter Filter
		want   string
	}{
		{"subsystem", Filter{Subsystem: "blkio"},
			`{"blkio":{"sub_cgroup":{"b":{"sub_cgroup":{"x":{"value":{"usage":3}}},"value":{"usage":2}}},"value":{"usage":1}}}`},
		{"unknown subsystem", Filter{Subsystem: "nosuch"}, `{}`},
		{"subsystem is no prefix", Filter{Subsystem: "cp"}, `{}`},
		{"path", Filter{Cgroup: "a/y"}, `{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"y":{"value":{"usage":7}}}}}}}`},
		{"leading slash", Filter{Cgroup: "/a/y"}, `{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"y":{"value":{"usage":7}}}}}}}`},
		{"name", Filter{Cgroup: "y"}, `{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"y":{"value":{"usage":7}}}}}}}`},
		{"leading slash and a name", Filter{Cgroup: "/y"}, `{}`},
		{"an exact path wins, in its subsystem", Filter{Cgroup: "x"},
			`{"blkio":{"sub_cgroup":{"b":{"sub_cgroup":{"x":{"value":{"usage":3}}}}}},` +
				`"cpu":{"sub_cgroup":{"x":{"sub_cgroup":{"z":{"value":{"usage":10}}},"value":{"usage":9}}}}}`},
		{"both", Filter{Subsystem: "cpu", Cgroup: "b"}, `{"cpu":{"sub_cgroup":{"b":{"value":{"usage":8}}}}}`},
		{"root", Filter{Subsystem: "pids", Cgroup: "/"}, `{"pids":{"sub_cgroup":{},"value":{}}}`},
		{"alone", Filter{Cgroup: "a", Alone: true}, `{"cpu":{"sub_cgroup":{"a":{"value":{"usage":5}}}}}`},
		{"alone below", Filter{Cgroup: "y", Alone: true}, `{"cpu":{"sub_cgroup":{"a":{"sub_cgroup":{"y":{"value":{"usage":7}}}}}}}`},
		{"our root alone", Filter{Alone: true}, `{"blkio":{"value":{"usage":1}},"cpu":{"value":{"usage":4}},"pids":{"value":{}}}`},
		{"no match", Filter{Cgroup: "nosuch"}, `{}`},
		{"a subsystem is no cgroup", Filter{Cgroup: "cpu"}, `{}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, words := build(roots)
			p := l.program(tc.filter)
			if diff := cmp.Diff(tc.want, string(p.append(nil, words, nil))); diff != "" {
				t.Errorf("rendered (-want +got):\n%s", diff)
			}
			pruned, err := tc.filter.prune(l.full.append(nil, words, nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(pruned)); diff != "" {
				t.Errorf("pruned (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilterBothWays: a slot from memory and the same slot from Redis are pruned
// alike.
func TestFilterBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roots := drawTrees(t, 3)
		f := Filter{Cgroup: rapid.OneOf(rapid.StringMatching(`/?[a-c]{0,2}(/[a-c]{1,2}){0,2}`), anyName).Draw(t, "cgroup"), Alone: rapid.Bool().Draw(t, "alone")}
		if rapid.Bool().Draw(t, "with subsystem") {
			f.Subsystem = rapid.OneOf(rapid.StringMatching(`[a-c]{1,2}`), anyName).Draw(t, "subsystem")
		}
		l, words := build(roots)
		p := l.program(f)
		rendered := p.append(nil, words, nil)
		pruned, err := f.prune(l.full.append(nil, words, nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(rendered), string(pruned)); diff != "" {
			t.Fatalf("%+v: (-rendered +pruned):\n%s", f, diff)
		}
		if len(rendered) > p.max {
			t.Fatalf("%d bytes, at most %d were foretold", len(rendered), p.max)
		}
	})
}

func FuzzPrune(f *testing.F) {
	l, words := build(example())
	f.Add(l.full.append(nil, words, nil), "cpu", "test_cgroup_b_sub1")
	f.Add([]byte(`{"cpu":null}`), "", "a")
	f.Add([]byte(`{"cpu":{"sub_cgroup":[]}}`), "", "a")
	f.Fuzz(func(t *testing.T, data []byte, subsystem, cgroup string) {
		got, err := Filter{Subsystem: subsystem, Cgroup: cgroup}.prune(data)
		if err == nil && json.Valid(data) && !json.Valid(got) {
			t.Errorf("prune %q by %q, %q: %q is not JSON", data, subsystem, cgroup, got)
		}
	})
}
