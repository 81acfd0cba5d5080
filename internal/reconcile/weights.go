package reconcile

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// weights gives every sibling set of a unified tree weights that keep the ratios
// of the document's shares (design 2.4). The kernel compares siblings only, so
// one factor per set takes the largest share to the top of the file's range; the
// others follow, rounded. A set that holds a cgroup which stays although the
// document does not name it has a fixed point instead: a default weight means a
// default share.
//
// A sibling without a share of its own counts as the default share, which its
// file has to say as well, or it would count as whatever the others were scaled
// away from.
func (c *compiler) weights(t *Tree) {
	children := map[string][]int{}
	for i, d := range t.Dirs {
		if d.Path != "" {
			children[parent(d.Path)] = append(children[parent(d.Path)], i)
		}
	}
	for _, p := range sortedKeys(children) {
		for _, file := range weightFiles(t, children[p]) {
			scaleSet(t, children[p], file, c.opt.Shared[t.Hierarchy][p])
		}
	}
}

func weightFiles(t *Tree, set []int) []string {
	files := map[string]bool{}
	for _, i := range set {
		for _, s := range t.Dirs[i].Settings {
			if s.Weight != nil {
				files[s.File] = true
			}
		}
	}
	return sortedKeys(files)
}

func scaleSet(t *Tree, set []int, file string, fixed bool) {
	largest, sample := largestIn(t, set, file)
	for _, i := range set {
		if !has(t.Dirs[i].Settings, file) && !idle(&t.Dirs[i], file) {
			largest = max(largest, sample.Weight.DefaultShare)
		}
	}
	for _, i := range set {
		d := &t.Dirs[i]
		if idle(d, file) {
			continue
		}
		if !has(d.Settings, file) {
			s := *sample
			w := *s.Weight
			w.Share = w.DefaultShare
			s.Weight, s.Asked = &w, ""
			// Recorded as if it were asked for, so that it is taken back with the others.
			subsystem, _, _ := strings.Cut(sample.Key, "/")
			s.Key = subsystem + "/" + d.Path + " " + s.ID
			s.Place = t.Hierarchy + ":/" + path.Join(t.Root, d.Path) + ": " + file
			d.Settings = append(d.Settings, s)
		}
		for j := range d.Settings {
			if s := &d.Settings[j]; s.File == file && s.Weight != nil {
				s.scale(largest, fixed)
			}
		}
	}
}

// largestIn is the largest share in a sibling set for one file, and one of the
// settings that have one.
func largestIn(t *Tree, set []int, file string) (largest uint64, sample *Setting) {
	for _, i := range set {
		d := &t.Dirs[i]
		for j := range d.Settings {
			if s := &d.Settings[j]; s.File == file && s.Weight != nil {
				largest, sample = max(largest, s.Weight.Share), s
			}
		}
	}
	return largest, sample
}

// scale makes a share a weight of its sibling set.
func (s *Setting) scale(largest uint64, fixed bool) {
	weight, exact := scaled(*s.Weight, largest, fixed)
	s.Text = strconv.FormatUint(weight, 10)
	s.Want = s.Text
	s.Off = float64(weight)/exact - 1
}

// reweigh scales the weights of some edited cgroups, whose settings fresh has and
// old had otherwise, among siblings that were not edited. It is false where the
// largest share of a set is another one now: then all of its weights are others.
func reweigh(old, fresh *Tree, edits []edit, shared map[string]bool) bool {
	sets := map[string][]int{}
	for _, e := range edits {
		sets[parent(e.path)] = nil
	}
	for i := range fresh.Dirs {
		up := parent(fresh.Dirs[i].Path)
		if set, asked := sets[up]; asked && fresh.Dirs[i].Path != "" {
			sets[up] = append(set, i)
		}
	}
	largest := map[[2]string]uint64{} // by the cgroup above and file
	for _, e := range edits {
		d, _ := fresh.Dir(e.path)
		for i := range d.Settings {
			s, up := &d.Settings[i], parent(e.path)
			if s.Weight == nil || d.Path == "" {
				continue
			}
			of := [2]string{up, s.File}
			if _, known := largest[of]; !known {
				was, _ := largestIn(old, sets[up], s.File)
				largest[of], _ = largestIn(fresh, sets[up], s.File)
				if was != largest[of] && !shared[up] {
					return false
				}
			}
			s.scale(largest[of], shared[up])
		}
	}
	return true
}

// idle says whether a cgroup has no weight in a file: the kernel refuses a
// cpu.weight where cpu.idle is set.
func idle(d *Dir, file string) bool {
	return file == "cpu.weight" && slices.ContainsFunc(d.Settings, func(s Setting) bool { return s.File == "cpu.idle" && s.Want == "1" })
}

func has(settings []Setting, file string) bool {
	for _, s := range settings {
		if s.File == file {
			return true
		}
	}
	return false
}

// scaled is the weight of one share in a set whose largest is given, and what it
// would be if files held fractions of any size.
func scaled(w cgfs.Weight, largest uint64, fixed bool) (weight uint64, exact float64) {
	factor := float64(w.Max) / float64(largest)
	if fixed {
		factor = float64(w.Default) / float64(w.DefaultShare)
	}
	exact = float64(w.Share) * factor
	return min(max(uint64(math.Round(exact)), w.Min), w.Max), exact
}
