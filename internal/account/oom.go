package account

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// OOMKill is what /status says about a cgroup in which the kernel killed
// processes because memory was short.
type OOMKill struct {
	// Cgroup is the path below our root, "/" for our root itself.
	Cgroup string `json:"cgroup"`
	// Count is how many were killed since the daemon has known the cgroup.
	Count uint64 `json:"count"`
	// Last is when the newest of them were noticed.
	Last time.Time `json:"last"`
}

// oomWatch notices out-of-memory kills in the configured cgroups of one
// subsystem, by the kernel's counters. It looks once a second: v2 has a
// notification, which would need an inotify watch for each cgroup, and where
// counts include the cgroups below, a look costs one read while nothing happens.
type oomWatch struct {
	subsystem string
	kills     *cgfs.OOMKills // nil: nothing is watched
	files     []string
	nodes     []oomNode // parents first, each followed by all below it
}

// oomNode is one cgroup. A kill is attributed to the lowest configured cgroup
// that it happened in or below, so where counts include the cgroups below, those
// of the configured children are taken off. A child may be read after a kill that
// the parent was read before; own is then too low for a second, never too high.
type oomNode struct {
	meter
	path   string
	parent int // -1: our root
	end    int // the first node that is not below this one
	known  bool
	last   uint64 // the kernel's count
	own    int64  // kills seen here, less those in the configured children
	told   int64  // of these, the reported ones
	at     time.Time
}

// newOOMWatch watches the subsystem that asks for it, if any does. What old knows
// of cgroups that stay is taken over.
func newOOMWatch(t *Target, old *oomWatch, r *meters) oomWatch {
	var w oomWatch
	for i := range t.Subsystems {
		if s := &t.Subsystems[i]; s.OOMKills != nil {
			w.subsystem, w.kills, w.files = s.Name, s.OOMKills, []string{s.OOMKills.File}
			w.add(&s.Root, "", -1)
		}
	}
	if w.continues(old) {
		w.takeOver(old)
	}
	old.close(r)
	return w
}

func (w *oomWatch) add(c *Cgroup, path string, parent int) {
	at := len(w.nodes)
	w.nodes = append(w.nodes, oomNode{meter: meter{dir: c.Dir, fd: -1}, path: path, parent: parent})
	for i := range c.Sub {
		below := c.Sub[i].Name
		if path != "" {
			below = path + "/" + below
		}
		w.add(&c.Sub[i], below, at)
	}
	w.nodes[at].end = len(w.nodes)
}

// continues says whether w reads the same files as old did.
func (w *oomWatch) continues(old *oomWatch) bool {
	a, b := w.kills, old.kills
	return a != nil && b != nil && a.File == b.File && a.Below == b.Below && sameMount(a.Hierarchy, b.Hierarchy)
}

func (w *oomWatch) takeOver(old *oomWatch) {
	index := make(map[string]*oomNode, len(old.nodes))
	for i := range old.nodes {
		index[old.nodes[i].dir] = &old.nodes[i]
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		if o := index[n.dir]; o != nil {
			n.meter, n.known, n.last, n.own, n.told, n.at = o.meter, o.known, o.last, o.own, o.told, o.at
			o.fd = -1
		}
	}
}

func (w *oomWatch) close(r *meters) {
	for i := range w.nodes {
		r.close(&w.nodes[i].meter)
	}
	w.nodes = nil
}

// look reads the counters and reports what happened since the last look. all:
// also those that cannot have changed as the one above them has not, which new
// cgroups need once.
func (w *oomWatch) look(r *meters, all bool, now time.Time, log *zap.Logger) (happened bool) {
	for i := 0; i < len(w.nodes); {
		n := &w.nodes[i]
		kills, sure := w.read(r, n)
		if kills > 0 {
			n.own += kills
			if w.kills.Below && n.parent >= 0 {
				w.nodes[n.parent].own -= kills
			}
			happened = true
		}
		if w.kills.Below && sure && kills == 0 && !all {
			i = n.end
		} else {
			i++
		}
	}
	if happened {
		w.report(now, log)
	}
	return happened
}

// read returns the kills since the last look; sure says that the counter could be
// read. A cgroup that is there at the first look may have had kills before; one
// that comes, or was made again, counts from 0.
func (w *oomWatch) read(r *meters, n *oomNode) (kills int64, sure bool) {
	data, gone, err := r.read(w.kills.Hierarchy, w.files, &n.meter)
	if gone {
		n.known, n.last = true, 0
	}
	if err != nil {
		return 0, false
	}
	count, err := cgfs.ParseOOMKills(data)
	if err != nil {
		return 0, false // Linux before 4.13
	}
	switch {
	case !n.known:
		n.known = true
	case count < n.last:
		kills = int64(count)
	default:
		kills = int64(count - n.last)
	}
	n.last = count
	return kills, true
}

func (w *oomWatch) report(now time.Time, log *zap.Logger) {
	for i := range w.nodes {
		n := &w.nodes[i]
		if n.own <= n.told {
			continue
		}
		log.Warn("oom kill", zap.String("subsystem", w.subsystem), zap.String("cgroup", n.shown()), zap.Int64("count", n.own-n.told))
		n.told, n.at = n.own, now
	}
}

// list is what /status shows, sorted.
func (w *oomWatch) list() []OOMKill {
	out := []OOMKill{}
	for i := range w.nodes {
		if n := &w.nodes[i]; n.told > 0 {
			out = append(out, OOMKill{Cgroup: n.shown(), Count: uint64(n.told), Last: n.at.UTC()})
		}
	}
	slices.SortFunc(out, func(a, b OOMKill) int { return strings.Compare(a.Cgroup, b.Cgroup) })
	return out
}

func (n *oomNode) shown() string { return cmp.Or(n.path, "/") }
