package reconcile

import (
	"path"
	"strconv"
	"strings"
)

// Op is what a step does.
type Op int

// The operations, in the order in which a plan runs them.
const (
	OpMkdir Op = iota
	OpWrite
	OpMove
	OpEvacuate
	OpRmdir
)

// Step is one change to the kernel.
type Step struct {
	Op   Op
	Tree *Tree
	// Dir is the cgroup, relative to the mount; Path the same relative to our
	// root, "" also for a directory above it.
	Dir, Path string
	File      string // OpWrite
	Text      string // OpWrite
	PID       int    // OpMove
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
		return "write " + s.Tree.Hierarchy + ":/" + path.Join(s.Dir, s.File) + " " + s.Text
	case OpMove:
		return "move " + strconv.Itoa(s.PID) + " " + at
	case OpEvacuate:
		return "evacuate " + at
	default:
		return "rmdir " + at
	}
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
