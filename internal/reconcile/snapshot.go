package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// Snapshot is what a pass found and did. It is immutable.
type Snapshot struct {
	Document *zkconf.Document
	Trees    []*Tree
	// Hierarchies are the open hierarchies by name.
	Hierarchies map[string]*cgfs.Hierarchy
	Layout      *cgfs.Layout
	// Others are the cgroups below our root that the document does not name, by
	// hierarchy, relative to the mount, parents first. Only of hierarchies whose
	// usage is a sum over all of them.
	Others map[string][]string
	// Changed: trees or cgroups differ from the last snapshot's.
	Changed bool
	Faults  []Fault
	// Notes are settings that are in force and have no effect on this host.
	Notes []Fault
	// Cgroups are those that take processes.
	Cgroups []pidfiles.Cgroup
	Pass    Pass
	// Passes counts all of them; Corrections what others changed and was put back.
	Passes, Corrections int

	compile Options // what Compile has to know besides the document and the host
}

// Compile says what this host would make of documents, as the reconciler would: with
// the host as it is now. It may be called from any goroutine.
func (s *Snapshot) Compile(docs ...*zkconf.Document) []Desired {
	host := HostOf(s.Layout) // one look for all of them
	out := make([]Desired, len(docs))
	for i, doc := range docs {
		out[i] = Compile(doc, host, s.compile)
	}
	return out
}

// Tree finds the tree that a subsystem of the document lives in; nil: none here.
func (s *Snapshot) Tree(subsystem string) *Tree { return treeOf(s.Trees, subsystem) }

// Pass describes one pass.
type Pass struct {
	Began    time.Time     `json:"began"`
	Duration time.Duration `json:"duration_ns"`
	Full     bool          `json:"full"`
	// Listings is how often the pass listed the processes of the machine: once,
	// unless something was moved; not at all when placement was not in question.
	Listings int `json:"listings"`
	Counts
}

func (r *Reconciler) snapshot(p Pass) *Snapshot {
	s := &Snapshot{
		Document: r.doc, Trees: r.desired.Trees, Layout: r.layout, Hierarchies: maps.Clone(r.hierarchies), Others: map[string][]string{},
		Faults: slices.Concat(r.faults, r.held), Notes: r.desired.Notes, Cgroups: r.cgroups, Pass: p, Passes: r.passes, Corrections: r.corrections,
		compile: Options{Root: r.opt.Root, Shield: r.opt.Shield},
	}
	var generation strings.Builder
	fmt.Fprintf(&generation, "%d %p\n", r.shape, r.layout)
	for _, t := range r.desired.Trees {
		if !slices.Contains(t.Subsystems, "blkio") || r.observers[t.Hierarchy] == nil {
			continue
		}
		for p := range r.observers[t.Hierarchy].state.Nodes {
			if _, configured := t.Dir(p); !configured {
				s.Others[t.Hierarchy] = append(s.Others[t.Hierarchy], t.Full(p))
			}
		}
		slices.SortFunc(s.Others[t.Hierarchy], comparePaths)
		fmt.Fprintf(&generation, "%q\n", s.Others[t.Hierarchy])
	}
	s.Changed = generation.String() != r.generation
	r.generation = generation.String()
	return s
}
