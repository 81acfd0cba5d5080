package reconcile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

const ruled = `{"devices": {"sub_cgroup": {"a": {
  "conf": {"deny": ["a"], "allow": ["c 1:5 rw", "c 1:3 rwm"]},
  "sub_cgroup": {"b": {"conf": {"deny": ["a"], "allow": ["c 1:3 rw"]}}}
}}}}`

// v1 refuses the rules of a cgroup that has children, so they come before those.
func TestGoldenPlanDevices(t *testing.T) {
	for _, c := range []struct {
		name string
		host Host
		want string
	}{
		{"v1", v1Host(map[string]string{"devices": "devices"}), `mkdir devices:/r
mkdir devices:/r/a
write devices:/r/a/devices.rules c 1:3 rwm, c 1:5 rw
mkdir devices:/r/a/b
write devices:/r/a/b/devices.rules c 1:3 rw
`},
		{"v2", unified, `mkdir unified:/r
mkdir unified:/r/a
mkdir unified:/r/a/@members
mkdir unified:/r/a/b
write unified:/r/a/devices.rules c 1:3 rwm, c 1:5 rw
write unified:/r/a/b/devices.rules c 1:3 rw
`},
	} {
		plan, faults := planFor(t, ruled, c.host, Options{Root: "r"})
		if diff := cmp.Diff(c.want, plan); diff != "" || len(faults) > 0 {
			t.Errorf("%s: faults %v, plan (-want +got):\n%s", c.name, faults, diff)
		}
	}
}

func TestKernelDevices(t *testing.T) {
	r := onKernel(t, nil)
	h := r.layout.Hierarchy("devices")
	if h == nil {
		testhost.Lacks(t, "needs a v1 hierarchy with devices")
	}
	if err := h.Mkdir(r.opt.Root); err != nil {
		t.Fatal(err)
	}
	expect := func(p, rules string) {
		t.Helper()
		if got := read(t, r, "devices", p, cgfs.DevicesFile); got != rules {
			t.Errorf("%s reads %q, want %q", p, got, rules)
		}
	}
	if s := r.pass(t.Context(), work{doc: document(t, ruled), full: true}); len(s.Faults) > 0 {
		t.Fatalf("first pass: %+v", s)
	}
	expect("a", "c 1:3 rwm, c 1:5 rw")
	expect("a/b", "c 1:3 rw")
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s)
	}
	// Somebody takes from the parent, and the kernel takes it from the child too.
	if err := h.Write(r.opt.Root+"/a", "devices.deny", "c 1:3 r"); err != nil {
		t.Fatal(err)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 2 || len(s.Faults) > 0 {
		t.Errorf("put back: %+v", s)
	}
	expect("a/b", "c 1:3 rw")
	// What both have swapped for something else.
	swapped := `{"devices": {"sub_cgroup": {"a": {"conf": {"deny": ["a"], "allow": ["c 1:7 r"]}, "sub_cgroup": {"b": {"conf": {"deny": ["a"], "allow": ["c 1:7 r"]}}}}}}}`
	if s := r.pass(t.Context(), work{doc: document(t, swapped)}); len(s.Faults) > 0 {
		t.Errorf("swapped: %+v", s)
	}
	expect("a", "c 1:7 r")
	expect("a/b", "c 1:7 r")
	bare := `{"devices": {"sub_cgroup": {"a": {"conf": {}, "sub_cgroup": {"b": {"conf": {}}}}}}}`
	if s := r.pass(t.Context(), work{doc: document(t, bare)}); len(s.Faults) > 0 || s.Pass.Written != 2 {
		t.Errorf("taken back: %+v", s)
	}
	expect("a", cgfs.AllDevices)
	expect("a/b", cgfs.AllDevices)
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s)
	}
	// Single devices, over a cgroup that is there; then none again.
	exceptions := `{"devices": {"sub_cgroup": {"a": {"conf": {"deny": ["c 1:5 rwm"]}, "sub_cgroup": {"b": {"conf": {}}}}}}}`
	if s := r.pass(t.Context(), work{doc: document(t, exceptions)}); len(s.Faults) != 1 || !strings.Contains(s.Faults[0].Reason, "has no child cgroups") {
		t.Errorf("a list of all devices became exceptions over a child: %+v", s)
	}
	for _, child := range []string{"a/b", "a"} { // as an operator would
		if err := h.Rmdir(r.opt.Root + "/" + child); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.pass(t.Context(), work{full: true}); len(s.Faults) > 0 {
		t.Errorf("exceptions: %+v", s)
	}
	expect("a", "all but c 1:5 rwm")
	more := strings.Replace(exceptions, "c 1:5 rwm", "c 1:7 rwm", 1)
	if s := r.pass(t.Context(), work{doc: document(t, more)}); len(s.Faults) > 0 || s.Pass.Written != 1 {
		t.Errorf("other exceptions over a child: %+v", s)
	}
	expect("a", "all but c 1:7 rwm")
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s)
	}
	if s := r.pass(t.Context(), work{doc: document(t, bare)}); len(s.Faults) > 0 || s.Pass.Written != 1 {
		t.Errorf("exceptions taken back: %+v", s)
	}
	expect("a", cgfs.AllDevices)
	for _, child := range []string{"a/b", "a"} {
		if err := h.Rmdir(r.opt.Root + "/" + child); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.pass(t.Context(), work{doc: document(t, ruled), full: true}); len(s.Faults) > 0 {
		t.Errorf("rules again: %+v", s)
	}
	expect("a", "c 1:3 rwm, c 1:5 rw")
}
