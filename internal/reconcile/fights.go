package reconcile

import (
	"time"
)

// fights notices a second writer: something that is put back again and again is
// put back ever more slowly, so that two programs do not make a busy loop.
type fights map[string]*fight

type fight struct {
	count int       // corrections in a row
	last  time.Time // the last one
	until time.Time // not before this one
}

const (
	fightFree  = 5                // corrections that are made at once
	fightCalm  = 30 * time.Second // after which a fight is forgotten
	fightFirst = 500 * time.Millisecond
	fightMost  = 30 * time.Second
)

// hold takes the corrections that must wait out of the plan and says so. A new
// document is held up by nothing.
func (f fights) hold(plan Plan, settled bool, now time.Time) (Plan, []Fault) {
	for key, x := range f {
		if now.Sub(x.last) > fightCalm+fightMost {
			delete(f, key)
		}
	}
	if !settled {
		return plan, nil
	}
	var out Plan
	var faults []Fault
	made, waiting := map[string]bool{}, map[string]bool{} // directories
	for _, s := range plan {
		at := s.Tree.Hierarchy + ":/" + s.Dir
		if _, above := firstAbove(waiting, s.Tree.Hierarchy, s.Dir); above {
			continue // nothing can be done in it before it is there
		}
		if s.Op != OpMkdir && s.Op != OpWrite {
			out = append(out, s)
			continue
		}
		// What is written to a cgroup that is made now is part of making it.
		if x := f[s.Place]; f.waits(s.Place, now) && !made[at] {
			if s.Op == OpMkdir {
				waiting[at] = true
			}
			faults = append(faults, Fault{Place: s.Place, Reason: "somebody else keeps changing it; the next correction waits until " + x.until.Format(time.RFC3339)})
			continue
		}
		made[at] = made[at] || s.Op == OpMkdir
		out = append(out, s)
	}
	return out, faults
}

// waits says whether the correction of a place has to wait.
func (f fights) waits(place string, now time.Time) bool {
	x := f[place]
	return x != nil && now.Before(x.until)
}

// made notes a correction that was made.
func (f fights) made(place string, now time.Time) {
	x := f[place]
	if x == nil || now.Sub(x.last) > fightCalm+fightMost {
		f[place] = &fight{count: 1, last: now}
		return
	}
	x.count++
	x.last = now
	if x.count > fightFree {
		x.until = now.Add(min(fightFirst<<min(x.count-fightFree-1, 10), fightMost))
	}
}

// wake is when the first held correction may be made; zero when none is held.
func (f fights) wake(now time.Time) (at time.Time) {
	for _, x := range f {
		if x.until.After(now) && (at.IsZero() || x.until.Before(at)) {
			at = x.until
		}
	}
	return at
}
