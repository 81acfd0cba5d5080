package cgfs

// freezer: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst;
// cgroup-v2.rst, "cgroup.freeze", which every cgroup but the root has.
//
// What v1 shows in freezer.state includes a frozen ancestor and FREEZING on the
// way; freezer.self_freezing shows what was asked of the cgroup itself.

var (
	freezer1 = []File{{Name: "freezer.state", From: "freezer.self_freezing", Note: "`FROZEN` or `THAWED`, seen in `freezer.self_freezing`", spell: freezerState}}
	freezer2 = []File{{Name: "cgroup.freeze", Note: "1: frozen", spell: frozen}}
)

var freezerSettings = []Setting{
	{
		Key: "state", Thing: "state", Doc: "whether its processes were told to stand still; `frozen` says whether they do", Value: word("FROZEN", "THAWED"), Default: "THAWED",
		V1: named(freezer1), V2: named(freezer2),
	},
	{
		Key: "freeze", Thing: "state", Doc: "1: its processes stand still", Value: boolean(), Default: "0",
		V1: freezer1, V2: freezer2,
	},
}

// named are files that show 1 for FROZEN.
func named(files []File) []File {
	f := files[0]
	f.shown = func(text string) string {
		if isFrozen(text) {
			return "FROZEN"
		}
		return "THAWED"
	}
	return []File{f}
}

var freezerFigures = []Setting{
	figure(KindFlag, "frozen", "1: all its processes stand still, for its own sake or for a cgroup above", []File{{Name: "freezer.state", shown: flagOfState}}, scaled("cgroup.events", "frozen", nil)),
	figure(KindFlag, "self_freezing", "1: it was frozen itself", files("freezer.self_freezing"), files("cgroup.freeze")),
	figure(KindFlag, "parent_freezing", "1: a cgroup above was frozen", files("freezer.parent_freezing"), nil),
}

// flagOfState: FREEZING, on the way, is not frozen yet.
func flagOfState(text string) string {
	if text == "FROZEN" {
		return "1"
	}
	return "0"
}

func isFrozen(text string) bool { return text == "FROZEN" || text == "1" }

func freezerState(text string, _ Caps) (string, string) {
	if isFrozen(text) {
		return "FROZEN", "1"
	}
	return "THAWED", "0"
}

func frozen(text string, _ Caps) (string, string) {
	if isFrozen(text) {
		return "1", "1"
	}
	return "0", "0"
}
