package cgfs

import (
	"strconv"
	"strings"
)

// What is not a document's: the kernel's figures, actions, and who is in a cgroup.
// Each controller's file has rows of its own; here is what they are made of.

const (
	noFigure1 = "v1 has no such figure"
	noFigure2 = "v2 has no such figure"
)

// files are control files by name.
func files(names ...string) []File {
	var out []File
	for _, name := range names {
		out = append(out, File{Name: name})
	}
	return out
}

// figure is a row that is only read. No files: that version does not have it.
func figure(kind Kind, key, doc string, v1, v2 []File) Setting {
	s := Setting{Key: key, Thing: "figure/" + key, Doc: doc, Value: Value{Kind: kind, Words: kindWords[kind]}, Access: ReadOnly, V1: v1, V2: v2}
	if len(v1) == 0 {
		s.NoV1 = noFigure1
	}
	if len(v2) == 0 {
		s.NoV2 = noFigure2
	}
	return s
}

// counter is a figure of v1 that a written 0 takes back. On v2 it is only read: no
// counter there begins anew but for the one reader who keeps memory.peak open.
func counter(key, doc string, v1, v2 []File) Setting {
	s := figure(KindInteger, key, doc, v1, v2)
	s.Access, s.Value = Adjustable, exactly(0)
	s.Value.Words = counterWords
	return s
}

const counterWords = "a number; 0 begins anew (v1)"

// Counts says whether the row is a counter, which a written 0 takes back on v1.
func (s *Setting) Counts() bool { return s.Value.Words == counterWords }

// exactly takes one number.
func exactly(n int64) Value {
	v := integer(n, n)
	v.Words = strconv.FormatInt(n, 10)
	return v
}

// action is a row that is only written.
func action(key, doc string, value Value, v1, v2 []File) Setting {
	s := figure(value.Kind, key, doc, v1, v2)
	s.Access, s.Value = WriteOnly, value
	if len(v1) == 0 {
		s.NoV1 = "v1 has no such action"
	}
	if len(v2) == 0 {
		s.NoV2 = "v2 has no such action"
	}
	return s
}

var kindWords = map[Kind]string{
	KindText: "text", KindInteger: "a number", KindAmount: "a number or `\"max\"`", KindFlag: "0 or 1", KindSet: "a set such as `\"0-2,7\"`",
	KindList: "numbers", KindTable: "numbers by name", KindTables: "numbers by device or kind, and by name", KindRules: "device rules",
	KindPressure: "percentages and µs, of `some` and `full`",
}

// scaled is a line of a table of v2 in the unit that v1 counts in.
func scaled(name, line string, by func(text string) string) []File {
	return []File{{Name: name, form: Form{Line: line}, shown: by, Note: "`" + line + "`"}}
}

// commonSettings and commonFigures are what every cgroup has, whatever the
// controller.
//
// Documentation/admin-guide/cgroup-v1/cgroups.rst; cgroup-v2.rst, "Core Interface
// Files".
var commonSettings = []Setting{
	{
		Key: "clone_children", Thing: "clone_children", Doc: "1: a new cpuset below begins with its settings", Value: boolean(), Default: "0",
		V1: files("cgroup.clone_children"), Always: "0", NoV2: "v2 has no clone_children: a cpuset there begins with all that its parent has",
	},
	{
		Key: "max_depth", Thing: "max_depth", Doc: "how many levels of cgroups may be below", Value: limit(0, maxChildren), Default: Unlimited,
		V2: []File{{Name: "cgroup.max.depth", limit: Ceiling}}, Always: Unlimited, NoV1: "v1 does not limit how deep cgroups are nested",
	},
	{
		Key: "max_descendants", Thing: "max_descendants", Doc: "how many cgroups may be below", Value: limit(0, maxChildren), Default: Unlimited,
		V2: []File{{Name: "cgroup.max.descendants", limit: Ceiling}}, Always: Unlimited, NoV1: "v1 does not limit the number of cgroups",
	},
	{
		Key: "pressure_accounting", Thing: "pressure_accounting", Doc: "0: no pressure is measured in it", Value: boolean(), Default: "1",
		V2: files("cgroup.pressure"), NoV1: "v1 measures no pressure of a cgroup",
	},
}

var commonFigures = []Setting{
	{
		Key: "procs", Thing: "procs", Doc: "its processes; a written one moves in, with all its threads", Access: Adjustable,
		Value: pids(), V1: files("cgroup.procs"), V2: files("cgroup.procs"), on1: eachPID, on2: eachPID,
	},
	{
		Key: "tasks", Thing: "tasks", Doc: "its threads; a written one moves in, alone (v2: within a threaded tree)", Access: Adjustable,
		Value: pids(), V1: files("tasks"), V2: files("cgroup.threads"), on1: eachPID, on2: eachPID,
	},
	{
		Key: "notify_on_release", Thing: "notify_on_release", Doc: "1: `release_agent` is run when it becomes empty", Value: boolean(), Access: Adjustable,
		V1: files("notify_on_release"), NoV2: "v2 starts no program when a cgroup becomes empty: cgroup_events tells",
	},
	{
		Key: "release_agent", Thing: "release_agent", Doc: "the program of `notify_on_release`; in the root of a hierarchy only", Access: Adjustable,
		Value: path1(), V1: files("release_agent"), NoV2: "v2 starts no program when a cgroup becomes empty: cgroup_events tells",
	},
	{
		Key: "subtree_control", Thing: "subtree_control", Doc: "controllers that it enables for its children; written as `+cpu -memory`", Access: Adjustable,
		Value: anyLine(), V2: files("cgroup.subtree_control"), NoV1: "v1 enables controllers by mounting them",
	},
	{
		Key: "type", Thing: "type", Doc: "`domain`, `threaded` ...; `threaded` may be written", Access: Adjustable,
		Value: word("threaded"), V2: files("cgroup.type"), NoV1: "v1 has one type of cgroup",
	},
	figure(KindText, "controllers", "controllers that it can enable for its children", nil, files("cgroup.controllers")),
	figure(KindTable, "cgroup_events", "`populated`, `frozen`", nil, files("cgroup.events")),
	figure(KindTable, "cgroup_stat", "cgroups below, and how many of them are going away", nil, files("cgroup.stat")),
	action("kill", "1: kills all its processes, and those below", exactly(1), nil, files("cgroup.kill")),
}

// maxChildren bounds the kernel's int.
const maxChildren = 1<<31 - 2

// pids takes process or thread numbers.
func pids() Value {
	return plainly(KindList, "numbers of processes or threads", func(value any) (string, error) {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		var out []string
		for _, v := range list {
			n, err := wholeNumber(v)
			if err != nil {
				return "", err
			}
			text, err := inRange(n, 1, maxPIDs)
			if err != nil {
				return "", err
			}
			out = append(out, text)
		}
		return strings.Join(out, "\n"), nil
	})
}

// eachPID writes one number at a time.
func eachPID(t *translation, s *Setting, text string) {
	f, ok := t.pick(s)
	if !ok {
		return
	}
	for pid := range strings.FieldsSeq(text) {
		t.write(s, f, pid)
	}
}

// anyLine takes one line of text.
func anyLine() Value { return plainly(KindText, "text", oneLine) }

func path1() Value { return plainly(KindText, "the path of a program", oneLine) }
