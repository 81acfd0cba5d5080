package reconcile

import (
	"path"
	"strconv"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Op is what a step does.
type Op int

// The operations.
const (
	OpMkdir Op = iota
	OpWrite
	OpMove
	OpEvacuate
	OpRmdir
)

// Phase is when a step is taken: every phase in all hierarchies before the next,
// so that a process goes straight to its new place, and never sits where a
// controller is about to be enabled.
type Phase int

// The phases, in order.
const (
	PhaseCreate  Phase = iota
	PhaseVacate        // processes leave the cgroups that become inner ones
	PhaseEnable        // controllers, top-down
	PhaseTighten       // settings that give less, children first
	PhaseLoosen        // settings that give more, parents first
	PhaseDisable       // controllers that nothing needs, bottom-up
	PhaseMove          // processes to where they belong
	PhaseRemove        // evacuate and remove, deepest first
	PhaseNarrow        // sets of CPUs that had to be wider until now, children first
)

// Step is one change to the kernel.
type Step struct {
	Op    Op
	Phase Phase
	Tree  *Tree
	// Dir is the cgroup, relative to the mount; Path the same relative to our
	// root, "" also for a directory above it.
	Dir, Path string
	File      string // OpWrite
	Text      string // OpWrite
	PID       int    // OpMove
	// Into is where OpEvacuate and OpRmdir bring the processes, relative to our
	// root.
	Into string
	// Setting is what an OpWrite serves; nil for cgroup.subtree_control.
	Setting *Setting
	// Place is the setting or cgroup that the step serves, for faults.
	Place string
}

// String is what an operator would type.
func (s Step) String() string {
	at := s.Tree.Hierarchy + ":/" + s.Dir
	switch s.Op {
	case OpMkdir:
		return "mkdir " + at
	case OpWrite:
		return "write " + s.Tree.Hierarchy + ":/" + path.Join(s.Dir, cgfs.ShownFile(s.File)) + " " + s.Text
	case OpMove:
		return "move " + strconv.Itoa(s.PID) + " " + at
	case OpEvacuate:
		return "evacuate " + at
	default:
		return "rmdir " + at
	}
}

// reading is the step with another text.
func (s Step) reading(text string) Step {
	setting := *s.Setting
	setting.Text, setting.Want = text, text
	s.Text, s.Setting = text, &setting
	return s
}

// Plan is the steps to take, in order.
type Plan []Step

// String prints one step a line.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s.String())
		b.WriteByte('\n')
	}
	return b.String()
}
