package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
)

func agent(change func(a *fleet.Agent)) []byte {
	a := fleet.Agent{Host: "h", ID: "i", Daemon: "1", Started: time.Unix(1, 0), Seen: 42, InForce: 42, Sum: "s", Layout: "v1 cpu"}
	change(&a)
	return a.Encode()
}

func same(*fleet.Agent) {}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name       string
		q          fleet.Question
		everywhere bool
		rows       []fleet.Row // Host, State, Why
	}{
		{"nobody", fleet.Question{}, false, nil},
		{"all of them", fleet.Question{Agents: map[string][]byte{"b": agent(same), "a": agent(same)}}, true, []fleet.Row{{Host: "a", State: "ok"}, {Host: "b", State: "ok"}}},
		{"fewer than expected", fleet.Question{Agents: map[string][]byte{"a": agent(same)}, Expect: 2}, false, []fleet.Row{{Host: "a", State: "ok"}}},
		{"as many as expected", fleet.Question{Agents: map[string][]byte{"a": agent(same)}, Expect: 1}, true, []fleet.Row{{Host: "a", State: "ok"}}},
		{"one has vanished", fleet.Question{Agents: map[string][]byte{"a": agent(same)}, Known: map[string]time.Time{"a": {}, "b": time.Unix(5, 0)}}, false,
			[]fleet.Row{{Host: "b", State: "gone", Why: "no daemon speaks for it now"}, {Host: "a", State: "ok"}}},
		{"each in its own way", fleet.Question{Agents: map[string][]byte{
			"applying": agent(func(a *fleet.Agent) { a.InForce = 41 }),
			"behind":   agent(func(a *fleet.Agent) { a.InForce, a.Seen = 41, 41 }),
			"empty":    {},
			"good":     agent(same),
			"later":    agent(func(a *fleet.Agent) { a.InForce, a.Seen = 43, 43 }),
			"nothing":  agent(func(a *fleet.Agent) { a.InForce, a.Seen, a.Sum = -1, -1, "" }),
			"odd":      []byte("[]"),
			"old":      agent(func(a *fleet.Agent) { a.Sum = "of another ensemble" }),
			"silent":   []byte("{}"),
			"refuses": agent(func(a *fleet.Agent) {
				a.InForce, a.Rejected = 41, &fleet.Rejected{Version: 42, Reasons: []string{"cpu: no", "b"}}
			}),
			"refused once": agent(func(a *fleet.Agent) { a.Rejected = &fleet.Rejected{Version: 41} }),
		}}, false, []fleet.Row{
			{Host: "applying", State: "behind", Why: "version 41 is in force, 42 is being applied"},
			{Host: "behind", State: "behind", Why: "version 41 is in force"},
			{Host: "empty", State: "unreadable", Why: "what it says is not understood: EOF"},
			{Host: "later", State: "behind", Why: "version 43 is in force"},
			{Host: "nothing", State: "behind", Why: "nothing is in force yet"},
			{Host: "odd", State: "unreadable", Why: "what it says is not understood: json: cannot unmarshal array into Go value of type fleet.Agent"},
			{Host: "old", State: "other", Why: "version 42 is in force, but of another text: the node was made anew"},
			{Host: "refuses", State: "rejected", Why: "version 42 is rejected: cpu: no"},
			{Host: "silent", State: "behind", Why: "nothing is in force yet"},
			{Host: "good", State: "ok"},
			{Host: "refused once", State: "ok"},
		}},
		{"a host fault", fleet.Question{Agents: map[string][]byte{"a": agent(func(a *fleet.Agent) { a.HostFaults = 1 })}}, true, []fleet.Row{{Host: "a", State: "ok"}}},
		{"a host fault, strictly", fleet.Question{Agents: map[string][]byte{"a": agent(func(a *fleet.Agent) { a.HostFaults = 1 })}, Strict: true}, false, []fleet.Row{{Host: "a", State: "ok"}}},
	} {
		c.q.Version, c.q.Sum = 42, "s"
		v := fleet.Judge(c.q)
		if v.Everywhere != c.everywhere || v.Known != len(c.rows) {
			t.Errorf("%s: %+v", c.name, v)
		}
		only := cmpopts.IgnoreFields(fleet.Row{}, "InForce", "Seen", "HostFaults", "HostFault", "Layout", "Daemon", "Since")
		if diff := cmp.Diff(c.rows, v.Hosts, only, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if v := fleet.Judge(fleet.Question{Version: -1, Agents: map[string][]byte{"a": agent(func(a *fleet.Agent) { a.InForce, a.Sum = -1, "" })}}); v.Everywhere {
		t.Error("no document is everywhere")
	}
}

func TestRow(t *testing.T) {
	v := fleet.Judge(fleet.Question{Version: 42, Sum: "s", Agents: map[string][]byte{"a": agent(func(a *fleet.Agent) { a.HostFaults, a.HostFault = 2, "no bfq" })},
		Known: map[string]time.Time{"z": time.Unix(5, 0)}})
	want := []fleet.Row{
		{Host: "z", State: "gone", Why: "no daemon speaks for it now", InForce: -1, Seen: -1, Since: time.Unix(5, 0)},
		{Host: "a", State: "ok", InForce: 42, Seen: 42, HostFaults: 2, HostFault: "no bfq", Layout: "v1 cpu", Daemon: "1", Since: time.Unix(1, 0)},
	}
	if diff := cmp.Diff(want, v.Hosts, cmpopts.EquateApproxTime(0)); diff != "" || v.There != 1 || v.Faulty != 1 {
		t.Errorf("%+v (-want +got):\n%s", v, diff)
	}
}

// What a daemon publishes is bounded, whatever the document holds.
func TestEncodeIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 10_000)
	data := fleet.Agent{Host: "h", HostFault: long, Rejected: &fleet.Rejected{Version: 1, Reasons: []string{long, long, long, long}}}.Encode()
	if len(data) > 2000 {
		t.Errorf("%d bytes", len(data))
	}
	a, err := fleet.Decode(data)
	if err != nil || len(a.Rejected.Reasons) != 3 {
		t.Errorf("%+v, %v", a, err)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte(agent(same)))
	f.Add([]byte(`{"in_force": 42}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := fleet.Judge(fleet.Question{Version: 42, Sum: "s", Agents: map[string][]byte{"a": data}})
		a, err := fleet.Decode(data)
		if v.Everywhere && (err != nil || a.InForce != 42 || a.Sum != "s") {
			t.Errorf("%q is taken for agreement", data)
		}
	})
}
