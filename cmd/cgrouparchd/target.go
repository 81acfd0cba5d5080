package main

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/account"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// target says what to sample after a pass: every cgroup of the document, read
// where this host counts it.
func target(s *reconcile.Snapshot, root string, extras []string) *account.Target {
	root = strings.Trim(root, "/")
	t := &account.Target{}
	for _, name := range slices.Sorted(maps.Keys(s.Document.Subsystems)) {
		h, usage := s.Layout.Usage(name)
		sub := account.Subsystem{Name: name, Hierarchy: h, Usage: usage, Root: sampledCgroup("", root, s.Document.Subsystems[name])}
		if h != nil && usage.SumBelow {
			sub.Others = s.Others[h.Name()]
		}
		sub.Extras = s.Layout.Extras(name, extras)
		if name == "memory" {
			sub.OOMKills = s.Layout.OOMKills()
		}
		t.Subsystems = append(t.Subsystems, sub)
	}
	return t
}

func sampledCgroup(name, dir string, n *zkconf.Node) account.Cgroup {
	c := account.Cgroup{Name: name, Dir: dir, HasSub: n.HasSub}
	for _, child := range slices.Sorted(maps.Keys(n.Sub)) {
		c.Sub = append(c.Sub, sampledCgroup(child, path.Join(dir, child), n.Sub[child]))
	}
	return c
}
