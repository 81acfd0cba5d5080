package reconcile

import "slices"

// What a removed cgroup of the unified hierarchy needs besides to be made again.

// controllable says whether removed cgroups, parents first, get all they need from
// the one above as that stands, and give their children what those need: then they
// concern nobody else. What a cgroup that the document does not name has to do with
// theirs is for a pass: it may set the scale of their siblings' weights, and keep
// controllers enabled.
func (m *mender) controllable(t *Tree, o *observer, dirs []Dir) bool {
	top := dirs[0].Path
	above, configured := t.Dir(parent(top))
	n := o.state.Nodes[parent(top)]
	if !configured || o.strange(top) || n.Populated && above.Home != "" {
		return false
	}
	for _, name := range above.Enable {
		if !slices.Contains(n.Enabled, name) {
			return false
		}
	}
	for _, dir := range dirs {
		for _, name := range dir.Enable {
			if !m.free(dir.Place + ": " + name) {
				return false
			}
		}
	}
	return true
}

// vacant looks into those of some cgroups made a moment ago that enable controllers,
// as every look at such a cgroup does: whether nobody has put a process there.
func (o *observer) vacant(t *Tree, dirs []Dir) bool {
	for i := range dirs {
		n := o.state.Nodes[dirs[i].Path]
		if n == nil || o.controls(t, dirs[i].Path, &dirs[i], n) != nil || n.Populated {
			return false
		}
	}
	return true
}
