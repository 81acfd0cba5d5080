package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/fleet"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// waitPause is the time between two looks at the cluster.
const waitPause = 500 * time.Millisecond

func (a *app) statusCommand() *cobra.Command {
	var w waiter
	var forget []string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether all hosts have the document in force",
		Long: `Tell whether the document that is in ZooKeeper is in force on every host, by what
the daemons there publish. A host that has published once and is silent now counts
as one that does not have it (--forget HOST, when it is gone for good; HOST may be
a pattern such as 'web*'); one that has never published is not known: --expect N
says how many there must be.

With --wait VERSION: until that version is in force everywhere, or the timeout, or
another version is in ZooKeeper, or a host has rejected it. Exit status 0 means
that it is in force everywhere, 3 that it is not, 1 that nobody can tell.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			z, _, err := a.zookeeper()
			if err != nil {
				return err
			}
			if len(forget) > 0 {
				return failed(a.forget(cmd.Context(), z, forget, w.timeout))
			}
			if w.wait != "" {
				if w.version, err = parseVersion(w.wait); err != nil {
					return err
				}
			}
			w.app = a
			return w.run(cmd.Context(), z)
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.wait, "wait", "", "wait until this version is in force everywhere")
	f.DurationVar(&w.timeout, "timeout", 30*time.Second, "how long at most")
	f.IntVar(&w.expect, "expect", 0, "how many hosts there must be at least")
	f.BoolVar(&w.strict, "strict", false, "a host with host faults does not have it in force")
	f.BoolVarP(&w.verbose, "verbose", "v", false, "list all hosts, however many")
	f.StringArrayVar(&forget, "forget", nil, "make a host that is silent unknown, or all that match")
	return cmd
}

// forget makes hosts unknown. A name that is given must be that of a silent one.
func (a *app) forget(ctx context.Context, z *zkconf.ZooKeeper, patterns []string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer a.waiting("ZooKeeper")()
	names := map[string]bool{}
	err := z.FollowPublished(ctx, 0, func(p zkconf.Published) bool {
		for _, pattern := range patterns {
			if !strings.ContainsAny(pattern, `*?[`) {
				names[pattern] = true
			}
			for name := range p.Known {
				_, speaks := p.Agents[name]
				if matches, _ := path.Match(pattern, name); matches && !speaks {
					names[name] = true
				}
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := z.Forget(ctx, name); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.stdout, shown(name)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// waiter looks until it knows.
type waiter struct {
	*app
	wait            string
	version         int32 // when wait is given
	timeout         time.Duration
	expect          int
	strict, verbose bool

	asked   bool // there was an answer
	verdict fleet.Verdict
	ended   string // why there is no use in waiting longer
}

func (w *waiter) run(ctx context.Context, z *zkconf.ZooKeeper) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	answered := w.waiting("ZooKeeper")
	err := z.FollowPublished(ctx, waitPause, func(p zkconf.Published) bool {
		answered()
		return w.look(p)
	})
	answered()
	switch {
	case outer.Err() != nil:
		return failed(outer.Err())
	case err != nil && w.asked:
		// What was true is not known to be true.
		return failed(fmt.Errorf("nobody can tell any more: %w", err))
	case err != nil:
		return failed(err)
	case !w.asked:
		return failed(fmt.Errorf("zookeeper has not answered for %v", w.timeout))
	}
	if err := w.print(); err != nil {
		return failed(err)
	}
	if !w.everywhere() {
		return &exitError{status: exitChanges}
	}
	return nil
}

// everywhere says whether what was asked for is so.
func (w *waiter) everywhere() bool { return w.verdict.Everywhere && w.ended == "" }

// look takes an answer, and says whether it is the last one that is needed.
func (w *waiter) look(p zkconf.Published) (done bool) {
	q := question(p)
	q.Expect, q.Strict = w.expect, w.strict
	before := w.verdict
	w.verdict = fleet.Judge(q)
	if w.wait == "" {
		w.asked = true
		return true
	}
	if terminal(w.stderr) && (!w.asked || before.There != w.verdict.There || before.Known != w.verdict.Known) {
		fmt.Fprintln(w.stderr, summary(w.verdict))
	}
	w.asked = true
	w.ended = w.hopeless()
	// An older one may be replaced any moment by the one that we wait for.
	return w.verdict.Everywhere && w.ended == "" || w.ended != "" && w.verdict.Version >= w.version
}

// hopeless says why the version that is waited for is not in force everywhere, and
// will not be.
func (w *waiter) hopeless() string {
	if w.verdict.Version != w.version {
		return fmt.Sprintf("version %d is in ZooKeeper, not %d", w.verdict.Version, w.version)
	}
	for _, r := range w.verdict.Hosts {
		if r.State == fleet.StateRejected {
			return fmt.Sprintf("%s: %s", r.Host, r.Why)
		}
	}
	return ""
}

func (w *waiter) print() error {
	if w.json {
		answer := struct {
			fleet.Verdict
			Reason string `json:"reason"`
		}{w.verdict, w.ended}
		answer.Everywhere = w.everywhere()
		return json.NewEncoder(w.stdout).Encode(answer)
	}
	text := verdictText(w.verdict, w.verbose)
	if w.expect > w.verdict.Known {
		text = fmt.Sprintf("%d hosts are known, %d expected\n", w.verdict.Known, w.expect) + text
	}
	if w.ended != "" {
		text = shown(w.ended) + "\n" + text
	}
	_, err := io.WriteString(w.stdout, text)
	return err
}

// summary is a verdict in a line.
func summary(v fleet.Verdict) string {
	switch {
	case v.Version < 0:
		return "there is no document"
	case v.Known == 0:
		return fmt.Sprintf("version %d: no host has ever said that it has it", v.Version)
	}
	text := fmt.Sprintf("version %d is in force on %d of %d hosts", v.Version, v.There, v.Known)
	if v.Faulty > 0 {
		text += fmt.Sprintf(", %d of them with host faults", v.Faulty)
	}
	return text
}

// manyHosts is how many are listed without being asked for.
const manyHosts = 30

// verdictText is a verdict for people: stragglers first, and of a large cluster
// nobody else.
func verdictText(v fleet.Verdict, verbose bool) string {
	rows := [][]string{{"HOST", "STATE", "IN FORCE", "SEEN", "FAULTS", "DAEMON", "WHY"}}
	for _, r := range v.Hosts {
		why := r.Why
		if why == "" && r.HostFault != "" {
			why = "host fault: " + r.HostFault
		}
		if !verbose && len(v.Hosts) > manyHosts && why == "" {
			continue
		}
		row := []string{r.Host, r.State, number(r.InForce), number(r.Seen), strconv.Itoa(r.HostFaults), r.Daemon, why}
		if r.State == fleet.StateGone {
			row[4], row[5] = "-", "-"
			row[6] += ", the last one began at " + r.Since.UTC().Format(time.RFC3339)
		}
		for i := range row {
			row[i] = shown(row[i])
		}
		rows = append(rows, row)
	}
	text := summary(v) + "\n"
	if len(rows) > 1 {
		text += table(rows)
	}
	if left := len(v.Hosts) + 1 - len(rows); left > 0 {
		text += fmt.Sprintf("... and %d hosts that have it (-v lists them)\n", left)
	}
	return text
}

func number(version int32) string {
	if version < 0 {
		return "-"
	}
	return strconv.Itoa(int(version))
}

// shown keeps what others have written from doing things to the terminal.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
