package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// maxProcesses bounds one answer of get_processes.
const maxProcesses = 1000

// processList answers get_processes: those that have used most CPU time first.
type processList struct {
	Cgroup    string         `json:"cgroup"`
	Subsystem string         `json:"subsystem"`
	Processes []processEntry `json:"processes"`
	// More is how many there are beyond the limit.
	More int `json:"more"`
}

type processEntry struct {
	pidfiles.Detail
	// Cgroup is the path in which the process is: the one asked for, or below it.
	Cgroup string `json:"cgroup"`
}

func badRequest(format string, args ...any) error {
	return &wsapi.Error{Code: wsapi.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// arguments reads those of one request; unknown members are ignored.
func arguments(cmd string, args json.RawMessage, into any) error {
	if len(args) == 0 {
		return nil
	}
	err := json.Unmarshal(args, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong): // in a client's words: its own text speaks of Go's
		return badRequest("%s: bad arguments: %s: cannot be a %s", cmd, wrong.Field, wrong.Value)
	case err != nil:
		return badRequest("%s: bad arguments: %v", cmd, err)
	}
	return nil
}

// lookTime is how long a question that costs something waits for its turn.
const lookTime = 5 * time.Second

// inTurn makes a command wait until no other of its turn is being answered. Those that look at processes read /proc,
// and get_process every pid file as well, which costs a descriptor each and holds up the passes that read them.
// However many clients ask, the host pays for one at a time. about says what they ask.
func inTurn(turn chan struct{}, about string, f func(context.Context, json.RawMessage) (any, error)) wsapi.Command {
	return wsapi.JSON(func(ctx context.Context, raw json.RawMessage) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		if err := take(ctx, turn, about); err != nil {
			return nil, err
		}
		defer func() { <-turn }()
		return f(ctx, raw)
	})
}

// take waits for a turn as long as ctx lasts.
func take(ctx context.Context, turn chan struct{}, about string) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &wsapi.Error{Code: wsapi.CodeBusy, Message: "too many ask about " + about + ", try again later"}
	}
}

// getProcesses lists the processes in a configured cgroup and below it.
func (d *daemon) getProcesses(ctx context.Context, raw json.RawMessage) (any, error) {
	var args struct {
		Cgroup    string `json:"cgroup"`
		Subsystem string `json:"subsystem"`
	}
	if err := arguments("get_processes", raw, &args); err != nil {
		return nil, err
	}
	path := strings.Trim(args.Cgroup, "/")
	snap := d.snapshot.Load()
	if snap == nil {
		return nil, badRequest("get_processes: no cgroups yet: no full pass has been made")
	}
	t, subsystem := findTree(snap, args.Subsystem, path)
	if t == nil {
		return nil, badRequest("get_processes: no cgroup %q in the document (subsystem %q)", args.Cgroup, args.Subsystem)
	}
	out := processList{Cgroup: path, Subsystem: subsystem, Processes: []processEntry{}}
	members := below(ctx, snap.Hierarchies[t.Hierarchy], t.Full(path))
	for dir, pids := range members {
		for _, pid := range pids {
			detail, err := pidfiles.ReadDetail(pid)
			if err != nil {
				continue // it has ended since
			}
			out.Processes = append(out.Processes, processEntry{Detail: detail, Cgroup: pathOf(t, dir)})
		}
	}
	slices.SortFunc(out.Processes, func(a, b processEntry) int {
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.PID, b.PID))
	})
	if n := len(out.Processes); n > maxProcesses {
		out.Processes, out.More = out.Processes[:maxProcesses], n-maxProcesses
	}
	return out, nil
}

