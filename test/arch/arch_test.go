// Package arch holds the rules about the code that are themselves tests: who may import whom, and that every package
// says what it is for.
package arch

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/cgrouparch/cgrouparch/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath, Doc, Dir string
	Imports, GoFiles     []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Dir,Imports,GoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestImports pins the import graph: a strict DAG in which bytes become values
// at the edges. A new arrow is a decision, so it is written here.
func TestImports(t *testing.T) {
	want := map[string][]string{
		"cgroup":               {"internal/cgfs"},
		"cgroup/examples/grey": {"cgroup"},
		"cgroup/examples/grow": {"cgroup"},
		"cmd/cgrouparchd": {
			"cgroup", "internal/account", "internal/bpfiter", "internal/cgfs", "internal/clock", "internal/command", "internal/confdiff", "internal/config", "internal/fleet",
			"internal/metrics", "internal/page", "internal/pidfiles", "internal/reconcile", "internal/statefile", "internal/top", "internal/wsapi", "internal/zkconf",
		},
		"internal/account":    {"internal/cgfs", "internal/clock"},
		"docs":                nil, // those documents that tests execute
		"internal/bpfiter":    nil,
		"internal/cgfs":       nil,
		"internal/clock":      nil,
		"internal/command":    nil,
		"internal/confdiff":   {"internal/zkconf"},
		"internal/config":     {"internal/cgfs"},
		"internal/fleet":      nil,
		"internal/metrics":    nil,
		"internal/page":       nil,
		"internal/pidfiles":   {"internal/command"},
		"internal/procevents": nil,
		"internal/reconcile":  {"internal/cgfs", "internal/pidfiles", "internal/procevents", "internal/statefile", "internal/zkconf"},
		"internal/statefile":  nil,
		"internal/testhost":   nil, // used by tests only, as is
		"internal/testserver": {"internal/testhost"},
		"internal/top":        nil,
		"internal/wsapi":      nil,
		"internal/zkconf":     {"internal/cgfs", "internal/statefile"},
	}
	got := map[string][]string{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "test/") {
			continue
		}
		var ours []string
		for _, i := range p.Imports {
			if rest, ok := strings.CutPrefix(i, module); ok {
				ours = append(ours, rest)
			}
		}
		got[name] = ours
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
}

// TestEdges: each library that talks to the outside is behind one package.
func TestEdges(t *testing.T) {
	only := map[string][]string{
		"github.com/go-zookeeper/zk":   {"internal/zkconf", "internal/testserver"},
		"github.com/redis/go-redis/v9": {"internal/account", "internal/testserver"},
		"github.com/gorilla/websocket": {"internal/wsapi"},
		"golang.org/x/sys/unix":        {"internal/account", "internal/bpfiter", "internal/cgfs", "internal/clock", "internal/pidfiles", "internal/procevents"},
		"github.com/spf13/cobra":       {"cmd/cgrouparchd"},
		"github.com/BurntSushi/toml":   {"internal/config"},
		"github.com/fsnotify/fsnotify": {"internal/zkconf", "internal/pidfiles"},
		"golang.org/x/sync/errgroup":   {"cmd/cgrouparchd"},

		"charm.land/bubbletea/v2": {"internal/top"},

		"github.com/prometheus/client_golang/prometheus":          {"internal/metrics"},
		"github.com/prometheus/client_golang/prometheus/promhttp": {"internal/metrics"},

		"github.com/opencontainers/cgroups":                {"internal/cgfs"}, // device rules on v2, nothing else of it
		"github.com/opencontainers/cgroups/devices":        {"internal/cgfs"},
		"github.com/opencontainers/cgroups/devices/config": {"internal/cgfs"},
		"github.com/cilium/ebpf":                           {"internal/bpfiter", "internal/cgfs"},
		"github.com/cilium/ebpf/asm":                       {"internal/bpfiter"},
		"github.com/cilium/ebpf/btf":                       {"internal/bpfiter"},
		"github.com/cilium/ebpf/link":                      {"internal/cgfs"},

		"text/template":                  nil, // costs megabytes of binary
		"html/template":                  nil,
		"github.com/alicebob/miniredis":  nil, // does not expire keys in real time
		"github.com/containerd/cgroups":  nil,
		"github.com/opencontainers/runc": nil,
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == "test/bench/idle" {
			continue // links what the daemon links, to be compared with it
		}
		for _, i := range p.Imports {
			if allowed, limited := only[i]; limited && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which is for %v only", name, i, allowed)
			}
		}
	}
}

// TestOneFile: what is imported for one thing only is behind one file, so that it can be exchanged.
func TestOneFile(t *testing.T) {
	only := map[string]string{
		"github.com/opencontainers/cgroups": "internal/cgfs/devices_v2.go",
	}
	seen := map[string]bool{}
	for _, p := range packages(t) {
		if p.ImportPath == module+"test/bench/idle" {
			continue // it is the daemon's libraries, and nothing else
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			file := strings.TrimPrefix(p.ImportPath, module) + "/" + name
			for _, i := range f.Imports {
				path, _ := strconv.Unquote(i.Path.Value)
				for library, where := range only {
					if path != library && !strings.HasPrefix(path, library+"/") {
						continue
					}
					seen[library] = true
					if file != where {
						t.Errorf("%s imports %s, which is for %s only", file, path, where)
					}
				}
			}
		}
	}
	for library := range only {
		if !seen[library] {
			t.Errorf("nobody imports %s", library)
		}
	}
}

// TestEveryPackageHasAPurpose: one sentence that begins with the package's name.
func TestEveryPackageHasAPurpose(t *testing.T) {
	for _, p := range packages(t) {
		name := p.ImportPath[strings.LastIndexByte(p.ImportPath, '/')+1:]
		if strings.HasPrefix(p.ImportPath, module+"test/") && p.Doc == "" {
			continue // a package of tests only has its comment in a _test file
		}
		if !strings.HasPrefix(p.Doc, "Package "+name+" ") && !strings.HasPrefix(p.Doc, "Command "+name+" ") || !strings.Contains(p.Doc, ".") {
			t.Errorf("%s: no sentence of purpose: %q", p.ImportPath, p.Doc)
		}
	}
}
