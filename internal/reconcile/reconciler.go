package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// Config is what a Reconciler needs.
type Config struct {
	// CgroupDir is where cgroup filesystems are mounted.
	CgroupDir string
	// Root is our root below each mount, with or without a leading slash.
	Root string
	// StateDir keeps what was applied; "" keeps nothing.
	StateDir string
	// Origin says where the documents come from, as far as it is known yet.
	Origin func() zkconf.Origin
	Shield Shield
	// ArmDisks lets blkio counters be armed.
	ArmDisks bool
	// Interval is the time between full passes; zero means 30 s.
	Interval time.Duration
	// PidFiles says who belongs where; nil places nobody.
	PidFiles *pidfiles.Source
	// ProcConnector lets Births hear of every process that is born.
	ProcConnector bool
	Log           *zap.Logger
	// Published is called after each pass, one call at a time.
	Published func(*Snapshot)
	// Beat, if set, is called by Run's goroutine at least once per interval, and
	// after each step that changed something: a sign of life.
	Beat func()
	// Measure, if set, has to call its argument, a pass: to count what it costs.
	Measure func(pass func())
}

// Reconciler makes the host follow the document in force. All of its writes to
// the kernel are made under mu: by the goroutine in Run (or Once), by the one in
// Watch where an event tells of plain drift while no pass is under way, and by the
// one in Births.
type Reconciler struct {
	opt         Config
	log         *zap.Logger
	inbox       inbox
	mu          sync.Mutex // what follows, and the kernel
	layout      *cgfs.Layout
	mountinfo   string
	host        Host
	hierarchies map[string]*cgfs.Hierarchy
	observers   map[string]*observer
	watcher     *cgfs.Watcher
	members     members
	fights      fights

	doc     *zkconf.Document
	settled bool // doc has been through a whole pass
	desired Desired
	cgroups []pidfiles.Cgroup          // of desired
	shared  map[string]map[string]bool // Options.Shared of desired
	record  record
	journal journal
	loaded  bool

	treeFaults  []Fault           // of the document and its trees
	placeFaults []Fault           // of pid files that contradict each other
	refused     []Fault           // moves that have to be tried again, as the last placement left them
	held        []Fault           // corrections that wait
	unread      int               // hierarchies that could not be read
	unwatched   int               // cgroups that could not be watched, in the last full pass
	watchErr    error             // why the last of them could not
	saved       bool              // whether record is on disk
	kept        []*Tree           // the trees that record is of; nil: it may be of others
	compiled    int               // how often a document was compiled
	shape       int               // how many documents may have other cgroups than the one before
	quiet       bool              // the last pass left nothing to be done
	blind       bool              // passes are made: see observer
	calm        bool              // the last full one found nothing to do, and nothing has changed since
	self        []cgfs.ProcCgroup // where we were when a full pass was compared last
	last        *Snapshot
	listings    int // of this pass
	faults      []Fault
	places      map[string]bool // of faults; nil: to be made
	remarked    []Fault         // notes that are in the log
	told        map[string]bool // places whose fault is in the log
	young       time.Time       // when to look at young foreign cgroups again
	passes      int
	corrections int
	generation  string
}

// New opens the host's cgroup hierarchies. Close the Reconciler when done.
func New(c Config) (*Reconciler, error) {
	c.Root = strings.Trim(c.Root, "/")
	if c.Beat == nil {
		c.Beat = func() {}
	}
	if c.Measure == nil {
		c.Measure = func(pass func()) { pass() }
	}
	if c.Interval <= 0 {
		c.Interval = 30 * time.Second
	}
	r := &Reconciler{
		opt: c, log: c.Log, inbox: newInbox(), observers: map[string]*observer{}, hierarchies: map[string]*cgfs.Hierarchy{},
		members: members{source: c.PidFiles, history: map[string]pidfiles.History{}}, fights: fights{}, journal: newJournal(c.StateDir),
	}
	if c.ProcConnector {
		r.members.kin = &kin{}
	}
	var err error
	if r.members.lister, err = pidfiles.NewLister("/proc"); err != nil {
		return nil, err
	}
	if err := r.remount(); err != nil {
		return nil, err
	}
	return r, nil
}

// Close releases what New opened.
func (r *Reconciler) Close() {
	_ = r.members.lister.Close()
	for _, h := range r.hierarchies {
		_ = h.Close()
	}
	if r.watcher != nil {
		_ = r.watcher.Close()
	}
	r.journal.close()
}

// Layout is the host's hierarchies as New found them.
func (r *Reconciler) Layout() *cgfs.Layout { return r.layout }

