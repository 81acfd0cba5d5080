package account

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Filter prunes a slot to a part of it. The shape stays: the ancestors of what
// is selected are kept without their value. The zero Filter selects everything.
type Filter struct {
	// Subsystem is a subsystem's name; "" selects all.
	Subsystem string
	// Cgroup is a path below our root or a bare name; a leading slash makes it a
	// path. Within one subsystem an exact path wins over names; all cgroups of the
	// name are selected, each with everything below it. "" and "/" select all.
	Cgroup string
	// Alone leaves out what is below the selected cgroups, with "" below our root.
	Alone bool
}

// choice is how much of a node is kept.
type choice uint8

const (
	nothing choice = iota
	wayTo          // an ancestor of something selected
	alone          // with its value only
	whole          // with its value and all below
)

// path is the wanted path below our root, "" for everything.
func (f Filter) path() string { return strings.Trim(f.Cgroup, "/") }

// mayName says that what is wanted can be a name as well.
func (f Filter) mayName() bool { return !strings.HasPrefix(f.Cgroup, "/") }

// everything says that nothing is filtered.
func (f Filter) everything() bool { return f.Subsystem == "" && f.path() == "" && !f.Alone }

// wanted is how much of a selected cgroup is kept.
func (f Filter) wanted() choice {
	if f.Alone {
		return alone
	}
	return whole
}

// selection is nil when everything is selected.
func (f Filter) selection(roots []*node) map[*node]choice {
	if f.everything() {
		return nil
	}
	kept := make(map[*node]choice)
	for _, r := range roots {
		if f.Subsystem != "" && f.Subsystem != r.name {
			continue
		}
		want := f.path()
		if want == "" {
			kept[r] = f.wanted()
			continue
		}
		if mark(kept, r, f.wanted(), func(n *node) bool { return n.path == want }) == nothing && f.mayName() {
			mark(kept, r, f.wanted(), func(n *node) bool { return n != r && n.name == want })
		}
	}
	return kept
}

// mark chooses n if it matches, else what leads to matches below it.
func mark(kept map[*node]choice, n *node, wanted choice, match func(*node) bool) choice {
	c := nothing
	if match(n) {
		c = wanted
	} else {
		for _, child := range n.sub {
			if mark(kept, child, wanted, match) != nothing {
				c = wayTo
			}
		}
	}
	if c != nothing {
		kept[n] = c
	}
	return c
}

// prune applies the filter to a slot that is JSON already, as Redis holds it.
func (f Filter) prune(data []byte) ([]byte, error) {
	if f.everything() {
		return data, nil
	}
	subsystems, err := object(data)
	if err != nil {
		return nil, err
	}
	for name, root := range subsystems {
		if f.Subsystem != "" && f.Subsystem != name {
			delete(subsystems, name)
			continue
		}
		want := f.path()
		if want == "" {
			if f.Alone {
				subsystems[name], err = withoutSub(root)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		kept, err := f.pruneTree(root, "", func(path, _ string) bool { return path == want })
		if err == nil && kept == nil && f.mayName() {
			kept, err = f.pruneTree(root, "", func(_, name string) bool { return name == want })
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		case kept == nil:
			delete(subsystems, name)
		default:
			subsystems[name] = kept
		}
	}
	return appendObject(nil, subsystems), nil
}

// withoutSub is a cgroup without those below it.
func withoutSub(data json.RawMessage) (json.RawMessage, error) {
	cgroup, err := object(data)
	if err != nil {
		return nil, err
	}
	delete(cgroup, "sub_cgroup")
	return appendObject(nil, cgroup), nil
}

// pruneTree returns what is left of the cgroup at path, nil for nothing.
func (f Filter) pruneTree(data json.RawMessage, path string, match func(path, name string) bool) (json.RawMessage, error) {
	cgroup, err := object(data)
	if err != nil {
		return nil, err
	}
	if cgroup["sub_cgroup"] == nil {
		return nil, nil
	}
	sub, err := object(cgroup["sub_cgroup"])
	if err != nil {
		return nil, err
	}
	for name, child := range sub {
		childPath := strings.TrimPrefix(path+"/"+name, "/")
		if match(childPath, name) {
			if f.Alone {
				if sub[name], err = withoutSub(child); err != nil {
					return nil, err
				}
			}
			continue
		}
		kept, err := f.pruneTree(child, childPath, match)
		if err != nil {
			return nil, err
		}
		if kept == nil {
			delete(sub, name)
		} else {
			sub[name] = kept
		}
	}
	if len(sub) == 0 {
		return nil, nil
	}
	dst := append([]byte(nil), `{"sub_cgroup":`...)
	return append(appendObject(dst, sub), '}'), nil
}

func object(data []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	return m, nil
}

func appendObject(dst []byte, m map[string]json.RawMessage) []byte {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, quote(name)...)
		dst = append(dst, ':')
		dst = append(dst, m[name]...)
	}
	return append(dst, '}')
}