// findTree finds a tree with the cgroup: of the subsystem asked for, else of the
// first in the order in which subsystems win.
func findTree(snap *reconcile.Snapshot, subsystem, path string) (*reconcile.Tree, string) {
	var all []string
	for _, t := range snap.Trees {
		for _, s := range t.Subsystems {
			if subsystem == "" || subsystem == s {
				all = append(all, s)
			}
		}
	}
	for _, s := range reconcile.Precedence(all) {
		t := snap.Tree(s)
		if t == nil || t.Mode == reconcile.Leave {
			continue
		}
		if _, ok := t.Dir(path); ok {
			return t, s
		}
	}
	return nil, ""
}

// below reads who is in a cgroup and in all below it, by directory. What is
// removed meanwhile is left out.
func below(ctx context.Context, h *cgfs.Hierarchy, dir string) map[string][]int {
	members := map[string][]int{}
	todo := []string{dir}
	for len(todo) > 0 && ctx.Err() == nil {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if pids, err := h.Procs(dir, nil); err == nil {
			members[dir] = pids
		}
		children, err := h.Children(dir)
		if err != nil {
			continue
		}
		for _, name := range children {
			todo = append(todo, dir+"/"+name)
		}
	}
	return members
}

// pathOf turns a directory of a hierarchy into the path of a cgroup, as people
// know it: without the reserved child.
func pathOf(t *reconcile.Tree, dir string) string {
	path := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(dir, t.Root), "/"), "/")
	return strings.Trim(strings.TrimSuffix(path, reconcile.Reserved), "/")
}

// explanation answers get_process: where a process is, where it belongs, and why.
type explanation struct {
	pidfiles.Detail
	Places []placeOf `json:"places"`
}

// placeOf is one subsystem's view of a process.
type placeOf struct {
	Subsystem string `json:"subsystem"`
	// Is is the cgroup below our root, or ":" and the path in the hierarchy when it is outside.
	Is string `json:"is"`
	// Belongs is the cgroup in which it should be; null: in none of ours.
	Belongs *string `json:"belongs"`
	OK      bool    `json:"ok"`
	Why     string  `json:"why"`
}

