package reconcile

import (
	"fmt"
	"path"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Explanation is what one setting of the document becomes on this host.
type Explanation struct {
	Place string  `json:"place"`          // "cpu/a: share"
	Asked string  `json:"asked"`          // what the document says; "" for a sibling that only has to keep a ratio
	File  string  `json:"file"`           // "unified:/a/cpu.weight"
	Text  string  `json:"text"`           // what is written
	Off   float64 `json:"off"`            // by how much it misses what was asked, as a fraction
	Note  string  `json:"note,omitempty"` // why it has no effect here
}

func (e Explanation) String() string {
	asked := e.Asked
	if asked == "" {
		asked = "(keeps the ratio to its siblings)"
	}
	out := fmt.Sprintf("%s %s -> %s %s", e.Place, asked, e.File, strings.TrimSpace(e.Text))
	if e.Off != 0 {
		out += fmt.Sprintf(" (%+.2f %%)", 100*e.Off)
	}
	if e.Note != "" {
		out += " (" + e.Note + ")"
	}
	return out
}

// Explain lists the translation of every setting, in the order of the trees.
// What this host cannot do is among the faults.
func (d Desired) Explain() []Explanation {
	out := []Explanation{}
	for _, t := range d.Trees {
		for _, dir := range t.Dirs {
			for _, s := range dir.Settings {
				text := s.Text
				if s.FromParent {
					text = "(as its parent)"
				}
				out = append(out, Explanation{
					Place: s.Place, Asked: s.Asked, File: t.Hierarchy + ":/" + path.Join(t.Full(dir.Path), cgfs.ShownFile(s.File)), Text: text, Off: s.Off, Note: s.Deaf,
				})
			}
		}
	}
	return out
}

// Notes are the settings of the last Plan or pass that are in force and have no
// effect on this host.
func (r *Reconciler) Notes() []Fault { return r.desired.Notes }

// Explain is what the last Plan compiled.
func (r *Reconciler) Explain() []Explanation { return r.desired.Explain() }