// remount looks for mounted hierarchies again when the mount table has changed.
// A hierarchy that is known keeps its descriptor; one that is gone is kept open,
// because the sampler may hold it too.
func (r *Reconciler) remount() error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("find cgroup mounts: %w", err)
	}
	if string(data) == r.mountinfo {
		return nil
	}
	layout, err := cgfs.Discover(r.opt.CgroupDir)
	if err != nil {
		return err
	}
	layout.Keep(r.hierarchies)
	r.mountinfo, r.layout = string(data), layout
	for _, h := range layout.Hierarchies() {
		if r.hierarchies[h.Name()] != h {
			r.hierarchies[h.Name()] = h
			delete(r.observers, h.Name())
		}
	}
	return nil
}

// compile makes the trees of the document in force.
func (r *Reconciler) compile() {
	r.compiled++
	r.desired = Compile(r.doc, r.host, Options{
		Root: r.opt.Root, Shield: r.opt.Shield, Owned: r.record.Settings, Hierarchies: r.record.Hierarchies, Shared: r.shared,
	})
	r.cgroups = r.desired.Cgroups()
}

// look finds out what Compile must know of the host, and says whether it is
// something new.
func (r *Reconciler) look() (news bool) {
	host := HostOf(r.layout)
	if r.opt.ArmDisks {
		disks, err := cgfs.Disks()
		if err != nil {
			r.log.Warn("disks not listed, so their counters are not armed", zap.Error(err))
		}
		host.Disks = disks
	}
	news = r.passes == 0 || !r.host.same(host)
	r.host = host
	return news
}

// recompile compiles again when the cgroups that stay although the document does
// not name them are others than before: weights depend on them.
func (r *Reconciler) recompile() bool {
	self, err := cgfs.Where("self")
	if err != nil {
		return false // as diff will say
	}
	shared := map[string]map[string]bool{}
	for _, t := range r.desired.Trees {
		o := r.observers[t.Hierarchy]
		if o == nil || !t.Controlled {
			continue
		}
		if parents := strangers(t, o.state, r.opt.Shield, r.own(t, self)); len(parents) > 0 {
			shared[t.Hierarchy] = parents
		}
	}
	if maps.EqualFunc(shared, r.shared, maps.Equal) {
		return false
	}
	r.shared = shared
	r.compile()
	return true
}

// Plan says what the next full pass would change for doc. It writes nothing.
func (r *Reconciler) Plan(ctx context.Context, doc *zkconf.Document) (Plan, []Fault, error) {
	r.doc = doc
	r.load()
	r.look()
	r.compile()
	seen := r.observe(work{full: true})
	if r.recompile() {
		seen = append(seen, r.observe(work{doc: doc})...)
	}
	faults := append(slices.Clone(r.desired.Faults), seen...)
	// A young foreign cgroup will be old in a second, so it is shown.
	plan, more := r.diff(time.Now().Add(GraceAge))
	c := r.members.read(r.desired, r.cgroups)
	defer c.close()
	var moves Plan
	p := r.newPlacer(c, &applier{ctx: ctx}, func(s Step) { moves = append(moves, s) })
	p.place()
	moves = append(moves, r.mirrorMoves(append(moves, plan...))...)
	plan = Merge(plan, moves)
	return plan, slices.Concat(faults, more, c.faults, p.refused), nil
}

// Cgroups are the cgroups of a document that take processes on this host.
func (r *Reconciler) Cgroups(doc *zkconf.Document) []pidfiles.Cgroup {
	return Compile(doc, HostOf(r.layout), Options{Root: r.opt.Root, Shield: r.opt.Shield}).Cgroups()
}

// work is what a pass has to look at.
type work struct {
	doc    *zkconf.Document
	shield *Shield // nil: as it was
	full   bool
	// place: pid files may have changed.
	place bool
	// dirs are directories to read again (true: with the files of their children),
	// and procs those whose members may have changed, by hierarchy, relative to the
	// mount.
	dirs, procs map[string]map[string]bool
}

// pass observes, compares and applies. It is the one function behind every
// trigger.
func (r *Reconciler) pass(ctx context.Context, w work) *Snapshot {
	began := time.Now()
	r.listings, r.blind = 0, true
	r.load()
	calm := r.calm
	r.calm = false
	before := r.desired
	fresh := w.doc != nil
	var quick Counts
	plain := !fresh && !w.full && r.quiet
	if fresh {
		earlier := r.doc
		if !r.settled {
			earlier = nil // nobody knows how far it got
		}
		r.doc, r.settled = w.doc, false
		quick, plain = r.quick(ctx, w, earlier)
	}
	if plain {
		if seen := r.observe(work{dirs: w.dirs, procs: w.procs}); len(seen) == 0 && r.plain() {
			calm = calm && !fresh && r.untouched()
			s := r.brief(ctx, w, began, quick)
			r.calm = calm && s.Pass.Total() == 0 // else the state is not what it was
			return s
		}
	}
	if !calm || !w.full || fresh || w.shield != nil {
		r.unlearn()
	}
	if w.full {
		if err := r.remount(); err != nil {
			r.log.Error("cgroup mounts not read again", zap.Error(err))
		}
	}
	news := (w.full || r.passes == 0) && r.look()
	news = news || w.shield != nil // what is protected is left out of the trees
	if fresh {
		r.shape++
	}
	if fresh || news || w.full && !r.recorded(r.desired.Trees) || r.takenBack() {
		r.compile()
	}
	look := w
	if plain { // what was doubted has been looked at
		look.dirs, look.procs = nil, nil
	}
	seen := r.observe(look)
	if r.recompile() {
		seen = append(seen, r.observe(work{doc: r.doc})...)
	}
	faults := append(slices.Clone(r.desired.Faults), seen...)
	r.recover()
	plan, more := r.diff(time.Now())
	faults = append(faults, more...)
	plan, r.held = r.fights.hold(plan, r.settled, time.Now())
	r.announce(plan)

	a := &applier{ctx: ctx, chase: evacuateFor, shield: r.opt.Shield, observers: r.observers, did: r.did, counts: quick}
	remove := slices.IndexFunc(plan, func(s Step) bool { return s.Phase > PhaseMove })
	if remove < 0 {
		remove = len(plan)
	}
	a.apply(plan[:remove])
	if w.full || w.place || a.counts.Created > 0 || !maps.EqualFunc(before.Placed, r.desired.Placed, slices.Equal) {
		c := r.members.read(r.desired, r.cgroups)
		p := r.newPlacer(c, a, nil)
		p.place()
		r.mirrors(p, nil)
		r.placeFaults, r.refused = c.faults, p.refused
		c.close()
	} else if len(w.procs) > 0 {
		p := r.newPlacer(&claimed{}, a, nil)
		r.mirrors(p, w.procs)
		r.refuse(p.refused)
	}
	moved := a.counts.Moved
	a.apply(plan[remove:])
	if a.counts.Moved > moved {
		p := r.newPlacer(&claimed{}, a, nil)
		r.mirrors(p, nil) // whoever was evacuated
		r.refuse(p.refused)
	}
	r.treeFaults = slices.Concat(faults, a.faults)
	r.faults, r.places = slices.Concat(r.treeFaults, r.placeFaults, r.refused), nil
	r.conclude()
	r.quiet = a.counts.Failed == 0 && len(r.held)+len(r.refused) == 0 && r.young.IsZero() && r.unread == 0
	r.settled = true
	if w.full && r.quiet && len(plan)+len(more)+a.counts.Total() == 0 {
		r.learn()
	}
	r.passes++
	r.last = r.snapshot(Pass{Began: began, Duration: time.Since(began), Full: w.full, Listings: r.listings, Counts: a.counts})
	return r.last
}

// refuse adds to the moves that have to be tried again.
func (r *Reconciler) refuse(faults []Fault) {
	for _, f := range faults {
		if !slices.Contains(r.refused, f) {
			r.refused = append(r.refused, f)
		}
	}
}

// failing are the places that had a fault after the last pass: what is tried
// again there is no correction of what others did.
func (r *Reconciler) failing(place string) bool {
	if r.places == nil && len(r.faults) > 0 {
		r.places = make(map[string]bool, len(r.faults))
		for _, f := range r.faults {
			r.places[f.Place] = true
		}
	}
	return r.places[place]
}

func (r *Reconciler) did(s Step) {
	if r.settled && (s.Op == OpMkdir || s.Op == OpWrite) && !r.failing(s.Place) {
		r.corrected(s)
		r.logCorrected(s)
		return
	}
	r.opt.Beat()
	if e := r.log.Check(zap.DebugLevel, "step"); e != nil {
		e.Write(zap.String("step", s.String()))
	}
}

// corrected counts a correction of what somebody else did.
func (r *Reconciler) corrected(s Step) {
	r.opt.Beat()
	r.corrections++
	r.fights.made(s.Place, time.Now())
}

func (r *Reconciler) logCorrected(s Step) {
	r.log.Info("drift corrected", zap.String("step", s.String()))
}