// getProcess says why a process is, or is not, in its cgroup.
func (d *daemon) getProcess(_ context.Context, raw json.RawMessage) (any, error) {
	var args struct {
		PID int `json:"pid"`
	}
	if err := arguments("get_process", raw, &args); err != nil {
		return nil, err
	}
	snap := d.snapshot.Load()
	if snap == nil {
		return nil, badRequest("get_process: no cgroups yet: no full pass has been made")
	}
	detail, err := pidfiles.ReadDetail(args.PID)
	if errors.Is(err, fs.ErrNotExist) || args.PID < 1 {
		return nil, badRequest("get_process: there is no process %d", args.PID)
	}
	if err != nil {
		return nil, err
	}
	claims := d.pidFiles.Read(snap.Cgroups)
	defer pidfiles.CloseClaims(claims)
	scanner, err := pidfiles.NewScanner("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = scanner.Close() }() // read only: nothing can be lost
	procs, err := scanner.Scan()
	if err != nil {
		return nil, err
	}
	// /proc/N is there for a thread too, but not listed: it has no place of its own, and no pid file can name it.
	if !slices.ContainsFunc(procs, func(p pidfiles.Proc) bool { return p.PID == args.PID }) {
		return nil, badRequest("get_process: there is no process %d, it may be the number of a thread", args.PID)
	}
	where, err := cgfs.Where(strconv.Itoa(args.PID))
	if err != nil {
		return nil, badRequest("get_process: process %d has just ended", args.PID)
	}
	out := explanation{Detail: detail, Places: []placeOf{}}
	for _, t := range snap.Trees {
		if t.Mode != reconcile.Own {
			continue
		}
		at := placeAt{t: t, pid: args.PID, files: d.pidFiles.Files(), faults: snap.Faults}
		if dir, ok := snap.Hierarchies[t.Hierarchy].Dir(where); ok {
			at.is, at.inside = d.inTree(t, dir)
		}
		for _, subsystem := range reconcile.Precedence(t.Subsystems) {
			named, _ := pidfiles.NamedIn(subsystem, claims, snap.Cgroups)
			at.subsystem, at.assigned = subsystem, nil
			assignments := pidfiles.Assign(procs, named, pidfiles.Pass{Self: os.Getpid(), Since: pidfiles.Ticks()})
			for i := range assignments {
				if assignments[i].PID == args.PID {
					at.assigned = &assignments[i]
				}
			}
			out.Places = append(out.Places, at.explain())
		}
	}
	return out, nil
}

// inTree turns a directory of a hierarchy into a path below our root; inside is
// false when it is elsewhere.
func (d *daemon) inTree(t *reconcile.Tree, dir string) (path string, inside bool) {
	if dir == t.Root || t.Root == "" || strings.HasPrefix(dir, t.Root+"/") {
		return pathOf(t, dir), true
	}
	return ":/" + dir, false
}

// placeAt is what is known about a process in one subsystem.
type placeAt struct {
	t         *reconcile.Tree
	subsystem string
	pid       int
	is        string
	inside    bool
	assigned  *pidfiles.Assignment
	files     []pidfiles.FileStatus
	faults    []reconcile.Fault
}

// explain is pure.
func (p *placeAt) explain() placeOf {
	out := placeOf{Subsystem: p.subsystem, Is: p.is}
	if p.assigned == nil {
		out.OK, out.Why = true, p.unassigned()
		return out
	}
	out.Belongs = &p.assigned.Path
	out.OK = p.inside && p.is == p.assigned.Path
	out.Why = p.through()
	if !out.OK {
		out.Why += "; " + p.hindrance()
	}
	return out
}

// unassigned says why a process belongs to none of our cgroups.
func (p *placeAt) unassigned() string {
	for _, f := range p.files {
		if f.PID == p.pid && f.State != pidfiles.OK {
			return fmt.Sprintf("pid file %s (cgroup %s) names it, but is %s: %s", f.File, f.Cgroup, f.State, f.Reason)
		}
	}
	switch _, configured := p.t.Dir(p.is); {
	case p.pid == 1:
		return "process 1 is never moved"
	case p.pid == os.Getpid():
		return "this is the daemon itself"
	case p.inside && configured && p.is != "":
		return "no pid file names it or an ancestor of it now: it stays where it was placed, or where somebody else put it"
	default:
		return "no pid file names it, or an ancestor of it" + unread(p.files)
	}
}

// unread names the files that may name the process, but are not believed.
func unread(files []pidfiles.FileStatus) string {
	var names []string
	for _, f := range files {
		if f.PID == 0 && f.State != pidfiles.Missing {
			names = append(names, fmt.Sprintf("%s is %s: %s", f.File, f.State, f.Reason))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; of those that may, " + strings.Join(names[:min(len(names), 3)], "; ")
}

// through says by which pid file a process belongs to its cgroup.
func (p *placeAt) through() string {
	root := p.assigned.Root.PID
	for _, f := range p.files {
		if f.PID == root && f.State == pidfiles.OK && f.Cgroup == p.assigned.Path {
			if root == p.pid {
				return "pid file " + f.File + " names it"
			}
			return fmt.Sprintf("pid file %s names process %d, from which it descends", f.File, root)
		}
	}
	return fmt.Sprintf("it descends from process %d", root)
}

// hindrance says why a process is not where it belongs.
func (p *placeAt) hindrance() string {
	pid := "pid " + strconv.Itoa(p.pid)
	for _, f := range p.faults {
		if i := strings.Index(f.Reason, pid); i >= 0 && !startsWithDigit(f.Reason[i+len(pid):]) {
			return "the kernel or the configuration keeps it out: " + f.String()
		}
	}
	if len(p.t.Subsystems) > 1 {
		return "another subsystem of the same hierarchy wins, or the next pass moves it"
	}
	return "the next pass moves it, unless it sits in a cgroup that protected_cgroup names"
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }
