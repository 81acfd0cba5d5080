package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// comparison is the reply to compare.
type comparison struct {
	From        int
	To          *int
	Valid       bool
	Faults      []struct{ Text string }
	Summary     string
	Destroys    bool
	Changes     []struct{ Kind, Text string }
	HostFaults  []hostFault `json:"host_faults"`
	Error, Code string
}

type hostFault struct {
	Place, Reason string
	New           bool
}

// compare asks what becomes different.
func (d *daemon) compare(args map[string]any) (c comparison) {
	d.t.Helper()
	request, err := json.Marshal(map[string]any{"cmd": "compare", "args": args})
	must(d.t, err)
	reply := d.ask(string(request))
	if err := json.Unmarshal([]byte(reply), &c); err != nil {
		d.t.Fatalf("%s: %v: %s", request, err, reply)
	}
	return c
}

func (c comparison) lines() (out []string) {
	for _, l := range c.Changes {
		out = append(out, l.Kind+" "+l.Text)
	}
	return out
}

// TestCompare: what an edit would do to this host is said before it is made, and comes true.
func TestCompare(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 5}}, "gone": {"sub_cgroup": {"below": {}}}}}, "nosuch": {}}`)
	d := h.startReady()
	edit := `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 7, "files": {"cpu.nosuch": "1"}}}}}, "nosuch": {}, "neither": {}}`
	c := d.compare(map[string]any{"document": edit})
	want := []string{"- cpu:/gone and 1 below it", "! neither: named for the first time: cgroups there that the document does not have will be removed",
		"~ cpu:/a files unset -> cpu.nosuch 1", "~ cpu:/a share 5 -> 7"}
	if err := differ(want, c.lines()); err != nil || !c.Valid || !c.Destroys || c.From != 0 || c.To != nil || c.Summary != "removes 2 cgroups, takes over 1 subsystem, changes 2 settings" {
		t.Errorf("%v: %+v", err, c)
	}
	isNew := map[string]bool{}
	for _, f := range c.HostFaults {
		isNew[f.Place] = f.New
	}
	// The kernel alone knows that there is no such file: that is a fault when it is written.
	if err := differ(map[string]bool{"neither": true, "nosuch": false}, isNew); err != nil {
		t.Errorf("host faults: %v", err)
	}
	h.document(edit)
	d.wantInForce(edit)
	d.wantStatus("neither", "nosuch")
	back := d.compare(map[string]any{"to": 0})
	if back.From != 1 || back.To == nil || *back.To != 0 || back.Summary != "leaves 1 subsystem, changes 2 settings, adds 2 cgroups" {
		t.Errorf("back again: %+v", back)
	}

	faulty := d.compare(map[string]any{"document": `{"cpu": {"sub_cgroup": {"a": {"conf": {"share": "x"}}}}}`})
	if faulty.Valid || len(faulty.Faults) != 1 || faulty.Summary != "1 fault" || faulty.HostFaults != nil || faulty.Code != "" {
		t.Errorf("a faulty document: %+v", faulty)
	}

	conn := d.dial()
	large := `{"cmd": "compare", "args": {"document": "` + strings.Repeat(" ", 70<<10) + `"}}`
	_, err := exchange(conn, large)
	if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) || !strings.Contains(err.Error(), "cgrouparchd conf diff FILE") {
		t.Errorf("a large document: %v", err)
	}
}

// TestHistoryOutlivesDaemon: versions from before the daemon's start can be listed, read and compared.
func TestHistoryOutlivesDaemon(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	zk := testserver.ZooKeeper(t)
	h.useZooKeeper(zk.Addr())
	document := func(i int) string {
		return fmt.Sprintf(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": %d}}}}}`, 100+i)
	}
	for i := range 3 {
		h.cli("conf", "set", h.file("edit.json", document(i), 0o600), "--yes", "--reason", fmt.Sprintf("edit %d", i)).wantExit(t, 0)
	}
	d := h.startReady()
	type version struct {
		Version        int
		Author, Reason string
		What           *string
		InForceSince   *time.Time `json:"in_force_since"`
	}
	var reply struct {
		Source, Problem string
		InForce         int `json:"in_force"`
		Versions        []version
	}
	ask := func() []string {
		t.Helper()
		text := d.ask(`{"cmd":"get_history"}`)
		reply.Versions = nil
		if err := json.Unmarshal([]byte(text), &reply); err != nil || reply.Source != "zookeeper" {
			t.Fatalf("%v: %s", err, text)
		}
		var out []string
		for _, v := range reply.Versions {
			what := "-"
			if v.What != nil {
				what = *v.What
			}
			out = append(out, fmt.Sprintf("%d %s: %s, %v", v.Version, v.Reason, what, v.InForceSince != nil))
		}
		return out
	}
	want := []string{"2 edit 2: changes 1 setting, true", "1 edit 1: changes 1 setting, false", "0 edit 0: -, false"}
	if err := differ(want, ask()); err != nil || reply.InForce != 2 || reply.Problem != "" {
		t.Errorf("history: %v; %+v", err, reply)
	}
	if err := sameJSON(`{"version":0,"value":`+document(0)+`}`, d.ask(`{"cmd":"get_conf","args":{"version":0}}`)); err != nil {
		t.Errorf("version 0, which this daemon has never had in force: %v", err)
	}
	if c := d.compare(map[string]any{"from": 0}); c.Summary != "changes 1 setting" || differ([]string{"~ cpu:/a share 100 -> 102"}, c.lines()) != nil {
		t.Errorf("from version 0: %+v", c)
	}
	if c := d.compare(map[string]any{"from": 9}); c.Code != "bad_request" || !strings.Contains(c.Error, "get_history") {
		t.Errorf("from version 9: %+v", c)
	}

	// Somebody else's text is in the list, although it is no document; and it can neither be shown nor compared with.
	zk.Client(identity).Put(node, `nonsense`)
	eventually(t, "rejected", func() error { return d.rejected("line 1:1") })
	zk.Client(identity).Put(node, document(4))
	d.wantInForce(document(4))
	h.cli("conf", "set", h.file("edit.json", document(5), 0o600), "--reason", "edit 5").wantExit(t, 0)
	d.wantInForce(document(5))
	want = append([]string{"5 edit 5: changes 1 setting, true", "4 written by other means: changes 1 setting, true"}, want...)
	eventually(t, "the new history", func() error { return differ(want, ask()) })

	// Without ZooKeeper the daemon goes on knowing what it knew, and says so.
	zk.Stop()
	eventually(t, "the problem", func() error {
		if got := ask(); reply.Problem == "" {
			return fmt.Errorf("none: %q", got)
		}
		return differ(want, ask())
	})
	if c := d.compare(map[string]any{"from": 0}); c.Summary != "changes 1 setting" {
		t.Errorf("from version 0, without ZooKeeper: %+v", c)
	}
	if code, _ := d.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
}
