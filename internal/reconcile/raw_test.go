package reconcile

import (
	"strings"
	"testing"
)

// The raw way: written once though the kernel prints it otherwise, put back after a
// change by hand, planned as an operator would type it, and taken back to what was
// there before.
func TestKernelRawFiles(t *testing.T) {
	r := onKernel(t, nil)
	h := r.layout.Hierarchy("memory")
	if h == nil {
		t.Skip("needs a v1 hierarchy with memory")
	}
	if err := h.Mkdir(r.opt.Root); err != nil {
		t.Fatal(err)
	}
	const file = "memory.soft_limit_in_bytes"
	expect := func(text string) {
		t.Helper()
		if got := read(t, r, "memory", "a", file); got != text {
			t.Errorf("%s reads %q, want %q", file, got, text)
		}
	}
	raw := `{"memory": {"sub_cgroup": {"a": {"conf": {"files": {"memory.soft_limit_in_bytes": "32M"}}}}}}`
	plan, faults := planFor(t, raw, v1Host(map[string]string{"memory": "memory"}), Options{Root: "r"})
	if want := "mkdir memory:/r\nmkdir memory:/r/a\nwrite memory:/r/a/" + file + " 32M\n"; plan != want || len(faults) > 0 {
		t.Errorf("plan %q %v, want %q", plan, faults, want)
	}
	if s := r.pass(t.Context(), work{doc: document(t, raw), full: true}); len(s.Faults) > 0 {
		t.Fatalf("first pass: %+v", s)
	}
	expect("33554432")
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s)
	}
	if err := h.Write(r.opt.Root+"/a", file, "4096"); err != nil {
		t.Fatal(err)
	}
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Written != 1 || len(s.Faults) > 0 {
		t.Errorf("put back: %+v", s)
	}
	expect("33554432")
	absent := strings.Replace(raw, "soft_limit_in_bytes", "nosuch", 1)
	s := r.pass(t.Context(), work{doc: document(t, absent), full: true})
	if len(s.Faults) != 1 || s.Faults[0].String() != "memory/a: files: this cgroup has no file memory.nosuch" {
		t.Errorf("a file that this kernel lacks: %v", s.Faults)
	}
	expect("9223372036854771712") // as before
	if s := r.pass(t.Context(), work{doc: document(t, raw), full: true}); len(s.Faults) > 0 {
		t.Fatalf("again: %+v", s)
	}
	if s := r.pass(t.Context(), work{doc: document(t, `{"memory": {"sub_cgroup": {"a": {"conf": {}}}}}`), full: true}); s.Pass.Written != 1 || len(s.Faults) > 0 {
		t.Errorf("taken back: %+v", s)
	}
	expect("9223372036854771712")
	if s := r.pass(t.Context(), work{full: true}); s.Pass.Total() != 0 || len(s.Faults) > 0 {
		t.Errorf("a converged pass did %+v", s)
	}
}
