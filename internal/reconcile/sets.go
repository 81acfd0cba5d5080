package reconcile

import (
	"path"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// The sets of CPUs and memory nodes of a v1 hierarchy hold only what the parent's
// hold, at every moment (cpusets.rst, 1.4). So a branch cannot go from {0} to {1}
// in one write a cgroup, whichever way it is walked: what has to is widened to
// both first, parents first, and narrowed at last, children first.

// span is one set on its way.
type span struct {
	setting   Setting
	path      string
	now, want cgfs.Set
	on        cgfs.Set // what it reads once everything that can be narrowed at once is
}

// isSet says whether a setting is planned by sets.
func (d *differ) isSet(s *Setting) bool { return s.Limit == cgfs.Members && !d.tree.Controlled }

// sets plans the files of every set, of settings and of what must not be empty.
func (d *differ) sets() {
	if d.tree.Controlled {
		return // any set may be asked for there, and the empty one is the parent's
	}
	for _, file := range d.setFiles() {
		d.walk(d.spans(file))
	}
}

func (d *differ) setFiles() []string {
	files := map[string]bool{}
	for _, dir := range d.tree.Dirs {
		for _, file := range dir.Inherit {
			files[file] = true
		}
		for i := range dir.Settings {
			if s := &dir.Settings[i]; d.isSet(s) {
				files[s.File] = true
			}
		}
	}
	return sortedKeys(files)
}

// spans are the sets of one file, parents first.
func (d *differ) spans(file string) []span {
	var out []span
	final := map[string]cgfs.Set{}
	for _, dir := range d.setDirs() {
		n := d.state.Nodes[dir.Path]
		above := set(d.state.Above[file])
		for p := dir.Path; p != ""; {
			p = parent(p)
			if s, known := final[p]; known {
				above = s
				break
			}
		}
		var now cgfs.Set
		if n != nil {
			now = set(n.Values.of(file).Text)
		}
		final[dir.Path] = now
		s, asked := d.setOf(dir, file)
		switch {
		case d.state.Unreadable[dir.Path] != nil, n == nil && dir.Path == "" && len(d.state.Missing) == 0:
			continue
		case n != nil && !n.Values.of(file).Exists:
			delete(final, dir.Path)
			if asked {
				d.fault(s.Place, "this cgroup has no file "+file)
			}
			continue
		case asked && !s.FromParent:
			final[dir.Path] = set(s.Want)
		case asked || len(now) == 0:
			final[dir.Path] = above
		}
		if s.File == "" {
			continue // nothing of this tree's
		}
		if len(final[dir.Path]) == 0 {
			d.fault(s.Place, "no cgroup above has a value to inherit")
			continue
		}
		out = append(out, span{setting: s, path: dir.Path, now: now, want: final[dir.Path]})
	}
	return out
}

// setDirs are the configured cgroups, and those that were and had to stay.
func (d *differ) setDirs() []Dir {
	out := d.tree.Dirs
	for _, r := range d.tree.Resets {
		if _, configured := d.tree.Dir(r.Path); !configured && d.isSet(&r.Setting) && d.state.Nodes[r.Path] != nil && !d.removed[r.Path] {
			out = append(slices.Clip(out), Dir{Path: r.Path})
		}
	}
	if len(out) > len(d.tree.Dirs) {
		slices.SortStableFunc(out, func(a, b Dir) int { return comparePaths(a.Path, b.Path) })
	}
	return out
}

// setOf is the setting that a set serves. asked is false where it must only not
// stay empty; the setting has no file where even that is of no interest.
func (d *differ) setOf(dir Dir, file string) (s Setting, asked bool) {
	for _, s := range dir.Settings {
		if s.File == file {
			return s, true
		}
	}
	for _, i := range d.tree.resets[dir.Path] {
		if r := d.tree.Resets[i]; r.File == file {
			return r.Setting, true
		}
	}
	if slices.Contains(dir.Inherit, file) {
		return Setting{Place: dir.Place + ": " + file, Write: cgfs.Write{File: file, Limit: cgfs.Members, FromParent: true}}, false
	}
	return Setting{}, false
}

// walk takes the sets of one file from what they read to what is wanted.
func (d *differ) walk(spans []span) {
	below := map[string][]cgfs.Set{} // what the children of a cgroup read by now
	for i := len(spans) - 1; i >= 0; i-- {
		x := &spans[i]
		x.on = x.now
		if len(x.now) > 0 && x.want.Within(x.now) && !d.sheds(x.path) && !slices.ContainsFunc(below[x.path], func(s cgfs.Set) bool { return !s.Within(x.want) }) {
			d.reads(PhaseTighten, x, x.want)
		}
		if x.path != "" {
			below[parent(x.path)] = append(below[parent(x.path)], x.on)
		}
	}
	for i := range spans {
		x := &spans[i]
		d.reads(PhaseLoosen, x, x.on.Union(x.want))
		d.reads(PhaseNarrow, x, x.want)
	}
}

// sheds says whether a child of p goes, which may hold what p is to lose.
func (d *differ) sheds(p string) bool {
	n := d.state.Nodes[p]
	return n != nil && len(d.removed) > 0 && slices.ContainsFunc(n.Children, func(name string) bool { return d.removed[path.Join(p, name)] })
}

// reads writes a set that reads otherwise.
func (d *differ) reads(phase Phase, x *span, text cgfs.Set) {
	if text.String() == x.on.String() {
		return
	}
	x.on = text
	s := x.setting
	s.Text = text.String()
	s.Want = s.Text
	d.write(phase, x.path, &s)
}

// set reads the text of a control file; what cannot be read is empty.
func set(text string) cgfs.Set {
	out, err := cgfs.ParseSet(text)
	if err != nil {
		return nil
	}
	return out
}