// observe brings the state of each hierarchy up to date. What cannot be read is
// a fault, and is read whole at the next pass.
func (r *Reconciler) observe(w work) (faults []Fault) {
	r.unread = 0
	if w.full {
		r.unwatched, r.watchErr = 0, nil
	}
	for _, t := range r.desired.Trees {
		o := r.observers[t.Hierarchy]
		whole := w.full || o == nil || o.stale
		if o == nil {
			o = newObserver(r.hierarchies[t.Hierarchy], r.watch(t.Hierarchy))
			if w := r.watcher; w != nil {
				h := r.hierarchies[t.Hierarchy]
				o.unwatch = func(dir string) { w.Remove(h, dir) }
			}
			r.observers[t.Hierarchy] = o
		}
		o.blind = r.blind
		var err error
		if whole {
			o.stale = false
			err = o.all(t)
		} else {
			err = o.some(t, doubted(t, w, o.state))
			if err == nil && w.doc != nil {
				err = o.refit(t)
			}
		}
		if err != nil {
			delete(r.observers, t.Hierarchy)
			r.unread++
			faults = append(faults, Fault{Place: t.Place(""), Reason: err.Error()})
		}
	}
	if r.unwatched > 0 && w.full {
		r.log.Warn("cgroups not watched, so that drift there is found by full passes only", zap.Int("cgroups", r.unwatched), zap.Error(r.watchErr))
	}
	return faults
}

// doubted are the directories of a tree to be read again. Where controllers are
// enabled, a process that somebody attaches to an inner cgroup stands in the way.
func doubted(t *Tree, w work, s *State) map[string]bool {
	if !t.Controlled {
		return w.dirs[t.Hierarchy]
	}
	out := maps.Clone(w.dirs[t.Hierarchy])
	for dir := range w.procs[t.Hierarchy] {
		p, below := relativeTo(t.Root, dir)
		d, configured := t.Dir(p)
		if n := s.Nodes[p]; !below || !configured || n == nil || len(d.Enable) == 0 && len(n.Enabled) == 0 {
			continue
		}
		if out == nil {
			out = map[string]bool{}
		}
		out[dir] = out[dir] || false
	}
	return out
}

// watch is how an observer asks for events. Without them (a limit of inotify)
// drift is found by the full passes.
func (r *Reconciler) watch(hierarchy string) func(string) error {
	if r.watcher == nil {
		return nil
	}
	h := r.hierarchies[hierarchy]
	return func(dir string) error {
		err := r.watcher.Add(h, dir)
		if err == nil || errors.Is(err, cgfs.ErrNotExist) {
			return err
		}
		if errors.Is(err, os.ErrClosed) {
			return nil // we are stopping
		}
		r.unwatched++
		r.watchErr = err
		return errUnwatched
	}
}

func (r *Reconciler) diff(now time.Time) (Plan, []Fault) {
	self, err := cgfs.Where("self")
	if err != nil {
		return nil, []Fault{{Place: "own cgroup", Reason: err.Error()}}
	}
	var plans []Plan
	var faults []Fault
	r.young = time.Time{}
	moved := !slices.Equal(self, r.self)
	r.self = self
	for _, t := range r.desired.Trees {
		o := r.observers[t.Hierarchy]
		if o == nil {
			continue
		}
		if !moved && o.script != nil && o.script.tree == t {
			continue // there was nothing to do, and all is as it was
		}
		own := r.own(t, self)
		d := Diff(t, o.state, r.opt.Shield, own, now)
		plans = append(plans, d.Plan)
		faults = append(faults, d.Faults...)
		if !d.Wake.IsZero() && (r.young.IsZero() || d.Wake.Before(r.young)) {
			r.young = d.Wake
		}
	}
	return Merge(plans...), faults
}

// own is the cgroup of the daemon itself, relative to our root.
func (r *Reconciler) own(t *Tree, self []cgfs.ProcCgroup) string {
	dir, inside := r.hierarchies[t.Hierarchy].Dir(self)
	if p, below := relativeTo(t.Root, dir); inside && below {
		return p
	}
	return outside
}

// mirrors lets every mirror follow; at limits it to some cgroups.
func (r *Reconciler) mirrors(p *placer, at map[string]map[string]bool) {
	for _, t := range r.desired.Trees {
		if t.Mode != Mirror || at != nil && len(at[t.Follows])+len(at[t.Hierarchy]) == 0 {
			continue
		}
		var paths []string
		for _, dir := range t.paths() {
			if at == nil || isIn(at[t.Follows], t.Full(dir)) || isIn(at[t.Hierarchy], t.Full(dir)) || isIn(at[t.Follows], t.Full(path.Join(dir, Reserved))) {
				paths = append(paths, dir)
			}
		}
		if len(paths) > 0 {
			r.follow(t, paths, p)
		}
	}
}

func isIn(set map[string]bool, dir string) bool {
	_, in := set[dir]
	return in
}
